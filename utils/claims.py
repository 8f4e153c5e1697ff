"""Checks a claim of the book against a measurement, and prints the verdict."""

import math

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
    print(line + "".join(f"; {extra}" for extra in (condition, source) if extra))


def _interval(low, high):
    if low is None:
        return f"≤ {high:.4g}"
    if high is None:
        return f"≥ {low:.4g}"
    return f"{low:.4g} … {high:.4g}"
