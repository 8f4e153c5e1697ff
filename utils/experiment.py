"""One description of a training run, read by every engine and by the page."""

import dataclasses
import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

from utils.arguments import (
    choice,
    fail,
    flag,
    not_too_many,
    real,
    several,
    show,
    whole,
)

DATA = ("ring", "moons", "digits", "breast_cancer", "diabetes", "wave")
ACTIVATIONS = ("relu", "tanh", "selu")
OPTIMIZERS = ("sgd", "adam", "adamw")
L1_METHODS = ("proximal", "subgradient")
DROPOUT_AT = ("hidden", "last", "before_norm")
DTYPES = ("float64", "float32")
DATA_SIZE = {
    "ring": 1000,
    "moons": 1000,
    "digits": 1000,
    "breast_cancer": 309,
    "diabetes": 242,
    "wave": 1000,
}
IMAGES = {"digits": (8, 8)}  # rows and columns
DEEPEST = 100  # layers of a kind


@dataclass(frozen=True)
class Augment:
    """Random changes to a training image, drawn anew at every step.

    Args:
        rotation: largest angle, degrees, in [0, 180].
        shift: largest shift along each axis, pixels, in [0, 8].
        scale: largest relative change of size, in [0, 0.9].
        flip: probability of a left–right mirror image, in [0, 1].
    Raises: ValueError naming field, value and range.
    """

    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    flip: float = 0.0

    def __post_init__(self):
        for field, high in (
            ("rotation", 180),
            ("shift", 8),
            ("scale", 0.9),
            ("flip", 1),
        ):
            number = real(f"augment.{field}", getattr(self, field), 0, high)
            object.__setattr__(self, field, number)


def _augment(value):
    if value is None or isinstance(value, Augment):
        return value
    names = [field.name for field in dataclasses.fields(Augment)]
    known = isinstance(value, dict) and all(
        isinstance(key, str) and key in names for key in dict.keys(value)
    )
    if not known:
        fail("augment", value, f"None or a mapping with keys among {names}")
    return Augment(**dict(dict.items(value)))


