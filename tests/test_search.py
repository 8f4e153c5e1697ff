import itertools
import math

import numpy as np
import optuna
import pandas as pd
import pytest

from utils import Augment, Experiment, fit, search
from utils.sweep import search as search_module

BASE = Experiment(n_train=40, hidden=(8,), epochs=5)
SPACE = {"lr": (1e-3, 1e-1), "dropout": (0.0, 0.5)}
QUICK = {"trials": 6, "batch": 4, "seeds": range(2)}
SLOW_AND_FAST = {"lr": (1e-6, 1e-1)}


@pytest.fixture
def trainings(monkeypatch):
    """The Trainings that a search makes."""
    made = []

    class Counted(search_module.Training):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(search_module, "Training", Counted)
    return made


@pytest.mark.parametrize("metric", ["val_loss", "val_accuracy"])
@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("folds", [None, 3])
def test_a_trials_value_is_the_mean_of_its_runs_and_sem_its_standard_error(
    metric, patience, folds
):
    base = BASE.replace(patience=patience, epochs=12, lr=0.1)
    found = search(base, SPACE, **QUICK, folds=folds, metric=metric)
    parts = [None] if folds is None else [(k, folds) for k in range(folds)]
    for row in found.frame.itertuples():
        e = found.experiments[row.number]
        assert (e.lr, e.dropout) == (row.lr, row.dropout)
        runs = fit(e.grid(seed=range(2), fold=parts))
        values = runs.summary()[metric]
        assert row.value == pytest.approx(values.mean(), rel=1e-9)
        assert row.sem == pytest.approx(values.sem(), rel=1e-6, abs=1e-12)
        assert row.epochs == sum(len(run.history[metric]) for run in runs)
        assert row.state == "complete"


def test_one_run_has_no_standard_error():
    assert search(BASE, SPACE, 2, seeds=[3]).frame["sem"].isna().all()


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_the_same_seed_gives_the_same_study_and_another_seed_another(sampler):
    state = np.random.get_state()[1].copy()
    frames = [
        search(BASE, SPACE, 16, sampler, seeds=[0], seed=seed).frame
        for seed in (0, 0, 1)
    ]
    pd.testing.assert_frame_equal(frames[0], frames[1])
    assert not frames[0]["lr"].equals(frames[2]["lr"])
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.parametrize("name, least", [("val_loss", True), ("val_accuracy", False)])
def test_best_is_the_lowest_loss_or_the_highest_accuracy(name, least):
    found = search(BASE, SPACE, **QUICK, metric=name)
    values = found.frame["value"]
    assert found.best["value"] == (values.min() if least else values.max())
    assert found.best["value"] == found.study.best_value
    assert found.experiment.lr == found.study.best_params["lr"]
    kept = {"lr": BASE.lr, "dropout": BASE.dropout}
    assert found.experiment.replace(**kept) == BASE


def test_a_grid_has_each_combination_once_evenly_spaced_on_each_scale():
    space = SPACE | {"batch_size": (10, 40), "batch_norm": (False, True)}
    frame = search(BASE, space, 60, "grid", seeds=[0]).frame
    assert len(frame) == 2 * 3 * 3 * 3  # 4 · 3 · 3 · 2 would be over 60
    axes = [sorted(frame[name].unique()) for name in space]
    assert axes[0] == pytest.approx([1e-3, 1e-2, 1e-1])
    assert axes[1:] == [[0, 0.25, 0.5], [10, 25, 40], [False, True]]
    rows = [tuple(row) for row in frame[list(space)].to_numpy()]
    assert sorted(rows) == sorted(itertools.product(*axes))


def test_a_grid_gives_what_a_short_axis_leaves_to_the_others():
    space = {"batch_size": (10, 12), "dropout": (0, 0.5)}
    frame = search(BASE, space, 20, "grid", seeds=[0]).frame
    assert frame.nunique()[list(space)].tolist() == [3, 6]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_values_stay_in_their_ranges_and_among_their_choices(sampler):
    space = SPACE | {
        "hidden": [(4,), (8, 8)],
        "epochs": (1, 3),
        "patience": (None, 2),
        "l2": [0, 1e-3, 1e-2],
        "batch_size": np.array([16, 64]),
    }
    found = search(BASE, space, 30, sampler, seeds=[0])
    frame = found.frame
    assert frame["lr"].between(1e-3, 1e-1).all()
    assert set(frame["epochs"]) <= {1, 2, 3}
    for name in ("hidden", "patience", "l2", "batch_size"):
        assert set(frame[name]) == set(map(_hashable, space[name]))
    below = (frame["lr"] < 1e-2).mean()  # half of a logarithmic range
    assert sampler == "tpe" or 0.2 < below < 0.8
    for row in frame.to_dict("records"):
        assert found.experiments[row["number"]].hidden == row["hidden"]


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


