"""The live lab without a browser: set a trait, wait, look at results and messages."""

import gzip
import json
import math
import subprocess
import sys
import threading
import warnings
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pytest

from utils import Augment, Experiment, fit
from utils.book.sphinx_ext import find_problem, render_lab
from utils.data import own_points, training_set
from utils.engine.training import Training
from utils.lab import Lab, assets, widget
from utils.lab.kernel import KernelEngine
from utils.lab.knobs import NAMES, Knob, parse_knobs, parse_over
from utils.lab.results import describe
from utils.mimetypes import LAB, WIDGET
from utils.settings import label

BASE = Experiment(n_train=40, hidden=(8, 8), epochs=6)
DIGITS = BASE.replace(data="digits", label_noise=0, epochs=2)
DIABETES = BASE.replace(data="diabetes", label_noise=0)
PATIENT = BASE.replace(n_train=20, label_noise=0.3, epochs=300, patience=3, lr=0.03)
METRICS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
POINTS = {"X": [[0, 1], [1, 0], [2, 2], [-1, 0]], "y": [0, 1, 1, 0]}
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


def mean(experiments):
    """The means of what counts of some runs."""
    frame = fit(experiments).summary()
    return {name: frame[name].mean() for name in (*METRICS, "gap")}


def means(lab):
    return {name: lab.results[name] for name in (*METRICS, "gap")}


def hear(lab, monkeypatch, **message):
    """What the lab says to its views, from now on: (message, buffers) each."""
    said = []
    monkeypatch.setattr(lab, "send", lambda *sent: said.append(sent))
    if message:
        lab._handle_custom_msg(message, [])
    return said


def ask(lab, **more):
    """A view's question."""
    members = [json.loads(e.to_json()) for e in lab.members()]
    watch = {"members": [0], "weights": True}
    lab._heard.clear()
    run = {"type": "run", "id": "view-1", "members": members, "points": lab.points}
    lab._handle_custom_msg(
        run | {"keep": False, "scores": 25, "watch": watch} | more, []
    )


def test_it_opens_with_the_books_run_and_no_thread(make_lab):
    before = threading.active_count()
    lab = make_lab(l2=(1e-6, 1.0))
    run = fit(BASE)[0]
    assert (lab.state, lab.wait(0)) == ("ready", True)
    assert means(lab) == pytest.approx(mean(BASE), abs=1e-12)
    assert lab.results["epoch"] == 6
    assert lab.results["zeros"] == f"0 of {run.weights.size}"
    assert lab.spec["reference"]["val_loss"] == pytest.approx(run.history["val_loss"])
    assert lab.device == "PyTorch on CPU"
    assert threading.active_count() == before


def test_all_that_a_view_needs_is_in_the_first_state(make_lab):
    lab = make_lab(l2=(1e-6, 1.0), data=("moons", "ring"), hidden=((8, 8), (3,)))
    state = lab.get_state()
    expected = {"l2": 0.0, "data_set": "moons", "hidden": (8, 8), "seed": 0}
    expected |= {"points": None, "keep": False, "engine": "kernel", "state": "ready"}
    assert {name: state[name] for name in expected} == expected
    assert state["spec"] == lab.spec and state["results"] == lab.results
    assert {"message", "error", "device", "_esm", "_css"} <= set(state)


