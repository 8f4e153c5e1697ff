"""Images from a data set."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from utils.plots.labels import verdict
from utils.plots.panels import add_panels, axes, update_axes
from utils.plots.style import figure, numbers

_INK = {"colorscale": [[0, "white"], [1, "black"]], "showscale": False}


def images(
    images: np.ndarray,
    labels: Sequence,
    predicted: Sequence | None = None,
    *,
    description: str,
    title: str | None = None,
    columns: int = 8,
) -> go.Figure:
    """Small greyscale images, each under its label.

    Args:
        images: intensities, 0 is the background, [examples, height, width].
        labels: true classes, [examples].
        predicted: predicted classes, [examples]; a mistake reads `true → predicted ✗`.
        columns: images in a row on a wide screen.
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if the lengths differ or the description is missing.
    """
    predicted = labels if predicted is None else predicted
    if not len(images) == len(labels) == len(predicted):
        lengths = len(images), len(labels), len(predicted)
        raise ValueError(f"images, labels, predicted: lengths differ, {lengths}")
    fig = figure(description, title, coloraxis=_INK)
    for number, image in enumerate(images, 1):
        _add_image(fig, number, image)
    titles = [verdict(*pair) for pair in zip(labels, predicted, strict=True)]
    add_panels(fig, titles, columns, width=68, height=92, ygap=0.35)
    return fig


def _add_image(fig, number, image):
    fig.add_heatmap(
        z=[numbers(row, 4) for row in np.asarray(image)],
        coloraxis="coloraxis",
        hoverinfo="skip",
        **axes(number),
    )
    y = {
        "visible": False,
        "autorange": "reversed",
        "scaleanchor": axes(number)["xaxis"],
    }
    update_axes(fig, number, {"visible": False, "constrain": "domain"}, y)
