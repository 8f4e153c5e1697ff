"""Change numbers in the stored outputs: nbval must fail on every cell changed."""

import re
import subprocess
import sys

import nbformat
import pytest

from tests.notebooks import CHAPTERS, ROOT, mutant, places

PLOTLY = "application/vnd.plotly.v1+json"
KINDS = {
    "text": lambda output: "text" in output,
    "plotly": lambda output: PLOTLY in output.get("data", {}),
    "other": lambda output: "data" in output and PLOTLY not in output.data,
}


def mutate(chapter):
    """Return the notebook with one number changed in every cell that has one.

    Also returns, per code cell, the kind of output changed, or None.
    """
    notebook = nbformat.read(chapter, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    kinds = []
    for number, cell in enumerate(cells):
        candidates = [
            (position, place)
            for position, output in enumerate(cell.outputs)
            for place in places(output)
        ]
        if not candidates:
            kinds.append(None)
            continue
        position, place = candidates[(number * 7919) % len(candidates)]
        cell.outputs[position] = mutant(cell.outputs[position], place)
        kinds.append(
            next(k for k, is_it in KINDS.items() if is_it(cell.outputs[position]))
        )
    return notebook, kinds


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
def test_nbval_fails_on_every_changed_number(chapter, tmp_path):
    notebook, kinds = mutate(chapter)
    assert {"text", "plotly"} <= set(kinds)
    nbformat.write(notebook, tmp_path / chapter.name)
    options = ["-c", "pyproject.toml", "--rootdir=.", "-rA", "--tb=no", "--color=no"]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path / chapter.name)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, check=False
    )
    verdicts = dict(
        (int(cell), word)
        for word, cell in re.findall(
            r"^(PASSED|FAILED) .*Cell (\d+)", done.stdout, re.M
        )
    )
    expected = {i: "FAILED" if kind else "PASSED" for i, kind in enumerate(kinds)}
    assert verdicts == expected, done.stdout[-3000:]
