"""Rules that every chapter keeps."""

import re
from itertools import pairwise

import nbformat
import pytest
import yaml

from tests.notebooks import BOOK, CHAPTERS, ROOT, code_cells
from utils.book.claims import read_ledger
from utils.mimetypes import FIGURE, LAB

FORBIDDEN = {
    "pip": r"^\s*[!%]\s*pip",
    "import *": r"import \*",
    "a second training loop": r"\.backward\(|optimizer\.step\(",
    "plot styling": r"update_(layout|traces|xaxes|yaxes)|template=",
    "a cell exempt from comparison": r"(?i)nbval[_-](ignore|skip)",
}


def chapters(test):
    return pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)(test)


def test_the_table_of_contents_lists_every_chapter():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    text = str(toc)
    assert CHAPTERS
    for chapter in CHAPTERS:
        assert f"book/{chapter.stem}'" in text


@chapters
def test_every_code_cell_was_executed(chapter):
    numbers = [cell.execution_count for cell in code_cells(chapter)]
    assert numbers == list(range(1, len(numbers) + 1))


@chapters
def test_no_widget_state_is_stored(chapter):
    metadata = nbformat.read(chapter, as_version=4).metadata
    assert set(metadata) == {"kernelspec", "language_info"}


@chapters
def test_no_output_is_an_error_or_goes_to_stderr(chapter):
    for cell in code_cells(chapter):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"


@chapters
def test_cells_are_short(chapter):
    for cell in code_cells(chapter):
        lines = cell.source.splitlines()
        assert 1 <= len(lines) <= 15, cell.source
        assert max(map(len, lines)) <= 79, cell.source


@chapters
@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_a_notebook_never_does(chapter, what):
    for cell in code_cells(chapter):
        assert not re.search(FORBIDDEN[what], cell.source, re.M), cell.source
        tags = " ".join(cell.metadata.get("tags", []))
        assert "nbval" not in tags and "raises" not in tags


def test_the_test_set_is_opened_once():
    opened = [
        chapter.stem
        for chapter in CHAPTERS
        for cell in code_cells(chapter)
        for _ in re.findall(r"\.test\b", cell.source)
    ]
    assert opened == ["tuning"]


@chapters
def test_prose_precedes_every_code_cell(chapter):
    cells = nbformat.read(chapter, as_version=4).cells
    for before, cell in pairwise(cells):
        if cell.cell_type == "code":
            hidden = "hide-input" in before.metadata.get("tags", [])
            assert before.cell_type == "markdown" or hidden, cell.source


@chapters
def test_every_claim_has_its_label(chapter):
    cells = nbformat.read(chapter, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for entry in read_ledger(BOOK):
        if entry["chapter"] == chapter.stem:
            assert text.count(f"({entry['id']})=") == 1


@chapters
def test_every_figure_describes_itself(chapter):
    for cell in code_cells(chapter):
        for output in cell.outputs:
            plot = output.get("data", {}).get(FIGURE)
            if plot:
                assert len(plot["layout"]["meta"]["description"]) > 40


@chapters
def test_a_chapter_has_a_lab_exercises_and_solutions(chapter):
    cells = nbformat.read(chapter, as_version=4).cells
    text = "\n".join(cell.source for cell in cells)
    assert text.count("{exercise") >= 4
    assert text.count("{solution") >= 4
    outputs = [out for cell in code_cells(chapter) for out in cell.outputs]
    assert any(LAB in out.get("data", {}) for out in outputs)


def test_every_reference_has_a_doi_or_an_arxiv_id():
    text = (BOOK / "references.bib").read_text("utf-8")
    entries = re.split(r"^@", text, flags=re.M)[1:]
    assert entries
    for entry in entries:
        assert re.search(r"^\s*(doi|eprint|isbn|url)\s*=", entry, re.M | re.I), entry
