"""A result over a grid of two knobs."""

from numbers import Real

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from utils.plots.checks import need_columns, need_paired
from utils.plots.labels import (
    NATS,
    axis_title,
    category,
    is_missing,
    label,
    name,
    tick_format,
)
from utils.plots.panels import add_panels, axes, share_axes
from utils.plots.style import QUIET, figure, numbers

_MOST = 60  # cells of a panel that show their value
_FLAT = 38  # letters of an x axis that fit on a phone
_GAP = 2  # pixels between cells, where the ground shows through
# From blue to yellow, ever lighter: in order for all kinds of colour vision, and
# light enough throughout for black print.
_SCALE = [[0, "#4f86c0"], [1, "#ffec9e"]]
_INK = "black"
_BEST = {"min": np.nanargmin, "max": np.nanargmax}


def heatmap(
    summary: pd.DataFrame,
    x: str,
    y: str,
    value: str,
    *,
    by: str | None = None,
    mark: str | None = "min",
    description: str,
    title: str | None = None,
    unit: str = NATS,
) -> go.Figure:
    """A result over two knobs, as colour: the mean over seeds in each cell.

    A cell without a run, or with one that diverged, stays empty.

    Args:
        summary: a row per run; columns `x`, `y`, `seed`, `value` and `by`.
        by: the column that tells panels apart, which share one colour scale; None:
            all rows are one panel.
        mark: outline each panel's best cell, 'min' or 'max'; None: none.
        description, title, unit: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if a column or the description is missing, if `mark` is none
        of these, or if runs of one cell differ in more than the seed.
    """
    if mark is not None and mark not in _BEST:
        raise ValueError(f"mark must be 'min', 'max' or None, got {mark!r}")
    cell = [x, y, *([by] if by else [])]
    need_columns(summary, [*cell, "seed", value])
    need_paired(summary, cell, cell)
    columns, rows = _levels(summary[x]), _levels(summary[y])
    panels = _panels(summary, x, y, value, by, columns, rows)
    color = {"colorscale": _SCALE, "colorbar": _colorbar(value, unit)}
    fig = figure(description, title, coloraxis=color, plot_bgcolor=QUIET)
    for number, means in enumerate(panels.values(), 1):
        _add_cells(fig, number, means, value, (x, columns), (y, rows))
        _outline_best(fig, number, means, mark)
    _add_grid(fig, list(panels), len(columns), len(rows))
    share_axes(fig, label(x), label(y), type="category", showgrid=False)
    fig.update_xaxes(tickangle=_angle(fig.data[0].x))
    return fig


def _levels(values):
    """The values of a knob in the order of their axis: numbers by size, None last."""
    levels = list(values.drop_duplicates())
    known = [level for level in levels if not is_missing(level)]
    if all(isinstance(level, Real) for level in known):
        known.sort()
    return known + [level for level in levels if is_missing(level)][:1]


def _panels(summary, x, y, value, by, columns, rows):
    """Returns: {panel title: means over seeds, [rows, columns], NaN where empty}."""
    groups = summary.groupby(by, sort=False, dropna=False) if by else [(None, summary)]
    return {
        name(by, key) if by else "": _means(runs, x, y, value, columns, rows)
        for key, runs in groups
    }


def _means(runs, x, y, value, columns, rows):
    means = np.full((len(rows), len(columns)), np.nan)
    for (right, up), results in runs.groupby([x, y], dropna=False)[value]:
        means[_find(rows, up), _find(columns, right)] = results.mean(skipna=False)
    return np.where(np.isfinite(means), means, np.nan)


def _find(levels, level):
    return len(levels) - 1 if is_missing(level) else levels.index(level)


def _colorbar(value, unit):
    text = axis_title([value], unit).replace(" (", "<br>(")
    return {
        "title": {"text": text, "side": "right", "font": {"size": 12}},
        "thickness": 10,
        "outlinewidth": 0,
        "tickformat": tick_format([value]),
    }


def _add_cells(fig, number, means, value, x, y):
    form = ".1%" if tick_format([value]) else ".3g"
    what = {x[0]: "%{x}", y[0]: "%{y}", value: f"%{{z:{form}}}"}
    fig.add_heatmap(
        x=[category(x[0], level) for level in x[1]],
        y=[category(y[0], level) for level in y[1]],
        z=[numbers(row) for row in means],
        coloraxis="coloraxis",
        texttemplate=f"%{{z:{form}}}" if means.size <= _MOST else None,
        textfont={"color": _INK},
        hoverongaps=False,
        hovertemplate="<br>".join(f"{label(k)}: {v}" for k, v in what.items())
        + "<extra></extra>",
        xgap=_GAP,
        ygap=_GAP,
        **axes(number),
    )


def _outline_best(fig, number, means, mark):
    """Draws a white line on a black one round the best cell: it reads on any colour."""
    if mark is None or np.isnan(means).all():
        return
    row, column = np.unravel_index(_BEST[mark](means), means.shape)
    x, y = axes(number).values()
    corners = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
    for color, width in ("black", 5), ("white", 2):
        line = {"color": color, "width": width}
        fig.add_shape(type="rect", xref=x, yref=y, line=line, **corners)


def _angle(texts):
    """Labels lie flat where they fit side by side on a phone: Plotly's own choice
    of an angle changes the margins, and these the choice."""
    return 0 if len("".join(texts)) <= _FLAT else -45


def _add_grid(fig, titles, columns, rows):
    width, height = 110 + 40 * columns, max(240, 110 + min(34 * rows, 510))
    add_panels(fig, titles, min(len(titles), 3), min(width, 330), height, ygap=0.4)