MOVES = {
    "l2": (BASE, (1e-6, 1.0), 1e-3),
    "l1": (BASE, (1e-6, 1.0), 1e-2),
    "dropout": (BASE, (0, 0.9), 0.5),
    "n_train": (BASE, (10, 200), 77),
    "label_noise": (BASE, (0, 1), 0.5),
    "epochs": (BASE, (1, 20), 9),
    "batch_size": (BASE, (2, 40), 8),
    "lr": (BASE, (1e-3, 0.1), 0.05),
    "hidden": (BASE, ((8, 8), (3,), ()), (3,)),
    "data": (BASE, ("moons", "ring"), "ring"),
    "optimizer": (BASE, ("adam", "sgd"), "sgd"),
    "activation": (BASE, ("relu", "tanh"), "tanh"),
    "batch_norm": (BASE, (False, True), True),
    "input_noise": (DIABETES, (0, 1), 0.5),
    "patience": (PATIENT, (1, 300), 8),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_knob_retrains_from_the_same_initial_weights(make_lab, name):
    base, values, value = MOVES[name]
    lab = make_lab(base, **{name: values})
    lab.knobs[name] = value
    settle(lab)
    assert lab.state == "done"
    assert lab.knobs[name] == value
    changed = base.replace(**{name: value})
    assert lab.members() == [changed]
    assert means(lab) == pytest.approx(mean(changed), abs=1e-9)


def test_width_and_depth_make_the_hidden_layers(make_lab):
    lab = make_lab(width=(2, 50), depth=(0, 4))
    for changes, hidden in (
        ({"width": 3}, (3, 3)),
        ({"depth": 3}, (3, 3, 3)),
        ({"depth": 0}, ()),
        ({"width": 5, "depth": 1}, (5,)),
    ):
        lab.knobs.update(changes)
        assert [e.hidden for e in lab.members()] == [hidden]
    settle(lab)
    assert means(lab) == pytest.approx(mean(BASE.replace(hidden=(5,))), abs=1e-9)


def test_amounts_of_augmentation_are_knobs(make_lab):
    base = DIGITS.replace(augment=Augment(rotation=10, shift=1))
    lab = make_lab(base, shift=(0, 3), flip=(0, 1))
    lab.knobs.update(shift=2, flip=0.5)
    (own,) = lab.members()
    assert own.augment == Augment(rotation=10, shift=2, flip=0.5)
    settle(lab)
    assert means(lab) == pytest.approx(mean(own), abs=1e-9)


def test_the_seed_is_a_knob_of_every_lab(make_lab):
    lab = make_lab()
    lab.seed = 7
    settle(lab)
    assert means(lab) == pytest.approx(mean(BASE.replace(seed=7)), abs=1e-9)


def test_exact_zeros_are_counted(make_lab):
    lab = make_lab(l1=(1e-6, 1.0))
    lab.l1 = 0.1
    settle(lab)
    weights = fit(BASE.replace(l1=0.1))[0].weights
    assert lab.results["zeros"] == f"{(weights == 0).sum()} of {weights.size}"


@pytest.mark.parametrize(
    "base",
    [
        BASE.replace(hidden=()),
        BASE.replace(data="ring", dtype="float32"),
        DIGITS.replace(batch_norm=True),
        DIGITS.replace(channels=(3, 4)),
        DIABETES,
        BASE.replace(data="wave"),
        BASE.replace(data="breast_cancer"),
    ],
)
def test_other_networks_and_data(make_lab, base):
    lab = make_lab(base, input_noise=(0, 1), label_noise=(0, 1))
    lab.input_noise = 0.5
    settle(lab)
    expected = mean(base.replace(input_noise=0.5))
    assert means(lab) == pytest.approx(expected, abs=1e-6)


def test_it_stops_where_fit_stops(make_lab):
    lab = make_lab(PATIENT, l2=(1e-6, 1.0))
    lab.train()
    settle(lab)
    run = fit(PATIENT)[0]
    count = len(run.history["val_loss"])
    assert run.status == "stopped early" and run.epoch < count
    assert lab.results["epoch"] == run.epoch
    assert lab.results["val_loss"] == pytest.approx(run.at_kept_epoch()["val_loss"])
    assert (
        lab.message == f"stopped early, after {count} epochs, epoch {run.epoch} is kept"
    )


def test_keep_goes_on_with_the_present_weights(lab):
    lab.train()
    settle(lab)
    lab.keep = True
    lab.l2 = 1e-6
    settle(lab)
    assert (lab.results["epoch"], lab.message) == (12, "12 epochs")
    twelve = mean(BASE.replace(epochs=12))
    assert lab.results["train_loss"] == pytest.approx(twelve["train_loss"], abs=1e-3)
    lab.keep = False
    lab.l2 = 0
    settle(lab)
    assert means(lab) == pytest.approx(mean(BASE), abs=1e-9)


def test_divergence_is_told_and_the_lab_lives_on(make_lab):
    lab = make_lab(BASE.replace(optimizer="sgd"), lr=(1e-3, 1e300))
    lab.lr = 1e300
    settle(lab)
    assert lab.state == "error" and "no longer a number" in lab.message
    assert lab.results["val_loss"] is None
    lab.lr = 0.1
    settle(lab)
    assert lab.state == "done"
    expected = mean(BASE.replace(optimizer="sgd", lr=0.1))
    assert means(lab) == pytest.approx(expected, abs=1e-9)


def test_an_error_of_the_engine_is_told_and_the_lab_lives_on(lab):
    ask(lab, members=[{"data": "cats"}])
    settle(lab)
    assert lab.state == "error" and "cats" in lab.error == lab.message
    lab.train()
    settle(lab)
    assert (lab.state, lab.error) == ("done", "")


# Draws, a baseline, a sweep


def test_draws_have_seeds_in_a_row_and_count_by_their_mean(make_lab):
    base = BASE.replace(seed=3)
    lab = make_lab(base, seeds=4, l2=(1e-6, 1.0))
    draws = [base.replace(seed=seed) for seed in (3, 4, 5, 6)]
    assert lab.members() == draws
    assert means(lab) == pytest.approx(mean(draws), abs=1e-12)
    lab.l2 = 0.1
    settle(lab)
    expected = mean([e.replace(l2=0.1) for e in draws])
    assert means(lab) == pytest.approx(expected, abs=1e-9)
    assert "difference" not in lab.results


def test_the_books_curve_is_the_mean_of_its_draws(make_lab):
    lab = make_lab(PATIENT, seeds=3)
    runs = fit([PATIENT.replace(seed=seed) for seed in range(3)])
    length = max(len(run.history["val_loss"]) for run in runs)
    at = [run.at_kept_epoch()["val_loss"] for run in runs]
    curve = lab.spec["reference"]["val_loss"]
    first = np.mean([run.history["val_loss"][0] for run in runs])
    running = [len(run.history["val_loss"]) == length for run in runs]
    last = [
        run.history["val_loss"][-1] if on else end
        for run, on, end in zip(runs, running, at, strict=True)
    ]
    assert len(curve) == length and running.count(False)
    assert (curve[0], curve[-1]) == pytest.approx((first, np.mean(last)), rel=1e-6)


def test_a_baseline_trains_on_the_same_draws(make_lab):
    lab = make_lab(seeds=5, against=BASE, dropout=(0, 0.9), n_train=(20, 100))
    lab.knobs.update(dropout=0.5, n_train=20)
    settle(lab)
    draws = [BASE.replace(seed=seed, n_train=20) for seed in range(5)]
    with_dropout = [e.replace(dropout=0.5) for e in draws]
    assert lab.members() == with_dropout + draws
    a, b = (fit(runs).summary()["val_loss"] for runs in (with_dropout, draws))
    apart = a - b
    expected = [apart.mean(), apart.std(ddof=1) / math.sqrt(5)]
    found = [lab.results["difference"], lab.results["se"]]
    assert found == pytest.approx(expected, abs=1e-9)
    assert lab.results["better"] == (apart < 0).sum() and lab.results["draws"] == 5
    assert means(lab) == pytest.approx(mean(with_dropout), abs=1e-9)


def test_a_baseline_shares_the_situation_not_the_remedy(make_lab):
    other = BASE.replace(weight_decay=0.1, hidden=(5,))
    lab = make_lab(against=other, l2=(1e-6, 1.0), label_noise=(0, 1), lr=(1e-3, 1))
    lab.knobs.update(l2=0.1, label_noise=0.4, lr=0.1, seed=9)
    mine, baseline = lab.members()
    shared = {"label_noise": 0.4, "lr": 0.1, "seed": 9}
    assert mine == BASE.replace(l2=0.1, **shared)
    assert baseline == other.replace(**shared)


def test_one_draw_has_a_difference_but_no_standard_error(make_lab):
    lab = make_lab(against=BASE.replace(l2=0.1))
    assert lab.results["difference"] and lab.results["se"] is None


def test_a_lab_over_a_knob_trains_the_curve_at_each_move(make_lab):
    lab = make_lab(over={"l2": [0, 1e-3, 0.1]}, seeds=2, n_train=(20, 200))
    lab.n_train = 50
    settle(lab)
    found = lab.results["over"]
    assert [cell["l2"] for cell in found] == [0, 1e-3, 0.1]
    for cell in found:
        base = BASE.replace(n_train=50, l2=cell["l2"])
        expected = mean([base, base.replace(seed=1)])
        del expected["gap"]
        assert {name: cell[name] for name in METRICS} == pytest.approx(expected)


def test_a_map_that_is_asked_for_is_filled_on_demand(lab):
    assert (lab.asked, list(lab.over)) == (True, ["dropout", "l2"])
    lab.l2 = 1e-3
    settle(lab)
    assert "over" not in lab.results
    lab.knobs["seed"] = 5
    lab.fill()
    settle(lab)
    found = lab.results["over"]
    assert [len(values) for values in lab.over.values()] == [7, 8]
    assert [cell["dropout"] for cell in found[:7]] == lab.over["dropout"]
    cell = found[7 * 3 + 2]
    base = BASE.replace(dropout=cell["dropout"], l2=cell["l2"])
    expected = mean([base.replace(seed=seed) for seed in (5, 6, 7)])
    assert cell["val_loss"] == pytest.approx(expected["val_loss"])


def test_cells_of_runs_that_diverge_are_empty(make_lab):
    base = BASE.replace(optimizer="sgd")
    lab = make_lab(base, over={"lr": [0.1, 1e300]})
    lab.train()
    settle(lab)
    assert [cell["val_loss"] is None for cell in lab.results["over"]] == [False, True]
    assert json.dumps(lab.results, allow_nan=False)


# Own points


def test_own_points_take_the_place_of_the_training_set(make_lab):
    lab = make_lab(seeds=2, against=BASE, l2=(1e-6, 1.0))
    assert np.array_equal(lab.data.X, training_set(BASE).X)
    lab.points = POINTS
    settle(lab)
    assert lab.points["X"] == [0, 1, 1, 0, 2, 2, -1, 0]
    assert lab.data.X.tolist() == POINTS["X"] and lab.data.y.tolist() == POINTS["y"]
    assert [e.n_train for e in lab.members()] == [4] * 4
    own = own_points("moons", POINTS["X"], POINTS["y"])
    training = Training(lab.members()[:2], "cpu", points=own)
    while not training.done:
        record = training.run_epoch()
    assert lab.results["val_loss"] == pytest.approx(float(record.val_loss.mean()))
    lab.points = None
    settle(lab)
    draws = [BASE, BASE.replace(seed=1)]
    assert means(lab) == pytest.approx(mean(draws), abs=1e-9)


def test_own_targets_may_be_any_number(make_lab):
    lab = make_lab(BASE.replace(data="wave"))
    lab.points = {"X": np.array([0.5, 1]), "y": np.array([0.1, -3])}
    settle(lab)
    assert lab.data.y.tolist() == [0.1, -3]


@pytest.mark.parametrize(
    "points",
    [
        {"X": [[0, 1]]},
        {"X": [[0, 1]], "y": []},
        {"X": [[0, 1, 2]], "y": [1]},
        {"X": [[0, math.nan]], "y": [1]},
        {"X": [[0, 1]], "y": [2]},
        {"X": [0, 1] * 1001, "y": [1] * 1001},
    ],
)
def test_bad_points_are_refused(lab, points):
    with pytest.raises(ValueError, match=r"points|n_train"):
        lab.points = points
    assert (lab.points, lab.state) == (None, "ready")


# What is refused

REFUSED = {
    "too large": ("l2", 2.0, "a number in [0.0, 1.0]"),
    "negative": ("l2", -1, "a number in [0.0, 1.0]"),
    "nan": ("l2", math.nan, "a number in [0.0, 1.0]"),
    "text": ("l2", "much", "a number in [0.0, 1.0]"),
    "True": ("l2", True, "a number in [0.0, 1.0]"),
    "not whole": ("n_train", 20.5, "a whole number in [10, 40]"),
    "no such choice": ("optimizer", "adamw", "one of ['adam', 'sgd']"),
    "1 for True": ("batch_norm", 1, "one of [False, True]"),
    "no such layers": ("hidden", (7,), "one of [(8, 8), (5,)]"),
    "no such data": ("data", "digits", "one of ['moons', 'ring']"),
    "seed": ("seed", -1, "a whole number in [0, 4294967295]"),
}


@pytest.mark.parametrize("name, value, range", REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_field_value_and_range(make_lab, name, value, range):
    lab = make_lab(
        l2=(1e-6, 1.0),
        n_train=(10, 40),
        optimizer=("adam", "sgd"),
        batch_norm=(False, True),
        hidden=[(8, 8), (5,)],
        data=("moons", "ring"),
    )
    before = dict(lab.knobs)
    with pytest.raises(ValueError) as refusal:
        lab.knobs[name] = value
    assert str(refusal.value) == f"{name} = {value!r}: must be {range}"
    assert (dict(lab.knobs), lab.state) == (before, "ready")


def test_what_does_not_go_together_is_refused(make_lab):
    base = BASE.replace(optimizer="sgd", momentum=0.5)
    lab = make_lab(base, optimizer=("sgd", "adam"), momentum=(0, 0.9))
    with pytest.raises(ValueError, match=r"momentum = 0\.5: must be 0 for optimizer"):
        lab.optimizer = "adam"
    assert (lab.optimizer, lab.state) == ("sgd", "ready")
    with pytest.raises(ValueError, match=r"momentum = 0\.1"):
        lab.knobs.update(momentum=0.1, optimizer="adam")
    assert dict(lab.knobs) == {"optimizer": "sgd", "momentum": 0.5, "seed": 0}
    lab.knobs.update(optimizer="adam", momentum=0)
    settle(lab)
    assert means(lab) == pytest.approx(mean(BASE), abs=1e-9)


def test_a_short_batch_is_refused_beside_batch_norm(make_lab):
    base = BASE.replace(n_train=33, batch_size=32)
    lab = make_lab(base, batch_norm=(False, True), n_train=(10, 33))
    with pytest.raises(ValueError, match="batch_norm = True"):
        lab.batch_norm = True


def test_knobs_are_a_mapping(lab):
    assert dict(lab.knobs) == {"l2": 0.0, "dropout": 0.0, "epochs": 6, "seed": 0}
    assert len(lab.knobs) == 4
    with pytest.raises(KeyError, match=r"'lr': must be one of \['l2', 'dropout', 'ep"):
        lab.knobs["lr"] = 1
    with pytest.raises(KeyError, match="'data'"):
        lab.knobs["data"]
    with pytest.raises(TypeError, match="l2"):
        del lab.knobs["l2"]


BAD_RANGES = {
    "unknown": {"lamda": (0, 1)},
    "not a choice of layers": {"hidden": (1, 2)},
    "the seed": {"seed": (0, 9)},
    "a fold": {"fold": (0, 5)},
    "channels": {"channels": ((), (3,))},
    "reversed": {"dropout": (0.5, 0.1)},
    "empty": {"dropout": (0, 0)},
    "negative": {"l2": (-1, 1)},
    "no log of zero": {"l2": (0, 1)},
    "p of one": {"dropout": (0, 1)},
    "not a number at all": {"l2": (math.nan, 1)},
    "infinite": {"l2": (1e-6, math.inf)},
    "more than there are": {"n_train": (10, 10**6)},
    "not whole": {"epochs": (1.5, 10)},
    "no width": {"width": (0, 10)},
    "half a layer": {"depth": (1, 2.5)},
    "width without the book's own": {"width": (20, 50)},
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
    "other data": {"data": ("moons", "digits")},
    "data that are not": {"data": ("moons", "cats")},
    "layers without the book's own": {"hidden": ((5,), (9,))},
    "refused beside all else": {"dropout_channels": (0, 0.5)},
    "refused by the base": {"momentum": (0, 0.9)},
}


@pytest.mark.parametrize("knobs", BAD_RANGES.values(), ids=BAD_RANGES)
def test_a_bad_range_is_refused(knobs):
    ((name, limits),) = knobs.items()
    with pytest.raises(ValueError, match="must") as refusal:
        parse_knobs(BASE, knobs)
    values = limits if isinstance(limits, tuple) else [limits]
    assert name in str(refusal.value)
    assert any(repr(value) in str(refusal.value) for value in values)


def test_width_is_one_for_all_layers(make_lab):
    with pytest.raises(ValueError, match=r"hidden = \(8, 4\): must be of one width"):
        make_lab(BASE.replace(hidden=(8, 4)), width=(2, 50))
    with pytest.raises(ValueError, match=r"width = \(2, 50\): must be left out beside"):
        make_lab(width=(2, 50), hidden=((8, 8), (3,)))


def test_a_bad_amount_of_augmentation_is_refused(make_lab):
    with pytest.raises(ValueError, match=r"augment\.rotation = 400"):
        make_lab(DIGITS, rotation=(0, 400))


@pytest.mark.parametrize(
    "over, problem",
    [
        ({}, "over = {}"),
        ({"l2": 3, "l1": 3, "lr": 3}, "over = "),
        ([0, 1], "over = [0, 1]"),
        ({"lamda": [0, 1]}, "over: lamda = [0, 1]"),
        ({"hidden": [(5,), (8,)]}, "over: hidden = "),
        ({"l2": [0]}, "over: l2 = [0]: must be 2 to 50 values"),
        ({"l2": 51}, "over: l2 = 51: must be 3 to 50"),
        ({"l2": 16, "dropout": 5}, "over: l2 = 16: must be 3 to 15"),
        ({"lr": 9}, "over: lr = 9: must be 3 to 50 for a knob"),
        ({"l2": [1e-3, 0]}, "over: l2 = [0.001, 0]: must ascend"),
        ({"l2": [0, 0]}, "over: l2 = [0, 0]: must ascend"),
        ({"dropout": [0, 1]}, "dropout = 1"),
        ({"n_train": [10, 10**6]}, "n_train = 1000000"),
    ],
)
def test_a_bad_sweep_is_refused(make_lab, over, problem):
    with pytest.raises(ValueError, match="must") as refusal:
        make_lab(over=over)
    assert problem in str(refusal.value)


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"seeds": 0}, r"seeds = 0: must be a whole number in \[1, 20\]"),
        ({"seeds": 21}, "seeds = 21"),
        ({"against": "base"}, "against = 'base': must be None or an Experiment"),
        ({"views": ()}, r"views = \(\)"),
        ({"views": ("curves", "curves")}, "each once"),
        ({"views": ("curve",)}, "'curve' must be one of"),
        ({"views": ("images",)}, "'images' must be left out of a lab without images"),
        ({"views": ("path",)}, "'path' must be left out of a lab without one knob"),
        ({"views": ("pairs",), "against": BASE}, "'pairs' must be left out"),
        ({"device": "tpu"}, "device = 'tpu'"),
        ({"against": BASE.replace(optimizer="sgd", lr=1e300)}, "must not diverge"),
    ],
)
def test_bad_options_are_refused(make_lab, options, problem):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(ValueError, match=problem):
            make_lab(**options)


