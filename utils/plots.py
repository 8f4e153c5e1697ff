"""One figure style for the whole book.

Colour tells methods apart; a solid line is validation, a dotted line training.
Every figure carries a text description in `layout.meta.description`, which the
page, JupyterLab and text-only readers show. Nothing here trains.

Colours: Okabe & Ito (2008), "Color Universal Design", without black and yellow,
so that each reads on white and on dark.
"""

from math import ceil

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from plotly.io.base_renderers import MimetypeRenderer

MIME = "application/vnd.plotly.v1+json"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NEUTRAL = "#777777"
TRAIN_DASH, VAL_DASH = "dot", "solid"
LABELS = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "train_accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
    "l1": "λ₁ (L1)",
    "l2": "λ₂ (L2)",
    "weight_decay": "weight decay",
    "dropout": "p (dropout)",
    "dropout_input": "p (input dropout)",
    "lr": "learning rate",
    "n_train": "training examples",
    "label_noise": "label noise",
}
LOG_KNOBS = {"l1", "l2", "weight_decay", "lr"}
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_AXIS = {
    "automargin": True,
    "gridcolor": "rgba(128,128,128,0.2)",
    "linecolor": "rgba(128,128,128,0.6)",
    "ticks": "outside",
    "ticklen": 4,
    "tickcolor": "rgba(128,128,128,0.6)",
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
        "title": {"x": 0, "xref": "paper", "automargin": True, "yref": "container"},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
        },
        "hovermode": "closest",
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)


class BookRenderer(MimetypeRenderer):
    """Stores a figure once, as Plotly JSON, beside its description as plain text."""

    def to_mimebundle(self, fig_dict):
        """Returns: the two mimetypes that a notebook stores."""
        text = fig_dict["layout"].get("meta", {}).get("description", "Figure")
        return {MIME: fig_dict, "text/plain": text}


pio.templates["book"] = TEMPLATE
pio.templates.default = "book"
pio.renderers["book"] = BookRenderer()
pio.renderers.default = "book"


def curves(
    frame, by=None, values=("train_loss", "val_loss"), *, description, title=None
):
    """Learning curves: a colour per value of `by`, mean and range over seeds.

    Args:
        frame: a row per run and epoch; columns `epoch`, `seed`, `values` and `by`.
        by: the column that tells methods apart; None: all rows are one method.
        values: columns to draw against the epoch.
        description: what the figure shows, for those who cannot see it.
        title: short heading.
    Returns: go.Figure.
    Raises: ValueError if a column or the description is missing, if there are more
        methods than colours, or if runs differ in more than `by` and the seed.
    """
    return _lines(frame, "epoch", by, values, description, title)


def sweep(
    summary,
    x,
    values=("train_loss", "val_loss"),
    by=None,
    *,
    description,
    title=None,
    log_x=None,
):
    """A result against a knob: mean and range over seeds.

    Args:
        summary: a row per run; columns `x`, `seed`, `values` and `by`.
        x: the knob on the horizontal axis.
        log_x: logarithmic axis with 0, if swept, at its left end; by default for
            λ-like knobs (`LOG_KNOBS`).
        values, by, description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError as `curves`, and if a knob on a logarithmic axis is negative.
    """
    fig = _lines(summary, x, by, values, description, title, mode="lines+markers")
    return _log_axis(fig, summary[x]) if _is_log(x, log_x) else fig


def points(summary, by, value, *, description, baseline=None, title=None):
    """A row per method: each seed a small dot, the mean a large diamond.

    Args:
        summary: a row per run; columns `by` and `value`.
        baseline: the method whose mean gets a vertical line.
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if a column, the baseline or the description is missing.
    """
    _need_columns(summary, [by, value])
    means = summary.groupby(by, sort=False)[value].mean()
    rows = [_name(by, key) for key in means.index]
    fig = _figure(description, title, height=110 + 36 * len(rows))
    names = [_name(by, key) for key in summary[by]]
    _add_points(fig, summary[value], names, "one seed", size=7, opacity=0.55)
    _add_points(fig, means, rows, "mean", size=13, symbol="diamond")
    fig.update_xaxes(title=_label(value), tickformat=_tick_format(value))
    fig.update_yaxes(categoryarray=rows[::-1], showgrid=False)
    if baseline is not None:
        _mark_baseline(fig, means, baseline)
    return fig


def regions(grid_x, grid_y, probability, X, y, *, description, title=None):
    """Decision regions, P(class 1) as colour, with the data on top.

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
    fig = _figure(description, title)
    for number, (name, values) in enumerate(panels.items(), 1):
        _check_shape(name, values, (len(grid_y), len(grid_x)))
        _add_region(fig, number, grid_x, grid_y, values)
        _add_classes(fig, number, np.asarray(X), np.asarray(y))
    _add_panels(fig, list(panels), height=230 if len(panels) > 1 else 320)
    for number in range(2, len(panels) + 1):
        _update_axes(fig, number, {"matches": "x"}, {"matches": "y"})
    fig.update_layout(coloraxis=_PROBABILITY)
    return fig


def histogram(values, *, description, title=None, bins=41):
    """Histograms of weights, with the exact zeros counted.

    Args:
        values: {panel title: weights, any shape}.
        bins: bars per panel, on one symmetric range for all panels.
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if there are more panels than colours, or the description is
        missing.
    """
    values = {name: np.ravel(weights) for name, weights in values.items()}
    limit = max(np.abs(weights).max() for weights in values.values()) or 1.0
    edges = np.linspace(-limit, limit, bins + 1)
    fig = _figure(description, title, showlegend=False)
    for number, (color, weights) in enumerate(_colored(values.values()), 1):
        _add_counts(fig, number, weights, edges, color)
    titles = [_zeros_title(name, weights) for name, weights in values.items()]
    _add_panels(fig, titles, columns=3, width=200)
    for number in range(1, len(values) + 1):
        x = {"title": "weight", "matches": "x" if number > 1 else None}
        _update_axes(fig, number, x, _COUNTS | {"matches": "y" if number > 1 else None})
    return fig


def images(images, labels, predicted=None, *, description, title=None, columns=8):
    """Small greyscale images, each under its label.

    Args:
        images: intensities, 0 is the background, [examples, height, width].
        labels: true classes, [examples].
        predicted: predicted classes, [examples]; a wrong one reads `true → predicted ✗`.
        columns: images in a row on a wide screen.
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if the lengths differ or the description is missing.
    """
    predicted = labels if predicted is None else predicted
    if not len(images) == len(labels) == len(predicted):
        raise ValueError("images, labels and predicted must have the same length")
    fig = _figure(description, title, coloraxis=_INK)
    for number, image in enumerate(images, 1):
        fig.add_heatmap(z=_list(image), coloraxis="coloraxis", **_axes(number))
        fig.data[-1].update(hoverinfo="skip")
    titles = [_verdict(*pair) for pair in zip(labels, predicted, strict=True)]
    _add_panels(fig, titles, columns=columns, width=70, height=95)
    for number in range(1, len(titles) + 1):
        y = {"visible": False, "scaleanchor": f"x{number}", "autorange": "reversed"}
        _update_axes(fig, number, {"visible": False, "constrain": "domain"}, y)
    return fig
