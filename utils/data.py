"""The book's data sets, each with a training pool, a validation and a test set.

The three sets are the book's own, or those of a split: drawn anew. A seed chooses
which `n_train` points of the pool are used and which of their labels are replaced;
validation and test labels stay true. In cross-validation a part of those points, noisy
labels and all, is the validation set.
A task is "binary", "multiclass" or "regression"; in regression `y` holds targets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from sklearn import datasets

from utils import random
from utils.arguments import fail, show
from utils.experiment import DATA_SIZE, IMAGES, Experiment
from utils.random import Purpose

AUDITED = 2**32 - 1  # the split that is the book's own in an audit
HELD_OUT = {
    "ring": (1000, 1000),
    "moons": (1000, 1000),
    "digits": (397, 400),
    "breast_cancer": (130, 130),
    "diabetes": (100, 100),
    "wave": (1000, 1000),
}


@dataclass(frozen=True, eq=False)
class Split:
    """One set: X float64 [n, features]; y [n], int64 labels or float64 targets."""

    X: np.ndarray
    y: np.ndarray
    task: str


@dataclass(frozen=True)
class Data:
    """A data set.

    `pool` is what training points are chosen from; `classes` counts the labels, None
    in regression; `image` is (rows, columns) where features are pixels, else None.
    `truth` maps inputs [n, features] to the targets without noise, None if unknown.
    """

    name: str
    pool: Split
    validation: Split
    test: Split
    classes: int | None
    image: tuple[int, int] | None = None
    truth: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def features(self) -> int:
        """Number of input features."""
        return self.pool.X.shape[1]

    @property
    def outputs(self) -> int:
        """Number of network outputs: one per class beyond two classes, else one."""
        return self.classes if self.task == "multiclass" else 1

    @property
    def task(self) -> str:
        """'binary', 'multiclass' or 'regression'."""
        return self.pool.task


def _ring(n):
    """Points uniform in [−2, 2]², class 1 outside the circle of radius √5.

    The first 1000 are the sources' worked example, bit for bit.
    """
    X = np.random.RandomState(42).rand(n, 2) * 4 - 2
    return X, (X[:, 0] ** 2 + X[:, 1] ** 2 > 5).astype(np.int64)


def _moons(n):
    """Two interleaved half circles, Gaussian noise of standard deviation 0.3."""
    return datasets.make_moons(n, noise=0.3, random_state=0)


def _digits(n):
    """The 8 × 8 images of handwritten digits in scikit-learn, pixels in [0, 1]."""
    X, y = _shuffled(datasets.load_digits, n)
    return X / 16, y


def _breast_cancer(n):
    """30 measurements of cell nuclei; 0 is malignant, 1 benign (Wolberg 1995)."""
    return _shuffled(datasets.load_breast_cancer, n)


def _diabetes(n):
    """10 measurements of a patient; progression a year on (Efron et al. 2004)."""
    return _shuffled(datasets.load_diabetes, n)


def _wave(n):
    """A sine of one input in [−3, 3], Gaussian noise of standard deviation 0.4."""
    draw = np.random.RandomState(0)
    X = draw.uniform(-3, 3, (n, 1))
    return X, _sine(X) + 0.4 * draw.standard_normal(n)


def _sine(X):
    return np.sin(1.5 * X[:, 0])


def _shuffled(source, n):
    """The first n points of a scikit-learn data set, in a fixed random order."""
    X, y = source(return_X_y=True)
    order = random.permutations(0, Purpose.SUBSET, [0], len(y))[0].numpy()[:n]
    return X[order], y[order]


# Synthetic points of a split, by numbers that the page draws too (web/trainer/data.js)


def _ring_anew(split, n):
    X = 4 * _draw_points(split, n) - 2
    return X, X[:, 0] ** 2 + X[:, 1] ** 2 > 5


def _moons_anew(split, n):
    u, noise = _draw_points(split, n), 0.3 * _draw_noise(split, n)
    angle, y = np.pi * u[:, 0], u[:, 1] >= 0.5
    side = 1 - 2 * y  # the second half circle is turned round, and moved
    X = np.stack([side * np.cos(angle) + y, side * np.sin(angle) + y / 2], 1)
    return X + noise, y


def _wave_anew(split, n):
    X = 6 * _draw_points(split, n)[:, :1] - 3
    return X, _sine(X) + 0.4 * _draw_noise(split, n)[:, 0]


def _draw_points(split, n):
    return random.uniforms(split, Purpose.POINT, [0], 0, n, 2)[0].numpy()


def _draw_noise(split, n):
    return random.normals(split, Purpose.POINT_NOISE, [0], 0, n, 2)[0].numpy()


def _divided_anew(name, split):
    """All points of a real data set, in another order."""
    data = _load(name, None)
    sets = data.pool, data.validation, data.test
    X, y = (np.concatenate([getattr(one, part) for one in sets]) for part in "Xy")
    order = random.permutations(split, Purpose.SPLIT, [0], len(y))[0].numpy()
    return X[order], y[order]


def _standardised(values, n):
    """Scale so that the first n rows have mean 0 and standard deviation 1."""
    return (values - values[:n].mean(0)) / values[:n].std(0)


_MAKERS = {
    "ring": _ring,
    "moons": _moons,
    "digits": _digits,
    "breast_cancer": _breast_cancer,
    "diabetes": _diabetes,
    "wave": _wave,
}
ANEW = {"ring": _ring_anew, "moons": _moons_anew, "wave": _wave_anew}
_TABLES = ("breast_cancer", "diabetes")  # standardised by their pool
_REGRESSION = ("diabetes", "wave")
_TRUTH = {"wave": _sine}


def load(name: str, split: int | None = None) -> Data:
    """Return the data set called name.

    The features of tables ('breast_cancer', 'diabetes') are standardised by the mean
    and the standard deviation of the pool; so are their targets, in regression.

    Args:
        name: one of `experiment.DATA`.
        split: None, or the number of a draw, as in Experiment.
    Raises: ValueError for another name.
    """
    if name not in _MAKERS:
        raise ValueError(f"data = {show(name)}: must be one of {tuple(_MAKERS)}")
    if split is None and random.AUDIT:
        split = AUDITED
    return _load(name, split)


@lru_cache(256)  # some experiments on each of many draws
def _load(name, split):
    sizes = (DATA_SIZE[name], *HELD_OUT[name])
    if split is None:
        X, y = _MAKERS[name](sum(sizes))
    elif name in ANEW:
        X, y = ANEW[name](split, sum(sizes))
    else:
        X, y = _divided_anew(name, split)
    if name in _TABLES:
        X = _standardised(X, sizes[0])
    if name in _REGRESSION:
        y = _standardised(y, sizes[0]) if name in _TABLES else y
        classes, task = None, "regression"
    else:
        y, classes = y.astype(np.int64), int(y.max()) + 1
        task = "binary" if classes == 2 else "multiclass"
    ends = np.cumsum(sizes)[:-1]
    parts = zip(np.split(X, ends), np.split(y, ends), strict=True)
    pool, validation, test = (Split(*part, task) for part in parts)
    known = IMAGES.get(name), _TRUTH.get(name)
    return Data(name, pool, validation, test, classes, *known)


def own_points(
    name: str, X: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray
) -> Split:
    """Return a reader's points, to be learned in place of those of a data set.

    Args:
        name: data set whose features and labels they have.
        X: inputs [n, features], or the same numbers in one row.
        y: labels or targets [n].
    Raises: ValueError for no point, for numbers too few, too many or not finite, and
        for a label that the data set does not have.
    """
    data = load(name)
    X, y = _floats("X", X), _floats("y", y)
    if not y.size or X.size != y.size * data.features:
        counts = f"X has {X.size} numbers, y {y.size}"
        raise ValueError(f"points: {counts}: must be {data.features} for each, ≥ 1")
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError("points: must be finite numbers")
    if data.classes is not None:
        if wrong := sorted(set(y.ravel().tolist()) - set(range(data.classes))):
            labels = f"whole numbers in [0, {data.classes - 1}]"
            raise ValueError(f"points: y has {show(wrong)}: must be {labels}")
        y = y.astype(np.int64)
    return Split(X.reshape(-1, data.features), y.reshape(-1), data.task)


def _floats(name, values) -> np.ndarray:
    try:
        return np.array(values, float)
    except Exception:  # the methods of a stranger may raise anything
        fail(f"points: {name}", values, "a list of numbers")


def training_set(experiment: Experiment) -> Split:
    """Return the training points of an experiment, y noisy where it says so.

    The whole pool keeps its own order. Subsets are nested: with one seed, the first
    100 points are among the first 200. The points of `experiment.fold` are left out.
    """
    points = _chosen(experiment)
    if experiment.fold is None:
        return points
    rest = np.ones(len(points.y), dtype=bool)
    rest[_held_out(experiment)] = False
    return Split(points.X[rest], points.y[rest], points.task)


def validation_set(experiment: Experiment) -> Split:
    """Return the data set's validation points, or those of `experiment.fold`."""
    if experiment.fold is None:
        return load(experiment.data, experiment.split).validation
    points, part = _chosen(experiment), _held_out(experiment)
    return Split(points.X[part], points.y[part], points.task)


