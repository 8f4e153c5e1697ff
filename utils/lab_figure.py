"""The figures of a live lab: loss curves above, panels below.

Only the thread that trains may call LabFigure's methods. What the browser reports
back is therefore never written into a figure; it serves as a receipt.

Several widgets rather than one: Plotly redraws a whole figure for each change, and
the curves alone take it a third of the time.
"""

import math
import time
from itertools import chain

import numpy as np
import plotly.graph_objects as go
from plotly.serializers import custom_serializers
from traitlets import Dict, Integer, observe

from utils import plots
from utils.data import load
from utils.experiment import Experiment
from utils.lab_panels import InputPanel, WeightPanel, axis, picture
from utils.runs import Run

PINS = len(plots.PALETTE) - 1
CURVES_EVERY, PANELS_EVERY, UNANSWERED = 1 / 24, 1 / 8, 0.5
PANEL_SHARE, MAX_ON_THE_WAY = 0.25, 2
LOG_FROM = 30
LOSSES = ("train_loss", "val_loss")
REFERENCE = "the book's run"
NUMBERS = ("train_loss", "val_loss", "val_accuracy", "gap", "zeros")
_MARK = {
    "type": "line",
    "yref": "paper",
    "y0": 0,
    "y1": 1,
    "line": {"color": plots.NEUTRAL, "width": 1, "dash": "dash"},
}
_OWN_MARK = _MARK | {
    "line": {"color": plots.PALETTE[0], "width": 1.5, "dash": "dash"},
    "label": {
        "text": "kept",
        "textangle": 0,
        "textposition": "start",
        "xanchor": "left",
        "yanchor": "bottom",
        "font": {"size": 12, "color": plots.PALETTE[0]},
    },
}


def number_names(experiment: Experiment) -> dict[str, str]:
    """Return what readers call each number of a lab: in regression R², for one."""
    labels = plots.labels_for(load(experiment.data).task)
    return {name: labels[name] for name in NUMBERS}


class LiveFigure(go.FigureWidget):
    """A FigureWidget that knows whether the browser keeps up with its updates.

    plotly.py would write the browser's reports into the figure, on the thread they
    arrive on, amid the trainer's own update; here they change nothing in Python. A
    click in the legend or a zoom still works: in the browser alone.
    """

    _receipt, _updated = 0, -math.inf
    _js2py_traceDeltas = Dict(allow_none=True).tag(
        sync=True, echo_update=False, **custom_serializers
    )
    _handler_js2py_restyle = _handler_js2py_relayout = _handler_js2py_update = None
    _last_trace_edit_id = Integer(0)  # each update carries its number: no need to
    _last_layout_edit_id = Integer(0)  # send it twice

    def __init__(self, data, layout):
        super().__init__(data, layout)
        self._config = {"responsive": True, "displayModeBar": False}

    def get_state(self, key=None, drop_defaults=False):
        """As in FigureWidget, but the figure as it is now, not as it was at first.

        A page that is loaded again asks for it.
        """
        state = super().get_state(key, drop_defaults)
        now = {"_widget_data": "_data", "_widget_layout": "_layout"}
        for trait in now.keys() & state.keys():
            value = getattr(self, now[trait], getattr(self, trait))
            state[trait] = custom_serializers["to_json"](value, self)
        return state

    def due(self, every: float) -> bool:
        """True if `every` seconds have passed, and the browser has kept up."""
        waited = time.monotonic() - self._updated
        on_the_way = self._last_trace_edit_id - self._receipt
        return waited >= every and (
            on_the_way <= MAX_ON_THE_WAY or waited >= UNANSWERED
        )

    def batch_update(self):
        """As in FigureWidget; `due` counts from here."""
        self._updated = time.monotonic()
        return super().batch_update()

    @observe("_js2py_traceDeltas")
    def _handler_js2py_traceDeltas(self, change):
        number = (change["new"] or {}).get("trace_edit_id")
        if isinstance(number, int):  # the first drawing of all has none
            self._receipt = number


