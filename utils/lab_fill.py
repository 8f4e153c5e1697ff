"""The map of λ × p in a live lab: filled in the background, a cell loads its settings.

A thread of its own trains and draws, from the press of the button to the last cell.
"""

import html
import math
import threading
import time
from contextlib import closing

import ipywidgets as widgets
import pandas as pd

from utils import lab_map
from utils.lab_controls import Controls
from utils.lab_figure import LiveFigure
from utils.lab_knobs import PENALTIES, setting
from utils.lab_layout import Fit, answer_at_once
from utils.sweep import stream

DRAW_EVERY = 0.15


class LiveMap:
    """A map that fills while its button is down.

    `widget` holds the button, what there is to say, and once it was asked for
    `sheet`, which holds the map; `figure` is the map, `results` the runs so far, a
    row each; `message` says how far it is, `error` is the last exception.

    Args:
        axes: what `lab_map.axes` returned.
        controls: those of the lab; a click on a cell moves them.
        knobs: the names of the lab's knobs.
        device: 'cpu', 'cuda' or 'mps', where the lab trains; the map takes the CPU
            instead of CUDA.
    """

    def __init__(
        self, axes: dict, controls: Controls, knobs: tuple[str, ...], device: str
    ):
        self.axes, self.controls = axes, controls
        # CUDA records a graph only while no other thread uses it, as the lab's does.
        self.device = "cpu" if device.startswith("cuda") else device
        own = {axis["name"] for axis in axes.values()}
        own |= set() if controls.penalty is None else set(PENALTIES)
        self._others = [name for name in knobs if name not in own]
        self.figure = empty(axes, controls.base.data)
        self.results: pd.DataFrame | None = None
        self.message, self.error = "", None
        self._said, self._note = widgets.HTML(), widgets.HTML()
        self.sheet = widgets.VBox([self.figure, Fit(), self._note])
        answer_at_once(self.sheet)  # which stands nowhere yet
        self._place = widgets.VBox()
        row = widgets.HBox([controls.fill, self._said.add_class("lab-map-status")])
        row.layout.flex_flow = "row wrap"
        self.widget = widgets.VBox([row, self._place]).add_class("lab-map")
        self._thread: threading.Thread | None = None
        self._stop, self._closed = threading.Event(), False
        controls.fill.layout.flex = "0 0 auto"
        controls.fill.observe(self._pressed, "value")
        self.figure.data[0].on_click(self._clicked)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is being filled.

        Returns: False if that took longer than timeout, seconds.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def end(self, timeout: float | None = None) -> None:
        """Stop for good, and wait for that up to timeout, seconds."""
        self._closed = True
        self._stop.set()
        self.wait(timeout)

    # What the reader's clicks do; on whatever thread they arrive.

    def _pressed(self, change):
        if threading.current_thread() is self._thread or self._closed:
            return
        self._stop.set()
        if not change.new and not self.wait(0):
            self._say("stopping")
        self.controls.show_filling(change.new and self._begin())

    def _begin(self):
        """Start to fill the map; return False if these settings are not possible."""
        try:
            base = self._base()
        except ValueError as refusal:
            self._say(f"not possible, so nothing has changed: {refusal}")
            return False
        self._say(f"0 of {self._total} networks")
        self._place.children = (self.sheet,)
        self._stop = threading.Event()
        work = base, self._stop, self._thread
        self._thread = threading.Thread(
            target=self._work, args=work, name="lab map", daemon=True
        )
        self._thread.start()
        return True

    def _base(self):
        """The lab's present experiment, without the penalty that is no axis."""
        experiment = self.controls.experiment()
        if self.controls.penalty is None:
            return experiment
        return experiment.replace(**dict.fromkeys(PENALTIES, 0.0))

    def _clicked(self, _, points, __):
        if not points.point_inds:
            return
        row, column = points.point_inds[0]
        x, y = self.axes["x"], self.axes["y"]
        cell = {y["name"]: y["values"][row], x["name"]: x["values"][column]}
        self.controls.load(cell)

    # What the map's own thread does.

    def _work(self, base, stop, before):
        try:
            if before is not None:
                before.join()
            self._fill(base, stop)
        except Exception as error:  # nobody above this thread could catch it
            self.error = error
            self._say(f"{type(error).__name__}: {error}", problem=True)
        if not stop.is_set():
            self.controls.show_filling(False)

    def _fill(self, base, stop):
        self.results = None
        self._draw(base)
        self._note.value = settings = _trained_with(base, self._others)
        began = time.monotonic()
        with closing(self._train(base, stop)) as pieces:
            for rows in pieces:
                if self._closed:
                    return
                self.results = pd.concat([self.results, rows], ignore_index=True)
                if stop.is_set():
                    break
                self._say(self._progress(time.monotonic() - began))
                if self.figure.due(DRAW_EVERY):
                    self._draw(base)
        self._draw(base)
        self._note.value = settings + _table(self.figure.data[0])
        self._say(self._ending(time.monotonic() - began))

    def _train(self, base, stop):
        """Yield some runs at a time: all cells for one seed, then for the next."""
        space = {axis["name"]: axis["values"] for axis in self.axes.values()}
        here = {"device": self.device, "workers": 1, "cache": None, "stop": stop}
        return stream(base, space, _seeds(base), **here)

    def _draw(self, base):
        refill(self.figure, lab_map.draw(self.axes, base.data, self.results))

    def _progress(self, seconds):
        done, total = len(self.results), self._total
        left = math.ceil(seconds / done * (total - done))
        return f"{done} of {total} networks, about {left} s left"

    def _ending(self, seconds):
        done = 0 if self.results is None else len(self.results)
        means = f"mean of {lab_map.SEEDS} seeds"
        rest = means if done == self._total else f"stopped before all {self._total}"
        return f"{done} networks in {seconds:.1f} s on {self.device.upper()}; {rest}"

    @property
    def _total(self):
        cells = math.prod(len(axis["values"]) for axis in self.axes.values())
        return lab_map.SEEDS * cells

    def _say(self, message, problem=False):
        self.message = message
        text = html.escape(f"⚠ error: {message}" if problem else message)
        state = " data-state=error" if problem else ""
        self._said.value = f"<div role=status{state}>{text}</div>"


def empty(axes: dict, data: str) -> LiveFigure:
    """Return the map without a number."""
    drawn = lab_map.draw(axes, data)
    return LiveFigure(drawn.data, drawn.layout)


def refill(figure: LiveFigure, drawn) -> None:
    """Show the numbers of a map that was drawn anew."""
    with figure.batch_update():
        figure.data[0].z = drawn.data[0].z
        figure.layout.shapes = drawn.layout.shapes


def _seeds(base):
    return range(base.seed, base.seed + lab_map.SEEDS)


def _trained_with(base, names):
    """Which settings all cells have in common."""
    seeds = ", ".join(map(str, _seeds(base)))
    settings = [f"seeds {seeds}", *(setting(base, name) for name in names)]
    text = f"Trained with {', '.join(settings)}. A click loads a cell's settings."
    return f"<p>{html.escape(text)}</p>"


def _table(trace):
    """The map for those who do not see it."""
    head = "".join(f"<th scope=col>{p}</th>" for p in trace.x)
    rows = "".join(
        f"<tr><th scope=row>{lam}</th>{''.join(map(_cell, losses))}</tr>"
        for lam, losses in zip(trace.y, trace.z, strict=True)
    )
    table = f"<table><tr><td></td>{head}</tr>{rows}</table>"
    return f"<details><summary>The map as a table</summary>{table}</details>"


def _cell(loss):
    return f"<td>{'–' if loss is None else f'{loss:.3f}'}</td>"
