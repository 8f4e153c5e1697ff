"""The live lab of a chapter: sliders that retrain a network while the figure moves.

One background thread trains and draws. The widgets' callbacks only note what the
reader asked for; the thread takes the notes between two epochs. It starts with the
reader's first move, so a notebook that is merely executed stays quiet. The map of
λ × p has a thread of its own (`lab_fill`).
"""

import atexit
import html
import json
import threading

import torch
from IPython import get_ipython

from utils import lab_map, plots
from utils.data import load
from utils.engine import choose_device
from utils.experiment import Experiment
from utils.lab_controls import Controls
from utils.lab_figure import LabFigure, number_names
from utils.lab_fill import LiveMap
from utils.lab_knobs import parse_knobs, setting, value_of
from utils.lab_layout import answer_at_once, close_all, lay_out
from utils.lab_panels import INPUT_KNOBS
from utils.lab_run import CURVES, LiveRun
from utils.mimetypes import LAB, WIDGET
from utils.runs import fit

DIGITS = 7
TABLE_ROWS = 10
JOIN_SECONDS = 10
READY = "press Play or move a slider"

_open: list["Lab"] = []


class Lab:
    """A network the reader trains by moving sliders, beside the book's own run.

    `state` is 'ready', 'training', 'paused', 'done' or 'error', `message` says more,
    `results` holds the numbers on show, `error` the last exception. `controls` has
    the widgets, `figure` the figure, `map` the map of λ × p, None without both knobs.

    Args:
        base: the book's own run; the lab starts from its settings.
        description: what there is to see, in one or two sentences.
        device: 'auto', 'cpu', 'cuda' or 'mps', for the reader's runs.
        knobs: name=(low, high) for each numeric field of Experiment on a slider. λs
            and learning rates get a logarithmic one, λs with 0 at its left end.
            rotation, shift, scale and flip are those of Augment. name=("one",
            "other", …) or name=(False, True) for a choice.
    Raises: ValueError naming knob, value and range, or if base diverges.
    """

    def __init__(
        self,
        base: Experiment,
        *,
        description: str | None = None,
        device: str = "auto",
        **knobs: tuple[float, float] | tuple[str | bool, ...],
    ):
        self.base, self.knobs = base, parse_knobs(base, knobs)
        axes = lab_map.axes(self.knobs)
        self.controls = Controls(base, self.knobs, axes)
        self.device = choose_device(device, base.dtype)
        self.description = description or _describe(base, self.knobs)
        self._book = book = fit(base, device="cpu")[0]
        if book.status == "diverged":
            raise ValueError(
                f"base = {base}: diverged, a lab needs a run that does not"
            )
        see = load(base.data).image is not None and bool(INPUT_KNOBS & knobs.keys())
        self.figure = LabFigure(book, inputs=see)
        self.results = self._book_results = _results(book)
        c = self.controls
        self.map = axes and LiveMap(axes, c, tuple(self.knobs), str(self.device))
        below = [self.map.widget] if self.map else []
        figures = [*self.figure.widgets, *below]
        self.widget = lay_out([c.box()], figures, [c.numbers])
        answer_at_once(self.widget)
        self.error: Exception | None = None
        self._run: LiveRun | None = None
        self._thread: threading.Thread | None = None
        self._news = threading.Condition()
        self._wanted: dict[str, object] = {}
        self._resting, self._closed, self._remark = True, False, ""
        self._cell = _running_cell()
        self._enter("ready", READY)
        self._show_numbers()
        self._listen()
        _end_predecessors(self)
        _open.append(self)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the lab has nothing left to do.

        Returns: False if that took longer than timeout, seconds.
        """
        with self._news:
            return self._news.wait_for(self._is_resting, timeout)

    def close(self) -> None:
        """End the lab's threads and take its widgets off the page."""
        self._end()
        if self.map is not None:
            close_all(self.map.sheet)
        close_all(self.widget)

    def to_dict(self) -> dict:
        """What the page needs to build its own lab."""
        history = self._book.history
        rounded = {name: [_round(v) for v in history[name]] for name in CURVES}
        epochs = list(range(1, len(history["val_loss"]) + 1))
        return {
            "version": 1,
            "experiment": json.loads(self.base.to_json()),
            "knobs": {name: knob.to_dict() for name, knob in self.knobs.items()},
            "reference": {"epoch": epochs, **rounded},
            "description": self.description,
        }

    def __repr__(self) -> str:
        """A table of the book's own run."""
        return _table(f"Lab. {self.description}", self._book)

    def _repr_mimebundle_(self, include=None, exclude=None):
        """The widget for JupyterLab, the lab's data for the page, a table for both."""
        view = self.widget._repr_mimebundle_()[WIDGET]
        return {WIDGET: view, LAB: self.to_dict(), "text/plain": repr(self)}

    # What the reader's clicks do; on whatever thread they arrive.

    def _listen(self):
        c = self.controls
        for widget in c.changing():
            widget.observe(lambda _: self._note("change"), "value")
        c.play.observe(lambda change: self._note("play", change.new), "value")
        for name in ("restart", "pin", "unpin"):
            getattr(c, name).observe(self._spring_back(name), "value")

    def _spring_back(self, name):
        """Make a toggle button act like a push button."""

        def pressed(change):
            if change.new:
                change.owner.value = False
                self._note(name)

        return pressed

    def _note(self, name, value=None):
        if threading.current_thread() is self._thread or self._closed:
            return
        with self._news:
            self._wanted.pop(name, None)
            self._wanted[name] = value
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="lab", daemon=True
                )
                self._thread.start()
            self._news.notify_all()

    def _end(self):
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS)
        if self.map is not None:
            self.map.end(JOIN_SECONDS)
        if self in _open:
            _open.remove(self)

    # What the lab's own thread does.

    def _work(self):
        while not self._closed:
            try:
                for name, value in self._take().items():
                    getattr(self, f"_do_{name}")(value)
                if self.state == "training" and not self._closed:
                    self._advance()
            except Exception as error:  # nobody above this thread could catch it
                self.error = error
                self._enter("error", f"{type(error).__name__}: {error}")

    def _take(self):
        """Wait for notes, unless there is training to do; return them, oldest first."""
        with self._news:
            self._resting = self.state != "training"
            self._news.notify_all()
            self._news.wait_for(lambda: not self._is_resting() or self._closed)
            self._resting = False
            wanted, self._wanted = self._wanted, {}
        return wanted

    def _is_resting(self):
        return self._closed or (self._resting and not self._wanted)

    def _do_change(self, _):
        self._train(go_on=self.controls.change.value == "go on")

    def _do_restart(self, _):
        self._train(go_on=False)

    def _do_play(self, play):
        if play and self.state == "paused":
            self._enter("training")
        elif play and self.state != "training":
            self._do_change(None)
        elif not play and self.state == "training":
            self._draw(whole=True)
            self._enter("paused")

    def _do_pin(self, _):
        if self._run is not None and self._run.curve["val_loss"]:
            self.figure.pin(self._run, self._name())

    def _do_unpin(self, _):
        self.figure.unpin()

    def _train(self, go_on):
        try:
            experiment = self.controls.experiment()
        except ValueError as refusal:
            self._remark = f"not possible, so nothing has changed: {refusal}"
            self._enter(self.state, self._plain_message)
            return
        self._remark = ""
        if self._run is None:
            self._run = LiveRun(experiment, str(self.device))
        elif not (go_on and self._run.go_on(experiment)):
            obstacle = self._run.obstacle(experiment)
            self._remark = f"started again: {obstacle}" if go_on else ""
            self._run.start(experiment)
        self._enter("training")

    def _advance(self):
        run = self._run
        run.run_epoch()
        if run.stopped == "diverged":
            text = f"diverged in epoch {run.epoch}: the loss is no longer a number"
            self._enter("error", f"{text}. Try a smaller learning rate or λ.")
        elif run.stopped:
            self._draw(whole=True)
            self._enter("done", _ending(run))
        elif self.figure.due():
            self._draw()

    def _draw(self, whole=False):
        run = self._run
        if not run.curve["val_loss"]:
            return
        self.figure.draw(run, whole)
        self.controls.show_epoch(run.epoch, run.end)
        self.results = _results(run.shown)
        self._show_numbers()

    def _enter(self, state, message=""):
        self.state, self._plain_message = state, message
        message = self.message = "; ".join(filter(None, [message, self._remark]))
        self.controls.show_playing(state == "training")
        self.controls.status.value = _status(state, message, self.device)

    def _show_numbers(self):
        results = self.results, self._book_results
        self.controls.numbers.value = _numbers(self.base, *results)

    def _name(self):
        """What sets the present run apart from the book's, for the legend."""
        own, book = self._run.experiment, self.base
        changed = [
            setting(own, name)
            for name in (*self.controls.sliders, *self.controls.choices, "seed")
            if value_of(own, name) != value_of(book, name)
        ]
        return ", ".join(changed) or "as in the book"


