"""Colours, template, renderer, and the empty figure that all others start from.

Colours: Okabe & Ito (2008), "Color Universal Design", without black and yellow,
so that each reads on white and on dark.
"""

import json
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

from utils.mimetypes import FIGURE

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NEUTRAL = "#777777"
QUIET = "rgba(128,128,128,0.25)"
TRAIN_DASH, VAL_DASH = "dot", "solid"
OUTLINED = {"size": 7, "line": {"width": 1, "color": "white"}}

_AXIS = {
    "automargin": True,
    "gridcolor": QUIET,
    "linecolor": NEUTRAL,
    "tickcolor": QUIET,
    "ticks": "outside",
    "ticklen": 4,
    "title": {"font": {"size": 13}},
    "zeroline": False,
}
TEMPLATE = go.layout.Template(
    layout={
        "colorway": PALETTE,
        "font": {"color": NEUTRAL, "size": 13, "family": "system-ui, sans-serif"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "height": 360,
        "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
        "title": {"x": 0, "xref": "paper", "yref": "container", "automargin": True},
        "legend": {
            "orientation": "h",
            "x": 0,
            "xref": "container",
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
        },
        "hoverlabel": {"namelength": -1},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


class BookRenderer(MimetypeRenderer):
    """Stores a figure once, as Plotly JSON, beside its description as plain text."""

    def to_mimebundle(self, fig_dict: Any) -> dict:
        """Returns: the two mimetypes that a notebook stores."""
        figure = json.loads(pio.to_json(fig_dict, validate=False))
        text = figure["layout"].get("meta", {}).get("description", "Figure")
        return {FIGURE: figure, "text/plain": text}


pio.templates["book"] = TEMPLATE
pio.templates.default = "book"
pio.renderers["book"] = BookRenderer()
pio.renderers.default = "book"


def figure(description: str, title: str | None, **layout: Any) -> go.Figure:
    """An empty figure.

    Raises: ValueError if the description is missing.
    """
    if not (isinstance(description, str) and description.strip()):
        raise ValueError(
            f"description must say what the figure shows, got {description!r}"
        )
    layout["meta"] = {"description": description}
    return go.Figure(layout=layout | ({"title": {"text": title}} if title else {}))


def reserve_top(fig: go.Figure, pixels: int) -> None:
    """Leaves room for labels above the plot; a title stands above them."""
    fig.update_layout(margin={"t": pixels})
    if fig.layout.title.text:
        fig.update_layout(title_pad={"b": pixels})


def add_key(fig: go.Figure, part: str, entries: dict[str, dict]) -> None:
    """Explains what a style stands for, in the legend and in no method's colour."""
    for name, style in entries.items():
        drawn = {"mode": f"{part}s", part: style | {"color": NEUTRAL}}
        fig.add_scatter(x=[None], y=[None], name=name, **drawn)


def colored(groups: Iterable) -> Iterator[tuple[str, Any]]:
    """Pairs each group with a colour.

    Raises: ValueError if there are more groups than colours.
    """
    groups = list(groups)
    if len(groups) > len(PALETTE):
        raise ValueError(f"{len(PALETTE)} colours cannot tell {len(groups)} apart")
    return zip(PALETTE, groups, strict=False)


def fade(color: str, alpha: float) -> str:
    """A colour of the palette, `alpha` opaque."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def numbers(values: Any, digits: int = 6) -> list:
    """Plain numbers, short in the stored JSON: [n] → n floats or ints."""
    values = np.asarray(values)
    if values.dtype.kind in "iu":
        return values.tolist()
    return [float(f"{v:.{digits}g}") if isfinite(v) else None for v in values.tolist()]
