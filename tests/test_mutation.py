"""Change numbers in the stored outputs: nbval must fail on every cell changed.

One chapter goes the whole way, with a kernel; test_tolerance.py changes every number
of every chapter and asks the comparison alone.
"""

import re
import subprocess
import sys

import nbformat

from tests.notebooks import BOOK, ROOT, mutant, places
from utils.mimetypes import FIGURE

KINDS = {
    "text": lambda output: "text" in output,
    "plotly": lambda output: FIGURE in output.get("data", {}),
    "other": lambda output: "data" in output and FIGURE not in output.data,
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


def test_nbval_fails_on_every_changed_number(tmp_path):
    chapter = BOOK / "weight_decay.ipynb"
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