def test_a_base_that_is_none_is_refused(make_lab):
    with pytest.raises(ValueError, match=r"base = \{'l2': 0\}: must be an Experiment"):
        make_lab({"l2": 0})


# Sliders


def test_zero_is_the_left_end_of_a_penalty():
    knobs = parse_knobs(BASE, {"l2": (1e-6, 1.0), "lr": (1e-3, 1.0)})
    steps = knobs["l2"].steps
    assert steps[:2] == [0, 1e-6] and steps[-1] == 1
    assert steps == sorted(set(steps)) and {1e-5, 1e-3, 0.1} < set(steps)
    assert knobs["lr"].steps[0] == 1e-3


@pytest.mark.parametrize(
    "name, limits, scale, some",
    [
        ("n_train", (20, 1000), "log", [20, 25, 32, 40, 50]),
        ("n_train", (20, 200), "linear", [20, 21, 22]),
        ("width", (2, 100), "log", [2, 3, 4, 5, 6, 8, 10]),
        ("epochs", (1, 30), "log", [1, 2, 3, 4, 5, 6, 8, 10]),
        ("batch_size", (8, 40), "linear", [8, 9, 10]),
        ("depth", (1, 30), "linear", [1, 2, 3]),
    ],
)
def test_a_count_with_a_wide_range_has_a_logarithmic_slider(name, limits, scale, some):
    knob = parse_knobs(BASE, {name: limits})[name]
    assert (knob.scale, knob.whole) == (scale, True)
    assert knob.steps[: len(some)] == some and knob.steps[-1] == limits[1]
    assert all(type(value) is int for value in knob.steps)


