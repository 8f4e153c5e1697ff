"""The live lab of a chapter: a widget whose front end is web/lab.

Its state is in synced traits, one for each knob. The kernel trains what a view asks for
and, when a trait is changed from Python, the same by itself. Nothing trains before the
first change, so a notebook that is merely executed stays quiet.
"""

import atexit
import itertools
import json
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from IPython import get_ipython
from ipywidgets import widget_serialization
from traitlets import Bool, Dict, Instance, Unicode

from utils.arguments import fail, optional, show, texts, whole
from utils.data import Split, own_points, training_set
from utils.engine.ensemble import choose_device
from utils.engine.runs import fit
from utils.experiment import Experiment
from utils.lab import question
from utils.lab import views as skeletons
from utils.lab.assets import Assets
from utils.lab.jobs import CURVES
from utils.lab.kernel import KINDS, KernelEngine
from utils.lab.knobs import NAMES, Choice, Knob, parse_knobs, parse_over
from utils.lab.results import Records, describe, means, reference, sweep_means, table
from utils.mimetypes import LAB, WIDGET

MOST_SEEDS = 20
WATCH = {"members": [0], "weights": True}
ENDED = {"type": "ended"}
STATES = {"pause": "paused", "resume": "training", "stop": "done"}
WEB = Path(__file__).parents[2] / "web"
BUNDLE = WEB / "build/lab"
UNBUILT = """export default { render({ el }) {
  el.textContent = "The lab's front end is missing: run `make lab`.";
} };"""

_open: list["Lab"] = []


class Refused(traitlets.TraitError, ValueError):
    """A value that a lab does not take; it keeps the one before."""


class _Told(traitlets.TraitType):
    """A trait that says what it refuses as all of utils does."""

    def error(self, obj, value, error=None, info=None):
        """Raises: Refused."""
        raise Refused(f"{self.name} = {show(value)}: must be {self.info()}")


class _Bool(_Told, Bool):
    """True or False."""


class _Dict(_Told, Dict):
    """A mapping."""


class Setting(traitlets.TraitType):
    """The value of a knob, synced with the views."""

    def __init__(self, knob: Knob | Choice):
        super().__init__(default_value=knob.value)
        self.check = knob.check
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> Any:
        """Return the value as an Experiment keeps it."""
        try:
            return self.check(value)
        except ValueError as error:
            raise Refused(str(error)) from None


class Knobs(MutableMapping):
    """The settings of a lab by the names of its knobs."""

    def __init__(self, lab: "Lab", names: list[str]):
        self._lab, self._names = lab, names

    def _trait(self, name):
        plain = str.__str__(name) if isinstance(name, str) else None
        if plain not in self._names:
            raise KeyError(f"{show(name)}: must be one of {self._names}")
        return trait_of(plain)

    def __getitem__(self, name: str) -> Any:
        return getattr(self._lab, self._trait(name))

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._lab, self._trait(name), value)

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name!r}: a lab keeps its knobs")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take several values at once; none, if they do not go together."""
        what = "a mapping from names to values"
        try:
            if not all(isinstance(given, Mapping) for given in args):
                fail("knobs", args, what)
            values = dict(*args, **kwargs)
        except Exception:  # the methods of a stranger may raise anything
            fail("knobs", args, what)
        with self._lab.hold_trait_notifications():
            super().update(values)


def trait_of(name: str) -> str:
    """Return the trait of a knob: its name, but for `data`, the lab's points."""
    return "data_set" if name == "data" else name


