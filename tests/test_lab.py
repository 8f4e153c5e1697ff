"""The live lab without a browser: set a slider, wait, look at state and figure."""

import itertools
import json
import math
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import reference
from utils import (
    Augment,
    Experiment,
    fit,
    lab_figure,
    lab_fill,
    lab_map,
    page_lab,
)
from utils import lab as lab_module
from utils.data import load, training_set
from utils.lab import Lab
from utils.lab_controls import Controls
from utils.lab_knobs import AUGMENT, NAMES, label
from utils.lab_panels import first_inputs
from utils.mimetypes import LAB, WIDGET
from utils.random import Purpose, permutations
from utils.sphinx_ext import find_problem, render_lab

BASE = Experiment(n_train=40, hidden=(8,), epochs=6)
DIGITS = BASE.replace(data="digits", label_noise=0, epochs=2)
DIABETES = BASE.replace(data="diabetes", label_noise=0)
LONG = 100_000
SECONDS = 60


@pytest.fixture
def make_lab():
    """Lab, closed at the end of the test."""
    labs = []

    def make(base=BASE, **options):
        labs.append(Lab(base, **options))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture
def lab(make_lab):
    return make_lab(l2=(1e-6, 1.0), dropout=(0, 0.9), epochs=(1, LONG))


def settle(lab):
    """Wait until the lab has done what it was asked."""
    assert lab.wait(SECONDS)


def wait_for(condition):
    """Poll until the condition holds."""
    pause, deadline = threading.Event(), SECONDS * 100
    for _ in range(deadline):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the condition did not come about in time")


def train_long(lab):
    """Start a run that does not end by itself, and wait until it is drawn."""
    lab.controls.sliders["epochs"].value = LONG
    wait_for(lambda: lab.state == "training" and len(drawn(lab, "val_loss")) > 2)


def drawn(lab, metric):
    """What the figure shows of the reader's own run."""
    line = lab.figure.lines[lab_figure.LOSSES.index(metric)]
    return [] if line.y is None else list(line.y)


def history(**changes):
    return fit(BASE.replace(**changes))[0].history


def test_starts_with_the_books_run_and_no_thread(lab):
    before = threading.active_count()
    assert (lab.state, drawn(lab, "val_loss")) == ("ready", [])
    assert list(lab.figure.reference[1].y) == history()["val_loss"]
    assert lab.figure.reference[1].name == "the book's run"
    assert lab.results["val_loss"] == history()["val_loss"][-1]
    assert lab.wait(0)
    assert threading.active_count() == before


@pytest.mark.parametrize("knob, value", [("l2", 1e-3), ("dropout", 0.5)])
def test_a_slider_retrains_from_the_same_initial_weights(lab, knob, value):
    for setting in (value, lab.knobs[knob].high, value):
        lab.controls.sliders[knob].value = setting
    settle(lab)
    expected = history(**{knob: value})
    assert lab.state == "done"
    for metric in lab_figure.LOSSES:
        assert drawn(lab, metric) == pytest.approx(expected[metric], abs=1e-9)
    assert lab.results["val_accuracy"] == expected["val_accuracy"][-1]
    gap = expected["val_loss"][-1] - expected["train_loss"][-1]
    assert lab.results["gap"] == pytest.approx(gap, abs=1e-9)


def test_zero_is_the_left_end_of_a_logarithmic_slider(make_lab):
    lab = make_lab(l2=(1e-6, 1.0), lr=(1e-3, 1.0))
    steps = [value for _, value in lab.controls.sliders["l2"].options]
    assert steps[:2] == [0, 1e-6]
    assert steps == sorted(set(steps))
    assert {1e-5, 1e-3, 0.1} < set(steps)
    assert steps[-1] == 1
    assert lab.controls.sliders["lr"].options[0][1] == 1e-3


def test_the_penalty_choice_decides_which_lambda_the_slider_is(make_lab):
    lab = make_lab(l1=(1e-6, 1e-1), l2=(1e-6, 1.0))
    assert lab.controls.sliders["l1"] is lab.controls.sliders["l2"]
    lab.controls.sliders["l1"].value = 1e-2
    for penalty, other in (("l2", "l1"), ("l1", "l2")):
        lab.controls.penalty.value = penalty
        settle(lab)
        run = lab.controls.experiment()
        assert (getattr(run, penalty), getattr(run, other)) == (1e-2, 0)
        expected = history(**{penalty: 1e-2})["val_loss"]
        assert drawn(lab, "val_loss") == pytest.approx(expected, abs=1e-9)
    assert lab.controls.sliders["l1"].description == "λ₁ (L1)"


def test_exact_zeros_are_counted(make_lab):
    lab = make_lab(l1=(1e-6, 1.0))
    lab.controls.sliders["l1"].value = 0.1
    settle(lab)
    weights = fit(BASE.replace(l1=0.1))[0].weights
    expected = f"{(weights == 0).sum()} of {weights.size}"
    assert lab.results["zeros"] == expected
    assert expected in lab.figure.panels.layout.annotations[1].text
    assert expected in lab.controls.numbers.value
    assert sum(lab.figure.histogram.traces[0].y) == (weights != 0).sum()


def test_going_on_keeps_the_present_weights(lab):
    lab.controls.change.value = "go on"
    lab.controls.play.value = True
    settle(lab)
    first = drawn(lab, "train_loss")
    lab.controls.sliders["l2"].value = 1e-6
    settle(lab)
    both = drawn(lab, "train_loss")
    assert both[:6] == first == pytest.approx(history()["train_loss"], abs=1e-9)
    assert both == pytest.approx(history(epochs=12)["train_loss"], abs=1e-2)
    assert both[6:] != pytest.approx(history(l2=1e-6)["train_loss"], abs=1e-2)
    assert list(lab.figure.curves.layout.xaxis.range) == [0, 12]