def test_amounts_of_augment_are_knobs():
    base = Experiment(data="digits", n_train=30, hidden=(4,), epochs=1)
    found = search(base, {"rotation": (0, 20), "flip": [0, 0.5]}, 4, seeds=[0])
    for row in found.frame.itertuples():
        augment = Augment(rotation=row.rotation, flip=row.flip)
        assert found.experiments[row.number].augment == augment


def test_each_batch_is_one_training(trainings):
    search(BASE, SPACE, trials=10, batch=4, seeds=range(2), folds=3)
    assert [len(t.experiments) for t in trainings] == [24, 24, 12]
    assert all(len(t.groups) <= 2 for t in trainings)  # 40 points: folds of 13 and 14


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_without_pruning_every_sampler_has_the_same_budget(sampler):
    frame = search(BASE, SPACE, 9, sampler, seeds=range(2)).frame
    assert frame["epochs"].tolist() == [2 * BASE.epochs] * 9


def test_pruning_stops_runs_and_never_the_best(trainings):
    base = BASE.replace(epochs=20)
    options = {"trials": 24, "sampler": "random", "seeds": range(2)}
    whole = search(base, SLOW_AND_FAST, **options).frame
    trainings.clear()
    found = search(base, SLOW_AND_FAST, **options, prune=True)
    frame = found.frame
    assert frame["lr"].equals(whole["lr"])  # random asks for the same either way
    pruned = frame["state"] == "pruned"
    assert 0 < pruned.sum() < len(frame) - 8
    assert (frame["epochs"][pruned] < 2 * base.epochs).all()
    assert (frame["epochs"][pruned] >= 2 * base.epochs // 4).all()
    assert (frame["epochs"][~pruned] == 2 * base.epochs).all()
    assert frame["value"][~pruned].to_numpy() == pytest.approx(
        whole["value"][~pruned].to_numpy(), rel=1e-9
    )
    assert found.best["state"] == "complete"
    assert found.best["value"] == frame["value"][~pruned].min()
    stopped = sum(t.status.count("pruned") for t in trainings)
    assert stopped == 2 * pruned.sum()


def test_a_pruned_trials_value_is_the_mean_where_it_stopped():
    found = search(
        BASE.replace(epochs=12), SLOW_AND_FAST, 24, "random", seeds=[0], prune=True
    )
    rows = found.frame[found.frame["state"] == "pruned"]
    assert len(rows)
    for row in rows.itertuples():
        history = fit(found.experiments[row.number])[0].history["val_loss"]
        assert row.value == pytest.approx(history[row.epochs - 1], rel=1e-9)
        assert found.study.trials[row.number].value == pytest.approx(row.value)


def test_another_pruner_may_be_given():
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1)
    frame = search(BASE, SLOW_AND_FAST, 16, "random", seeds=[0], prune=pruner).frame
    assert set(frame["state"]) == {"complete", "pruned"}


@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_trial_that_diverges_says_so_and_is_never_best(sampler, trainings):
    base = BASE.replace(data="diabetes", optimizer="sgd", epochs=8)
    found = search(base, {"lr": (1e-3, 1e6)}, 12, sampler, seeds=range(2), seed=2)
    frame = found.frame
    bad = frame["state"] == "diverged"
    assert 0 < bad.sum() < 12
    assert frame["value"][bad].isna().all()
    assert np.isfinite(frame["value"][~bad]).all()
    assert found.best["state"] == "complete"
    assert (frame["epochs"][bad] < 16).any()
    for number in frame["number"][bad]:
        with pytest.warns(RuntimeWarning, match="diverged"):
            fit(found.experiments[number].grid(seed=range(2)))
        assert found.study.trials[number].state == optuna.trial.TrialState.PRUNED


def test_a_search_without_a_complete_trial_has_no_best():
    base = BASE.replace(data="diabetes", optimizer="sgd")
    found = search(base, {"lr": (1e7, 1e8)}, 3, seeds=[0])
    with pytest.raises(ValueError, match=r"complete: \{'diverged': 3\}; .*'diverged'"):
        _ = found.best


def test_a_combination_that_no_experiment_can_have_is_refused_and_not_trained():
    space = {"optimizer": ("sgd", "adam"), "momentum": [0, 0.5, 0.9]}
    found = search(BASE, space, 6, "grid", seeds=[0])
    wrong = (found.frame["optimizer"] == "adam") & (found.frame["momentum"] > 0)
    assert (found.frame["state"][wrong] == "refused").all()
    assert (found.frame["state"][~wrong] == "complete").all()
    assert (found.frame["epochs"][wrong] == 0).all()
    assert found.frame["value"].isna().equals(wrong)
    refused = found.study.trials[int(found.frame["number"][wrong].iloc[0])]
    assert "momentum" in refused.user_attrs["refused"]


