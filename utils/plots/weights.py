"""The weights of a network."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from utils.plots.labels import count_zeros
from utils.plots.panels import add_panels, axes, share_axes
from utils.plots.style import colored, figure, numbers


def histogram(
    values: Mapping[str, np.ndarray],
    *,
    description: str,
    title: str | None = None,
    bins: int = 41,
) -> go.Figure:
    """Histograms of non-zero weights; each panel's title counts the exact zeros.

    Args:
        values: {panel title: weights, any shape}, at most as many as colours.
        bins: bars per panel, on one symmetric range for all panels.
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if there are more panels than colours, or the description is
        missing.
    """
    values = {name: np.ravel(weights) for name, weights in values.items()}
    limit = max(np.abs(weights).max() for weights in values.values()) or 1
    edges = np.linspace(-limit, limit, bins + 1)
    fig = figure(description, title, bargap=0, showlegend=False)
    for number, (color, weights) in enumerate(colored(values.values()), 1):
        _add_bars(fig, number, weights[weights != 0], edges, color)
    titles = [_title_zeros(name, weights) for name, weights in values.items()]
    add_panels(fig, titles, min(len(titles), 3), width=220, height=250, ygap=0.4)
    share_axes(fig, "weight", "non-zero weights")
    return fig


def _add_bars(fig, number, weights, edges, color):
    counts, _ = np.histogram(weights, edges)
    centres = (edges[:-1] + edges[1:]) / 2
    fig.add_bar(
        x=numbers(centres),
        y=numbers(counts),
        marker={"color": color, "line": {"width": 0}},
        hovertemplate="%{y} weights near %{x}<extra></extra>",
        **axes(number),
    )


def _title_zeros(name, weights):
    share = (weights == 0).mean()
    return f"{name}<br>exactly 0: {count_zeros(weights)} ({share:.1%})"
