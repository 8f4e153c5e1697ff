import pytest

from tests.notebooks import BOOK, CHAPTERS
from utils import claim
from utils.book.claims import claims_page, read_claims, read_ledger
from utils.book.effects import Effect


def test_a_claim_that_holds_prints_one_line(capsys):
    claim("ov-1", "training accuracy is high", 0.9987, (0.99, None))
    line = "[ov-1] holds: training accuracy is high: measured 0.9987, expected ≥ 0.99\n"
    assert capsys.readouterr().out == line


def test_condition_and_source_are_printed(capsys):
    more = {"verdict": "corrected", "condition": "only for SGD", "source": "L&H 2019"}
    claim("wd-3", "the weights differ", 0.2, (0.1, 0.3), **more)
    out = capsys.readouterr().out
    assert out.endswith("expected 0.1 … 0.3; only for SGD; L&H 2019\n")


def test_an_effect_is_judged_by_its_mean_and_tells_its_error_and_draws(capsys):
    effect = Effect("L2", "none", "val_loss", (-0.4, 0.1, -0.3, 0.0, -0.1))
    claim("ov-2", "L2 lowers the loss", effect, (None, -0.1))
    told = "measured -0.14 ± 0.093, lower on 3 of 5 draws, expected ≤ -0.1\n"
    assert capsys.readouterr().out == f"[ov-2] holds: L2 lowers the loss: {told}"
    with pytest.raises(AssertionError, match="contradicted"):
        claim("ov-2", "L2 lowers the loss", effect, (None, -0.2))


@pytest.mark.parametrize(
    "measured, expected",
    [(0.5, (0.6, None)), (0.5, (None, 0.4)), (0.5, (0.6, 0.7)), (float("nan"), (0, 1))],
)
def test_a_contradicted_claim_stops_the_notebook(measured, expected, capsys):
    with pytest.raises(AssertionError, match=r"contradicted: \[ov-1\]"):
        claim("ov-1", "something", measured, expected)
    assert capsys.readouterr().out == ""


def test_a_verdict_must_be_known_and_explained():
    with pytest.raises(ValueError, match="verdict = 'maybe'"):
        claim("ov-1", "something", 1, (0, 2), verdict="maybe")
    with pytest.raises(ValueError, match="must be without '; '"):
        claim("ov-1", "one; two", 1, (0, 2))
    with pytest.raises(ValueError, match="condition"):
        claim("ov-1", "something", 1, (0, 2), verdict="holds if")


def test_ids_of_the_ledger_are_unique():
    ids = [entry["id"] for entry in read_ledger(BOOK)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
def test_every_id_of_a_chapter_has_a_cell_with_one_verdict(chapter):
    wanted = {e["id"] for e in read_ledger(BOOK) if e["chapter"] == chapter.stem}
    found = read_claims(chapter)
    assert {entry["id"] for entry in found} == wanted
    for id in wanted:
        assert len({e["verdict"] for e in found if e["id"] == id}) == 1


def test_the_page_of_claims_is_up_to_date():
    assert (BOOK / "claims.md").read_text("utf-8") == claims_page(BOOK)


def test_a_chapter_that_lost_a_claim_is_noticed(tmp_path):
    ledger = (BOOK / "ledger.toml").read_text("utf-8")
    (tmp_path / "ledger.toml").write_text(ledger, "utf-8")
    text = CHAPTERS[0].read_text("utf-8")
    (tmp_path / CHAPTERS[0].name).write_text(text.replace("] holds", "] hold"), "utf-8")
    assert claims_page(tmp_path) != claims_page(BOOK)
