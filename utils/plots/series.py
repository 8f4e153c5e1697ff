"""Lines: a result against the epoch, a knob, or anything else."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from utils.plots.checks import need_columns, need_paired
from utils.plots.labels import (
    LOG_KNOBS,
    NATS,
    axis_title,
    label,
    name,
    role,
    tick_format,
)
from utils.plots.logaxis import make_log
from utils.plots.marks import add_marks
from utils.plots.style import (
    NEUTRAL,
    TRAIN_DASH,
    VAL_DASH,
    add_key,
    colored,
    fade,
    figure,
    numbers,
)

_FEW = 12  # points of a line that get a marker each
_OTHER = {"color": fade(NEUTRAL, 0.45), "width": 1}


def curves(
    frame: pd.DataFrame,
    by: str | None = None,
    values: Sequence[str] = ("train_loss", "val_loss"),
    *,
    description: str,
    title: str | None = None,
    marks: Mapping[str, float] | None = None,
    unit: str = NATS,
) -> go.Figure:
    """Learning curves: a colour per value of `by`, mean and range over seeds.

    Args:
        frame: a row per run and epoch; columns `epoch`, `seed`, `values` and `by`.
        by: the column that tells methods apart; None: all rows are one method.
        values: columns to draw against the epoch. In regression accuracy is R²:
            rename its columns to `train_r2`, `val_r2`.
        description: what the figure shows, for those who cannot see it.
        title: short heading.
        marks: epochs to mark by a thin vertical line, {label: epoch}.
        unit: what a loss counts; `plots.UNITS["regression"]` for squared errors.
    Returns: go.Figure.
    Raises: ValueError if a column or the description is missing, if there are more
        methods than colours, if runs differ in more than `by` and the seed, or if a
        mark is no epoch of the frame.
    """
    fig = _results(frame, "epoch", by, values, description, title, "lines", unit)
    if marks:
        add_marks(fig, marks, frame["epoch"])
    return fig


def sweep(
    summary: pd.DataFrame,
    x: str,
    values: Sequence[str] = ("train_loss", "val_loss"),
    by: str | None = None,
    *,
    description: str,
    title: str | None = None,
    log_x: bool | None = None,
    unit: str = NATS,
) -> go.Figure:
    """A result against a knob: mean and range over seeds.

    Args:
        summary: a row per run; columns `x`, `seed`, `values` and `by`.
        x: the knob on the horizontal axis.
        log_x: logarithmic axis with 0, if swept, at its left end; None: for the
            knobs in `LOG_KNOBS`.
        values, by, description, title, unit: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError as `curves`, and if a logarithmic knob is negative or all 0.
    """
    mode = "lines+markers"
    fig = _results(summary, x, by, values, description, title, mode, unit)
    if x in LOG_KNOBS if log_x is None else log_x:
        make_log(fig, x, label(x), summary[x])
    return fig


def lines(
    frame: pd.DataFrame,
    x: str,
    y: str,
    by: str | None = None,
    *,
    description: str,
    title: str | None = None,
    x_title: str | None = None,
    y_title: str | None = None,
    log_x: bool = False,
    log_y: bool = False,
    highlight: Sequence[Any] | None = None,
    unit: str = NATS,
) -> go.Figure:
    """One column against another, a line per value of `by`.

    Args:
        frame: columns `x`, `y` and `by`. With a column `seed`, a line is the mean
            over seeds and a band their range; without, it joins rows in their order.
        by: the column that tells lines apart; None: all rows are one line.
        x_title, y_title: axis titles; None: the columns' labels.
        log_x, log_y: logarithmic axes; 0 is shown at the left end of x, never on y.
        highlight: values of `by` to draw in colour, all others thin and grey; so
            dozens of lines can be told from a few. None: each has its colour.
        description, title, unit: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError as `curves`; if a highlight is no value of `by`; if a value on
        a logarithmic axis is negative, or 0 on y.
    """
    need_columns(frame, [x, y, *([by] if by else [])])
    fig = figure(description, title)
    for style, shown, (key, runs) in _styled(list(_groups(frame, by)), highlight):
        text = name(by, key) if by else label(y)
        _add_series(fig, runs, x, y, by, style, name=text, showlegend=shown)
    _add_others(fig, by)
    fig.update_xaxes(title_text=x_title or label(x))
    fig.update_yaxes(title_text=y_title or axis_title([y], unit))
    fig.update_yaxes(tickformat=tick_format([y]))
    if log_x:
        make_log(fig, x, x_title or label(x), frame[x])
    if log_y:
        _make_log_y(fig, y, frame[y])
    return fig


def _results(frame, x, by, values, description, title, mode, unit):
    need_columns(frame, [x, "seed", *values, *([by] if by else [])])
    fig = figure(description, title)
    for color, (key, runs) in colored(_groups(frame, by)):
        need_paired(runs, [x], by)
        for value in values:
            text = name(by, key) if by else label(value)
            shown = by is None or value == values[-1]
            line = _line(value) | {"color": color}
            _add_band(fig, runs, x, value, color)
            _add_mean(
                fig, runs, x, value, line=line, mode=mode, name=text, showlegend=shown
            )
    if by and len(values) > 1:
        add_key(fig, "line", {role(value): _line(value) for value in values})
    fig.update_xaxes(title_text=label(x))
    text = axis_title(values, unit)
    fig.update_yaxes(title_text=text, tickformat=tick_format(values))
    return fig


def _groups(frame, by):
    return frame.groupby(by, sort=False, dropna=False) if by else [(None, frame)]


def _line(value):
    dash = TRAIN_DASH if value.startswith("train") else VAL_DASH
    return {"dash": dash, "width": 2}


def _add_mean(fig, runs, x, value, **options):
    mean = runs.groupby(x)[value].mean()
    fig.add_scatter(x=numbers(mean.index), y=numbers(mean), **options)


def _add_band(fig, runs, x, value, color):
    """Fills the range over seeds: out along the maxima, back along the minima."""
    if runs["seed"].nunique() == 1:
        return
    over = runs.groupby(x)[value].agg(["min", "max"])
    outline = pd.concat([over["max"], over["min"][::-1]])
    fig.add_scatter(
        x=numbers(outline.index),
        y=numbers(outline),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=fade(color, 0.15),
        hoverinfo="skip",
        showlegend=False,
    )


def _styled(groups, highlight):
    """Yields (line style, in the legend?, group): the grey ones first, so below."""
    chosen = groups
    if highlight is not None:
        _need_members("highlight", highlight, [key for key, _ in groups])
        chosen = [group for group in groups if group[0] in highlight]
        others = (group for group in groups if group[0] not in highlight)
        yield from ((_OTHER, False, group) for group in others)
    for color, group in colored(chosen):
        yield {"color": color, "width": 2}, len(groups) > 1, group


def _add_series(fig, runs, x, y, by, style, **options):
    mode = "lines+markers" if runs[x].nunique() <= _FEW else "lines"
    options |= {"line": style, "mode": mode if style is not _OTHER else "lines"}
    if "seed" not in runs:
        _need_one_row(runs, x, by)
        fig.add_scatter(x=numbers(runs[x]), y=numbers(runs[y]), **options)
        return
    need_paired(runs, [x], by)
    if style is not _OTHER:
        _add_band(fig, runs, x, y, style["color"])
    _add_mean(fig, runs, x, y, **options)


def _add_others(fig, by):
    if any(trace.line.color == _OTHER["color"] for trace in fig.data):
        text = f"other {label(by)}"
        fig.add_scatter(x=[None], y=[None], name=text, mode="lines", line=_OTHER)


def _make_log_y(fig, y, values):
    if (values <= 0).any():
        raise ValueError(f"{y} on a logarithmic axis must be > 0, got {values.min()}")
    fig.update_yaxes(type="log", exponentformat="power", dtick="D2")


def _need_members(what, chosen, members):
    if missing := [key for key in chosen if key not in members]:
        raise ValueError(f"{what} must be among {members}, got {missing}")


def _need_one_row(runs, x, by):
    if runs.duplicated(x).any():
        raise ValueError(
            f"several rows of one {by!r} share a value of {x!r}, and none has a seed"
        )