def _running_cell():
    """Return (cell id, execution count) in JupyterLab, elsewhere None."""
    parent = getattr(get_ipython(), "get_parent", dict)()
    cell = parent.get("metadata", {}).get("cellId")
    return None if cell is None else (cell, get_ipython().execution_count)


def _end_predecessors(lab):
    """Close labs that an earlier run of the same cell has left behind.

    The cell tells, not the arguments: editing a range must end the old lab, and one
    cell may hold two labs. Where no cell is known, equal arguments decide.
    """
    for other in list(_open):
        if lab._cell is None or other._cell is None:
            same = (lab.base, lab.knobs) == (other.base, other.knobs)
        else:
            same = lab._cell[0] == other._cell[0] and lab._cell != other._cell
        if same:
            other.close()


@atexit.register
def _end_all():
    for lab in list(_open):
        lab._end()


def _results(run):
    at = run.at_kept_epoch()
    gap = at["val_loss"] - at["train_loss"]
    return {**at, "gap": gap, "zeros": plots.count_zeros(run.weights)}


def _numbers(base, results, book):
    rows = "".join(
        f"<tr><th scope=row>{label}</th>"
        f"<td><output name={name}>{_cell(base, name, results)}</output></td>"
        f"<td class=lab-quiet>{_cell(base, name, book)}</td></tr>"
        for name, label in number_names(base).items()
    )
    head = "<tr><td></td><th scope=col>this run</th><th scope=col>the book's</th></tr>"
    return f"<table>{head}{rows}</table>"