@pytest.mark.parametrize("count", [3, 8, 25, 50])
@pytest.mark.parametrize("name", ["l2", "dropout", "lr"])
def test_a_sweep_spreads_over_the_range_of_its_knob(name, count):
    limits = {"l2": (1e-3, 1e-2), "dropout": (0.0, 0.9), "lr": (1e-3, 0.1)}[name]
    knobs = parse_knobs(BASE, {name: limits})
    values = parse_over(BASE, {name: count}, knobs)[name]
    assert len(values) == count and values == sorted(set(values))
    assert (values[0], values[-1]) == (0.0 if name == "l2" else limits[0], limits[1])


def test_a_penalty_that_is_no_knob_has_a_range_of_its_own_in_a_sweep():
    values = parse_over(BASE, {"l2": 25}, {})["l2"]
    assert (len(values), values[0], values[1], values[-1]) == (25, 0, 1e-6, 1)


def test_every_knob_has_a_name_in_plain_words():
    assert not [name for name in NAMES if "_" in label(name)]


def test_a_slider_elsewhere_can_be_linked(make_lab):
    lab = make_lab(l2=(1e-6, 1.0))
    slider = ipywidgets.FloatSlider()
    ipywidgets.jslink((slider, "value"), (lab, "l2"))
    ipywidgets.link((slider, "value"), (lab, "l2"))
    slider.value = 0.5
    settle(lab)
    assert means(lab) == pytest.approx(mean(BASE.replace(l2=0.5)), abs=1e-9)