def test_going_on_starts_again_where_the_data_change_in_size(make_lab):
    lab = make_lab(n_train=(10, 100))
    lab.controls.change.value = "go on"
    for n_train in (20, 30):
        lab.controls.sliders["n_train"].value = n_train
        settle(lab)
    expected = history(n_train=30)["train_loss"]
    assert drawn(lab, "train_loss") == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("optimizer", "sgd", "optimizer = SGD"),
        ("batch_norm", True, "batch norm = on"),
        ("activation", "tanh", "activation = tanh"),
        ("dropout_at", "before_norm", None),
    ],
)
def test_a_choice_retrains(make_lab, name, value, text):
    base = BASE.replace(dropout=0.5, batch_norm=name == "dropout_at")
    choices = {
        "optimizer": ("adam", "sgd"),
        "batch_norm": (False, True),
        "activation": ("relu", "tanh"),
        "dropout_at": ("hidden", "last", "before_norm"),
    }
    lab = make_lab(base, **{name: choices[name]})
    menu = lab.controls.choices[name]
    assert menu.value == getattr(base, name)
    menu.value = value
    settle(lab)
    expected = fit(base.replace(**{name: value}))[0].history["val_loss"]
    assert drawn(lab, "val_loss") == pytest.approx(expected, abs=1e-9)
    lab.controls.pin.value = True
    settle(lab)
    assert text is None or lab.figure.pins[0][1].name == text


def test_a_choice_names_its_options_to_readers(make_lab):
    lab = make_lab(batch_norm=(False, True), optimizer=["sgd", "adam", "adamw"])
    options = {name: menu.options for name, menu in lab.controls.choices.items()}
    assert options["batch_norm"] == (("off", False), ("on", True))
    assert options["optimizer"] == (
        ("SGD", "sgd"),
        ("Adam", "adam"),
        ("AdamW", "adamw"),
    )


def test_what_an_experiment_refuses_leaves_the_last_run_as_it_is(make_lab):
    base = BASE.replace(optimizer="sgd")
    lab = make_lab(base, optimizer=("sgd", "adam"), momentum=(0, 0.9))
    lab.controls.sliders["momentum"].value = 0.5
    settle(lab)
    good = drawn(lab, "val_loss")
    lab.controls.choices["optimizer"].value = "adam"
    settle(lab)
    assert (lab.state, lab.error) == ("done", None)
    assert "not possible" in lab.message and "momentum = 0.5" in lab.message
    assert lab.message in lab.controls.status.value.replace("&#x27;", "'")
    assert drawn(lab, "val_loss") == good
    lab.controls.sliders["momentum"].value = 0
    settle(lab)
    assert "momentum" not in lab.message
    expected = fit(base.replace(optimizer="adam"))[0].history["val_loss"]
    assert drawn(lab, "val_loss") == pytest.approx(expected, abs=1e-9)


def test_a_refusal_amid_training_does_not_stop_it(make_lab):
    base = BASE.replace(optimizer="sgd", lr=1e-4)
    choices = {"optimizer": ("sgd", "adam"), "momentum": (0, 0.9)}
    lab = make_lab(base, epochs=(1, LONG), **choices)
    lab.controls.sliders["momentum"].value = 0.5
    train_long(lab)
    lab.controls.choices["optimizer"].value = "adam"
    wait_for(lambda: "not possible" in lab.message)
    count = len(drawn(lab, "val_loss"))
    wait_for(lambda: len(drawn(lab, "val_loss")) > count)
    assert lab.state == "training"


def test_a_refusal_before_the_first_run_leaves_the_lab_ready(make_lab):
    base = BASE.replace(n_train=33, batch_size=32)
    lab = make_lab(base, batch_norm=(False, True), n_train=(10, 33))
    lab.controls.choices["batch_norm"].value = True
    settle(lab)
    assert lab.state == "ready" and "batch_norm = True" in lab.message
    assert drawn(lab, "val_loss") == []


@pytest.mark.parametrize(
    "name, value", [("n_train", 20), ("batch_size", 8), ("batch_norm", True)]
)
def test_going_on_says_where_it_had_to_start_again(make_lab, name, value):
    lab = make_lab(n_train=(10, 40), batch_size=(2, 32), batch_norm=(False, True))
    lab.controls.change.value = "go on"
    lab.controls.play.value = True
    settle(lab)
    assert "again" not in lab.message
    (lab.controls.sliders | lab.controls.choices)[name].value = value
    settle(lab)
    assert f"started again: {label(name)} changed" in lab.message
    assert len(drawn(lab, "val_loss")) == BASE.epochs
    lab.controls.play.value = True
    settle(lab)
    assert "again" not in lab.message
    assert len(drawn(lab, "val_loss")) == 2 * BASE.epochs


def test_amounts_of_augmentation_are_sliders(make_lab):
    ranges = {"rotation": (0, 45), "shift": (0, 3), "scale": (0, 0.5), "flip": (0, 1)}
    lab = make_lab(DIGITS, **ranges)
    assert set(lab.controls.sliders) == set(AUGMENT)
    assert lab.controls.experiment().augment == Augment()
    lab.controls.sliders["rotation"].value = 30
    lab.controls.sliders["flip"].value = 0.5
    settle(lab)
    augment = Augment(rotation=30, flip=0.5)
    expected = fit(DIGITS.replace(augment=augment))[0].history["val_loss"]
    assert drawn(lab, "val_loss") == pytest.approx(expected, abs=1e-9)


