"""What a live lab shows beside its curves: what the network computes, its weights.

A panel has its `traces`, its part of the `layout` and a `note` that heads it. In the
figure it becomes part of, `draw` changes the traces and the note.
"""

import math
from dataclasses import astuple

import numpy as np
import plotly.graph_objects as go
import torch

from utils import plots, random
from utils.data import load, training_set
from utils.lab_knobs import AUGMENT
from utils.layers import augment, dropout
from utils.random import Purpose

GRID = 60
IMAGES, IMAGE_COLUMNS, CAPTION = 10, 5, 4
SEEN = "training images as they are,<br>and as the network sees them in its first step"
BINS, SHARES = 41, 20
CLASS_MARKS = "●", "◆"
INPUT_KNOBS = {*AUGMENT, "input_noise", "dropout_input"}
_INPUT_FIELDS = (
    "seed",
    "n_train",
    "batch_size",
    "augment",
    "input_noise",
    "dropout_input",
)
LEFT, RIGHT = [0, 0.46], [0.56, 1]
BAR_HOVER = "%{y} weights near %{x:.3g}<extra></extra>"
NOTE = {"showarrow": False, "x": 0, "xanchor": "left", "align": "left"}
NOTE |= {"y": 1, "yanchor": "bottom", "font": {"size": 12}}


class RegionPanel:
    """Decision regions of a network with two inputs, and its training points."""

    def __init__(self, experiment, predict):
        pool = load(experiment.data).pool.X
        margin = 0.08 * np.ptp(pool, axis=0)
        low, high = pool.min(axis=0) - margin, pool.max(axis=0) + margin
        self.axes = np.linspace(low, high, GRID).T  # [2, GRID]
        self.inputs = np.stack(np.meshgrid(*self.axes), axis=-1).reshape(-1, 2)
        points = training_set(experiment)
        styled = plots.regions(
            *self.axes, self._grid(predict), points.X, points.y, description="regions"
        )
        self.traces = [*styled.data, _replaced_mark(experiment)]
        for trace in self.traces:
            trace.update(xaxis="x", yaxis="y", showlegend=False)
        self.layout = {
            "coloraxis": styled.layout.coloraxis.update(showscale=False),
            "xaxis": axis("x₁", "y", LEFT, range=[low[0], high[0]]),
            "yaxis": axis("x₂", "x", range=[low[1], high[1]]),
        }
        self.note = _note("", f"decision regions, training points<br>{_class_key()}")
        self._points_of = _data_key(experiment)

    def compute(self, run):
        """Return P(class 1) on the grid [rows, columns]."""
        return self._grid(run.predict)

    def draw(self, grid, run, note):
        """Show what compute returned, and the run's training points."""
        self.traces[0].z = grid
        if self._points_of == _data_key(run.experiment):
            return
        self._points_of = _data_key(run.experiment)
        points = training_set(run.experiment)
        for label, trace in enumerate(self.traces[1:3]):
            trace.x, trace.y = points.X[points.y == label].T
        self.traces[3].x, self.traces[3].y = _replaced(run.experiment).T

    def _grid(self, predict):
        return np.asarray(predict(self.inputs), float).round(3).reshape(GRID, GRID)


class ImagePanel:
    """Some validation images, each with the class the network predicts."""

    def __init__(self, experiment, predict):
        validation = load(experiment.data).validation
        self.inputs, self.labels = validation.X[:IMAGES], validation.y[:IMAGES]
        height, width = load(experiment.data).image
        images = self.inputs.reshape(-1, height, width)
        self.traces = [_heatmap(_mosaic(images, IMAGE_COLUMNS, CAPTION))]
        self.traces.append(_captions(height, width))
        self.layout = {
            "coloraxis": _ink(),
            "xaxis": axis(None, "y", LEFT, visible=False, constrain="domain"),
            "yaxis": axis(None, "x", visible=False, autorange="reversed"),
        }
        self.layout["yaxis"]["scaleanchor"] = "x"
        self.note = _note("", "")
        self._show(self.traces[1], self.note, self._classes(predict))

    def compute(self, run):
        """Return the predicted classes."""
        return self._classes(run.predict)

    def draw(self, classes, run, note):
        """Show what compute returned."""
        self._show(self.traces[1], note, classes)

    def _classes(self, predict):
        return np.argmax(predict(self.inputs), axis=1)

    def _show(self, captions, note, classes):
        pairs = list(zip(self.labels, classes, strict=True))
        captions["text"] = [plots.verdict(*pair).replace(" ", "") for pair in pairs]
        colors = [plots.NEUTRAL if a == b else plots.PALETTE[1] for a, b in pairs]
        captions["textfont"] = {"color": colors, "size": 11}
        wrong = int((self.labels != classes).sum())
        note["text"] = f"validation images<br>{wrong} of {IMAGES} wrong (✗)"


