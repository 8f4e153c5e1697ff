"""The audit: other draws, longer runs, and what it says of a chapter."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress

import nbformat
import numpy as np
import pytest

from tests.notebooks import ROOT
from utils import claim, random
from utils.book import audit
from utils.data import load
from utils.random import Purpose

SEED = """\
import numpy as np
from utils import Experiment, claim, fit
base = Experiment(n_train=40, hidden=(8,), epochs=20)
runs = fit({"none": base.replace(seed=SEED), "L2": base.replace(seed=SEED, l2=0.01)})
none, l2 = (run.history["val_loss"][-1] for run in runs)
claim("ov-1", "L2 lowers the loss", l2 - none, (None, 0))"""
LENGTH = """\
from utils import Experiment, claim, fit
base = Experiment(n_train=40, hidden=(20,), epochs=15, label_noise=0.3)
(run,) = fit(base)
claim("ov-2", "the network stays unsure", run.history["train_loss"][-1], (0.2, None))"""
TRUE = """\
from utils import Experiment, claim, compare, fit
base = Experiment(n_train=40, hidden=(8,), epochs=40, label_noise=0.3)
runs = fit({"none": base.draws(10), "L2": base.replace(l2=1).draws(10)})
(effect,) = compare(runs, "none", "train_loss")
claim("ov-3", "a strong λ₂ raises the training loss", effect.mean, (0.05, None))
claim("ov-3", "an identity", 1, (1, 1))"""
NUMPY = """\
import numpy as np
from utils import claim
drawn = np.random.default_rng(0).random(), np.random.RandomState(0).rand()
known = 0.6369616873214543, 0.5488135039273248
away = abs(np.subtract(drawn, known)).max()
claim("ov-4", "the numbers of seed 0", away, (0, 1e-9))"""


def differences(count=40):
    """What SEED measures with each seed, {seed: difference}."""
    measured = {}
    for seed in range(count):
        found = {}
        with suppress(AssertionError):
            exec(SEED.replace("SEED", str(seed)), found)
        measured[seed] = found["l2"] - found["none"]
    return measured


SCRIPT = """\
import json, sys
from pathlib import Path
from utils.book import audit
print(json.dumps(vars(audit.examine(Path(sys.argv[1])))))"""


@pytest.fixture(scope="module")
def chapter(tmp_path_factory):
    """A chapter: claims true by choice of a seed, of a length, and always; faults."""
    measured = differences()
    seed = min(measured, key=measured.get)
    least, next_to_it = sorted(measured.values())[:2]
    limit = (least + next_to_it) / 2  # true of that seed alone
    chosen = SEED.replace("SEED", str(seed)).replace("(None, 0)", f"(None, {limit})")
    cells = [chosen, LENGTH, TRUE, NUMPY, "1 / 0", 'claim("ov-5", "x", 2, (0, 1))']
    path = tmp_path_factory.mktemp("audit") / "chapter.ipynb"
    code = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=code), path)
    return path


@pytest.fixture(scope="module")
def audited(chapter):
    """Its audits: as stored, on another draw, and of longer runs."""
    before = chapter.read_bytes()
    found = {}
    for draw, length in ((0, 1), (1, 1), (0, 40)):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, chapter],
            env=os.environ | {"AUDIT": f"{draw}", "AUDIT_LENGTH": f"{length}"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        found[draw, length] = audit.Found(**json.loads(done.stdout))
    assert chapter.read_bytes() == before
    return found


def failed(found):
    return [line.split("]")[0][1:] for line in found.failed]


def test_as_stored_all_holds_but_what_never_does(audited):
    assert failed(audited[0, 1]) == ["ov-5"]
    assert audited[0, 1].failed == ["[ov-5] holds: x: measured 2, expected 0 … 1"]
    assert {found.claims for found in audited.values()} == {6}


def test_claims_made_true_by_a_chosen_seed_are_caught(audited):
    """That of a network's, and that of NumPy's."""
    found = audited[1, 1]
    assert {"ov-1", "ov-4"} <= {*failed(found)}
    line = r"\[ov-1\] holds: L2 lowers the loss: measured .*, expected ≤"
    assert re.match(line, found.failed[0])


def test_a_claim_made_true_by_a_chosen_length_is_caught(audited):
    assert failed(audited[0, 40]) == ["ov-2", "ov-5"]


def test_a_true_claim_holds_on_every_draw_and_length(audited):
    assert not any("ov-3" in failed(found) for found in audited.values())


def test_a_cell_that_cannot_run_is_told_and_the_rest_goes_on(audited):
    for found in audited.values():
        assert found.broken == ["cell 4: ZeroDivisionError: division by zero"]


@pytest.mark.parametrize("name", ["digits", "moons"])
def test_another_audit_is_another_draw_of_everything(monkeypatch, name):
    words = random.bits(0, Purpose.WEIGHT, [0], 0, 1, 8)
    pool = load(name).pool.X
    monkeypatch.setattr(random, "AUDIT", 5)
    assert (random.bits(0, Purpose.WEIGHT, [0], 0, 1, 8) != words).any()
    assert not np.array_equal(load(name).pool.X, pool)


def test_seeds_stay_apart():
    assert random.redrawn(7) == 7  # AUDIT = 0
    assert len({random.redrawn(s) for s in range(100)}) == 100


def test_the_report_counts_what_fails(monkeypatch):
    found = [
        audit.Found(
            "overview", 3, ["[ov-1] holds: x: measured 2, expected ≤ 1"], [], 2
        ),
        audit.Found("tuning", 2, [], ["cell 4: KeyError: 0.01"], 3),
        audit.Found("summary", 4, [], [], 1),
    ]
    text = audit.report(found)
    assert text.startswith("# Audit 0, training 1 times as long")
    assert "- [ov-1] holds: x: measured 2, expected ≤ 1" in text
    assert "- cell 4: KeyError: 0.01" in text
    assert text.endswith("1 of 9 claims fail, 1 cells broken.")
    assert str(found[1]) == "tuning: 0 of 2 claims fail, 1 cells broken, 3 s"


def test_a_claim_in_an_audit_is_written_down_and_stops_nothing(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("AUDIT_REPORT", str(tmp_path / "claims"))
    for measured in (0.5, 2):
        claim("ov-1", "x", measured, (0, 1))
    lines = (tmp_path / "claims").read_text("utf-8").splitlines()
    assert [json.loads(line)["holds"] for line in lines] == [True, False]
    assert capsys.readouterr().out.count("[ov-1]") == 2