def test_the_amounts_that_are_no_knobs_stay(make_lab):
    base = DIGITS.replace(augment=Augment(rotation=10, shift=1))
    lab = make_lab(base, shift=(0, 3))
    lab.controls.sliders["shift"].value = 2
    assert lab.controls.experiment().augment == Augment(rotation=10, shift=2)
    assert lab.to_dict()["knobs"]["shift"]["value"] == 1


def test_dragging_an_amount_keeps_the_ensemble(make_lab):
    lab = make_lab(DIGITS, rotation=(0, 45))
    lab.controls.sliders["rotation"].value = 30
    settle(lab)
    ensemble = lab._run.ensemble
    lab.controls.sliders["rotation"].value = 0
    settle(lab)
    assert lab._run.ensemble is ensemble


NOISY = {
    "augment": {"augment": Augment(rotation=40, shift=2, scale=0.3, flip=0.5)},
    "noise": {"input_noise": 0.3},
    "input dropout": {"dropout_input": 0.4},
    "all": {"augment": Augment(shift=3), "input_noise": 0.1, "dropout_input": 0.2},
    "small batches": {"augment": Augment(flip=0.5), "batch_size": 4, "seed": 5},
}


@pytest.mark.parametrize("changes", NOISY.values(), ids=NOISY)
def test_the_images_shown_are_those_of_the_first_step(changes, monkeypatch):
    e = DIGITS.replace(**changes)
    plain, seen = first_inputs(e, 10)
    order = permutations(e.seed, Purpose.ORDER, [0], e.n_train)[0].numpy()
    assert np.array_equal(plain, training_set(e).X[order][: min(10, e.batch_size)])
    network = reference.Network(e.replace(hidden=()))
    monkeypatch.setattr(reference.F, "linear", lambda x, *_: x)
    batch = network(torch.as_tensor(training_set(e).X[order][: e.batch_size]), 0)
    assert np.abs(seen - plain).max() > 0.1
    assert seen == pytest.approx(batch[: len(seen)].numpy(), abs=1e-12)


def test_the_images_move_with_the_sliders(make_lab):
    lab = make_lab(DIGITS, rotation=(0, 45), input_noise=(0, 1))
    rows = shown_images(lab)
    assert np.array_equal(rows[0], rows[1])
    for name, value in (("rotation", 45), ("input_noise", 0.5)):
        lab.controls.sliders[name].value = value
        settle(lab)
        _, seen = first_inputs(lab.controls.experiment(), 10)
        assert shown_images(lab)[1] == pytest.approx(seen.reshape(10, 8, 8), abs=1e-3)
    assert np.array_equal(shown_images(lab)[0], rows[0])


def shown_images(lab):
    """[2, 10, 8, 8], read off the figure: as they are, as the network sees them."""
    pixels = np.array(lab.figure.inputs.traces[0].z, float).reshape(2, 9, 10, 9)
    return pixels[:, :8, :, :8].swapaxes(1, 2)


@pytest.mark.parametrize(
    "base, knob, images",
    [(DIGITS, "rotation", True), (DIGITS, "l2", False), (BASE, "input_noise", False)],
)
def test_images_appear_where_a_knob_changes_them(make_lab, base, knob, images):
    ranges = {"rotation": (0, 9), "l2": (1e-6, 1.0), "input_noise": (0, 1)}
    assert (make_lab(base, **{knob: ranges[knob]}).figure.inputs is not None) == images


PATIENT = BASE.replace(n_train=20, label_noise=0.3, epochs=300, patience=3, lr=0.03)


@pytest.mark.parametrize("patience", [3, 8, 300])
def test_at_the_end_a_patient_run_shows_the_kept_weights(make_lab, patience):
    lab = make_lab(PATIENT, patience=(1, 300))
    lab.controls.sliders["patience"].value = patience
    lab.controls.restart.value = True
    settle(lab)
    run = fit(PATIENT.replace(patience=patience))[0]
    count = len(run.history["val_loss"])
    assert run.epoch < count
    assert f"kept epoch {run.epoch} of {count}" in lab.message
    assert (lab.figure.mark.visible, lab.figure.mark.x0) == (True, run.epoch)
    assert lab.results["val_loss"] == run.history["val_loss"][run.epoch - 1]
    shown = np.array(lab.figure.picture.traces[0].z, float)
    expected = run.predict(lab.figure.picture.inputs).round(3)
    assert shown.ravel() == pytest.approx(expected, abs=2e-3)
    counts, _ = np.histogram(run.weights, 5)
    x, y = lab.figure.histogram.traces[0].x, lab.figure.histogram.traces[0].y
    assert sum(y) == counts.sum()
    assert (x * y).sum() / sum(y) == pytest.approx(run.weights.mean(), abs=x[1] - x[0])
    assert lab._run.shown.weights == pytest.approx(run.weights, abs=1e-9)


def test_the_mark_goes_when_a_run_begins(make_lab):
    lab = make_lab(PATIENT, patience=(1, 50))
    lab.controls.play.value = True
    settle(lab)
    assert lab.figure.mark.visible
    lab._run.start(PATIENT)
    lab._run.run_epoch()
    lab.figure.draw(lab._run)
    assert not lab.figure.mark.visible


def test_without_patience_the_last_weights_are_shown(lab):
    lab.controls.play.value = True
    settle(lab)
    assert lab.figure.mark.visible is False
    assert "kept" not in lab.message
    weights = fit(BASE)[0].weights
    assert lab._run.shown.weights == pytest.approx(weights, abs=1e-9)


