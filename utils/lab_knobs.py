"""Which settings of an Experiment a lab's reader may change, and how far.

A knob is a range (low, high) of a number, or a choice between strings or between
False and True. The amounts of `Augment` are knobs of their own names.
"""

import dataclasses
import math
from dataclasses import dataclass

from utils.experiment import IMAGES, Augment, Experiment
from utils.plots import LABELS, LOG_KNOBS

AUGMENT = tuple(field.name for field in dataclasses.fields(Augment))
FIXED = ("data", "dtype", "seed", "augment")  # the seed has a box of its own
POSITIVE = ("lr", "init_scale")
PENALTIES = ("l1", "l2")
NAMES = {
    "activation": "activation",
    "activation_noise": "activation noise (σ)",
    "batch_norm": "batch norm",
    "batch_size": "batch size",
    "dropconnect": "p (DropConnect)",
    "dropout_at": "dropout acts on",
    "dropout_channels": "p (channel dropout)",
    "epochs": "epochs",
    "flip": "flip (chance)",
    "init_scale": "initial scale",
    "input_noise": "input noise (σ)",
    "l1_method": "method for L1",
    "momentum": "momentum",
    "optimizer": "optimizer",
    "patience": "patience (epochs)",
    "penalize_bias": "penalty on biases",
    "rotation": "rotation (degrees)",
    "scale": "size (± share)",
    "shift": "shift (pixels)",
    "weight_noise": "weight noise (σ)",
}
OPTIONS = {
    False: "off",
    True: "on",
    "adam": "Adam",
    "adamw": "AdamW",
    "before_norm": "inputs of each layer's batch norm",
    "hidden": "every hidden layer",
    "last": "the last hidden layer",
    "relu": "ReLU",
    "selu": "SELU",
    "sgd": "SGD",
}


@dataclass(frozen=True)
class Knob:
    """A number that the reader may turn, and how far."""

    name: str
    low: float
    high: float
    value: float

    @property
    def label(self) -> str:
        """The field's name for readers."""
        return label(self.name)

    @property
    def scale(self) -> str:
        """'log' or 'linear'."""
        return "log" if _is_log(self.name) else "linear"

    @property
    def whole(self) -> bool:
        """True for a count."""
        return isinstance(self.low, int)

    @property
    def step(self) -> float:
        """How far a linear slider moves: about a hundredth, a power of ten."""
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 50))
        return max(1, int(step)) if self.whole else step

    @property
    def steps(self) -> list[float]:
        """The values of its slider, in order; the experiment's own is among them.

        A logarithmic one has ten a decade, and 0 first where that is allowed.
        """
        if self.scale == "log":
            tenths = _tenths(self.low, self.high)
            grid = {float(f"{10 ** (k / 10):.2g}") for k in tenths}
            grid |= set() if self.name in POSITIVE else {0.0}
        else:
            count = round((self.high - self.low) / self.step)
            grid = {float(f"{self.low + k * self.step:.6g}") for k in range(count)}
        inside = {v for v in grid if v == 0 or self.low < v < self.high}
        return sorted({self.low, self.high, self.value} | inside)

    def to_dict(self) -> dict:
        """What the page needs to know of it."""
        ends = {"min": self.low, "max": self.high}
        return {"label": self.label, **ends, "scale": self.scale, "value": self.value}


@dataclass(frozen=True)
class Choice:
    """A setting that the reader may choose, strings or False and True."""

    name: str
    choices: tuple[str | bool, ...]
    value: str | bool

    @property
    def label(self) -> str:
        """The field's name for readers."""
        return label(self.name)

    @property
    def options(self) -> list[tuple[str, str | bool]]:
        """Pairs of what readers see and what it stands for."""
        return [(option_text(choice), choice) for choice in self.choices]

    def to_dict(self) -> dict:
        """What the page needs to know of it."""
        choices = list(self.choices)
        return {"label": self.label, "choices": choices, "value": self.value}


def parse_knobs(base: Experiment, wanted: dict) -> dict[str, Knob | Choice]:
    """Return a Knob for each name=(low, high), a Choice for each name=(one, other, …).

    A setting that Experiment refuses counts as bad only if no other knob's setting
    can make it acceptable: momentum, say, beside optimizer=("sgd", "adam").

    Raises: ValueError naming the knob, the value and what it must be.
    """
    known = [f.name for f in dataclasses.fields(base) if f.name not in FIXED]
    knobs = {}
    for name, values in wanted.items():
        if name not in {*known, *AUGMENT} or isinstance(value_of(base, name), tuple):
            names = [k for k in known if not isinstance(value_of(base, k), tuple)]
            raise ValueError(
                f"knob {name!r} = {values!r}: must be one of {[*names, *AUGMENT]}"
            )
        choice = isinstance(value_of(base, name), str | bool)
        parse = _choice if choice else _range
        knobs[name] = parse(base, name, values, others_of(wanted, name))
    return knobs