def test_a_fold_that_leaves_a_batch_of_one_refuses_the_trial():
    base = BASE.replace(n_train=22, batch_norm=True, batch_size=6)
    options = {"seeds": [0], "folds": 3}  # these train on 14, 15 and 15 points
    found = search(base, {"batch_size": [2, 6, 14]}, 3, "grid", **options)
    states = dict(zip(found.frame["batch_size"], found.frame["state"], strict=True))
    assert states == {2: "refused", 6: "complete", 14: "refused"}
    found = search(base, {"batch_size": np.array([2, 14])}, 2, "grid", **options)
    with pytest.raises(
        ValueError, match=r"'refused': 2.*in batches of .* a single point"
    ):
        _ = found.best


def test_optuna_draws_the_study_in_the_books_style():
    study = search(BASE, SPACE, 8, seeds=[0], prune=True).study
    for kind in ("optimization_history", "contour", "param_importances"):
        figure = getattr(optuna.visualization, f"plot_{kind}")(study)
        assert figure.data
        template = figure.layout.template.layout
        assert template.paper_bgcolor == "rgba(0,0,0,0)"


def test_optunas_log_is_quiet_only_while_searching(capfd):
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    search(BASE, SPACE, 2, seeds=[0])
    after = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(before)
    assert capfd.readouterr() == ("", "")
    assert after == optuna.logging.DEBUG


@pytest.mark.parametrize(
    "space, message",
    [
        ({}, "space = {}: must map at least one knob"),
        (["lr"], r"space = \['lr'\]"),
        ({"depth": (1, 2)}, r"knob 'depth' = \(1, 2\): must be one of"),
        ({"seed": (0, 9)}, "'seed' must be given as seeds="),
        ({"fold": [(0, 2), (1, 2)]}, "'fold' must be given as folds="),
        ({"lr": 0.1}, "lr = 0.1: must be a range or choices"),
        ({"lr": (0.1, 0.01)}, r"lr = \(0.1, 0.01\): low must be < high"),
        ({"lr": (0.1, 0.1)}, "lr = .*: low must be < high"),
        ({"l2": (0, 0.1)}, r"l2 = \(0, 0.1\): low must be > 0 on a log scale"),
        ({"l1": (-1, 0.1)}, "l1 = .*: low must be > 0 on a log scale"),
        ({"dropout": (0, 1)}, r"dropout = 1: must be a number in \[0, 1\)"),
        ({"dropout": (0, math.nan)}, "dropout = nan: must be"),
        (
            {"dropout": [0.5]},
            "dropout = .*: must be a range .* or at least two choices",
        ),
        ({"hidden": [(4,), [4]]}, "hidden = .*choices, all different"),
        ({"epochs": (1.5, 4)}, "epochs = 1.5: must be a whole number"),
        ({"activation": ("relu", "cube")}, "activation = 'cube': must be one of"),
        ({"rotation": (0, 20)}, "augment = .*rotation.*: must be None for data"),
        ({"n_train": (2, 40)}, "fold = .* n_train = 2"),
        ({"augment": [None, {}], "flip": (0, 1)}, r"augment: .* beside \['flip'\]"),
    ],
)
def test_a_bad_space_is_an_error_that_names_it(space, message):
    with pytest.raises(ValueError, match=message):
        search(BASE, space, folds=3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"trials": 0}, "trials = 0: must be a whole number ≥ 1"),
        ({"trials": 2.5}, "trials = 2.5: must be a whole number"),
        ({"batch": 0}, "batch = 0: must be a whole number ≥ 1"),
        ({"sampler": "sobol"}, "sampler = 'sobol': must be one of"),
        ({"metric": "f1"}, "metric = 'f1': must be one of"),
        ({"prune": "median"}, "prune = 'median': must be a bool or a pruner"),
        ({"folds": 1}, "folds = 1: must be a whole number ≥ 2"),
        ({"folds": 2.0}, "folds = 2.0: must be a whole number"),
        ({"folds": True}, "folds = True: must be a whole number"),
        ({"folds": 41}, r"fold = \(0, 41\): must be .* at most n_train = 40"),
        ({"seeds": []}, r"seeds = \[\]: must be .* at least one"),
        ({"seeds": [1, 1]}, r"seeds = \[1, 1\]: .* all different"),
        ({"seeds": [-1]}, "seed = -1"),
        ({"sampler": "grid", "trials": 3}, "trials = 3: must be ≥ 4 for a grid"),
        ({"device": "abacus"}, "device = 'abacus'"),
    ],
)
def test_a_bad_option_is_an_error_that_names_it(options, message):
    with pytest.raises(ValueError, match=message):
        search(BASE, SPACE, **options)