def test_the_books_patience_is_marked(make_lab):
    lab = make_lab(PATIENT, patience=(1, 50))
    run = fit(PATIENT)[0]
    mark = lab.figure.curves.layout.shapes[0]
    assert (mark.visible, mark.x0) == (True, run.epoch)
    assert lab.results["val_loss"] == run.history["val_loss"][run.epoch - 1]
    slider = lab.controls.sliders["patience"]
    assert isinstance(slider.value, int) and slider.step == 1


def test_regression_speaks_of_squared_errors(make_lab):
    lab = make_lab(DIABETES, l2=(1e-6, 1.0), description="Diabetes.")
    lab.controls.sliders["l2"].value = 1e-3
    settle(lab)
    run = fit(DIABETES.replace(l2=1e-3))[0]
    numbers = lab.controls.numbers.value
    assert "validation mean squared error" in numbers and "validation R²" in numbers
    assert f">{run.history['val_accuracy'][-1]:.4f}<" in numbers
    assert "accuracy" not in numbers.replace("name=val_accuracy", "")
    title = lab.figure.curves.layout.yaxis.title.text
    assert title == "mean squared error"
    hover = lab.figure.lines[1].hovertemplate
    assert "validation mean squared error" in hover
    assert "%" not in repr(lab) and "R²" in repr(lab).splitlines()[2]
    points = lab.figure.picture.traces[1]
    validation = load("diabetes").validation
    assert list(points.x) == list(validation.y)
    assert list(points.y) == pytest.approx(run.predict(validation.X), abs=1e-9)


def test_tables_show_the_chances_of_each_class(make_lab):
    base = BASE.replace(data="breast_cancer")
    lab = make_lab(base)
    lab.controls.seed.value = 1
    settle(lab)
    validation = load("breast_cancer").validation
    shares = fit(base.replace(seed=1))[0].predict(validation.X)
    for k, trace in enumerate(lab.figure.picture.traces):
        sure = (shares[validation.y == k] >= 0.95).sum()
        assert trace.y[-1] == sure
        assert sum(trace.y) == (validation.y == k).sum()


def test_pause_stops_and_play_resumes(lab):
    train_long(lab)
    lab.controls.play.value = False
    settle(lab)
    paused = drawn(lab, "val_loss")
    assert lab.state == "paused"
    assert lab.controls.progress.value == len(paused) == lab._run.epoch
    lab.controls.play.value = True
    wait_for(lambda: len(drawn(lab, "val_loss")) > len(paused))
    assert drawn(lab, "val_loss")[: len(paused)] == paused
    assert lab.state == "training"


def test_restart_begins_at_the_first_epoch(lab):
    lab.controls.play.value = True
    settle(lab)
    lab.controls.seed.value = 3
    settle(lab)
    lab.controls.restart.value = True
    settle(lab)
    assert lab.controls.restart.value is False
    expected = history(seed=3)["val_loss"]
    assert drawn(lab, "val_loss") == pytest.approx(expected, abs=1e-9)


def test_a_new_seed_brings_its_own_training_points(make_lab):
    lab = make_lab(BASE.replace(label_noise=0.5))
    old = sorted(np.concatenate([t.x for t in lab.figure.picture.traces[1:3]]))
    replaced = len(lab.figure.picture.traces[3].x)
    lab.controls.seed.value = 9
    settle(lab)
    new = sorted(np.concatenate([t.x for t in lab.figure.picture.traces[1:3]]))
    assert len(old) == len(new) == BASE.n_train
    assert old != new
    assert 0 < replaced < BASE.n_train


def test_a_pinned_run_stays(lab):
    lab.controls.sliders["l2"].value = 1e-3
    settle(lab)
    lab.controls.pin.value = True
    lab.controls.sliders["l2"].value = 1.0
    settle(lab)
    line = lab.figure.pins[0][1]
    assert line.visible and line.name == "λ₂ = 0.001"
    assert list(line.y) == pytest.approx(history(l2=1e-3)["val_loss"], abs=1e-9)
    assert drawn(lab, "val_loss") != list(line.y)
    lab.controls.unpin.value = True
    settle(lab)
    assert not line.visible


def test_five_pins_and_then_the_oldest_goes(lab):
    for penalty in (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0):
        lab.controls.sliders["l2"].value = penalty
        settle(lab)
        lab.controls.pin.value = True
        settle(lab)
    names = [line.name for _, line in lab.figure.pins]
    assert names == [f"λ₂ = {value:g}" for value in (1, 1e-4, 1e-3, 1e-2, 0.1)]


def test_divergence_is_told_and_the_figure_stays(make_lab):
    lab = make_lab(BASE.replace(optimizer="sgd"), lr=(1e-3, 1e300))
    lab.controls.sliders["lr"].value = 0.1
    settle(lab)
    good = drawn(lab, "val_loss"), str(lab.figure.panels.data)
    lab.controls.sliders["lr"].value = 1e300
    settle(lab)
    assert lab.state == "error"
    assert "diverged in epoch 1" in lab.message
    assert "data-state=error" in lab.controls.status.value
    assert (drawn(lab, "val_loss"), str(lab.figure.panels.data)) == good
    lab.controls.change.value = "go on"
    lab.controls.sliders["lr"].value = 0.1
    settle(lab)
    assert lab.state == "done"
    assert drawn(lab, "val_loss") == good[0]