class LabFigure:
    """The lab's figures: `widgets` is (curves, panels) or (curves, panels, inputs).

    Args:
        book: the book's own run.
        inputs: show training images as the network sees them.
    """

    def __init__(self, book: Run, inputs: bool = False):
        experiment = book.experiment
        self.curves = LiveFigure(_curve_traces(book), _curve_layout(book))
        lines = list(self.curves.data[2:])
        self.reference, self.lines, *self.pins = zip(
            lines[::2], lines[1::2], strict=True
        )
        self.pinned = 0
        self.picture = picture(experiment, book.predict)
        self.histogram = WeightPanel(book.weights)
        self.panels = _join(self.picture, self.histogram)
        self.inputs = InputPanel(experiment) if inputs else None
        self.widgets = self.curves, self.panels
        if inputs:
            self.images = _alone(self.inputs)
            self.widgets += (self.images,)
        self._panel_cost = 0.0

    def due(self) -> bool:
        """True when it is time to draw: 24 times a second, if the browser keeps up."""
        return self.curves.due(CURVES_EVERY)

    def draw(self, run, whole: bool = False) -> None:
        """Draw a LiveRun's curve so far, and the panels if they are due.

        Args:
            run: at least one epoch old.
            whole: draw the panels in any case.
        """
        with self.curves.batch_update():
            _set_curve(self.lines, run.curve)
            self.curves.layout.xaxis.range = [0, run.end]
            self.mark.update(_mark(run.kept_epoch, run.end))
        pause = max(PANELS_EVERY, self._panel_cost / PANEL_SHARE)
        if whole or self.panels.due(pause):
            self._draw_panels(run.shown)

    def pin(self, run, name: str) -> None:
        """Keep a LiveRun's curve under a name; the oldest of five pins gives way."""
        slot = self.pins[self.pinned % PINS]
        self.pinned += 1
        with self.curves.batch_update():
            _set_curve(slot, run.curve, name=name)

    def unpin(self) -> None:
        """Remove all pinned curves."""
        self.pinned = 0
        with self.curves.batch_update():
            for line in chain(*self.pins):
                line.visible = False

    @property
    def mark(self):
        """The line at the epoch whose weights the reader's run keeps."""
        return self.curves.layout.shapes[1]

    def _draw_panels(self, run):
        start = time.monotonic()
        computed, weights = self.picture.compute(run), run.weights
        with self.panels.batch_update():
            notes = self.panels.layout.annotations
            self.picture.draw(computed, run, notes[0])
            self.histogram.draw(weights, notes[1])
        if self.inputs is not None and self.inputs.is_stale(run.experiment):
            with self.images.batch_update():
                self.inputs.draw(run.experiment)
        self._panel_cost = time.monotonic() - start


def _alone(panel):
    """Make a figure of one panel, which then holds the figure's own traces."""
    layout = {"height": 180, "margin": {"l": 44, "r": 8, "t": 40, "b": 4}}
    layout |= {"template": "book", "annotations": [panel.note]}
    figure = LiveFigure(panel.traces, layout | panel.layout)
    panel.traces = figure.data
    return figure


def _join(left, right):
    """Make one figure of two panels, which then hold the figure's own traces."""
    layout = {"height": 255, "margin": {"l": 44, "r": 8, "t": 40, "b": 36}}
    layout |= {"template": "book", "bargap": 0, "annotations": [left.note, right.note]}
    figure = LiveFigure(left.traces + right.traces, layout | left.layout | right.layout)
    count = len(left.traces)
    left.traces, right.traces = figure.data[:count], figure.data[count:]
    return figure


def _curve_traces(book):
    """The legend's key, then pairs: the book's run, the reader's, room for pins."""
    names = number_names(book.experiment)
    reference = _pair(names, plots.NEUTRAL, 1, REFERENCE)
    _set_curve(reference, book.history)
    own = _pair(names, plots.PALETTE[0], 2.5, "this run")
    pins = [_pair(names, color, 1.5, "") for color in plots.PALETTE[1:]]
    return [*_line_key(), *reference, *own, *chain(*pins)]


def _curve_layout(book):
    """The scale fits the book's own run."""
    losses = [value for name in LOSSES for value in book.history[name]]
    log = min(losses) > 0 and max(losses) > LOG_FROM * min(losses)
    task = load(book.experiment.data).task
    loss = plots.UNITS[task] if task == "regression" else f"loss ({plots.UNITS[task]})"
    kept = book.epoch if book.experiment.patience is not None else None
    return {
        "template": "book",
        "height": 240,
        "margin": {"l": 56 if log else 44, "r": 8, "t": 8, "b": 36},
        "legend": {"y": 1, "yanchor": "top", "font": {"size": 12}},
        "xaxis": axis("epoch", "y", range=[0, book.experiment.epochs]),
        "yaxis": axis(loss, "x", type="log" if log else "linear"),
        "shapes": [_MARK | _mark(kept), _OWN_MARK | _mark(None)],
    }


def _mark(epoch, end=None):
    """Where the line at the kept epoch stands; nowhere for None."""
    place = {"x0": epoch or 0, "x1": epoch or 0, "visible": epoch is not None}
    if end is None or epoch is None:
        return place
    return place | {"label.xanchor": "right" if epoch > end / 2 else "left"}


def _pair(names, color, width, name):
    """A dotted training line and a solid validation line, in LOSSES' order."""
    pair = []
    for metric, dash in zip(LOSSES, (plots.TRAIN_DASH, plots.VAL_DASH), strict=True):
        line = {"color": color, "width": width, "dash": dash}
        shown = metric == LOSSES[-1]
        pair.append(go.Scatter(mode="lines", line=line, name=name, showlegend=shown))
        pair[-1].update(visible=False, legendgroup=color, x0=1, dx=1)
        pair[-1].hovertemplate = f"epoch %{{x}}: {names[metric]} %{{y:.4f}}"
    return pair


def _line_key():
    """Say in the legend what solid and dotted lines are."""
    for name, dash in ("validation", plots.VAL_DASH), ("training", plots.TRAIN_DASH):
        line = {"color": plots.NEUTRAL, "width": 2, "dash": dash}
        yield go.Scatter(x=[None], y=[None], mode="lines", line=line, name=name)


def _set_curve(pair, curve, **options):
    for line, metric in zip(pair, LOSSES, strict=True):
        line.update(y=np.array(curve[metric]), visible=True, **options)