def _held_out(experiment):
    """Where the points of `fold` are among the chosen ones."""
    part, parts = experiment.fold
    address = (experiment.seed, Purpose.FOLD, [0], experiment.n_train)
    return np.sort(random.permutations(*address)[0].numpy()[part::parts])


def _chosen(experiment):
    """The n_train points, y noisy where it says so."""
    data, n = load(experiment.data, experiment.split), experiment.n_train
    size = len(data.pool.y)
    order, chance, value = _drawn(experiment.seed, size)
    chosen = order[:n] if n < size else np.arange(size)
    X, y = data.pool.X[chosen], data.pool.y[chosen]
    if experiment.label_noise:
        other = _random_labels(value[:n], data)
        y = np.where(chance[:n] < experiment.label_noise, other, y)
    return Split(X, y, data.task)


@lru_cache(64)  # a lab draws the same again at every move
def _drawn(seed, size):
    """An order of the pool, and two uniforms for each label: replaced? By which?"""
    order = random.permutations(seed, Purpose.SUBSET, [0], size)[0].numpy()
    return (
        order,
        _draw(seed, Purpose.LABEL, size),
        _draw(seed, Purpose.LABEL_VALUE, size),
    )


def _random_labels(u, data):
    """Turn uniforms into classes, or in regression into targets from the pool."""
    if data.classes is None:
        return data.pool.y[(u * len(data.pool.y)).astype(np.int64)]
    return (u * data.classes).astype(np.int64)


def _draw(seed, purpose, n):
    return random.uniforms(seed, purpose, [0], 0, 1, n, torch.float64)[0, 0].numpy()
