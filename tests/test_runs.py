import numpy as np
import pytest
import torch

from utils import Augment, Experiment, fit
from utils.data import load
from utils.engine import training

BASE = Experiment(n_train=40, hidden=(8,), epochs=4)


def test_frame_has_a_row_per_run_and_epoch_and_the_knobs_that_vary():
    runs = fit({"none": BASE.grid(seed=range(2)), "l2": BASE.replace(l2=0.1)})
    frame = runs.frame()
    assert len(frame) == 3 * 4
    assert {"run", "name", "seed", "l2", "epoch", "val_loss"} <= set(frame.columns)
    assert "dropout" not in frame.columns
    assert frame["name"].tolist()[::4] == ["none", "none", "l2"]
    row = frame[(frame.run == 2) & (frame.epoch == 4)].iloc[0]
    assert row.val_loss == runs[2].history["val_loss"][-1]


def test_summary_has_the_kept_epoch_the_gap_and_the_exact_zeros():
    runs = fit([BASE, BASE.replace(patience=2, epochs=50, label_noise=0.6, lr=0.1)])
    table = runs.summary()
    for run, row in zip(runs, table.itertuples(), strict=True):
        assert row.epoch == run.epoch
        assert row.val_loss == run.history["val_loss"][run.epoch - 1]
        assert row.gap == pytest.approx(row.val_loss - row.train_loss)
        assert row.zeros == np.mean(run.weights == 0)


def test_proximal_l1_gives_exact_zeros_in_the_summary():
    assert fit(BASE.replace(l1=3.0, epochs=30)).summary().zeros[0] > 0.9


def test_runs_are_found_by_number_slice_and_name():
    runs = fit({"a": BASE.grid(seed=range(3)), "b": BASE})
    assert len(runs) == 4
    assert runs[1].experiment.seed == 1
    assert [run.name for run in runs[2:]] == ["a", "b"]
    assert len(runs["a"]) == 3
    with pytest.raises(KeyError, match=r"must be one of \['a', 'b'\]"):
        runs["c"]


@pytest.mark.parametrize(
    "name, classes", [("moons", 2), ("breast_cancer", 2), ("digits", 10)]
)
def test_predict_gives_probabilities_that_match_the_record(name, classes):
    run = fit(BASE.replace(data=name))[0]
    held = load(name).validation
    p = run.predict(held.X)
    assert p.min() >= 0 and p.max() <= 1
    guess = p >= 0.5 if classes == 2 else p.argmax(1)
    accuracy = run.history["val_accuracy"][-1]
    assert np.mean(guess == held.y) == pytest.approx(accuracy)


def test_where_memory_runs_out_the_ensemble_is_split(monkeypatch):
    grid = BASE.grid(seed=range(5))
    whole = fit(grid)
    sizes, ensemble = [], training.Ensemble

    def small_machine(experiments, *options):
        sizes.append(len(experiments))
        if len(experiments) > 2:
            raise torch.OutOfMemoryError("full")
        return ensemble(experiments, *options)

    monkeypatch.setattr(training, "Ensemble", small_machine)
    split = fit(grid)
    assert sizes == [5, 2, 3, 1, 2]
    for a, b in zip(split, whole, strict=True):
        assert a.experiment == b.experiment
        assert a.history["val_loss"] == pytest.approx(b.history["val_loss"], rel=1e-11)


def test_one_member_too_large_says_so(monkeypatch):
    def full(*options):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(training, "Ensemble", full)
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        fit(BASE)


def test_frame_shows_an_augmentation_that_varies():
    images = BASE.replace(data="digits", epochs=1)
    runs = fit(images.grid(augment=[None, {"rotation": 5}]))
    assert runs.frame()["augment"].tolist() == [None, Augment(rotation=5)]
