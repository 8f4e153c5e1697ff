"""What a live lab shows beside its curves: what the network computes, its weights.

A panel has its `traces`, its part of the `layout` and a `note` that heads it. In the
figure it becomes part of, `draw` changes the traces and the note.
"""

import math

import numpy as np
import plotly.graph_objects as go

from utils import plots
from utils.data import load, training_set

GRID = 60
IMAGES, IMAGE_COLUMNS, CAPTION = 10, 5, 4
BINS = 41
CLASS_MARKS = "●", "◆"
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
        styled = plots.images(images[:1], self.labels[:1], description="images")
        self.traces = [_mosaic(images), _captions(height, width)]
        self.layout = {
            "coloraxis": styled.layout.coloraxis,
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
    marks = zip(CLASS_MARKS, plots.PALETTE, range(2), strict=False)
    key = [f"<span style='color:{c}'>{mark}</span> {k}" for mark, c, k in marks]
    return "  ".join([*key, "◯ label replaced"])


def _mosaic(images):
    """All images in one heatmap, with room for a caption under each."""
    count, height, width = images.shape
    cells = np.full((count, height + CAPTION, width + 1), np.nan)
    cells[:, :height, :width] = images
    rows = cells.reshape(-1, IMAGE_COLUMNS, *cells.shape[1:]).swapaxes(1, 2)
    pixels = rows.reshape(-1, IMAGE_COLUMNS * (width + 1))
    z = [[None if np.isnan(v) else v for v in row] for row in pixels.tolist()]
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