# What views ask and hear


def test_an_ended_lab_says_so_to_its_views(lab, monkeypatch):
    said = hear(lab, monkeypatch, type="hello")
    assert said == []
    lab.end()
    lab.end()
    assert said == [(widget.ENDED,)]
    ask(lab)
    assert said == 2 * [(widget.ENDED,)]
    lab.l2 = 0.1  # what is linked to it may go on
    assert lab.wait(0) and lab.comm is not None


def test_labs_share_plotly_and_the_data_sets(make_lab):
    """State, not an answer: a busy kernel does not answer."""
    lab = make_lab(BASE, data=("moons", "ring"))
    other = make_lab(BASE.replace(data="wave", batch_size=8))
    assert lab.assets is other.assets
    assert lab.get_state("assets") == {"assets": f"IPY_MODEL_{lab.assets.model_id}"}
    assert {"moons", "ring", "wave"} <= set(other.assets.sets)
    ring = other.assets.sets["ring"]
    assert ring["pool"]["X"]["shape"] == [1000, 2] and "test" not in ring
    assert b"Plotly" in gzip.decompress(lab.assets.plotly)
    assert {"plotly", "sets"} <= set(lab.assets.get_state())


@pytest.mark.parametrize("built", [True, False])
def test_plotly_is_the_pages_own_where_that_is_built(monkeypatch, tmp_path, built):
    class Fresh(assets.Assets):
        _shared = None

    monkeypatch.setattr(assets, "PLOTLY", tmp_path / "plotly.js")
    if built:
        (tmp_path / "plotly.js").write_text("// small")
    source = gzip.decompress(Fresh.share([]).plotly)
    assert (source == b"// small") == built and len(source) > 2