def test_an_unexpected_error_is_told_and_the_lab_lives_on(lab, monkeypatch):
    monkeypatch.setattr(lab.figure, "draw", lambda *_: 1 / 0)
    lab.controls.play.value = True
    settle(lab)
    assert lab.state == "error"
    assert "ZeroDivisionError" in lab.controls.status.value
    assert isinstance(lab.error, ZeroDivisionError)
    monkeypatch.undo()
    lab.controls.restart.value = True
    settle(lab)
    assert lab.state == "done"


def test_stops_where_fit_stops(make_lab):
    base = BASE.replace(epochs=200, patience=3)
    lab = make_lab(base, patience=(1, 50), l2=(1e-6, 1.0))
    lab.controls.play.value = True
    settle(lab)
    run = fit(base)[0]
    assert run.status == "stopped early"
    assert drawn(lab, "val_loss") == pytest.approx(run.history["val_loss"], abs=1e-9)
    assert f"kept epoch {run.epoch} of {len(run.history['val_loss'])}" in lab.message


@pytest.mark.parametrize(
    "base",
    [
        BASE.replace(hidden=()),
        BASE.replace(data="ring", dtype="float32"),
        DIGITS.replace(batch_norm=True),
        DIGITS.replace(channels=(3, 4)),
        DIABETES,
        BASE.replace(data="breast_cancer"),
    ],
)
def test_other_networks_and_data(make_lab, base):
    lab = make_lab(base, input_noise=(0, 1), label_noise=(0, 1))
    lab.controls.sliders["input_noise"].value = 0.5
    settle(lab)
    expected = fit(base.replace(input_noise=0.5))[0].history["val_loss"]
    assert lab.state == "done"
    assert drawn(lab, "val_loss") == pytest.approx(expected, abs=1e-6)


def test_wrong_digits_are_marked_by_more_than_colour(make_lab):
    base = Experiment(data="digits", n_train=20, hidden=(), epochs=1)
    captions = make_lab(base).figure.picture.traces[1]
    colors = captions.textfont.color
    marked = ["✗" in text for text in captions.text]
    assert any(marked)
    assert [color != colors[marked.index(False)] for color in colors] == marked


BAD_RANGES = {
    "unknown": {"lamda": (0, 1)},
    "not a number": {"hidden": (1, 2)},
    "the seed": {"seed": (0, 9)},
    "reversed": {"dropout": (0.5, 0.1)},
    "empty": {"dropout": (0, 0)},
    "negative": {"l2": (-1, 1)},
    "no log of zero": {"l2": (0, 1)},
    "p of one": {"dropout": (0, 1)},
    "not a number at all": {"l2": (math.nan, 1)},
    "infinite": {"l2": (1e-6, math.inf)},
    "more than there are": {"n_train": (10, 10**6)},
    "not whole": {"epochs": (1.5, 10)},
    "not a pair": {"l2": 1e-3},
    "without the book's own value": {"lr": (0.1, 1)},
    "without patience in the book": {"patience": (1, 50)},
    "no images": {"rotation": (0, 45)},
    "no such choice": {"optimizer": ("adam", "lion")},
    "no other choice": {"optimizer": ("adam",)},
    "a choice twice": {"optimizer": ("adam", "adam")},
    "a choice without the book's own": {"optimizer": ("sgd", "adamw")},
    "a range for a choice": {"activation": (0, 1)},
    "booleans for strings": {"activation": (False, True)},
    "strings for booleans": {"batch_norm": ("off", "on")},
    "booleans for a number": {"dropout": (False, True)},
    "strings for a number": {"l2": ("low", "high")},
    "the data": {"data": ("ring", "moons")},
    "refused beside all else": {"dropout_channels": (0, 0.5)},
    "refused by the base": {"momentum": (0, 0.9)},
}


@pytest.mark.parametrize("knobs", BAD_RANGES.values(), ids=BAD_RANGES)
def test_a_bad_range_is_refused(make_lab, knobs):
    ((name, limits),) = knobs.items()
    with pytest.raises(ValueError, match=r"must|needs") as refusal:
        make_lab(**knobs)
    text = str(refusal.value)
    values = limits if isinstance(limits, tuple) else [limits]
    assert name in text
    assert any(repr(value) in text for value in values)


def test_a_bad_amount_of_augmentation_is_refused(make_lab):
    with pytest.raises(ValueError, match=r"augment\.rotation = 400"):
        make_lab(DIGITS, rotation=(0, 400))


def test_two_penalties_at_once_cannot_share_a_slider(make_lab):
    with pytest.raises(ValueError, match=r"l1 = 0\.1, l2 = 0\.1"):
        make_lab(BASE.replace(l1=0.1, l2=0.1), l1=(1e-3, 1), l2=(1e-3, 1))


def test_a_book_run_that_diverges_is_refused(make_lab):
    base = BASE.replace(optimizer="sgd", lr=1e300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(ValueError, match="diverged"):
            make_lab(base)


def test_running_the_cell_again_ends_the_old_thread(make_lab):
    old = make_lab(epochs=(1, LONG))
    train_long(old)
    thread = old._thread
    make_lab(epochs=(1, LONG))
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "old_cell, new_cell, ended",
    [
        (("a", 1), ("a", 2), True),
        (("a", 1), ("a", 1), False),
        (("a", 1), ("b", 2), False),
        (None, ("a", 1), True),
    ],
    ids=["cell run again", "two labs in a cell", "another cell", "no cell known"],
)
def test_which_lab_a_new_one_ends(make_lab, monkeypatch, old_cell, new_cell, ended):
    monkeypatch.setattr(lab_module, "_running_cell", lambda: old_cell)
    old = make_lab(l2=(1e-6, 1.0))
    monkeypatch.setattr(lab_module, "_running_cell", lambda: new_cell)
    make_lab(l2=(1e-6, 1.0))
    old.controls.play.value = True
    settle(old)
    assert old.state == ("ready" if ended else "done")


