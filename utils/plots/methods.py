"""Methods compared: a row for each, a dot for each seed or draw."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from utils.plots.checks import need_columns
from utils.plots.labels import NATS, axis_title, name, tick_format
from utils.plots.style import NEUTRAL, PALETTE, add_key, figure, numbers

_MEAN = {"size": 12, "symbol": "diamond"}
_SEED = {"size": 7, "opacity": 0.55}


def points(
    summary: pd.DataFrame,
    by: str,
    value: str,
    *,
    description: str,
    baseline: Any = None,
    title: str | None = None,
    unit: str = NATS,
) -> go.Figure:
    """A row per method: each seed a small dot, their mean a diamond.

    Args:
        summary: a row per run; columns `by` and `value`.
        baseline: the method whose mean gets a vertical line.
        description, title, unit: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if a column, the baseline or the description is missing.
    """
    need_columns(summary, [by, value])
    groups = summary.groupby(by, sort=False, dropna=False)[value]
    fig = figure(description, title, height=110 + 36 * len(groups))
    for key, results in groups:
        _add_dots(fig, results, name(by, key), _SEED)
        _add_dots(fig, [results.mean()], name(by, key), _MEAN)
    add_key(fig, "marker", {"one seed": _SEED, "mean over seeds": _MEAN})
    text = axis_title([value], unit)
    fig.update_xaxes(title_text=text, tickformat=tick_format([value]))
    fig.update_yaxes(autorange="reversed", showgrid=False)
    if baseline is not None:
        _mark_baseline(fig, groups.mean(), baseline)
    return fig


def effects(
    rows: Sequence[Any],
    text: str,
    *,
    description: str,
    title: str | None = None,
) -> go.Figure:
    """A row per effect: each draw a small dot, their mean a diamond, ± 2 errors.

    Args:
        rows: Effects, as `compare` returns them.
        text: title of the axis.
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if the description is missing.
    """
    fig = figure(description, title, height=110 + 36 * len(rows))
    for row in rows:
        _add_dots(fig, row.differences, row.name, _SEED)
        _add_dots(fig, [row.mean], row.name, _MEAN)
        (error,) = numbers([2 * row.se])
        fig.data[-1].error_x = {"array": [error], "color": PALETTE[0], "width": 6}
    add_key(fig, "marker", {"one draw": _SEED, "mean ± 2 standard errors": _MEAN})
    fig.update_xaxes(title_text=text)
    fig.update_yaxes(autorange="reversed", showgrid=False)
    fig.add_vline(x=0, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
    return fig


def _add_dots(fig, results, text, style):
    fig.add_scatter(
        x=numbers(results),
        y=[text] * len(results),
        mode="markers",
        marker=style | {"color": PALETTE[0]},
        name=text,
        showlegend=False,
    )


def _mark_baseline(fig, means, baseline):
    if baseline not in means.index:
        raise ValueError(f"baseline must be in {list(means.index)}, got {baseline!r}")
    (x,) = numbers([means[baseline]])
    fig.add_vline(x=x, line={"color": NEUTRAL, "width": 1, "dash": "dash"})