@dataclass(frozen=True)
class Experiment:
    """A training run, complete: data, network, optimizer, regularizers, seed.

    λ₁ = l1 and λ₂ = l2 multiply Σ|w| and Σw² (no ½), added to the mean data loss;
    weight_decay is the optimizer's own argument. All three act on weights only
    unless penalize_bias. n_train=None takes the whole pool. label_noise is the chance
    that a training label is replaced by a class drawn uniformly (Zhang et al. 2017),
    in regression by the target of a point drawn from the pool. The noises are
    standard deviations of Gaussian noise added while training.

    channels are the maps of 3 × 3 convolutions, each followed by 2 × 2 max pooling, in
    front of the dense layers `hidden`; for images only. dropout acts on the units of
    `hidden`, dropout_channels on whole maps. dropout_at says where dropout acts: behind
    every layer of `hidden`, behind the last one only (and so behind every batch norm),
    or in front of each layer's batch norm and activation. dropconnect is the chance
    that a weight is dropped for a step. init_scale multiplies the initial parameters.

    split = k generates a synthetic data set anew, by its own rule, and divides a real
    one into pool, validation and test set anew; None is the book's fixed data.

    fold = (k, K) is one round of cross-validation: the n_train points are divided at
    random into K parts, and the run trains without part k and is validated on it.

    Raises: ValueError naming field, value and range.
    Source: book/notation.md.
    """

    data: str = "moons"
    n_train: int | None = 100
    label_noise: float = 0.1
    hidden: tuple[int, ...] = (50, 50)
    channels: tuple[int, ...] = ()
    activation: str = "relu"
    init_scale: float = 1.0
    batch_norm: bool = False
    dropout: float = 0.0
    dropout_input: float = 0.0
    dropout_channels: float = 0.0
    dropout_at: str = "hidden"
    dropconnect: float = 0.0
    input_noise: float = 0.0
    weight_noise: float = 0.0
    activation_noise: float = 0.0
    augment: Augment | None = None
    optimizer: str = "adam"
    momentum: float = 0.0
    lr: float = 1e-2
    epochs: int = 50
    batch_size: int = 32
    l1: float = 0.0
    l1_method: str = "proximal"
    l2: float = 0.0
    weight_decay: float = 0.0
    penalize_bias: bool = False
    patience: int | None = None
    fold: tuple[int, int] | None = None
    split: int | None = None
    seed: int = 0
    dtype: str = "float64"

    def __post_init__(self):
        for field, check in _CHECKS.items():
            object.__setattr__(self, field, check(field, getattr(self, field)))
        size = DATA_SIZE[self.data]
        n_train = size if self.n_train is None else self.n_train
        object.__setattr__(self, "n_train", whole("n_train", n_train, 1, size))
        _check_image(self)
        if self.fold is not None and self.fold[1] > self.n_train:
            fail("fold", self.fold, f"of at most n_train = {self.n_train} parts")
        if self.momentum and self.optimizer != "sgd":
            fail("momentum", self.momentum, f"0 for optimizer = {self.optimizer!r}")
        if self.batch_norm and 1 in (self.batch_size, self.n_points % self.batch_size):
            without = "" if self.fold is None else f" without fold {self.fold}"
            points = f"n_train = {self.n_train}{without}"
            batches = f"{points} in batches of {self.batch_size}"
            fail("batch_norm", True, f"False for {batches}: one has a single point")
        if self.dropout_channels and not self.channels:
            fail("dropout_channels", self.dropout_channels, "0 for channels = ()")

    @property
    def n_held_out(self) -> int:
        """How many of the n_train points are kept for validation: those of `fold`."""
        if self.fold is None:
            return 0
        return len(range(self.fold[0], self.n_train, self.fold[1]))

    @property
    def n_points(self) -> int:
        """How many points a run trains on."""
        return self.n_train - self.n_held_out

    def replace(self, **changes: Any) -> "Experiment":
        """Return a copy with the named fields changed."""
        _known(changes)
        return dataclasses.replace(self, **changes)

    def grid(self, **axes: Any) -> list["Experiment"]:
        """Return every combination of the given values, the last axis fastest.

        Raises: ValueError for an axis that is no list, or more than a million.
        """
        _known(axes)
        values = [several(name, values) for name, values in axes.items()]
        sizes = " × ".join(str(len(axis)) for axis in values)
        not_too_many("grid", math.prod(map(len, values)), f"is {sizes}")
        combinations = itertools.product(*values)
        return [self.replace(**dict(zip(axes, c, strict=True))) for c in combinations]

    def draws(self, n: int, first: int = 0) -> list["Experiment"]:
        """Return it on n draws: other data, label noise, initial weights and batches.

        Args:
            n: how many, 1 to 10,000.
            first: draw k has seed = split = k, for k = first … first + n − 1.
        Raises: ValueError naming n or first.
        """
        n, first = whole("n", n, 1, 10_000), whole("first", first, 0, 2**31)
        return [self.replace(seed=k, split=k) for k in range(first, first + n)]

    def to_json(self) -> str:
        """Return the experiment as one JSON object, keys in field order."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Experiment":
        """Return the experiment that to_json wrote.

        Raises: ValueError for what is not JSON, not an object or not a valid field.
        """
        try:
            fields = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not an experiment in JSON: {error}") from error
        if not isinstance(fields, dict):
            fail("experiment", fields, "a JSON object")
        _known(fields)
        return cls(**fields)


def _check_image(e):
    """What works on images alone, and halves their size, must fit the data."""
    no_images = f"for data = {e.data!r}: no images"
    if e.augment is not None and e.data not in IMAGES:
        fail("augment", e.augment, f"None {no_images}")
    if e.channels and e.data not in IMAGES:
        fail("channels", e.channels, f"() {no_images}")
    side = min(IMAGES.get(e.data, (1,)))
    if side >> len(e.channels) == 0:
        most = f"of length ≤ {side.bit_length() - 1} for images {side} pixels wide"
        fail("channels", e.channels, most)


def _widths(field, value):
    try:
        widths = several(field, value, most=DEEPEST)
        return tuple(whole(field, width, 1, 4096) for width in widths)
    except ValueError:
        layers = f"a tuple of at most {DEEPEST} whole numbers in [1, 4096]"
        fail(field, value, f"{layers}, () for no layer")


def _seed(field, value):
    return whole(field, value, 0, 2**32 - 1)


def _split(field, value):
    return None if value is None else _seed(field, value)


def _patience(field, value):
    return None if value is None else whole(field, value, 1, 100_000)


def _fold(field, value):
    if value is None:
        return None
    try:
        part, parts = several(field, value, least=2, most=2)
        parts = whole(field, parts, 2, 100_000)
        return whole(field, part, 0, parts - 1), parts
    except ValueError:
        fail(field, value, "None, or whole numbers (k, K) with 0 ≤ k < K, K ≥ 2")


def _positive(field, value):
    number = real(field, value, 0, math.inf)
    return number if number else fail(field, value, "a number > 0")


def _amount(field, value):
    return real(field, value, 0, math.inf)


def _fraction(field, value):
    return real(field, value, 0, 1, open_high=True)


_CHECKS = {
    "data": lambda f, v: choice(f, v, DATA),
    "label_noise": lambda f, v: real(f, v, 0, 1),
    "hidden": _widths,
    "channels": _widths,
    "activation": lambda f, v: choice(f, v, ACTIVATIONS),
    "init_scale": _positive,
    "batch_norm": flag,
    "dropout": _fraction,
    "dropout_input": _fraction,
    "dropout_channels": _fraction,
    "dropout_at": lambda f, v: choice(f, v, DROPOUT_AT),
    "dropconnect": _fraction,
    "input_noise": _amount,
    "weight_noise": _amount,
    "activation_noise": _amount,
    "augment": lambda f, v: _augment(v),
    "optimizer": lambda f, v: choice(f, v, OPTIMIZERS),
    "momentum": _fraction,
    "lr": _positive,
    "epochs": lambda f, v: whole(f, v, 1, 100_000),
    "batch_size": lambda f, v: whole(f, v, 1, 100_000),
    "l1": _amount,
    "l1_method": lambda f, v: choice(f, v, L1_METHODS),
    "l2": _amount,
    "weight_decay": _amount,
    "penalize_bias": flag,
    "patience": _patience,
    "fold": _fold,
    "split": _split,
    "seed": _seed,
    "dtype": lambda f, v: choice(f, v, DTYPES),
}


def check_experiments(values: Any) -> list[Experiment]:
    """Return some Experiments as a list.

    Raises: ValueError for none, or for what is not an Experiment.
    """
    found = several("experiments", values, "a list of Experiments")
    if not found:
        raise ValueError("experiments: must be at least one")
    for i, e in enumerate(found):
        if not isinstance(e, Experiment):
            fail(f"experiments[{i}]", e, "an Experiment")
    return found


def _known(names):
    known = [field.name for field in dataclasses.fields(Experiment)]
    for name in names:
        if name not in known:
            raise ValueError(f"unknown field {show(name)}: must be one of {known}")
