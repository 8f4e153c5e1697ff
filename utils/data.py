"""The book's data sets, each with a training pool, a validation and a test set.

The three sets never change. A seed chooses which `n_train` points of the pool are
used and which of their labels are replaced; validation and test labels stay true.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from sklearn import datasets

from utils import random
from utils.experiment import DATA_SIZE, Experiment
from utils.random import Purpose

HELD_OUT = {"ring": (1000, 1000), "moons": (1000, 1000), "digits": (397, 400)}


@dataclass(frozen=True)
class Split:
    """Inputs and labels of one set: X float64 [n, features], y int64 [n]."""

    X: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Data:
    """A data set.

    `pool` is what training points are chosen from; `classes` counts the labels;
    `image` is (rows, columns) where the features are pixels, else None.
    """

    name: str
    pool: Split
    validation: Split
    test: Split
    classes: int
    image: tuple[int, int] | None = None

    @property
    def features(self):
        """Number of input features."""
        return self.pool.X.shape[1]

    @property
    def outputs(self):
        """Number of network outputs: one logit for two classes, else one each."""
        return 1 if self.classes == 2 else self.classes


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
    X, y = datasets.load_digits(return_X_y=True)
    order = random.permutations(0, Purpose.SUBSET, [0], len(y))[0].numpy()[:n]
    return X[order] / 16, y[order]


_MAKERS = {"ring": _ring, "moons": _moons, "digits": _digits}


@lru_cache
def load(name: str) -> Data:
    """Return the data set called name: 'ring', 'moons' or 'digits'.

    Raises: ValueError for any other name.
    """
    if name not in _MAKERS:
        raise ValueError(f"data = {name!r}: must be one of {tuple(_MAKERS)}")
    sizes = (DATA_SIZE[name], *HELD_OUT[name])
    X, y = _MAKERS[name](sum(sizes))
    ends = np.cumsum(sizes)[:-1]
    parts = zip(np.split(X, ends), np.split(y.astype(np.int64), ends), strict=True)
    splits = [Split(*part) for part in parts]
    image = (8, 8) if name == "digits" else None
    return Data(name, *splits, classes=int(y.max()) + 1, image=image)


def training_set(experiment: Experiment) -> Split:
    """Return the training points of an experiment, labels noisy where it says so.

    The whole pool keeps its own order. Subsets are nested: with one seed, the first
    100 points are among the first 200.
    """
    data, n, seed = load(experiment.data), experiment.n_train, experiment.seed
    size = len(data.pool.y)
    chosen = np.arange(size)
    if n < size:
        chosen = random.permutations(seed, Purpose.SUBSET, [0], size)[0, :n].numpy()
    X, y = data.pool.X[chosen], data.pool.y[chosen]
    if experiment.label_noise:
        chance = _draw(seed, Purpose.LABEL, n)
        label = (_draw(seed, Purpose.LABEL_VALUE, n) * data.classes).astype(np.int64)
        y = np.where(chance < experiment.label_noise, label, y)
    return Split(X, y)


def _draw(seed, purpose, n):
    return random.uniforms(seed, purpose, [0], 0, 1, n, torch.float64)[0, 0].numpy()