class TargetPanel:
    """Predictions of a regression against the true targets, validation points."""

    def __init__(self, experiment, predict):
        self.points = load(experiment.data).validation
        ends = [self.points.y.min(), self.points.y.max()]
        marker = {"color": plots.PALETTE[0], "size": 5, "opacity": 0.7}
        self.traces = [
            go.Scatter(x=ends, y=ends, mode="lines", line={"color": plots.NEUTRAL}),
            go.Scatter(x=self.points.y, mode="markers", marker=marker),
        ]
        for trace in self.traces:
            trace.update(xaxis="x", yaxis="y", showlegend=False, hoverinfo="skip")
        self.traces[1].y = predict(self.points.X)
        self.layout = {
            "xaxis": axis("true target", "y", LEFT),
            "yaxis": axis("predicted", "x", range=_wider(*ends)),
        }
        self.note = _note("", "validation points<br>on the line: no error")

    def compute(self, run):
        """Return the predicted targets."""
        return run.predict(self.points.X)

    def draw(self, predicted, run, note):
        """Show what compute returned."""
        self.traces[1].y = predicted


class SharePanel:
    """Two histograms of P(class 1) over validation points, one for each true class."""

    def __init__(self, experiment, predict):
        self.points = load(experiment.data).validation
        self.edges = np.linspace(0, 1, SHARES + 1)
        self.traces = [
            go.Bar(x=(self.edges[1:] + self.edges[:-1]) / 2, marker={"color": color})
            for color in plots.PALETTE[:2]
        ]
        for label, trace in enumerate(self.traces):
            trace.update(xaxis="x", yaxis="y", showlegend=False, name=f"class {label}")
        self.layout = {
            "barmode": "stack",
            "xaxis": axis("P(class 1)", "y", LEFT, range=[0, 1]),
            "yaxis": axis(None, "x", rangemode="tozero"),
        }
        self.note = _note("", f"validation points by true class<br>{_classes('■■')}")
        self.draw(self._counts(predict), None, self.note)

    def compute(self, run):
        """Return how many points of each class have which P(class 1), [2, SHARES]."""
        return self._counts(run.predict)

    def draw(self, counts, run, note):
        """Show what compute returned."""
        for trace, count in zip(self.traces, counts, strict=True):
            trace.y = count.astype(float)

    def _counts(self, predict):
        shares = predict(self.points.X)
        return [np.histogram(shares[self.points.y == k], self.edges)[0] for k in (0, 1)]


def picture(experiment, predict):
    """Return the panel that shows best what a network computes on these data."""
    data = load(experiment.data)
    if data.image:
        return ImagePanel(experiment, predict)
    if data.task == "regression":
        return TargetPanel(experiment, predict)
    flat = data.features == 2
    return (RegionPanel if flat else SharePanel)(experiment, predict)


class InputPanel:
    """Training images, and below each how the first layer meets it in the first step.

    The step stays, so that the same images move with the knobs.
    """

    def __init__(self, experiment):
        self.traces = [_heatmap(self.compute(experiment))]
        axes = {"visible": False, "constrain": "domain"}
        self.layout = {
            "coloraxis": _ink().update(cmin=0, cmax=1),
            "xaxis": axis(None, "y", **axes),
            "yaxis": axis(None, "x", autorange="reversed", scaleanchor="x", **axes),
        }
        self.note = _note("", SEEN) | {"xref": "paper", "yref": "paper"}
        self._shown = experiment

    def is_stale(self, experiment):
        """True if other images would be drawn for this experiment."""
        return any(
            getattr(experiment, field) != getattr(self._shown, field)
            for field in _INPUT_FIELDS
        )

    def compute(self, experiment):
        """Return all images as one, None between them, a list of rows."""
        image = load(experiment.data).image
        both = np.full((2, IMAGES, *image), np.nan)
        for row, images in zip(both, first_inputs(experiment, IMAGES), strict=True):
            row[: len(images)] = images.reshape(-1, *image)
        return _mosaic(both.reshape(-1, *image), IMAGES, 1)

    def draw(self, experiment):
        """Show the images of an experiment."""
        self.traces[0].z = self.compute(experiment)
        self._shown = experiment


