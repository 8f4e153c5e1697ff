"""Checks a claim of the book against a measurement, and prints the verdict."""

import json
import math
import re
import tomllib
from pathlib import Path

MORE = "; "
VERDICTS = ("holds", "holds if", "corrected")


def claim(
    id, statement, measured, expected, *, verdict="holds", condition="", source=""
):
    """Print one line and stop the notebook when the measurement contradicts it.

    Args:
        id: entry of book/ledger.toml, such as 'ov-1'.
        statement: what the book says, in one short sentence.
        measured: a number.
        expected: (low, high), both included; None leaves a side open.
        verdict: what the measurement says of the sources' claim: 'holds',
            'holds if' (with condition) or 'corrected' (with condition or source).
        condition: when it holds, or the right statement.
        source: literature, for a correction.
    Raises:
        AssertionError if measured is outside expected or not a number.
        ValueError for an unknown verdict, or one whose condition is missing.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"verdict = {verdict!r}: must be one of {VERDICTS}")
    if verdict != "holds" and not (condition or source):
        raise ValueError(f"condition = '': must say more, for verdict = {verdict!r}")
    low, high = (
        (-math.inf if expected[0] is None else expected[0]),
        (math.inf if expected[1] is None else expected[1]),
    )
    line = f"[{id}] {verdict}: {statement}: measured {measured:.4g}, expected "
    line += _interval(*expected)
    if not low <= float(measured) <= high:
        raise AssertionError(f"contradicted: {line}")
    print(line + "".join(f"{MORE}{extra}" for extra in (condition, source) if extra))


def _interval(low, high):
    if low is None:
        return f"≤ {high:.4g}"
    if high is None:
        return f"≥ {low:.4g}"
    return f"{low:.4g} … {high:.4g}"


LINE = re.compile(r"^\[(?P<id>[a-z]+-\d+)\] (?P<verdict>[a-z ]+): (?P<text>.*)$", re.M)


def read_ledger(book: Path) -> list[dict[str, str]]:
    """Return the sources' claims, each with id, chapter and claim."""
    return tomllib.loads((book / "ledger.toml").read_text("utf-8"))["claim"]


def read_claims(notebook: Path) -> list[dict[str, str]]:
    """Return the claims a chapter's stored outputs print: id, verdict and text."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    streams = [out for cell in cells for out in cell.get("outputs", ())]
    texts = ["".join(out["text"]) for out in streams if "text" in out]
    return [m.groupdict() for text in texts for m in LINE.finditer(text)]


def claims_page(book: Path) -> str:
    """Return book/claims.md: every claim of the sources with its measured verdict."""
    found = {}
    for notebook in sorted(book.glob("*.ipynb")):
        for entry in read_claims(notebook):
            found.setdefault(entry["id"], []).append(entry)
    lines = [
        _HEAD,
        "| claim | the sources say | verdict | measured |",
        "|---|---|---|---|",
    ]
    open_chapters = {}
    for entry in read_ledger(book):
        id, chapter = entry["id"], entry["chapter"]
        if not (book / f"{chapter}.ipynb").exists():
            open_chapters.setdefault(chapter, []).append(id)
        elif id in found:
            texts = "<br>".join(_measured([e["text"] for e in found[id]]))
            verdict = f"**{found[id][0]['verdict']}**"
            link = f"{{ref}}`{id} <{id}>`"
            lines.append(f"| {link} | {_cell(entry['claim'])} | {verdict} | {texts} |")
    if open_chapters:
        lines += [
            "",
            "## Not yet measured",
            "",
            "These chapters are still to come.",
            "",
        ]
        lines += [f"- {name}: {', '.join(ids)}" for name, ids in open_chapters.items()]
    return "\n".join(lines) + "\n"


def write_claims(book: Path) -> None:
    """Write book/claims.md from the ledger and the chapters' stored outputs."""
    (book / "claims.md").write_text(claims_page(book), "utf-8")


def _measured(texts):
    """The checks of one claim, then once what their condition and source say."""
    checks, extras = zip(*(text.partition(MORE)[::2] for text in texts), strict=True)
    return [*map(_cell, checks), *(f"*{_cell(e)}*" for e in dict.fromkeys(extras) if e)]


def _cell(text):
    return text.replace("|", "\\|").replace("*", "\\*")


_HEAD = """# Claims and verdicts

<!-- Written by `make execute` from book/ledger.toml and the chapters. -->

The two texts this book grew from make the claims below. Each is checked by a cell
that runs whenever the book is tested, and the cell fails when the measurement
contradicts what is printed here. *Holds*: measured as claimed. *Holds if*: true under
the condition named. *Corrected*: the claim does not reproduce; the right statement
stands beside it. The link leads to the cell.
"""