def test_only_the_trainer_touches_the_figure(lab, monkeypatch):
    threads = set()
    update = lab_figure.LiveFigure.batch_update

    def watched(figure):
        threads.add(threading.current_thread())
        return update(figure)

    monkeypatch.setattr(lab_figure.LiveFigure, "batch_update", watched)
    for name in ("play", "pin", "restart", "unpin"):
        getattr(lab.controls, name).value = True
        settle(lab)
    lab.controls.sliders["l2"].value = 1.0
    settle(lab)
    assert threads == {lab._thread}


@pytest.fixture
def map_lab(make_lab):
    return make_lab(l2=(1e-5, 0.1), dropout=(0, 0.9), epochs=(1, LONG))


def fill(lab):
    """Fill the map to the end."""
    lab.controls.fill.value = True
    assert lab.map.wait(SECONDS)


def click(lab, row, column):
    """What the browser reports of a click on a cell."""
    trace = lab.map.figure.data[0]
    points = {"point_indexes": [[row, column]], "trace_indexes": [0]}
    points |= {"xs": [trace.x[column]], "ys": [trace.y[row]]}
    report = {"event_type": "plotly_click", "points": points}
    lab.map.figure._js2py_pointsCallback = report


def cells(lab):
    """The losses that the map shows, NaN where it is empty, [λs, rates]."""
    return np.array(lab.map.figure.data[0].z, float)


def test_the_map_shows_the_means_of_three_seeds(map_lab):
    fill(map_lab)
    lams, rates = (map_lab.map.axes[key]["values"] for key in "yx")
    runs = fit(BASE.grid(l2=lams, dropout=rates, seed=range(3))).summary()
    means = runs.groupby(["l2", "dropout"])["val_loss"].mean()
    assert cells(map_lab).ravel() == pytest.approx(means.to_numpy(), rel=1e-5)
    row, column = np.unravel_index(means.argmin(), cells(map_lab).shape)
    mark = map_lab.map.figure.layout.shapes[0]
    assert (mark.y0, mark.x0) == (row - 0.5, column - 0.5)
    assert "168 networks" in map_lab.map.message and "3 seeds" in map_lab.map.message
    assert map_lab.controls.fill.value is False and map_lab.map.error is None


def test_the_map_has_the_pages_axes_and_number_of_seeds(map_lab):
    page = page_lab.plane(map_lab.to_dict())
    figure = page.pop("figure")
    assert map_lab.map.axes == page
    assert list(map_lab.map.figure.data[0].x) == figure["data"][0]["x"]
    assert list(map_lab.map.figure.data[0].y) == figure["data"][0]["y"]
    script = Path("web/lab/plane.js").read_text("utf-8")
    assert f"const SEEDS = {lab_map.SEEDS};" in script


def test_the_map_is_out_of_sight_until_it_is_asked_for(map_lab):
    threads = threading.active_count()
    assert map_lab.map.figure not in all_widgets(map_lab.widget)
    assert map_lab.controls.fill in all_widgets(map_lab.widget)
    fill(map_lab)
    assert map_lab.map.figure in all_widgets(map_lab.widget)
    assert threading.active_count() == threads


def all_widgets(widget):
    inner = [all_widgets(child) for child in getattr(widget, "children", ())]
    return [widget, *itertools.chain(*inner)]


@pytest.mark.parametrize("knobs", [{"l2": (1e-6, 1.0)}, {"dropout": (0, 0.9)}])
def test_without_both_knobs_there_is_no_map(make_lab, knobs):
    lab = make_lab(**knobs)
    assert lab.map is None and lab.controls.fill is None


def test_the_map_fills_little_by_little_and_says_how_far_it_is(map_lab, monkeypatch):
    drawn = watch_drawings(map_lab, monkeypatch)
    monkeypatch.setattr(lab_fill, "DRAW_EVERY", 0)
    said = []
    map_lab.map._said.observe(lambda change: said.append(change.new), "value")
    fill(map_lab)
    filled = [int(np.isfinite(z).sum()) for z in drawn]
    assert filled == sorted(filled) and filled[0] == 0 and filled[-1] == 56
    assert len({*filled}) > 4
    assert "0 of 168 networks" in said[0]
    assert "8 of 168 networks, about" in said[1] and "s left" in said[1]


def watch_drawings(lab, monkeypatch):
    """Each state of the map at which an update begins; the last is the final one."""
    drawn, update = [], lab_figure.LiveFigure.batch_update

    @contextmanager
    def watched(figure):
        with update(figure):
            yield
        if figure is lab.map.figure:
            drawn.append(cells(lab))

    monkeypatch.setattr(lab_figure.LiveFigure, "batch_update", watched)
    return drawn


def test_a_click_on_a_cell_loads_its_settings(map_lab):
    fill(map_lab)
    lams, rates = (map_lab.map.axes[key]["values"] for key in "yx")
    for row, column in ((2, 1), (0, 6)):
        click(map_lab, row, column)
        settle(map_lab)
        sliders = map_lab.controls.sliders
        assert (sliders["l2"].value, sliders["dropout"].value) == (
            lams[row],
            rates[column],
        )
        expected = history(l2=lams[row], dropout=rates[column])["val_loss"]
        assert drawn(map_lab, "val_loss") == pytest.approx(expected, abs=1e-9)


