"""A logarithmic axis that also shows 0."""

from math import ceil, floor, log10

import pandas as pd
import plotly.graph_objects as go

from utils.plots.labels import power


def make_log(fig: go.Figure, knob: str, text: str, values: pd.Series) -> None:
    """Puts a logarithmic axis under the lines, with 0 one decade to its left.

    Args:
        knob: the column on the horizontal axis.
        text: what it is called.
        values: all values that it takes, a pandas Series.
    Raises: ValueError if a value is negative, or all are 0.
    """
    low, high = _decades(knob, values)
    zero = 10.0 ** (low - 1)
    for trace in fig.data:
        if 0 in trace.x:
            _set_apart(trace, zero)
        named = {None: "", zero: 0}
        if _is_bare(trace):
            named |= dict.fromkeys(_around(zero), 0)
        trace.text = [f"{text} = {named.get(x, x)}" for x in trace.x]
        trace.hovertemplate = "%{text}<br>%{y}"
    exponents = list(range(low, high + 1, ceil((high - low + 1) / 6)))
    ticks = {10.0**n: power(n) for n in exponents}
    ticks |= {zero: "0"} if (values == 0).any() else {}
    fig.update_xaxes(type="log", tickvals=list(ticks), ticktext=list(ticks.values()))


def _set_apart(trace, zero):
    """Moves what lies at 0 to `zero`, and leaves a gap: no line leads there."""
    points = list(zip(trace.x, trace.y, strict=True))
    there = [y for x, y in points if x == 0]
    apart = [(zero, y) for y in there]
    left, right = _around(zero)
    if trace.fill:  # a band has its maximum first, its minimum last
        sides = (left, right, right, left)
        apart = list(zip(sides, (there[0], *there, there[1]), strict=True))
    elif _is_bare(trace):
        apart = [(left, there[0]), (right, there[0])]
    points = [*apart, (None, None), *((x, y) for x, y in points if x != 0)]
    trace.x, trace.y = zip(*points, strict=True)


def _is_bare(trace):
    """True for a line without markers, which would not show a single point."""
    return trace.mode == "lines" and not trace.fill


def _around(zero):
    """The ends of what is drawn at 0."""
    return zero / 1.25, zero * 1.25


def _decades(knob, values):
    positive = values[values > 0]
    if positive.empty or (values < 0).any():
        raise ValueError(f"{knob} on a logarithmic axis must be ≥ 0, and not all 0")
    return floor(log10(positive.min())), ceil(log10(positive.max()))