def _cell(base, name, results):
    value = results[name]
    return value if name == "zeros" else f"{value:{_number_format(base, name)}}"


def _number_format(base, name):
    share = name.endswith("accuracy") and load(base.data).task != "regression"
    return ".1%" if share else ".4f"


def _status(state, message, device):
    mark = "⚠ " if state == "error" else ""
    text = html.escape(f"{mark}{state}: {message}" if message else state)
    where = f"<span class=lab-quiet>on {_device_name(device)}</span>"
    return f"<div role=status data-state={state}>{text}<br>{where}</div>"


def _device_name(device):
    if device.type == "cuda":
        return f"CUDA ({torch.cuda.get_device_name(device)})"
    return device.type.upper()


def _ending(run):
    epochs = f"{run.epoch} epochs"
    if run.kept_epoch is None:
        return epochs
    early = f"stopped early after {epochs}" if run.stopped != "finished" else epochs
    return f"{early}, kept epoch {run.kept_epoch} of {run.epoch}"


def _describe(base, knobs):
    """Two sentences on what is trained, and what can be changed."""
    data = load(base.data)
    maps = [f"{count} maps" for count in base.channels]
    net = "-".join(map(str, (data.features, *maps, *base.hidden, data.outputs)))
    labels = "targets" if data.task == "regression" else "labels"
    noise = f", {base.label_noise:.0%} of the {labels} redrawn"
    noise = noise if base.label_noise else ""
    what = f"A {net} network learns {base.data} from {base.n_train} examples{noise}"
    turn = " and ".join(knob.label for knob in knobs.values()) or "the seed"
    return f"{what}, in {base.epochs} epochs of {base.optimizer}. Change {turn}."


def _table(heading, run):
    base, history = run.experiment, run.history
    count = len(history["val_loss"])
    every = max(1, round(count / TABLE_ROWS))
    shown = sorted({1, count, *range(every, count + 1, every)})
    accuracy = _number_format(base, "val_accuracy")
    names = number_names(base)
    train, val, score = names["train_loss"], names["val_loss"], names["val_accuracy"]
    train = train.replace("training", "train")
    rows = [
        f"{epoch:>5}  {history['train_loss'][epoch - 1]:>{len(train)}.4f}"
        f"  {history['val_loss'][epoch - 1]:>{len(val)}.4f}"
        f"  {history['val_accuracy'][epoch - 1]:>{len(score)}{accuracy}}"
        for epoch in shown
    ]
    head = f"epoch  {train}  {val}  {score}"
    return "\n".join([heading, "The book's own run:", head, *rows])


def _round(value):
    return float(f"{value:.{DIGITS}g}")
