import numpy as np
import pytest
from sklearn import datasets

from utils import Experiment
from utils.data import load, training_set

BASE = Experiment(label_noise=0, n_train=None)


def test_ring_is_the_worked_example_bit_for_bit():
    np.random.seed(42)
    X = np.random.rand(1000, 2) * 4 - 2
    y = X[:, 0] ** 2 + X[:, 1] ** 2 > 5
    found = training_set(BASE.replace(data="ring"))
    assert np.array_equal(found.X, X)
    assert np.array_equal(found.y, y)
    assert found.y.mean() == 0.118


@pytest.mark.parametrize("name", ["ring", "moons", "digits"])
def test_the_three_sets_do_not_overlap(name):
    data = load(name)
    rows = [{tuple(x) for x in s.X} for s in (data.pool, data.validation, data.test)]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    assert all(set(s.y) == set(range(data.classes)) for s in (data.pool, data.test))


def test_digits_are_scikit_learns_images():
    X, y = datasets.load_digits(return_X_y=True)
    known = {(tuple(x / 16), int(label)) for x, label in zip(X, y, strict=True)}
    data = load("digits")
    splits = (data.pool, data.validation, data.test)
    found = {(tuple(x), int(k)) for s in splits for x, k in zip(s.X, s.y, strict=True)}
    assert found == known
    assert (data.features, data.outputs, data.image) == (64, 10, (8, 8))


def test_subsets_are_nested_and_chosen_by_seed():
    small, large, other = (
        training_set(BASE.replace(n_train=n, seed=seed)).X
        for n, seed in ((50, 1), (200, 1), (50, 2))
    )
    assert np.array_equal(small, large[:50])
    assert not np.array_equal(small, other)


def test_label_noise_replaces_labels_by_uniform_draws():
    e = BASE.replace(data="digits", seed=3)
    true = training_set(e).y
    noisy = training_set(e.replace(label_noise=1.0)).y
    half = training_set(e.replace(label_noise=0.5)).y
    assert abs((noisy == true).mean() - 0.1) < 5 * np.sqrt(0.09 / 1000)
    assert abs((half == true).mean() - 0.55) < 5 * np.sqrt(0.25 / 1000)
    assert set(noisy) == set(range(10))
    changed = half != true
    assert np.array_equal(half[changed], noisy[changed])


def test_validation_labels_stay_true():
    assert np.array_equal(
        load("ring").validation.y, (load("ring").validation.X ** 2).sum(1) > 5
    )


def test_unknown_data_is_named():
    with pytest.raises(ValueError, match="data = 'mnist'"):
        load("mnist")
