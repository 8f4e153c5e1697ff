"""What a network says at each point of the plane."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from utils.plots.checks import need_shape
from utils.plots.panels import add_panels, axes, share_axes
from utils.plots.style import NEUTRAL, OUTLINED, PALETTE, fade, figure, numbers

_PROBABILITY = {
    "cmin": 0,
    "cmax": 1,
    "colorscale": [
        [0, fade(PALETTE[0], 0.5)],
        [0.5, "rgba(128,128,128,0.05)"],
        [1, fade(PALETTE[1], 0.5)],
    ],
    "colorbar": {
        "title": {"text": "P(class 1)", "side": "right"},
        "thickness": 10,
        "outlinewidth": 0,
        "lenmode": "pixels",
        "len": 170,
        "y": 1,
        "yanchor": "top",
        "tickvals": [0, 0.5, 1],
    },
}


def regions(
    grid_x: Sequence[float],
    grid_y: Sequence[float],
    probability: np.ndarray | Mapping[str, np.ndarray],
    X: np.ndarray,
    y: np.ndarray,
    *,
    description: str,
    title: str | None = None,
) -> go.Figure:
    """Decision regions: P(class 1) as colour, the line where it is ½, and the data.

    Args:
        grid_x, grid_y: coordinates of the grid, [columns] and [rows].
        probability: P(class 1), [rows, columns]; or several panels that share one
            colour scale, {panel title: [rows, columns]}.
        X, y: the data, [examples, 2], and its classes 0 or 1, [examples].
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if a probability is not [rows, columns], or the description
        is missing.
    """
    panels = probability if isinstance(probability, dict) else {"": probability}
    shape = {"rows": len(grid_y), "columns": len(grid_x)}
    fig = figure(description, title, coloraxis=_PROBABILITY)
    for number, (name, values) in enumerate(panels.items(), 1):
        need_shape(f"probability {name!r}", values, shape)
        _add_region(fig, number, grid_x, grid_y, values)
        _add_classes(fig, number, np.asarray(X), np.asarray(y))
    add_panels(fig, list(panels), len(panels), width=150, height=280, ygap=0.35)
    share_axes(fig, "x₁", "x₂", showgrid=False, constrain="domain")
    fig.update_layout(yaxis_scaleanchor="x")  # a circle looks like one
    return fig


def _add_region(fig, number, grid_x, grid_y, probability):
    fig.add_contour(
        x=numbers(grid_x),
        y=numbers(grid_y),
        z=[numbers(row, 3) for row in np.asarray(probability)],
        contours={"start": 0.5, "end": 0.5, "size": 1, "coloring": "heatmap"},
        line={"width": 2, "color": NEUTRAL},
        coloraxis="coloraxis",
        hovertemplate="P(class 1) = %{z:.2f}<extra></extra>",
        **axes(number),
    )


def _add_classes(fig, number, X, y):
    for label, symbol in enumerate(["circle", "diamond"]):
        fig.add_scatter(
            x=numbers(X[y == label, 0], 4),
            y=numbers(X[y == label, 1], 4),
            mode="markers",
            marker=OUTLINED | {"color": PALETTE[label], "symbol": symbol},
            name=f"class {label}",
            legendgroup=label,
            showlegend=number == 1,
            **axes(number),
        )
