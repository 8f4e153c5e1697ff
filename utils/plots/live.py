"""Parts of figures that change while they are shown: plain Plotly JSON, for web/lab.

A trace's `uid` is its role. Margins stand still, so that no label is measured, unless
there is a legend.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from utils.plots.labels import power
from utils.plots.style import NEUTRAL, PALETTE, TEMPLATE, TRAIN_DASH, VAL_DASH, fade

YOURS, OTHERS = PALETTE[:2]
PINS = (PALETTE[2], "#BF6B9B", "#B07A00", "#8A6FD1")  # 3 : 1 on labs, light and dark
RING = {"symbol": "circle-open", "size": 13, "color": NEUTRAL, "line": {"width": 2}}
SMALL = {"size": 12}
_MARGIN = {"l": 48, "r": 12, "t": 44, "b": 40, "autoexpand": False}
_TOP = {"xref": "paper", "x": 0, "yref": "paper", "y": 1, "yanchor": "bottom"}
_TOP |= {"font": {"size": 11}, "traceorder": "normal"}
_GROWING = _MARGIN | {"t": 8, "autoexpand": True}
LEGEND_ABOVE: dict[str, Any] = {"height": 300, "legend": _TOP, "margin": _GROWING}
_NOTE = {"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": 1}
_NOTE |= {"showarrow": False, "align": "left", "yanchor": "bottom", "font": SMALL}
_INK = {"colorscale": [[0, "white"], [1, "black"]], "showscale": False}


def figure(
    traces: list[dict],
    description: str,
    x: dict,
    y: dict,
    note: str | None = None,
    meta: dict | None = None,
    **layout: Any,
) -> dict:
    """A figure with one panel, headed by `note`, its first annotation, or a legend."""
    layout = {"height": 260, "margin": _MARGIN, "xaxis": x, "yaxis": y} | layout
    layout["showlegend"] = note is None
    layout["template"] = TEMPLATE.to_plotly_json()
    layout["meta"] = {"description": description, "fixed": True} | (meta or {})
    layout["annotations"] = [] if note is None else [_NOTE | {"text": note}]
    return {"data": traces, "layout": layout}


def axis(title: str | None, **options: Any) -> dict:
    """An axis in small print."""
    heading = {"text": title, "standoff": 4, "font": SMALL}
    place = {"tickfont": SMALL, "nticks": 6, "automargin": False}
    return {"title": heading} | place | options


def knob_axis(
    title: str, values: Sequence[float], log: bool
) -> tuple[dict, Sequence[float]]:
    """The axis of a knob, and where on it its values are.

    On a logarithmic one 0 stands a decade left of the others.
    """
    if not log:
        return axis(title), values
    exponents = [int(np.floor(np.log10(float(v)))) for v in values if v]
    low, high = exponents[0], exponents[-1] + 1
    ticks = {10.0**n: power(n) for n in range(low, high + 1)}
    places = [v or 10.0 ** (low - 1) for v in values]
    ticks |= {} if all(values) else {places[0]: "0"}
    texts = {"tickvals": [*ticks], "ticktext": [*ticks.values()]}
    return axis(title, type="log", **texts), places


def trace(kind: str, uid: str, name: str = "", **options: Any) -> dict:
    """A trace by its role; without a name it is not in the legend."""
    quiet = {} if name else {"showlegend": False}
    return {"type": kind, "uid": uid, "name": name} | quiet | options


def line(
    uid: str,
    name: str = "",
    color: str = NEUTRAL,
    width: float = 2.0,
    dash: str = VAL_DASH,
    **options: Any,
) -> dict:
    """A line that is yet to come."""
    style = {"color": color, "width": width, "dash": dash}
    how = {"mode": "lines", "x": [], "y": [], "line": style, "visible": False}
    return trace("scatter", uid, name, **(how | options))


def pair(role: str, name: str, color: str, width: float, **options: Any) -> list[dict]:
    """A dotted training line and a solid validation line."""
    train = line(f"{role}_train", "", color, width, TRAIN_DASH, **options)
    return [train, line(f"{role}_val", name, color, width, **options)]


def band(role: str, color: str) -> list[dict]:
    """The two edges of a band, the second filled down to the first."""
    fill = {"fill": "tonexty", "fillcolor": fade(color, 0.15)}
    low = line(f"{role}_low", "", color, 0, hoverinfo="skip")
    return [low, line(f"{role}_high", "", color, 0, hoverinfo="skip", **fill)]


def loss_lines(yours: str, book: str = "", **options: Any) -> list[dict]:
    """All lines of a picture of losses, those below first."""
    dashes = {"validation": VAL_DASH, "training": TRAIN_DASH}
    key: dict[str, Any] = {"x": [None], "y": [None], "visible": True}
    pins = [line(f"pin_{k}", "", color, 1.5, **options) for k, color in enumerate(PINS)]
    return [
        *(line(f"key_{name}", name, dash=dash, **key) for name, dash in dashes.items()),
        *pair("book", book, NEUTRAL, 3, **options),
        *pair("ghost", "", YOURS, 1, opacity=0.45, **options),
        *band("band_val", YOURS),
        *band("band_train", YOURS),
        *pair("your", yours, YOURS, 2.5, **options),
        *band("against", OTHERS),
        line("against_val", "the baseline", OTHERS, **options),
        *pins,
    ]


def dots(
    uid: str, x: Any, y: Any, marker: dict, name: str = "", **options: Any
) -> dict:
    """Markers."""
    x, y = np.asarray(x).tolist(), np.asarray(y).tolist()
    how = {"mode": "markers", "marker": marker, "hoverinfo": "skip"} | options
    return trace("scatter", uid, name, x=x, y=y, **how)


def bars(uid: str, color: str, x: Sequence[float] = (), **options: Any) -> dict:
    """Bars that are yet to grow."""
    return trace("bar", uid, x=list(x), y=[], marker={"color": color}, **options)


def pixels(z: Sequence[Sequence] = ()) -> dict:
    """Images as one heat map."""
    return trace(
        "heatmap", "pixels", z=list(z), coloraxis="coloraxis", hoverinfo="skip"
    )


def pictures(
    traces: list[dict], description: str, note: str, meta: dict, height: int = 260
) -> dict:
    """A figure of images."""
    hidden = {"visible": False, "constrain": "domain"}
    y = axis(None, autorange="reversed", scaleanchor="x", **hidden)
    ink = _INK | {"cmin": 0, "cmax": 1}
    look = {"coloraxis": ink, "height": height, "margin": _MARGIN | {"b": 8}}
    return figure(traces, description, axis(None, **hidden), y, note, meta, **look)


def mosaic(images: np.ndarray, columns: int, gap: int) -> list[list[float | None]]:
    """All images in one, a list of rows, `gap` empty rows below each image."""
    count, height, width = images.shape
    cells = np.full((count, height + gap, width + 1), np.nan)
    cells[:, :height, :width] = images
    rows = cells.reshape(-1, columns, *cells.shape[1:]).swapaxes(1, 2)
    drawn = rows.reshape(-1, columns * (width + 1)).round(3)
    return [[None if np.isnan(v) else v for v in row] for row in drawn.tolist()]