def test_the_map_is_of_the_labs_present_settings_and_says_so(make_lab):
    lab = make_lab(l2=(1e-5, 0.1), l1=(1e-5, 1), dropout=(0, 0.9), lr=(1e-3, 0.1))
    c = lab.controls
    c.penalty.value, c.sliders["l1"].value = "l1", 0.1
    c.sliders["lr"].value, c.seed.value = 0.1, 5
    fill(lab)
    base = BASE.replace(lr=0.1, l2=lab.map.axes["y"]["values"][3])
    runs = fit([base.replace(seed=seed) for seed in (5, 6, 7)]).summary()
    assert cells(lab)[3, 0] == pytest.approx(runs["val_loss"].mean(), rel=1e-5)
    assert "seeds 5, 6, 7, learning rate = 0.1." in lab.map._note.value
    c.sliders["lr"].value = 1e-3
    settle(lab)
    assert "learning rate = 0.1." in lab.map._note.value
    click(lab, 3, 0)
    assert (c.penalty.value, c.experiment().l1) == ("l2", 0)
    assert c.experiment().l2 == base.l2


def test_stop_ends_the_filling_and_its_thread(map_lab):
    map_lab.controls.sliders["epochs"].value = 500
    map_lab.controls.fill.value = True
    wait_for(lambda: map_lab.map.results is not None)
    assert map_lab.controls.fill.description == "Stop"
    map_lab.controls.fill.value = False
    assert map_lab.map.wait(SECONDS)
    assert not map_threads()
    count = len(map_lab.map.results)
    assert 0 < count < 168 and f"{count} networks" in map_lab.map.message
    assert "stopped" in map_lab.map.message
    assert np.isfinite(cells(map_lab)).sum() == count
    assert map_lab.controls.fill.description == "Fill the map of λ × p"


def test_stop_does_not_wait_for_the_end_of_a_run(make_lab):
    lab = make_lab(l2=(1e-6, 0.1), dropout=(0, 0.9), epochs=(1, LONG))
    lab.controls.sliders["epochs"].value = LONG
    lab.controls.fill.value = True
    assert not lab.map.wait(0.3)
    lab.controls.fill.value = False
    assert lab.map.wait(SECONDS)
    assert lab.map.error is None and "0 networks" in lab.map.message


def test_the_map_fills_again_after_a_stop(map_lab):
    c = map_lab.controls
    for value in (True, False, True):
        c.fill.value = value
    assert map_lab.map.wait(SECONDS)
    assert len(map_lab.map.results) == 168
    assert c.fill.value is False and not map_threads()


def map_threads():
    return [t for t in threading.enumerate() if t.name == "lab map"]


def test_closing_a_lab_ends_its_map(map_lab):
    map_lab.controls.sliders["epochs"].value = 500
    map_lab.controls.fill.value = True
    wait_for(lambda: map_lab.map.results is not None)
    map_lab.close()
    assert not map_threads()
    assert len(map_lab.map.results) < 168


def test_an_error_leaves_the_map_as_it_is_and_is_told(map_lab, monkeypatch):
    def broken(*arguments, **options):
        rows = lab_fill_stream(*arguments, **options)
        yield next(rows)
        raise RuntimeError("out of <memory>")

    lab_fill_stream = lab_fill.stream
    monkeypatch.setattr(lab_fill, "stream", broken)
    monkeypatch.setattr(lab_fill, "DRAW_EVERY", 0)
    fill(map_lab)
    assert np.isfinite(cells(map_lab)).sum() == 8
    assert "RuntimeError: out of <memory>" in map_lab.map.message
    assert "data-state=error" in map_lab.map._said.value
    assert "&lt;memory&gt;" in map_lab.map._said.value
    assert isinstance(map_lab.map.error, RuntimeError)
    monkeypatch.undo()
    fill(map_lab)
    assert np.isfinite(cells(map_lab)).all()


def test_what_an_experiment_refuses_leaves_the_map_as_it_is(make_lab):
    base = BASE.replace(optimizer="sgd")
    choices = {"optimizer": ("sgd", "adam"), "momentum": (0, 0.9)}
    lab = make_lab(base, l2=(1e-5, 0.1), dropout=(0, 0.9), **choices)
    fill(lab)
    before = cells(lab)
    lab.controls.sliders["momentum"].value = 0.5
    lab.controls.choices["optimizer"].value = "adam"
    lab.controls.fill.value = True
    assert lab.controls.fill.value is False and not map_threads()
    assert "not possible" in lab.map.message and "momentum" in lab.map.message
    assert np.array_equal(cells(lab), before)


def test_a_cell_with_a_diverged_run_stays_empty(make_lab):
    base = BASE.replace(optimizer="sgd", lr=1.0)
    lab = make_lab(base, l2=(1e-3, 1e90), dropout=(0, 0.9))
    fill(lab)
    lost = lab.map.results.query("status == 'diverged'").groupby(["l2", "dropout"])
    assert 0 < np.isnan(cells(lab)).sum() == lost.ngroups < 56
    assert "<td>–</td>" in lab.map._note.value


def test_the_map_leaves_cuda_to_the_live_run(map_lab):
    controls = Controls(BASE, map_lab.knobs, map_lab.map.axes)
    for given, used in (("cuda", "cpu"), ("cuda:1", "cpu"), ("cpu", "cpu")):
        live_map = lab_fill.LiveMap(map_lab.map.axes, controls, (), given)
        assert live_map.device == used


