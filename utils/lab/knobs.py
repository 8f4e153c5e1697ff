"""Which settings of an Experiment a lab's reader may change, and how far.

A knob is a range (low, high) of a number, or a choice between strings, between tuples
(`hidden`) or between False and True. Its names are those of `utils.settings`.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.arguments import show
from utils.data import load
from utils.experiment import IMAGES, Experiment
from utils.settings import (
    AUGMENT,
    SHAPE,
    accept,
    is_log,
    label,
    option_text,
    others_of,
    value_of,
)

FIXED = ("channels", "dtype", "seed", "augment", "fold")  # the seed has its own box
NAMES = [f.name for f in dataclasses.fields(Experiment) if f.name not in FIXED]
NAMES += [*SHAPE, *AUGMENT]
STRENGTHS = ("l2", "l1", "weight_decay")  # 0 is at the left end of their sliders
COUNTS = ("n_train", "width", "epochs", "batch_size")
WIDE = 20  # times its low end, from which on the slider of a count is logarithmic
KINDS = {bool: "False and True", str: "strings", tuple: "tuples of whole numbers"}
RANGES = dict.fromkeys(STRENGTHS, (1e-6, 1.0)) | {"dropout": (0.0, 0.9)}  # for `over`
MOST_CHOICES = 100  # of a knob
FINE, FAR = 1e-300, 1e300  # how close the ends of a slider may be, and how far out
MOST = {1: 50, 2: 15}  # values of a knob in `over`, by how many knobs there are


@dataclass(frozen=True)
class Knob:
    """A number that the reader may turn, and how far."""

    name: str
    low: float
    high: float
    value: float

    @property
    def scale(self) -> str:
        """'log' or 'linear'."""
        wide = self.name in COUNTS and self.high >= WIDE * self.low
        return "log" if wide or is_log(self.name) else "linear"

    @property
    def whole(self) -> bool:
        """True for a count."""
        return isinstance(self.low, int)

    @property
    def zero(self) -> list[float]:
        """[0.0] for a λ, else []."""
        return [0.0] if self.name in STRENGTHS else []

    @property
    def steps(self) -> list[float]:
        """The values of its slider, in order; the experiment's own is among them.

        A logarithmic one has ten a decade; a linear one moves by about a hundredth of
        its range, a power of ten.
        """
        low, high = self.low, self.high
        if self.scale == "log":
            first, last = (10 * math.log10(end) for end in (low, high))
            tenths = range(math.ceil(first), math.floor(last) + 1)
            grid = [float(f"{10 ** (k / 10):.2g}") for k in tenths]
        else:
            step = 10.0 ** math.floor(math.log10((high - low) / 50))
            step = max(1, step) if self.whole else step
            grid = [float(f"{v:.6g}") for v in low + np.arange(0, high - low, step)]
        inner = {round(v) if self.whole else v for v in grid}
        ends = {low, high, self.value, *self.zero}
        return sorted({v for v in inner if low < v < high} | ends)

    def spread(self, count: int) -> list[float]:
        """Return that many values over its range; [] where its ends lie too close."""
        space = np.geomspace if self.scale == "log" else np.linspace
        values = space(self.low, self.high, count - len(self.zero)).tolist()
        if self.whole:
            return sorted({round(v) for v in values})
        for digits in (2, 3, 4, 17):
            inner = [float(f"{v:.{digits}g}") for v in values[1:-1]]
            short = [*self.zero, self.low, *inner, self.high]
            if len(set(short)) == count:
                return short
        return []

    def check(self, value: float) -> float:
        """Return a value that the reader has set, as an Experiment keeps it.

        Raises: ValueError naming knob, value and range.
        """
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and isinstance(value, int):  # a subclass may compare as it likes
            value = int.__pos__(value)
        elif number:
            value = float.__pos__(value)
        inside = number and min([self.low, *self.zero]) <= value <= self.high
        if not inside or (self.whole and value != int(value)):
            what = "a whole number" if self.whole else "a number"
            ends = f"[{min([self.low, *self.zero])}, {self.high}]"
            _refuse(self.name, value, f"be {what} in {ends}")
        return int(value) if self.whole else float(value)

    def to_dict(self) -> dict:
        """What a notebook stores of it; `steps` follows from that."""
        ends = {"label": label(self.name), "min": self.low, "max": self.high}
        how = {"scale": self.scale, "value": self.value, "whole": self.whole}
        return ends | how


@dataclass(frozen=True)
class Choice:
    """A setting that the reader may choose."""

    name: str
    choices: tuple
    value: str | bool | tuple[int, ...]

    def check(self, value: Any) -> Any:
        """Return a value that the reader has chosen, as an Experiment keeps it.

        Raises: ValueError naming knob, value and choices.
        """
        value = tuple(value) if isinstance(value, list) else value
        alike = type(value) is type(self.value)
        if isinstance(value, tuple):
            alike = alike and all(type(width) is int for width in value)
        if not alike or value not in self.choices:
            _refuse(self.name, value, f"be one of {list(self.choices)}")
        return value

    def to_dict(self) -> dict:
        """What the front end needs to know of it."""
        texts = [option_text(choice) for choice in self.choices]
        plain = [list(c) if isinstance(c, tuple) else c for c in self.choices]
        own = {"texts": texts, "value": plain[self.choices.index(self.value)]}
        return {"label": label(self.name), "choices": plain} | own


def parse_knobs(base: Experiment, wanted: dict) -> dict[str, Knob | Choice]:
    """Return a Knob for each name=(low, high), a Choice for each name=(one, other, …).

    A setting that Experiment refuses counts as bad only if no other knob's setting
    can make it acceptable: momentum, say, beside optimizer=("sgd", "adam").

    Raises: ValueError naming the knob, the value and what it must be.
    """
    knobs = {}
    for name, values in wanted.items():
        if isinstance(values, list | tuple) and len(values) > MOST_CHOICES:
            _refuse(name, values, f"be a range, or at most {MOST_CHOICES} choices")
    for name, values in wanted.items():
        if name not in NAMES:
            _refuse(f"knob {show(name)}", values, f"be one of {NAMES}")
        if name in SHAPE and "hidden" in wanted:
            _refuse(name, values, "be left out beside hidden")
        parse = _choice if isinstance(value_of(base, name), (*KINDS,)) else _range
        knobs[name] = parse(base, name, values, others_of(wanted, name))
    return knobs


def parse_over(base: Experiment, over: dict | None, knobs: dict) -> dict[str, list]:
    """Return the values over which a lab trains, by knob: one knob, or two for a map.

    Args:
        over: {name: values in order, or how many of them}; None: the map of λ × p, if
            the knobs have both, else nothing.
        knobs: those of the lab.
    Raises: ValueError naming the knob, the value and what it must be.
    """
    if over is None:
        strength = next((name for name in STRENGTHS if name in knobs), None)
        over = {"dropout": 7, strength: 8} if strength and "dropout" in knobs else {}
    elif not isinstance(over, dict) or len(over) not in MOST:
        _refuse("over", over, "be {name: values} of one knob, or of two")
    return {name: _axis(base, name, over, knobs) for name in over}


def _axis(base, name, over, knobs):
    values, most = over[name], MOST[len(over)]
    what = f"over: {name}"
    known = isinstance(name, str) and name in NAMES
    if not known or isinstance(value_of(base, name), (*KINDS,)):
        _refuse(what, values, "be a knob that is a number")
    if type(values) is int:
        knob = knobs.get(name)
        ends = [knob.low, knob.high] if knob else RANGES.get(name)
        if ends is None or not 3 <= values <= most:
            _refuse(what, values, f"be 3 to {most} for a knob, or a list of values")
        low, high = ends
        found = Knob(name, low, high, value_of(base, name)).spread(values)
        if not found:
            _refuse(what, values, f"be a list of values: {ends} lie too close")
        return found
    if not isinstance(values, list | tuple) or not 2 <= len(values) <= most:
        _refuse(what, values, f"be 2 to {most} values")
    others = others_of({n: [knob.value] for n, knob in knobs.items()}, name)
    found = [accept(base, name, value, others) for value in values]
    if None in found:
        _refuse(what, values, "be numbers")
    if any(0 < v < FINE or v > FAR for v in found):
        _refuse(what, values, f"be 0 or in [{FINE:g}, {FAR:g}]")
    if found != sorted(set(found)):
        _refuse(what, values, "ascend")
    return found


def _choice(base, name, values, others):
    own = value_of(base, name)
    kind = next(kind for kind in KINDS if isinstance(own, kind))
    given = values if isinstance(values, list | tuple) else ()
    choices = tuple(tuple(v) if isinstance(v, list) else v for v in given)
    if len(choices) < 2 or any(type(choice) is not kind for choice in choices):
        _refuse(name, values, f"be two or more choices, {KINDS[kind]}")
    choices = tuple(accept(base, name, choice, others) for choice in choices)
    if len(set(choices)) < len(choices):
        _refuse(name, values, "be choices that differ")
    if own not in choices:
        _refuse(name, values, f"hold the experiment's own {own!r}")
    if name == "data" and len({_kind(data) for data in choices}) > 1:
        _refuse(name, values, "be alike in task, classes, number of inputs and images")
    return Choice(name, choices, own)


def _kind(name):
    data = load(name)
    return data.task, data.classes, data.features, data.image


def _range(base, name, limits, others):
    if name in AUGMENT and base.data not in IMAGES:
        _refuse(name, limits, f"be left out for data = {base.data!r}, no images")
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        _refuse(name, limits, "be a range (low, high)")
    low, high = (accept(base, name, end, others) for end in limits)
    knob = Knob(name, low, high, 0)
    if None in (knob.low, knob.high):
        _refuse(name, limits, "have numbers at its ends")
    if not knob.low < knob.high:
        _refuse(name, limits, "have low < high")
    if is_log(name) and knob.low == 0:
        _refuse(name, limits, "have low > 0, for a logarithmic slider")
    if knob.high > FAR or knob.high - knob.low < FINE:
        _refuse(name, limits, f"end below {FAR:g}, at least {FINE:g} apart")
    own = value_of(base, name)
    if own is None or not (knob.low <= own <= knob.high or own in knob.zero):
        _refuse(name, limits, f"hold the experiment's own {name} = {own!r}")
    return dataclasses.replace(knob, value=own)


def _refuse(name, value, must):
    raise ValueError(f"{name} = {show(value)}: must {must}")
