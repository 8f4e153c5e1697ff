import numpy as np
import pytest
from sklearn import datasets

from utils import Experiment, fit
from utils.data import load, own_points, training_set, validation_set
from utils.experiment import DATA

BASE = Experiment(label_noise=0, n_train=None)


def test_ring_is_the_worked_example_bit_for_bit():
    np.random.seed(42)
    X = np.random.rand(1000, 2) * 4 - 2
    y = X[:, 0] ** 2 + X[:, 1] ** 2 > 5
    found = training_set(BASE.replace(data="ring"))
    assert np.array_equal(found.X, X)
    assert np.array_equal(found.y, y)
    assert found.y.mean() == 0.118


@pytest.mark.parametrize("name", DATA)
def test_the_three_sets_do_not_overlap(name):
    data = load(name)
    rows = [{tuple(x) for x in s.X} for s in (data.pool, data.validation, data.test)]
    assert not rows[0] & rows[1]
    assert not rows[0] & rows[2]
    assert not rows[1] & rows[2]
    if data.task != "regression":
        every = set(range(data.classes))
        assert all(set(s.y) == every for s in (data.pool, data.test))


def test_digits_are_scikit_learns_images():
    X, y = datasets.load_digits(return_X_y=True)
    known = {(tuple(x / 16), int(label)) for x, label in zip(X, y, strict=True)}
    data = load("digits")
    splits = (data.pool, data.validation, data.test)
    found = {(tuple(x), int(k)) for s in splits for x, k in zip(s.X, s.y, strict=True)}
    assert found == known
    assert (data.features, data.outputs, data.image) == (64, 10, (8, 8))