def test_closed_assets_are_made_anew(make_lab):
    gone = make_lab(BASE).assets
    gone.close()
    assert make_lab(BASE).assets is not gone


def test_a_run_is_taken_at_once_and_its_frames_carry_binary_numbers(lab, monkeypatch):
    said = hear(lab, monkeypatch)
    ask(lab)
    assert said[0] == ({"type": "taken", "id": "view-1"},)
    settle(lab)
    frame, buffers = said[-1]
    assert frame["type"] == "frame" and "view-1" in frame["ids"] and frame["over"]
    sent = dict(zip(frame["arrays"], buffers, strict=True))
    shape = frame["shapes"]["metrics"]
    assert shape == [1, len(frame["epochs"]), 4]
    last = np.frombuffer(sent["metrics"], "<f8").reshape(shape)[0, -1]
    expected = fit(BASE)[0]
    assert last == pytest.approx([expected.history[n][-1] for n in METRICS], abs=1e-9)
    weights = np.frombuffer(sent["weights"], "<f8")
    assert weights == pytest.approx(expected.weights, abs=1e-9)
    assert means(lab) == pytest.approx(mean(BASE), abs=1e-9)


def test_a_views_sweep_is_answered_but_not_among_the_results(lab, monkeypatch):
    said = hear(lab, monkeypatch)
    members = [json.loads(e.to_json()) for e in lab.members()]
    sweep = {"type": "sweep", "id": "view-2", "members": members, "points": None}
    lab._handle_custom_msg(sweep, [])
    settle(lab)
    assert said[0] == ({"type": "taken", "id": "view-2"},)
    assert said[-1][0]["type"] == "cells" and said[-1][0]["arrays"] == ["records"]
    assert "over" not in lab.results and lab.state == "ready"


def test_a_view_pauses_resumes_and_stops(make_lab, monkeypatch):
    lab = make_lab(BASE.replace(epochs=500))
    hear(lab, monkeypatch)
    ask(lab)
    for kind, state in (("pause", "paused"), ("resume", "training"), ("stop", "done")):
        lab._handle_custom_msg({"type": kind, "id": "view-0"}, [])
        lab._handle_custom_msg({"type": kind, "id": "view-1"}, [])
        assert lab.state == state
    settle(lab)