class Lab(anywidget.AnyWidget):
    """Networks that the reader trains by moving knobs, beside the book's own run.

    `state` is 'ready', 'training', 'paused', 'done' or 'error', `message` says more.
    `results` has what counts of the last run, means over its draws, and in `over` the
    cells of a sweep. `knobs` has the settings by name; each is a trait as well (the
    data set: `data_set`), and so are `seed`, `points`, own training points {"X", "y"}
    or None, and `keep`, whether a change goes on with the present weights.

    Args:
        base: the book's own run; the lab starts from its settings.
        seeds: draws, of seeds base.seed, base.seed + 1, …; 1 to 20.
        against: a baseline, trained on the same draws; it shares the knobs that
            describe the situation.
        over: {name: values, or how many}: train over a knob, or over two.
        views: which pictures, in their order; None: those that fit.
        description: what there is to see, in one or two sentences.
        device: 'auto', 'cpu', 'cuda' or 'mps', where the kernel trains.
        knobs: name=(low, high) for a number: λs have 0 at their slider's left end;
            name=(one, other, …) for a choice.
    Raises: ValueError naming what is wrong, or if a run of base diverges.
    """

    engine, state = Unicode("kernel").tag(sync=True), Unicode("ready").tag(sync=True)
    message, error = Unicode().tag(sync=True), Unicode().tag(sync=True)
    device, keep = Unicode().tag(sync=True), _Bool(False).tag(sync=True)
    points = _Dict(default_value=None, allow_none=True).tag(sync=True)
    spec, results = Dict().tag(sync=True), Dict().tag(sync=True)
    assets = Instance(Assets).tag(sync=True, **widget_serialization)

    def __init__(
        self,
        base: Experiment,
        *,
        seeds: int = 1,
        against: Experiment | None = None,
        over: dict | None = None,
        views: tuple[str, ...] | None = None,
        description: str | None = None,
        device: str = "auto",
        **knobs: tuple,
    ):
        if not isinstance(base, Experiment):
            fail("base", base, "an Experiment")
        optional("against", against, Experiment, "an Experiment")
        optional("description", description, str, "a text")
        if views is not None:
            views = texts("views", views)
        self.base, self.against, self.asked = base, against, over is None
        self.seeds = whole("seeds", seeds, 1, MOST_SEEDS)
        self._knobs = parse_knobs(base, knobs)
        offered = over is not None or views is None or "map" in views
        self.over = parse_over(base, over, self._knobs) if offered else {}
        views = skeletons.choose(self, views, self._knobs)
        seed = {"seed": Knob("seed", 0, 2**32 - 1, base.seed)}
        every = (self._knobs | seed).items()
        settings = {trait_of(name): Setting(knob) for name, knob in every}
        self.add_traits(**_front_end(), **settings)
        self.knobs = Knobs(self, [*self._knobs, "seed"])
        self._spec = self._train_the_book(views, description)
        self.spec = skeletons.complete(self._spec)
        where = str(choose_device(device, base.dtype))
        self._engine = KernelEngine(where, self._publish)
        self.device = self._engine.name
        self._records: Records | None = None
        self._cells: tuple[str, np.ndarray] | None = None
        self._syncing: int | None = None  # the thread in which a view sets something
        self._seen, self._numbers, self._heard = False, itertools.count(1), set()
        data = {base.data, (against or base).data, *knobs.get("data", ())}
        self.assets = Assets.share(data)
        super().__init__()
        _answer_where_asked(self.comm)
        self.on_msg(self._hear)
        self.observe(self._moved, [*settings, "points"])
        self._cell = _running_cell()
        _end_predecessors(self)
        _open.append(self)

    def _train_the_book(self, views, text):
        """Return the lab's JSON, with the book's own run in it."""
        question.sweep(self, dict(self.knobs), None, seeds=1)  # may refuse
        runs = fit(self.members(), device="cpu")
        for run in runs:
            if run.status == "diverged":
                raise ValueError(f"{run.experiment}: must not diverge, for a lab")
        ends = [(run.epoch, [run.at_kept_epoch()[n] for n in CURVES]) for run in runs]
        self.results = means(ends, self.seeds, runs[0].weights)
        knobs = {name: knob.to_dict() for name, knob in self._knobs.items()}
        labels = [knob["label"] for knob in knobs.values()]
        return {
            "version": 2,
            "experiment": json.loads(self.base.to_json()),
            "knobs": knobs,
            "seeds": self.seeds,
            "against": self.against and json.loads(self.against.to_json()),
            "over": self.over,
            "order": {"knobs": [*knobs], "over": [*self.over]},  # notebooks sort keys
            "asked": self.asked,
            "views": list(views),
            "reference": reference(runs[: self.seeds]),
            "description": (text or "").strip() or describe(self.base, labels),
        }

    def to_dict(self) -> dict:
        """Return what a notebook stores, from which a page builds its own lab."""
        return self._spec

    def __repr__(self) -> str:
        """Return a table of the book's own run."""
        return table(self._spec)

    def _repr_mimebundle_(self, **kwargs):
        """The widget for JupyterLab, the lab's data for the page, a table for both."""
        bundle, metadata = super()._repr_mimebundle_(**kwargs)
        own = {LAB: self.to_dict(), "text/plain": repr(self)}
        return {WIDGET: bundle[WIDGET]} | own, metadata

    def members(self) -> list[Experiment]:
        """Return what trains at these settings: the draws, then the baseline's."""
        return question.members(self, dict(self.knobs), self.points)

    @property
    def data(self) -> Split:
        """The training points in force, of the first draw."""
        first, *_ = self.members()
        if self.points is None:
            return training_set(first)
        return own_points(first.data, **self.points)

    def train(self) -> None:
        """Train at the present settings, as after a change of one."""
        members = self.members()
        how = {"keep": self.keep, "scores": question.scores(members[0]), "watch": WATCH}
        self._ask("run", members, **how)
        if not self.asked:
            self.fill()

    def fill(self) -> None:
        """Train over the knobs of `over`, at the present settings of all others."""
        self._ask("sweep", question.sweep(self, dict(self.knobs), self.points))

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the kernel has nothing left to train.

        Returns: False if that took longer than timeout, seconds.
        """
        return self._engine.wait(timeout)

    def end(self) -> None:
        """End the lab's thread; what still shows the lab trains in the browser."""
        if self in _open:
            _open.remove(self)
            self._engine.close()
            self.send(ENDED)

    def close(self) -> None:
        """End the lab's thread, and take it off the page."""
        self.end()
        super().close()

    @traitlets.validate(*map(trait_of, NAMES), "seed", "points")
    def _accept(self, proposal):
        """Refuse what does not go together; several values at once are seen as one."""
        name, value = proposal["trait"].name, proposal["value"]
        now, points = dict(self.knobs), self.points
        try:
            if name != "points":
                now["data" if name == "data_set" else name] = value
            elif value is not None:
                value = question.plain(value, now.get("data", self.base.data))
            points = value if name == "points" else points
            question.members(self, now, points)
            if not self.asked:
                question.sweep(self, now, points, seeds=1)
        except ValueError as refusal:
            raise Refused(str(refusal)) from None
        return value

    def set_state(self, sync_data: dict) -> None:
        """Take what a view has set; it gets back what is refused."""
        self._syncing = threading.get_ident()
        try:
            super().set_state(sync_data)
        except Refused as refusal:
            self.message = f"not possible, so nothing has changed: {refusal}"
            self.send_state([name for name in sync_data if name in self.keys])
        finally:
            self._syncing = None

    def _moved(self, change):
        viewed = self._seen and self._syncing == threading.get_ident()
        if self.engine == "kernel" and not viewed:  # a view asks by itself
            self.train()

    def _ask(self, kind, members, **how):
        id = f"kernel-{next(self._numbers)}"
        if kind == "sweep":
            self._cells = id, np.full((len(members), len(CURVES)), np.nan)
        asked = {"type": kind, "id": id, "members": members, "points": self.points}
        self._pass(asked | how)

    def _hear(self, _, message, buffers):
        """Take a view's message; a question without an answer comes twice."""
        kind, self._seen = message["type"], True
        if self not in _open:
            self.send(ENDED)
        elif kind != "hello":
            if kind in KINDS:
                if message["id"] in self._heard:
                    return
                self._heard.add(message["id"])
                self.send({"type": "taken", "id": message["id"]})
            self._pass(message)

    def _pass(self, message):
        """Hand a message to the engine, and follow its run."""
        kind, records = message["type"], self._records
        if kind == "run":
            count = len(message["members"])
            self._records = Records(message["id"], count, self.seeds)
            with self.hold_sync():
                self.state, self.message, self.error = "training", "", ""
        elif kind in STATES and records and message["id"] in records.ids:
            self.state = STATES[kind]
        self._engine.ask(message)

    def _publish(self, message, arrays):
        arrays = {name: np.ascontiguousarray(a, "<f8") for name, a in arrays.items()}
        shapes = {name: list(array.shape) for name, array in arrays.items()}
        buffers = [array.tobytes() for array in arrays.values()]
        self.send({**message, "arrays": list(arrays), "shapes": shapes}, buffers)
        ids, kind = message.get("ids") or [message["id"]], message["type"]
        if kind == "error":
            self.state, self.message = "error", message["message"]
            self.error = self.message
        elif kind == "frame" and self._records and self._records.id in ids:
            if self._records.take(message, arrays):
                self.results = self.results | self._records.results()
                self.state, self.message = self._records.ending()
        elif kind == "cells" and self._cells and self._cells[0] in ids:
            self._cells[1][message["members"]] = arrays["records"]
            if message["over"]:
                found = sweep_means(question.cells(self.over), self._cells[1])
                self.results = self.results | {"over": found}