def first_inputs(experiment, count):
    """Return images of the first training step, [n, features] with n ≤ count, twice.

    First as they are, then as the first layer sees them: augmented, noisy, dropped.
    The random numbers are those that the engine draws for that step.
    """
    e = experiment
    n = min(count, e.batch_size, e.n_points)
    order = random.permutations(e.seed, Purpose.ORDER, [0], e.n_points)[0, :n].numpy()
    plain = x = torch.as_tensor(training_set(e).X[order])

    def draw(kind, purpose, width):
        return kind(e.seed, purpose, [0], 0, n, width)[0]

    if e.augment is not None:
        u = draw(random.uniforms, Purpose.AUGMENT, 5)
        amounts = torch.tensor([astuple(e.augment)], dtype=x.dtype)
        x = augment(x.view(n, *load(e.data).image), amounts, u).view(n, -1)
    x = x + e.input_noise * draw(random.normals, Purpose.INPUT_NOISE, x.shape[1])
    u = draw(random.uniforms, Purpose.DROPOUT, x.shape[1])
    return plain.numpy(), dropout(x, e.dropout_input, u).numpy()


class WeightPanel:
    """Histogram of the weights that are not 0; the title counts those that are."""

    def __init__(self, weights):
        self.traces = [go.Bar(marker={"color": plots.PALETTE[0]}, showlegend=False)]
        self.traces[0].update(xaxis="x2", yaxis="y2", hovertemplate=BAR_HOVER)
        self.layout = {
            "xaxis2": axis("weight", "y2", RIGHT, tickangle=0, nticks=4),
            "yaxis2": axis(None, "x2", rangemode="tozero"),
        }
        self.note = _note(2, "")
        self.draw(weights, self.note)

    def draw(self, weights, note):
        """Show the weights."""
        limit = _round_up(np.abs(weights).max())
        counts, edges = np.histogram(weights[weights != 0], BINS, (-limit, limit))
        self.traces[0].x = (edges[:-1] + edges[1:]) / 2
        self.traces[0].y = counts.astype(float)
        zeros = f"exactly 0: {plots.count_zeros(weights)}"
        note["text"] = f"weights<br>{zeros}"


def axis(title, anchor, domain=(0, 1), **options) -> dict:
    """Return an axis in small print, within margins that do not move."""
    font = {"size": 12}
    heading = {"text": title, "standoff": 4, "font": font}
    place = {"anchor": anchor, "domain": domain, "automargin": False}
    return {"title": heading, "tickfont": font, "nticks": 6} | place | options


def _wider(low, high):
    margin = 0.1 * (high - low)
    return [low - margin, high + margin]


def _note(panel, text):
    return NOTE | {"xref": f"x{panel} domain", "yref": f"y{panel} domain", "text": text}


def _data_key(experiment):
    return experiment.seed, experiment.n_train, experiment.label_noise


def _replaced(experiment):
    """Training points whose label is not the true one, [n, 2]."""
    points = training_set(experiment)
    true = training_set(experiment.replace(label_noise=0)).y
    return points.X[points.y != true]


def _replaced_mark(experiment):
    x, y = _replaced(experiment).T
    ring = {"symbol": "circle-open", "size": 13, "color": plots.NEUTRAL}
    mark = go.Scatter(x=x, y=y, mode="markers", marker=ring | {"line": {"width": 2}})
    return mark.update(hoverinfo="skip", name="label replaced")


def _class_key():
    return f"{_classes(CLASS_MARKS)}  ◯ label replaced"


def _classes(marks):
    marks = zip(marks, plots.PALETTE, range(2), strict=False)
    return "  ".join(f"<span style='color:{c}'>{m}</span> {k}" for m, c, k in marks)


def _mosaic(images, columns, gap):
    """All images in one, a list of rows, `gap` empty rows below each image."""
    count, height, width = images.shape
    cells = np.full((count, height + gap, width + 1), np.nan)
    cells[:, :height, :width] = images
    rows = cells.reshape(-1, columns, *cells.shape[1:]).swapaxes(1, 2)
    pixels = rows.reshape(-1, columns * (width + 1)).round(3)
    return [[None if np.isnan(v) else v for v in row] for row in pixels.tolist()]


def _ink():
    """The book's colour axis for images."""
    styled = plots.images(np.zeros((1, 1, 1)), [0], description="an image")
    return styled.layout.coloraxis


def _heatmap(z):
    place = {"xaxis": "x", "yaxis": "y"}
    return go.Heatmap(z=z, coloraxis="coloraxis", hoverinfo="skip", **place)


def _captions(height, width):
    row, column = np.divmod(np.arange(IMAGES), IMAGE_COLUMNS)
    x = column * (width + 1) + (width - 1) / 2
    y = row * (height + CAPTION) + height + (CAPTION - 1) / 2 - 0.5
    place = {"xaxis": "x", "yaxis": "y", "showlegend": False}
    return go.Scatter(
        x=x, y=y, mode="text", hoverinfo="skip", cliponaxis=False, **place
    )


def _round_up(value):
    """The next of 1, 1.5, 2, 3, 5, 7, 10 times a power of ten: a steady axis."""
    if not value:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(s * power for s in (1, 1.5, 2, 3, 5, 7, 10) if s * power >= value)