def test_a_views_messages_go_to_the_subshell_they_are_addressed_to():
    """Not to that of the cell which sent last."""
    comm = SimpleNamespace(_reply_subshell_for=lambda data, addressed: "the cell's")
    widget._answer_where_asked(comm)
    assert comm._reply_subshell_for({}, "its own") == "its own"
    widget._answer_where_asked(other := SimpleNamespace())
    assert vars(other) == {}


def test_a_question_that_comes_again_is_taken_once(lab, monkeypatch):
    said = hear(lab, monkeypatch)
    ask(lab)
    run = {"type": "run", "members": [], "points": None}
    lab._handle_custom_msg(run | {"id": "view-1"}, [])
    settle(lab)
    assert [m["type"] for m, *_ in said].count("taken") == 1
    assert lab.state == "done"


def test_what_a_view_sets_it_asks_by_itself(lab, monkeypatch):
    hear(lab, monkeypatch, type="hello")
    lab.set_state({"l2": 0.1, "dropout": 0.5})
    assert (lab.l2, lab.dropout, lab.state) == (0.1, 0.5, "ready")
    lab.l2 = 0.2
    assert lab.state == "training"


def test_what_a_view_sets_trains_where_no_view_is_to_ask(lab):
    lab.set_state({"l2": 0.1})
    settle(lab)
    assert means(lab) == pytest.approx(mean(BASE.replace(l2=0.1)), abs=1e-9)


def test_a_view_gets_back_what_is_refused(make_lab, monkeypatch):
    base = BASE.replace(optimizer="sgd", momentum=0.5)
    lab = make_lab(base, optimizer=("sgd", "adam"), momentum=(0, 0.9))
    sent = []
    monkeypatch.setattr(lab, "send_state", lambda key=None: sent.append(key))
    for state in ({"optimizer": "adam"}, {"momentum": 3}):
        lab.set_state(state)
        assert dict(lab.knobs) == {"optimizer": "sgd", "momentum": 0.5, "seed": 0}
        assert "nothing has changed: momentum" in lab.message
        assert sent[-1] == list(state)
    lab.set_state({"optimizer": "adam", "momentum": 0})
    assert dict(lab.knobs) == {"optimizer": "adam", "momentum": 0, "seed": 0}


def test_while_the_browser_trains_the_kernel_rests(lab):
    lab.engine = "browser"
    lab.l2 = 0.1
    assert lab.wait(0) and lab.state == "ready"


# Its life


def test_closing_ends_the_thread(make_lab):
    lab = make_lab(epochs=(1, LONG))
    before = threading.active_count()
    lab.epochs = LONG
    assert threading.active_count() == before + 1
    lab.close()
    assert threading.active_count() == before
    lab.close()


def test_running_the_cell_again_ends_the_old_lab(make_lab):
    old = make_lab(epochs=(1, LONG))
    old.epochs = LONG
    before = threading.active_count()
    make_lab(epochs=(1, LONG))
    assert threading.active_count() == before - 1


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
    monkeypatch.setattr(widget, "_running_cell", lambda: old_cell)
    old = make_lab(l2=(1e-6, 1.0))
    monkeypatch.setattr(widget, "_running_cell", lambda: new_cell)
    make_lab(l2=(1e-6, 1.0))
    assert (old not in widget._open) == ended


@pytest.mark.parametrize("move", [f"lab.epochs = {LONG}", "lab.fill()"])
def test_python_exits_cleanly_while_a_lab_trains(move):
    program = f"""
import sys
from utils import Experiment, Lab
base = Experiment(n_train=40, hidden=(8,), epochs=300)
lab = Lab(base, epochs=(1, {LONG}), l2=(1e-6, 1), dropout=(0, 0.9))
{move}
assert not lab.wait(0.2)
sys.exit(7)
"""
    command = [sys.executable, "-c", program]
    options = {"capture_output": True, "text": True, "timeout": SECONDS}
    run = subprocess.run(command, check=False, **options)
    assert (run.returncode, run.stdout, run.stderr) == (7, "", "")


def test_the_front_end_is_the_bundle_that_was_built(make_lab, monkeypatch, tmp_path):
    monkeypatch.setattr(widget, "BUNDLE", tmp_path)
    assert "run `make lab`" in make_lab(l2=(1e-6, 1.0))._esm
    (tmp_path / "widget.js").write_text("export default {};")
    (tmp_path / "widget.css").write_text(".lab {}")
    lab = make_lab(l2=(1e-6, 1.0))
    assert (lab._esm, lab._css) == ("export default {};", ".lab {}")


# What a notebook stores


DESCRIBED = {
    "A 2-20-1 network learns moons from 100 examples, in 200 epochs of adam. "
    "Change the seed.": ({}, []),
    "A 2-20-1 network learns moons from 100 examples, 25% of the labels redrawn, "
    "in 200 epochs of adam. Change λ₂ (L2).": ({"label_noise": 0.25}, ["λ₂ (L2)"]),
    "A 1-20-1 network learns wave from 30 examples, 10% of the targets redrawn, "
    "in 9 epochs of sgd. Change width and depth.": (
        {"data": "wave", "n_train": 30, "label_noise": 0.1, "optimizer": "sgd"}
        | {"epochs": 9},
        ["width", "depth"],
    ),
    "A 64-4 maps-8 maps-20-10 network learns digits from 100 examples, in 200 epochs "
    "of adam. Change the seed.": ({"data": "digits", "channels": (4, 8)}, []),
}


