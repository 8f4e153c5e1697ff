"""Panels in a grid, which the page re-flows on narrow screens (`web/figures.js`)."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import plotly.graph_objects as go

from utils.plots.style import reserve_top

_TITLE = {"showarrow": False, "yanchor": "bottom", "x": 0.5, "y": 1}


def add_panels(
    fig: go.Figure,
    titles: Sequence[str],
    columns: int,
    width: int,
    height: int,
    ygap: float,
) -> None:
    """Lays panels out, `columns` in a row where each is at least `width` pixels wide.

    Args:
        titles: one per panel, may be empty; `<br>` starts a new line.
        columns: panels in a row on a wide screen.
        width, height: of a panel, in pixels.
        ygap: space between rows, as a share of a panel's height.
    """
    rows = ceil(len(titles) / columns)
    grid = {"rows": rows, "columns": columns, "xgap": 0.1, "ygap": ygap}
    fig.update_layout(grid=grid | {"pattern": "independent"}, height=rows * height)
    lines = max(text.count("<br>") + bool(text) for text in titles)
    reserve_top(fig, 12 + 16 * lines)
    fig.layout.meta |= {"panels": len(titles), "width": width}
    for number, text in enumerate(titles, 1):
        x, y = (f"{axis} domain" for axis in axes(number).values())
        if text:
            fig.add_annotation(text=text, xref=x, yref=y, **_TITLE)


def share_axes(fig: go.Figure, x_title: str, y_title: str, **options: Any) -> None:
    """Gives all panels the first one's ranges, and one row's ticks to its first."""
    for number in range(1, fig.layout.meta["panels"] + 1):
        shared = [{"matches": axis} if number > 1 else {} for axis in "xy"]
        starts = (number - 1) % fig.layout.grid.columns == 0
        x = {"title": {"text": x_title}} | shared[0] | options
        y = {"showticklabels": starts} | shared[1] | options
        update_axes(fig, number, x, y)
    fig.update_layout(yaxis_title_text=y_title)


def update_axes(fig: go.Figure, number: int, x: dict, y: dict) -> None:
    """Changes both axes of a panel."""
    suffix = axes(number)["xaxis"][1:]
    fig.update_layout({f"xaxis{suffix}": x, f"yaxis{suffix}": y})


def axes(number: int) -> dict[str, str]:
    """The axes of a panel, as a trace names them; panels count from 1."""
    suffix = "" if number == 1 else number
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
