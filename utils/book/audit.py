"""Do the book's claims hold on other draws? `make audit AUDIT=n AUDIT_LENGTH=k`.

    python -m utils.book.audit               every chapter
    python -m utils.book.audit book/X.ipynb  that chapter

runs the chapters with every random number drawn anew, as AUDIT says (0: as stored), and
training AUDIT_LENGTH times as long. Real data are divided anew, synthetic data are
generated anew, NumPy's generators take other seeds. What is stored stays as it is.

Each claim that fails is listed with what was measured and expected, and so is each cell
that cannot run. The report goes to _build/audit.md. Exit status 1: there is one.
"""

import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np

from utils import random
from utils.book.claims import REPORT
from utils.book.execute import BOOK, chapters, client

REPORTS = BOOK.parent / "_build"
AT_ONCE = 2  # chapters
SECONDS = 1800  # for a cell
FIRST = "from utils.book import audit\naudit.redraw_numpy()"


@dataclass(frozen=True)
class Found:
    """What an audit found in a chapter.

    `claims` counts those that were checked; `failed` has a line for each that does not
    hold, `broken` one for each cell that cannot run.
    """

    chapter: str
    claims: int
    failed: list[str]
    broken: list[str]
    seconds: float

    def __str__(self) -> str:
        counts = f"{len(self.failed)} of {self.claims} claims fail"
        broken = f", {len(self.broken)} cells broken" if self.broken else ""
        return f"{self.chapter}: {counts}{broken}, {self.seconds:.0f} s"


def redraw_numpy() -> None:
    """Give NumPy's generators in this process other seeds, as utils.random does."""
    if not random.AUDIT:
        return
    generator = np.random.default_rng

    class RandomState(np.random.RandomState):
        def __init__(self, seed=None):
            super().__init__(_redrawn(seed))

    vars(np.random).update(
        RandomState=RandomState,
        default_rng=lambda seed=None: generator(_redrawn(seed)),
    )


def _redrawn(seed):
    return random.redrawn(seed) if isinstance(seed, int) else seed


def examine(path: Path) -> Found:
    """Run a chapter as the environment says, and return what was found.

    The notebook at path is not written.
    """
    notebook, start = nbformat.read(path, as_version=4), time.perf_counter()
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "claims"
        report.touch()
        runner = client(notebook, path.parent, timeout=SECONDS, allow_errors=True)
        runner.execute(env=os.environ | {REPORT: str(report)})
        claims = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    failed = [claim["line"] for claim in claims if not claim["holds"]]
    seconds = time.perf_counter() - start
    return Found(path.stem, len(claims), failed, _broken(notebook), seconds)


def _broken(notebook):
    """A line for each cell that stopped: where, and why."""
    return [
        f"cell {number}: {output.ename}: {output.evalue}"
        for number, cell in enumerate(notebook.cells[1:])
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    ]


def report(found: list[Found]) -> str:
    """Return the report of an audit, Markdown."""
    length = os.environ.get("AUDIT_LENGTH") or 1
    lines = [f"# Audit {random.AUDIT}, training {length} times as long", ""]
    for one in found:
        lines += [f"## {one}", ""]
        lines += [f"- {line}" for line in [*one.failed, *one.broken]]
        lines += [""] if one.failed or one.broken else []
    failed, claims = sum(len(one.failed) for one in found), sum(o.claims for o in found)
    broken = sum(len(one.broken) for one in found)
    return "\n".join(
        [*lines, f"{failed} of {claims} claims fail, {broken} cells broken."]
    )


def main(names: list[str]) -> bool:
    """Audit the named chapters, or all; return whether all holds."""
    paths = [Path(name) for name in names] or chapters()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = []
        for one in pool.map(examine, paths):
            print(one, flush=True)
            found.append(one)
    text = report(found)
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "audit.md").write_text(text + "\n", "utf-8")
    print(text)
    return not any(one.failed or one.broken for one in found)


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
