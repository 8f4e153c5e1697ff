"""The book's data sets, each with a training pool, a validation and a test set.

The three sets never change. A seed chooses which `n_train` points of the pool are
used and which of their labels are replaced; validation and test labels stay true. In
cross-validation a part of those points, noisy labels and all, is the validation set.
A task is "binary", "multiclass" or "regression"; in regression `y` holds targets.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from sklearn import datasets

from utils import random
from utils.experiment import DATA_SIZE, IMAGES, Experiment
from utils.random import Purpose

HELD_OUT = {
    "ring": (1000, 1000),
    "moons": (1000, 1000),
    "digits": (397, 400),
    "breast_cancer": (130, 130),
    "diabetes": (100, 100),
}


@dataclass(frozen=True)
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
    """

    name: str
    pool: Split
    validation: Split
    test: Split
    classes: int | None
    image: tuple[int, int] | None = None

    @property
    def features(self):
        """Number of input features."""
        return self.pool.X.shape[1]

    @property
    def outputs(self):
        """Number of network outputs: one per class beyond two classes, else one."""
        return self.classes if self.task == "multiclass" else 1

    @property
    def task(self):
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


def _shuffled(source, n):
    """The first n points of a scikit-learn data set, in a fixed random order."""
    X, y = source(return_X_y=True)
    order = random.permutations(0, Purpose.SUBSET, [0], len(y))[0].numpy()[:n]
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
}
_TABLES = ("breast_cancer", "diabetes")  # standardised by their pool
_REGRESSION = ("diabetes",)


@lru_cache
def load(name: str) -> Data:
    """Return the data set called name.

    The features of tables ('breast_cancer', 'diabetes') are standardised by the mean
    and the standard deviation of the pool; so are targets, in regression.

    Raises: ValueError for a name that is not one of `experiment.DATA`.
    """
    if name not in _MAKERS:
        raise ValueError(f"data = {name!r}: must be one of {tuple(_MAKERS)}")
    sizes = (DATA_SIZE[name], *HELD_OUT[name])
    X, y = _MAKERS[name](sum(sizes))
    if name in _TABLES:
        X = _standardised(X, sizes[0])
    if name in _REGRESSION:
        y, classes, task = _standardised(y, sizes[0]), None, "regression"
    else:
        y, classes = y.astype(np.int64), int(y.max()) + 1
        task = "binary" if classes == 2 else "multiclass"
    ends = np.cumsum(sizes)[:-1]
    parts = zip(np.split(X, ends), np.split(y, ends), strict=True)
    splits = [Split(*part, task) for part in parts]
    return Data(name, *splits, classes=classes, image=IMAGES.get(name))


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
        return load(experiment.data).validation
    points, part = _chosen(experiment), _held_out(experiment)
    return Split(points.X[part], points.y[part], points.task)


def _held_out(experiment):
    """Where the points of `fold` are among the chosen ones."""
    part, parts = experiment.fold
    address = (experiment.seed, Purpose.FOLD, [0], experiment.n_train)
    return np.sort(random.permutations(*address)[0].numpy()[part::parts])


def _chosen(experiment):
    """The n_train points, y noisy where it says so."""
    data, n, seed = load(experiment.data), experiment.n_train, experiment.seed
    size = len(data.pool.y)
    chosen = np.arange(size)
    if n < size:
        chosen = random.permutations(seed, Purpose.SUBSET, [0], size)[0, :n].numpy()
    X, y = data.pool.X[chosen], data.pool.y[chosen]
    if experiment.label_noise:
        chance = _draw(seed, Purpose.LABEL, n)
        other = _random_labels(_draw(seed, Purpose.LABEL_VALUE, n), data)
        y = np.where(chance < experiment.label_noise, other, y)
    return Split(X, y, data.task)


def _random_labels(u, data):
    """Turn uniforms into classes, or in regression into targets from the pool."""
    if data.classes is None:
        return data.pool.y[(u * len(data.pool.y)).astype(np.int64)]
    return (u * data.classes).astype(np.int64)


def _draw(seed, purpose, n):
    return random.uniforms(seed, purpose, [0], 0, 1, n, torch.float64)[0, 0].numpy()