TABLES = {
    "breast_cancer": (datasets.load_breast_cancer, 30, (309, 130, 130)),
    "diabetes": (datasets.load_diabetes, 10, (242, 100, 100)),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_scikit_learns_standardised_by_the_pool(name):
    source, features, sizes = TABLES[name]
    data, (X, y) = load(name), source(return_X_y=True)
    splits = (data.pool, data.validation, data.test)
    assert [len(s.y) for s in splits] == list(sizes)
    assert (data.features, data.outputs, data.image) == (features, 1, None)
    np.testing.assert_allclose(data.pool.X.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(data.pool.X.std(0), 1)
    pairs = [(s.X, s.y) for s in splits]
    joined = [np.concatenate(parts) for parts in zip(*pairs, strict=True)]
    found, known = np.column_stack(joined), np.column_stack([X, y])
    np.testing.assert_allclose(np.corrcoef(found.T), np.corrcoef(known.T), atol=1e-9)
    ranges = [np.sort((a - a.mean(0)) / a.std(0), axis=0) for a in (found, known)]
    np.testing.assert_allclose(*ranges, atol=1e-9)


@pytest.mark.parametrize(
    "name, task",
    [
        ("moons", "binary"),
        ("breast_cancer", "binary"),
        ("digits", "multiclass"),
        ("diabetes", "regression"),
        ("wave", "regression"),
    ],
)
def test_data_and_training_sets_carry_the_task(name, task):
    data, points = load(name), training_set(BASE.replace(data=name, n_train=50))
    assert data.task == data.test.task == points.task == task
    assert points.y.dtype == (np.float64 if task == "regression" else np.int64)


def test_regression_targets_are_standardised_by_the_pool():
    y = load("diabetes").pool.y
    assert (y.mean(), y.std()) == pytest.approx((0, 1))


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


def test_label_noise_in_regression_draws_targets_from_the_pool():
    e = BASE.replace(data="diabetes", n_train=200, seed=3)
    true = training_set(e).y
    noisy = training_set(e.replace(label_noise=1.0)).y
    half = training_set(e.replace(label_noise=0.5)).y
    assert set(noisy) <= set(load("diabetes").pool.y)
    assert (noisy == true).mean() < 0.1
    assert abs((half == true).mean() - 0.5) < 5 * np.sqrt(0.25 / 200)
    assert np.array_equal(half[half != true], noisy[half != true])


def test_validation_labels_stay_true():
    assert np.array_equal(
        load("ring").validation.y, (load("ring").validation.X ** 2).sum(1) > 5
    )


def test_unknown_data_is_named():
    with pytest.raises(ValueError, match="data = 'mnist'"):
        load("mnist")


@pytest.mark.parametrize("data", ["moons", "diabetes"])
def test_folds_divide_the_training_points(data):
    e = Experiment(data=data, n_train=23, label_noise=0.3, seed=5)
    every = training_set(e)
    rows = sorted(zip(every.X.tolist(), every.y.tolist(), strict=True))
    held = []
    for part in range(5):
        fold = e.replace(fold=(part, 5))
        kept, out = training_set(fold), validation_set(fold)
        assert (len(kept.y), len(out.y)) == (fold.n_points, fold.n_held_out)
        assert fold.n_held_out in (4, 5)
        both = [*zip(kept.X.tolist(), kept.y.tolist(), strict=True)]
        out = [*zip(out.X.tolist(), out.y.tolist(), strict=True)]
        assert sorted(both + out) == rows
        held += out
    assert sorted(held) == rows


def test_another_seed_divides_otherwise():
    e = Experiment(n_train=None, label_noise=0, fold=(0, 4))
    first, second = (validation_set(e.replace(seed=seed)).X.tolist() for seed in (0, 1))
    assert first != second


def test_wave_is_a_sine_and_noise():
    data = load("wave")
    assert (data.features, data.outputs, data.classes) == (1, 1, None)
    for split in (data.pool, data.validation, data.test):
        assert split.X.shape == (1000, 1) and np.abs(split.X).max() <= 3
        np.testing.assert_array_equal(data.truth(split.X), np.sin(1.5 * split.X[:, 0]))
        noise = split.y - data.truth(split.X)
        assert abs(noise.mean()) < 5 * 0.4 / np.sqrt(1000)
        assert abs(noise.std() - 0.4) < 5 * 0.4 / np.sqrt(2000)
        assert abs(np.corrcoef(noise, split.X[:, 0])[0, 1]) < 5 / np.sqrt(1000)
    X = np.sort(np.concatenate([data.pool.X, data.validation.X])[:, 0])
    assert np.abs(X - np.linspace(-3, 3, 2000)).max() < 5 * 3 / np.sqrt(2000)


def test_wave_is_learned_from_many_points_and_overfitted_with_few():
    base = BASE.replace(data="wave", seed=1)
    many, few = fit([base.replace(epochs=30), base.replace(n_train=15, epochs=300)])
    assert many.history["val_loss"][-1] < 1.3 * 0.4**2
    assert few.history["train_loss"][-1] < 0.5 * 0.4**2
    assert few.history["val_loss"][-1] > 1.5 * 0.4**2


def test_others_know_no_truth():
    assert [name for name in DATA if load(name).truth] == ["wave"]


@pytest.mark.parametrize("name", DATA)
def test_own_points_are_those_of_the_data_set_they_stand_for(name):
    chosen = training_set(BASE.replace(data=name, n_train=20))
    for X in (chosen.X.tolist(), chosen.X.ravel().tolist()):
        own = own_points(name, X, chosen.y.tolist())
        np.testing.assert_array_equal(own.X, chosen.X)
        np.testing.assert_array_equal(own.y, chosen.y)
        assert (own.task, own.y.dtype) == (chosen.task, chosen.y.dtype)


@pytest.mark.parametrize(
    "name, X, y, message",
    [
        ("moons", [], [], "X has 0 numbers, y 0: must be 2 for each, ≥ 1"),
        ("moons", [1, 2, 3], [0, 1], "X has 3 numbers, y 2"),
        ("moons", [1, 2], [0.5], r"y has \[0.5\]: must be whole numbers in \[0, 1\]"),
        ("digits", [0] * 64, [10], r"y has \[10.0\]"),
        ("wave", [np.inf], [0], "must be finite"),
        ("wave", [0], [np.nan], "must be finite"),
    ],
)
def test_bad_own_points_are_named(name, X, y, message):
    with pytest.raises(ValueError, match=message):
        own_points(name, X, y)


# Splits


@pytest.mark.parametrize("name", DATA)
def test_a_split_is_another_draw_of_the_same_kind(name):
    book, other, third = load(name), load(name, 3), load(name, 4)
    for part in ("pool", "validation", "test"):
        mine, its = getattr(other, part), getattr(book, part)
        assert mine.X.shape == its.X.shape and mine.y.dtype == its.y.dtype
        assert not np.array_equal(mine.X, its.X)
        assert not np.array_equal(mine.X, getattr(third, part).X)
    assert (other.classes, other.task) == (book.classes, book.task)
    assert load(name, 3) is other and load(name, None) is book
    assert other.pool.X.mean(0) == pytest.approx(book.pool.X.mean(0), abs=0.2)
    assert other.pool.X.std(0) == pytest.approx(book.pool.X.std(0), abs=0.2)
    shares = [np.bincount(d.pool.y) / len(d.pool.y) for d in (book, other) if d.classes]
    assert len(shares) == 0 or shares[0] == pytest.approx(shares[1], abs=0.06)


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "diabetes"])
def test_a_split_divides_the_same_points_anew(name):
    book, other = load(name), load(name, 7)
    both = []
    for data in (book, other):
        sets = (data.pool, data.validation, data.test)
        X, y = (np.concatenate([getattr(s, part) for s in sets]) for part in "Xy")
        rows = np.column_stack([X, y])
        rows = (rows - rows.mean(0)) / np.where(rows.std(0) > 0, rows.std(0), 1)
        both.append(rows[np.lexsort(rows.round(6).T)])
    assert both[0] == pytest.approx(both[1], abs=1e-5)
    if name != "digits":
        assert other.pool.X.mean(0) == pytest.approx(0, abs=1e-12)
        assert other.pool.X.std(0) == pytest.approx(1)