def _front_end():
    """The bundle that `make lab` builds, as the traits that anywidget reads."""
    try:
        texts = [
            (BUNDLE / f"widget.{kind}").read_text("utf-8") for kind in ("js", "css")
        ]
    except FileNotFoundError:
        texts = [UNBUILT, ""]
    traits = [Unicode(text).tag(sync=True) for text in texts]
    return dict(zip(("_esm", "_css"), traits, strict=True))


def _answer_where_asked(comm):
    """Let what a view sends go to the subshell that JupyterLab addresses it to.

    ipykernel ≥ 7.2 prefers the shell in whose name the widget has sent last: that of
    the cell which made it, or set a knob, and there it would wait for the cell's end.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, addressed: addressed


def _running_cell():
    """Return (cell id, execution count) in JupyterLab, elsewhere None."""
    parent = getattr(get_ipython(), "get_parent", dict)()
    cell = parent.get("metadata", {}).get("cellId")
    return None if cell is None else (cell, get_ipython().execution_count)


def _end_predecessors(lab):
    """End labs that an earlier run of the same cell has left behind.

    Their models stay, as other widgets may be linked to them. The cell tells, not the
    arguments: editing a range must end the old lab, and one cell may hold two labs.
    Where no cell is known, an equal spec decides.
    """
    for other in list(_open):
        if lab._cell is None or other._cell is None:
            same = lab.to_dict() == other.to_dict()
        else:
            same = lab._cell[0] == other._cell[0] and lab._cell != other._cell
        if same:
            other.end()


@atexit.register
def _end_all():
    for lab in list(_open):
        lab._engine.close()