@pytest.mark.parametrize("text", DESCRIBED)
def test_a_lab_describes_itself(text):
    changes, labels = DESCRIBED[text]
    base = Experiment(hidden=(20,), n_train=100, label_noise=0, epochs=200)
    assert describe(base.replace(**changes), labels) == text


def test_the_stored_output(lab):
    bundle, _ = lab._repr_mimebundle_()
    assert set(bundle) == {WIDGET, LAB, "text/plain"}
    data, run = bundle[LAB], fit(BASE)[0].history
    names = "version experiment knobs seeds against over order asked views reference"
    assert list(data) == [*names.split(), "description"]
    assert (data["version"], data["seeds"], data["asked"]) == (2, 1, True)
    assert data["experiment"] == json.loads(BASE.to_json())
    assert data["views"] == ["curves", "regions", "weights", "map"]
    order = {"knobs": list(data["knobs"]), "over": ["dropout", "l2"]}
    assert data["order"] == order
    ends = {"label": "λ₂ (L2)", "min": 1e-6, "max": 1.0}
    own = ends | {"scale": "log", "value": 0.0, "whole": False}
    assert data["knobs"]["l2"] == own
    steps = Knob("l2", 1e-6, 1.0, 0.0).steps
    assert lab.spec["knobs"]["l2"] == own | {"values": steps}
    assert data["reference"]["epoch"] == [1, 2, 3, 4, 5, 6]
    expected = [float(f"{value:.7g}") for value in run["val_loss"]]
    assert data["reference"]["val_loss"] == expected
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_choices_in_the_stored_output(make_lab):
    lab = make_lab(
        optimizer=["sgd", "adam"],
        batch_norm=(False, True),
        hidden=[(8, 8), (50,), ()],
    )
    data = lab.to_dict()
    assert data["knobs"] == {
        "optimizer": {
            "label": "optimizer",
            "choices": ["sgd", "adam"],
            "texts": ["SGD", "Adam"],
            "value": "adam",
        },
        "batch_norm": {
            "label": "batch norm",
            "choices": [False, True],
            "texts": ["off", "on"],
            "value": False,
        },
        "hidden": {
            "label": "units of the hidden layers",
            "choices": [[8, 8], [50], []],
            "texts": ["8-8", "50", "none"],
            "value": [8, 8],
        },
    }
    assert "<td>choice of 8-8, 50, none</td>" in render_lab(data)


KINDS = {
    "one draw": {"l2": (1e-6, 1.0), "dropout": (0, 0.9)},
    "draws": {"seeds": 3, "against": BASE, "dropout": (0, 0.9)},
    "path": {"over": {"l2": 5}, "n_train": (20, 1000)},
    "map": {"over": {"n_train": [10, 20], "width": [2, 4]}},
    "choices": {"data": ("moons", "ring"), "hidden": [(8, 8), ()]},
    "images": {"base": DIGITS, "rotation": (0, 45), "views": ("images", "inputs")},
    "regression": {"base": DIABETES, "l2": (1e-6, 1.0)},
    "patience": {"base": PATIENT, "patience": (1, 50), "seeds": 2},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_what_is_stored_is_sound_and_the_same_every_time(make_lab, options):
    first, second = (make_lab(**options)._repr_mimebundle_()[0] for _ in range(2))
    for bundle in (first, second):
        bundle.pop(WIDGET)
    assert first == second
    assert " at 0x" not in first["text/plain"]
    stored = json.loads(json.dumps(first[LAB], allow_nan=False))
    assert find_problem(LAB, stored) is None
    assert 'data-state="ready"' in render_lab(stored)


def test_the_table(make_lab):
    lab = make_lab(BASE.replace(epochs=40), description="A small network.")
    lines = repr(lab).splitlines()
    epochs = [int(line.split()[0]) for line in lines[3:]]
    assert lines[0] == "Lab. A small network."
    assert epochs == [1, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    first = fit(BASE)[0].history["val_loss"][0]
    assert lines[3].split()[2] == f"{first:.4f}"


def test_the_table_of_regression_speaks_of_squared_errors(make_lab):
    text = repr(make_lab(DIABETES))
    assert "validation R²" in text and "mean squared error" in text
    assert "%" not in text and "accuracy" not in text


def test_the_engine_of_a_lab_is_the_kernels(make_lab, monkeypatch):
    asked = []
    monkeypatch.setattr(KernelEngine, "ask", lambda _, message: asked.append(message))
    lab = make_lab(l2=(1e-6, 1.0), over={"l2": [0, 0.1]})
    lab.l2 = 0.1
    run, sweep = asked
    assert (run["type"], sweep["type"]) == ("run", "sweep")
    assert run["members"] == [BASE.replace(l2=0.1)] and run["keep"] is False
    assert [e.l2 for e in sweep["members"]] == [0, 0, 0, 0.1, 0.1, 0.1]
    assert [e.seed for e in sweep["members"]] == [0, 1, 2] * 2
