"""Checks a claim of the book against a measurement, and prints the verdict."""

import json
import math
import os
import re
import tomllib
from pathlib import Path

from utils.book.effects import Effect

MORE = "; "
REPORT = "AUDIT_REPORT"  # the file to which an audit has claims written
VERDICTS = ("holds", "holds if", "corrected")


def claim(
    id: str,
    statement: str,
    measured: float | Effect,
    expected: tuple[float | None, float | None],
    *,
    verdict: str = "holds",
    condition: str = "",
    source: str = "",
) -> None:
    """Print one line and stop the notebook when the measurement contradicts it.

    Args:
        id: entry of book/ledger.toml, such as 'ov-1'.
        statement: what the book says, in one short sentence.
        measured: a number, or the Effect whose mean it is.
        expected: (low, high), both included; None leaves a side open.
        verdict: what the measurement says of the sources' claim: 'holds',
            'holds if' (with condition) or 'corrected' (with condition or source).
        condition: when it holds, or the right statement.
        source: literature, for a correction.
    Raises:
        AssertionError if measured is outside expected or not a number.
        ValueError for an unknown verdict, one whose condition is missing, or a
            statement with "; " in it, which parts condition and source from it.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"verdict = {verdict!r}: must be one of {VERDICTS}")
    if verdict != "holds" and not (condition or source):
        raise ValueError(f"condition = '': must say more, for verdict = {verdict!r}")
    low, high = (
        (-math.inf if expected[0] is None else expected[0]),
        (math.inf if expected[1] is None else expected[1]),
    )
    if MORE in statement:
        raise ValueError(f"statement = {statement!r}: must be without {MORE!r}")
    value = measured.mean if isinstance(measured, Effect) else float(measured)
    shown = measured if isinstance(measured, Effect) else f"{value:.4g}"
    line = f"[{id}] {verdict}: {statement}: measured {shown}, expected "
    line += _interval(*expected)
    holds = low <= value <= high
    if report := os.environ.get(REPORT):
        with open(report, "a", encoding="utf-8") as file:
            file.write(json.dumps({"line": line, "holds": holds}) + "\n")
    elif not holds:
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
    found: dict[str, list] = {}
    chapters: dict[str, list] = {}
    for notebook in sorted(book.glob("*.ipynb")):
        for entry in read_claims(notebook):
            found.setdefault(entry["id"], []).append(entry)
    for entry in read_ledger(book):
        chapters.setdefault(entry["chapter"], []).append(entry)
    written = {name for name in chapters if (book / f"{name}.ipynb").exists()}
    lines = [_HEAD]
    for name in sorted(written, key=list(chapters).index):
        lines += [f"## [{name.replace('_', ' ')}]({name}.ipynb)", ""]
        for entry in chapters[name]:
            lines += (
                _measured(entry, found[entry["id"]]) if entry["id"] in found else []
            )
    if len(written) < len(chapters):
        lines += ["## Not yet measured", "", "These chapters are still to come.", ""]
    for name, entries in chapters.items():
        if name not in written:
            claims = [f"  - {e['id']}: {_escape(e['claim'])}" for e in entries]
            lines += [f"- **{name.replace('_', ' ')}**", *claims]
    return "\n".join(lines) + "\n"


def write_claims(book: Path) -> None:
    """Write book/claims.md from the ledger and the chapters' stored outputs."""
    (book / "claims.md").write_text(claims_page(book), "utf-8")


def _measured(entry, checks):
    """One claim: what the sources say, the verdict, each check, once the conditions."""
    texts = [check["text"].partition(MORE) for check in checks]
    extras = [extra for extra in dict.fromkeys(text[2] for text in texts) if extra]
    verdict = f"**{checks[0]['verdict']}**"
    if extras:
        verdict += ": " + "; ".join(map(_escape, extras))
    head = f"{{ref}}`{entry['id']} <{entry['id']}>`"
    lines = [f"{head} “{_escape(entry['claim'])}”", "", f": {verdict}"]
    return [*lines, "", *(f"  - {_escape(text[0])}" for text in texts), ""]


def _escape(text):
    return text.replace("*", "\\*").replace("_", "\\_")


_HEAD = """# Claims and verdicts

<!-- Written by `make execute` from book/ledger.toml and the chapters. -->

The two texts this book grew from make the claims below. Each is checked by a cell
that runs whenever the book is tested, and the cell fails when the measurement
contradicts what is printed here. *Holds*: measured as claimed. *Holds if*: true under
the condition named. *Corrected*: the claim does not reproduce; the right statement
stands beside it. The link leads to the cell.
"""