def test_generated_points_follow_their_rule():
    ring, wave, moons = (load(name, 5) for name in ("ring", "wave", "moons"))
    assert np.array_equal(ring.test.y, (ring.test.X**2).sum(1) > 5)
    noise = wave.pool.y - wave.truth(wave.pool.X)
    assert noise.std() == pytest.approx(0.4, rel=0.1)
    assert noise.mean() == pytest.approx(0, abs=0.05)
    X, y = moons.pool.X, moons.pool.y
    centre = np.stack([y, y / 2], 1)  # of each half circle, radius 1
    away = np.hypot(*(X - centre).T)
    book = load("moons").pool
    known = np.hypot(*(book.X - np.stack([book.y, book.y / 2], 1)).T)
    assert away.mean() == pytest.approx(known.mean(), abs=0.03)
    assert away.std() == pytest.approx(known.std(), abs=0.03)
    upper = ((X - centre)[:, 1] > 0)[y == 0].mean()
    assert upper == pytest.approx(((X - centre)[:, 1] < 0)[y == 1].mean(), abs=0.05)
    assert upper > 0.75


def test_training_and_validation_points_are_those_of_the_split():
    e = BASE.replace(data="diabetes", n_train=50, split=2)
    data = load("diabetes", 2)
    assert validation_set(e) is data.validation
    rows = {tuple(x) for x in data.pool.X}
    assert all(tuple(x) in rows for x in training_set(e).X)
    whole = training_set(e.replace(n_train=None))
    assert np.array_equal(whole.X, data.pool.X)


def test_members_of_many_splits_train_as_alone():
    base = Experiment(data="digits", n_train=60, hidden=(8,), epochs=3, dropout=0.3)
    members = [*base.draws(3), base, base.replace(split=1), *base.draws(2, first=7)]
    for run, e in zip(fit(members), members, strict=True):
        alone = fit(e)[0]
        for metric, values in run.history.items():
            assert values == pytest.approx(alone.history[metric], rel=1e-12)


def test_draws_are_seed_and_split():
    e = Experiment(l2=0.1)
    assert e.draws(2, first=5) == [e.replace(seed=k, split=k) for k in (5, 6)]
    for wrong in ({"n": 0}, {"n": 1.5}, {"n": 1, "first": -1}):
        with pytest.raises(ValueError, match="must be"):
            e.draws(**wrong)