def test_only_the_maps_thread_touches_the_map(map_lab, monkeypatch):
    drawers = set()
    update = lab_figure.LiveFigure.batch_update

    def watched(figure):
        if figure is map_lab.map.figure:
            drawers.add(threading.current_thread().name)
        return update(figure)

    monkeypatch.setattr(lab_figure.LiveFigure, "batch_update", watched)
    fill(map_lab)
    click(map_lab, 1, 1)
    settle(map_lab)
    assert drawers == {"lab map"}


def test_what_the_browser_reports_changes_no_figure(lab):
    figure = lab.figure.curves
    before = str(figure.to_dict())
    figure._js2py_restyle = {"style_data": {"visible": False}, "style_traces": [0]}
    figure._js2py_relayout = {"relayout_data": {"xaxis.range": [0, 1]}}
    figure._js2py_traceDeltas = {"trace_deltas": [{"uid": "?"}], "trace_edit_id": 4}
    assert str(figure.to_dict()) == before
    assert figure._receipt == 4


def test_a_browser_that_falls_behind_is_not_sent_more(lab, monkeypatch):
    figure = lab.figure.curves
    now = [0.0]
    monkeypatch.setattr(lab_figure.time, "monotonic", lambda: now[0])
    updates = 0
    for _ in range(10):
        if figure.due(0.01):
            updates += 1
            with figure.batch_update():
                figure.layout.xaxis.range = [0, updates]
            assert not figure.due(0.01)
        now[0] += 0.02
    assert updates == lab_figure.MAX_ON_THE_WAY + 1
    figure._js2py_traceDeltas = {"trace_deltas": [], "trace_edit_id": updates}
    assert figure.due(0.01)


def test_the_stored_output(lab):
    bundle = lab._repr_mimebundle_()
    assert set(bundle) == {WIDGET, LAB, "text/plain"}
    data = bundle[LAB]
    run = history()
    expected = [float(f"{value:.7g}") for value in run["val_loss"]]
    assert list(data) == ["version", "experiment", "knobs", "reference", "description"]
    assert data["version"] == 1
    assert data["experiment"] == json.loads(BASE.to_json())
    assert data["knobs"]["l2"] == {
        "label": "λ₂ (L2)",
        "min": 1e-6,
        "max": 1.0,
        "scale": "log",
        "value": 0.0,
    }
    assert data["knobs"]["dropout"]["scale"] == "linear"
    assert data["reference"]["epoch"] == [1, 2, 3, 4, 5, 6]
    assert data["reference"]["val_loss"] == expected
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_a_choice_in_the_stored_output(make_lab):
    lab = make_lab(optimizer=("sgd", "adam"), batch_norm=(False, True))
    data = lab.to_dict()
    assert data["knobs"] == {
        "optimizer": {
            "label": "optimizer",
            "choices": ["sgd", "adam"],
            "value": "adam",
        },
        "batch_norm": {
            "label": "batch norm",
            "choices": [False, True],
            "value": False,
        },
    }
    assert find_problem(LAB, data) is None
    assert "<td>choice of sgd, adam</td>" in render_lab(data)
    assert "<td>choice of off, on</td>" in render_lab(data)


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"choices": ["sgd"]}, "$.knobs.optimizer.choices: "),
        ({"choices": ["sgd", 3]}, "$.knobs.optimizer.choices[1]: 3 is not"),
        ({"value": 3}, "$.knobs.optimizer.value: 3 is not"),
    ],
)
def test_a_malformed_choice_is_told_by_its_key(make_lab, change, problem):
    data = make_lab(optimizer=("sgd", "adam")).to_dict()
    data["knobs"]["optimizer"] |= change
    assert problem in find_problem(LAB, data)


def test_every_knob_has_a_name_in_plain_words():
    fields = Experiment.__dataclass_fields__.keys() - {"data", "dtype", "seed", "fold"}
    fields -= {"hidden", "channels", "augment"}
    unnamed = [f for f in (*fields, *AUGMENT) if label(f) == f and f not in NAMES]
    assert unnamed == []
    assert not any("_" in label(f) for f in (*fields, *AUGMENT))


def test_the_table(make_lab):
    lab = make_lab(BASE.replace(epochs=40), description="A small network.")
    lines = lab._repr_mimebundle_()["text/plain"].splitlines()
    epochs = [int(line.split()[0]) for line in lines[3:]]
    assert lines[0] == "Lab. A small network."
    assert epochs == [1, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert lines[3].split()[2] == f"{history()['val_loss'][0]:.4f}"


def test_the_output_is_the_same_every_time(make_lab):
    first, second = (make_lab(l2=(1e-6, 1.0))._repr_mimebundle_() for _ in range(2))
    for bundle in (first, second):
        bundle.pop(WIDGET)
    assert first == second
    assert " at 0x" not in first["text/plain"]


@pytest.mark.parametrize(
    "move", [f'sliders["epochs"].value = {LONG}', "fill.value = True"]
)
def test_python_exits_cleanly_while_a_lab_trains(move):
    program = f"""
import sys
from utils import Experiment, Lab
base = Experiment(n_train=40, hidden=(8,), epochs=100)
lab = Lab(base, epochs=(1, {LONG}), l2=(1e-6, 1), dropout=(0, 0.9))
lab.controls.{move}
assert not (lab.wait(0.2) and lab.map.wait(0.2))
sys.exit(7)
"""
    command = [sys.executable, "-c", program]
    options = {"capture_output": True, "text": True, "timeout": SECONDS}
    run = subprocess.run(command, check=False, **options)
    assert (run.returncode, run.stdout, run.stderr) == (7, "", "")