def penalty_knobs(base: Experiment, knobs: dict) -> dict[str, Knob]:
    """Return the λ knobs that share a slider, the one in use first, or none.

    One given knob suffices: the other then takes its range, unless the experiment
    uses the other penalty itself.

    Raises: ValueError if l1 and l2 are both knobs, and neither is 0 in base.
    """
    given = {name: knob for name, knob in knobs.items() if name in PENALTIES}
    if len(given) == 2 and base.l1 and base.l2:
        raise ValueError(
            f"l1 = {base.l1!r}, l2 = {base.l2!r}: one must be 0 where both are knobs,"
            " since one slider drives either"
        )
    if len(given) == 1:
        (knob,) = given.values()
        other = other_penalty(knob.name)
        if getattr(base, other):
            return {}
        given[other] = Knob(other, knob.low, knob.high, 0.0)
    return dict(sorted(given.items(), key=lambda item: not item[1].value))


def other_penalty(name: str) -> str:
    """Return 'l2' for 'l1', and the other way round."""
    return PENALTIES[1 - PENALTIES.index(name)]


def merge(knobs: dict[str, Knob]) -> Knob:
    """Return one knob with the range of all; it stands where the first does."""
    first, *_ = knobs.values()
    low = min(knob.low for knob in knobs.values())
    high = max(knob.high for knob in knobs.values())
    return Knob(first.name, low, high, first.value)


def value_of(experiment: Experiment, name: str):
    """Return the setting called name, of the experiment or of its `augment`."""
    if name in AUGMENT:
        return getattr(experiment.augment or Augment(), name)
    return getattr(experiment, name)


def with_values(experiment: Experiment, values: dict) -> Experiment:
    """Return a copy with other settings, the amounts of `augment` among them.

    Raises: ValueError if the result is not a valid experiment.
    """
    amounts = {name: values[name] for name in AUGMENT if name in values}
    rest = {name: value for name, value in values.items() if name not in amounts}
    if amounts:
        own = experiment.augment or Augment()
        rest["augment"] = dataclasses.replace(own, **amounts)
    return experiment.replace(**rest)


def label(name: str) -> str:
    """Return what readers call a knob."""
    return LABELS.get(name) or NAMES.get(name) or name.replace("_", " ")


def short_label(name: str) -> str:
    """Return the label without what is in brackets, unless only 'p' would be left."""
    short = label(name).split(" (")[0]
    return label(name) if short == "p" and name != "dropout" else short


def setting(experiment: Experiment, name: str) -> str:
    """Return 'λ₂ = 0.001', 'optimizer = SGD'."""
    value = value_of(experiment, name)
    choice = isinstance(value, str | bool)
    text = option_text(value) if choice else f"{value:g}"
    return f"{short_label(name)} = {text}"


def option_text(value: str | bool) -> str:
    """Return what readers call a choice."""
    return OPTIONS.get(value) or value.replace("_", " ")


def _choice(base, name, values, others):
    own = value_of(base, name)
    kind = bool if isinstance(own, bool) else str
    plenty = isinstance(values, list | tuple) and len(values) > 1
    if not plenty or not all(type(value) is kind for value in values):
        kinds = "False and True" if kind is bool else "strings"
        raise ValueError(f"{name} = {values!r}: must be two or more choices, {kinds}")
    if len(set(values)) < len(values):
        raise ValueError(f"{name} = {values!r}: choices must differ")
    for value in values:
        accept(base, name, value, others)
    if own not in values:
        raise ValueError(f"{name} = {values!r}: must hold the experiment's own {own!r}")
    return Choice(name, tuple(values), own)


def _range(base, name, limits, others):
    if name in AUGMENT and base.data not in IMAGES:
        raise ValueError(
            f"{name} = {limits!r}: must be left out for data = {base.data!r}, no images"
        )
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        raise ValueError(f"{name} = {limits!r}: must be a range (low, high)")
    low, high = (accept(base, name, end, others) for end in limits)
    if not low < high:
        raise ValueError(f"{name} = {limits!r}: low must be < high")
    log, value = _is_log(name), value_of(base, name)
    if log and low == 0:
        raise ValueError(
            f"{name} = {limits!r}: low must be > 0 on a log scale"
            " (the slider has 0 at its left end all the same)"
        )
    held = value is not None and (low <= value <= high or (log and value == 0))
    if not held:
        raise ValueError(
            f"{name} = {limits!r}: must hold the experiment's own {name} = {value!r}"
        )
    return Knob(name, low, high, value)


def others_of(wanted, name):
    """Every (name, value) that another knob can surely be set to."""
    ranges = {k: v for k, v in wanted.items() if isinstance(v, list | tuple)}
    return [(k, value) for k, values in ranges.items() if k != name for value in values]


def accept(base, name, value, others):
    """Return the value as Experiment keeps it, alone or beside one other knob's.

    Raises: ValueError, the one for value alone, if none of these are valid.
    """
    refusal = None
    for beside in [{}, *({other: setting} for other, setting in others)]:
        try:
            return value_of(with_values(base, beside | {name: value}), name)
        except ValueError as error:
            refusal = refusal or error
    raise refusal


def _is_log(name):
    return name in LOG_KNOBS or name == "init_scale"


def _tenths(low, high):
    return range(math.ceil(10 * math.log10(low)), math.floor(10 * math.log10(high)) + 1)
