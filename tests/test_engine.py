import math
import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import nn

from tests import reference as plain_loop
from tests.reference import reference
from tests.test_state import KNOBS as CHANGED
from utils import Augment, Experiment, fit, train
from utils.data import load, training_set
from utils.engine import ensemble as ensembles
from utils.engine.ensemble import METRICS, Ensemble, Record, choose_device
from utils.engine.runs import train_all
from utils.engine.training import Training

BASE = Experiment(n_train=50, hidden=(12, 9), epochs=6, batch_size=16)
DIGITS = BASE.replace(data="digits", n_train=60, label_noise=0.2)
SGD = {"optimizer": "sgd", "lr": 0.1}

KNOBS = {
    "plain": {},
    "linear": {"hidden": ()},
    "deep": {"hidden": (7, 6, 5)},
    "tanh": {"activation": "tanh"},
    "selu": {"activation": "selu"},
    "sgd": SGD,
    "momentum": {**SGD, "momentum": 0.9},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
    "adam decay": {"weight_decay": 0.1},
    "sgd decay": {**SGD, "weight_decay": 0.05, "momentum": 0.5},
    "l1 proximal": {"l1": 0.01},
    "l1 proximal, momentum": {**SGD, "momentum": 0.9, "l1": 0.001},
    "l1 subgradient": {"l1": 0.003, "l1_method": "subgradient"},
    "l2": {"l2": 0.01},
    "l2 and biases": {"l2": 0.01, "penalize_bias": True, "batch_norm": True},
    "decay and biases": {"weight_decay": 0.1, "penalize_bias": True},
    "dropout": {"dropout": 0.5},
    "dropout input": {"dropout_input": 0.2},
    "batch norm": {"batch_norm": True},
    "dropout last": {"dropout": 0.5, "dropout_at": "last", "batch_norm": True},
    "dropout first": {"dropout": 0.5, "dropout_at": "before_norm", "batch_norm": True},
    "dropout first, no norm": {"dropout": 0.5, "dropout_at": "before_norm"},
    "dropconnect": {"dropconnect": 0.4},
    "init scale": {"init_scale": 3},
    "input noise": {"input_noise": 0.3},
    "weight noise": {"weight_noise": 0.1},
    "activation noise": {"activation_noise": 0.3},
    "label noise": {"label_noise": 0.5},
    "odd batch": {"batch_size": 7, "dropout": 0.3},
    "everything": {
        "batch_norm": True,
        "dropout": 0.2,
        "dropout_input": 0.1,
        "input_noise": 0.1,
        "weight_noise": 0.05,
        "dropconnect": 0.1,
        "activation_noise": 0.1,
        "l1": 0.001,
        "l2": 0.001,
        "weight_decay": 0.01,
    },
}


def curves(run):
    names = ("train_loss", "val_loss", "objective")
    columns = [run.history[name] for name in names]
    return torch.tensor(columns, dtype=torch.float64).T


@pytest.mark.parametrize("name", KNOBS)
@pytest.mark.parametrize("base", [BASE, DIGITS], ids=["moons", "digits"])
def test_engine_takes_the_steps_of_the_plain_loop(base, name):
    e = base.replace(**KNOBS[name])
    expected, network = reference(e)
    run = fit(e)[0]
    torch.testing.assert_close(curves(run), expected, rtol=1e-9, atol=1e-12)
    X = torch.rand(20, network.linears[0].in_features, dtype=torch.float64)
    torch.testing.assert_close(run.module(X), network(X), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_members_may_differ_in_every_knob(optimizer):
    """Learning rates too, which takes Adam off its fused path."""
    base = BASE.replace(optimizer=optimizer, weight_decay=0.01)
    members = [
        base.replace(lr=0.02, l2=0.01, dropout=0.2),
        base.replace(lr=0.003, l1=0.01, seed=4, dropout_input=0.1),
        base.replace(weight_decay=0, label_noise=0.5, weight_noise=0.1, epochs=3),
    ]
    for run, e in zip(fit(members), members, strict=True):
        torch.testing.assert_close(curves(run), reference(e)[0], rtol=1e-9, atol=1e-12)


def test_adam_counts_its_steps_whichever_path_it_takes():
    """Rates that agree, differ and agree again: as if they had agreed throughout."""
    pair, mixed = BASE.grid(seed=[0, 1]), [BASE, BASE.replace(seed=1, lr=0.02)]
    ensemble = Ensemble(pair)
    for members in (pair, mixed, pair):
        ensemble.set(members)
        last = ensemble.run_epoch().val_loss[0]
    expected = fit(BASE)[0].history["val_loss"][2]
    assert float(last) == pytest.approx(expected, rel=1e-11)


def test_knobs_changed_on_the_way_act_at_once():
    """Off to on, on to off, and back to the first weights."""
    ensemble = Ensemble([BASE])
    for e in (BASE, BASE.replace(dropout=0.5, l2=0.1), BASE.replace(lr=0.1, seed=2)):
        ensemble.set([e])
        ensemble.reset()
        losses = [float(ensemble.run_epoch().val_loss[0]) for _ in range(3)]
        assert losses == pytest.approx(fit(e)[0].history["val_loss"][:3], rel=1e-11)


TABLES = ["plain", "l1 proximal", "l2", "dropout", "batch norm", "momentum"]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("data", ["breast_cancer", "diabetes"])
def test_tables_take_the_steps_of_the_plain_loop(data, name):
    e = DIGITS.replace(data=data, **KNOBS[name])
    expected, network = reference(e)
    run = fit(e)[0]
    torch.testing.assert_close(curves(run), expected, rtol=1e-9, atol=1e-12)
    X = torch.tensor(load(data).test.X)
    torch.testing.assert_close(run.module(X), network(X), rtol=1e-8, atol=1e-9)


def test_accuracy_in_regression_is_r_squared():
    run = fit(BASE.replace(data="diabetes", label_noise=0.3, batch_norm=True))[0]
    sets = {"train": training_set(run.experiment), "val": load("diabetes").validation}
    for name, points in sets.items():
        expected = metrics.r2_score(points.y, run.predict(points.X))
        assert run.history[f"{name}_accuracy"][-1] == pytest.approx(expected)


def test_r_squared_of_a_single_training_point_is_0():
    run = fit(BASE.replace(data="diabetes", n_train=1))[0]
    assert run.history["train_accuracy"] == [0.0] * 6
    assert run.history["train_loss"][-1] > 0


CNN = DIGITS.replace(channels=(4, 6), hidden=(8,), n_train=40, epochs=4)

CNN_KNOBS = {
    "no hidden layer": {"hidden": ()},
    "one convolution": {"channels": (5,)},
    "three convolutions": {"channels": (3, 4, 5)},
    "dropout channels": {"dropout_channels": 0.4},
    "dropout channels, tanh": {"dropout_channels": 0.4, "activation": "tanh"},
    "augment": {"augment": {"rotation": 20, "shift": 1, "scale": 0.2, "flip": 0.5}},
    "adamw decay": KNOBS["adamw"],
    "everything": {**KNOBS["everything"], "dropout_channels": 0.2},
    **{
        name: KNOBS[name]
        for name in (
            "plain",
            "selu",
            "l1 proximal",
            "l1 subgradient",
            "l2 and biases",
            "dropout",
            "dropout input",
            "dropout first",
            "dropconnect",
            "init scale",
            "batch norm",
            "weight noise",
            "input noise",
            "activation noise",
            "momentum",
            "odd batch",
        )
    },
}


@pytest.mark.parametrize("name", CNN_KNOBS)
def test_convolutions_take_the_steps_of_the_plain_loop(name):
    e = CNN.replace(**CNN_KNOBS[name])
    expected, network = reference(e)
    run = fit(e)[0]
    torch.testing.assert_close(curves(run), expected, rtol=1e-9, atol=1e-12)
    X = torch.tensor(load("digits").test.X[:20])
    torch.testing.assert_close(run.module(X), network(X), rtol=1e-8, atol=1e-9)


def test_a_convolutional_member_does_not_depend_on_its_company():
    grid = CNN.grid(l2=[0, 0.01], dropout_channels=[0, 0.5], seed=range(2))
    together = fit(grid)
    for i in (0, 3, 6):
        alone = fit(grid[i])[0]
        torch.testing.assert_close(
            curves(together[i]), curves(alone), rtol=1e-11, atol=1e-13
        )


def test_convolutions_read_digits():
    e = Experiment(data="digits", n_train=None, label_noise=0, epochs=8, lr=3e-3)
    e = e.replace(channels=(16, 32), hidden=(50,), batch_norm=True, dtype="float32")
    assert fit(e)[0].history["val_accuracy"][-1] > 0.96


def test_weights_of_a_cnn_are_those_of_its_module():
    run = fit(CNN.replace(batch_norm=True, epochs=1))[0]
    layers = [m for m in run.module if isinstance(m, nn.Conv2d | nn.Linear)]
    shapes = [tuple(layer.weight.shape) for layer in layers]
    assert shapes == [(4, 1, 3, 3), (6, 4, 3, 3), (8, 24), (10, 8)]
    expected = np.sort(np.concatenate([m.weight.data.flatten() for m in layers]))
    assert np.array_equal(np.sort(run.weights), expected)


def test_augmentation_takes_the_steps_of_the_plain_loop():
    amounts = {"rotation": 20, "shift": 1, "scale": 0.2, "flip": 0.5}
    e = DIGITS.replace(augment=amounts)
    torch.testing.assert_close(
        curves(fit(e)[0]), reference(e)[0], rtol=1e-9, atol=1e-12
    )
    assert fit(e)[0].history != fit(DIGITS)[0].history


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_proximal_l1_rests_where_the_objective_is_least(momentum):
    """At rest |slope| ≤ λ where w = 0, else slope = −λ sign(w); a convex problem."""
    lam, lr = 0.02, 0.2 * (1 - momentum)
    e = BASE.replace(hidden=(), optimizer="sgd", lr=lr, momentum=momentum, l1=lam)
    e = e.replace(data="breast_cancer", n_train=200, batch_size=200, epochs=2500)
    run, points = fit(e)[0], training_set(e)
    X, y = torch.tensor(points.X), torch.tensor(points.y).double()
    w, b = run.state[0].clone().requires_grad_(), run.state[1]
    loss = nn.functional.binary_cross_entropy_with_logits((X @ w + b)[:, 0], y)
    (slope,) = torch.autograd.grad(loss, w)
    zero = w == 0
    assert 5 < int(zero.sum()) < 28
    assert float(slope[zero].abs().max()) <= lam * 1.02
    torch.testing.assert_close(slope[~zero], -lam * w[~zero].sign(), rtol=0.02, atol=0)


def test_float32_follows_float64_at_first():
    single = fit(BASE.replace(dtype="float32", dropout=0.3))[0]
    double = fit(BASE.replace(dropout=0.3))[0]
    assert single.state[0].dtype == torch.float32
    assert np.allclose(
        single.history["val_loss"], double.history["val_loss"], rtol=1e-3
    )


def test_a_member_does_not_depend_on_its_company():
    grid = BASE.grid(l2=[0, 0.01], dropout=[0, 0.5], seed=range(4))
    together = fit(grid)
    for i in (0, 5, 15):
        alone = fit(grid[i])[0]
        torch.testing.assert_close(
            curves(together[i]), curves(alone), rtol=1e-11, atol=1e-13
        )


def test_threads_do_not_change_the_numbers(monkeypatch):
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(ensembles, "THREADS", threads)
        results.append(curves(fit(BASE.replace(dropout=0.5))[0]))
    torch.testing.assert_close(*results, rtol=1e-11, atol=1e-13)


def test_global_random_state_is_neither_read_nor_moved():
    torch.manual_seed(1)
    np.random.seed(1)
    first = fit(BASE)[0].history
    after = torch.rand(1), np.random.rand(1)
    torch.manual_seed(1)
    np.random.seed(1)
    assert (torch.rand(1), np.random.rand(1)) == after
    torch.manual_seed(2)
    assert fit(BASE)[0].history == first
    before = torch.get_rng_state()
    assert len(fit(CNN)[0].module) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_pairing_same_seed_means_same_weights_and_batches():
    a, b = Ensemble([BASE]), Ensemble([BASE.replace(l2=1.0, dropout=0.5)])
    assert all(
        torch.equal(p, q) for p, q in zip(a.parameters, b.parameters, strict=True)
    )
    assert torch.equal(a._draws()[0], b._draws()[0])


def test_train_yields_one_record_per_epoch():
    records = list(train([BASE, BASE.replace(dropout=0.5)]))
    assert [r.epoch for r in records] == [1, 2, 3, 4, 5, 6]
    assert records[0].val_loss.shape == (2,)
    assert 0 <= float(records[-1].val_accuracy.min()) <= 1


def test_incompatible_members_are_grouped_and_keep_their_order():
    mixed = [BASE, DIGITS, BASE.replace(hidden=(3,)), BASE.replace(seed=9, epochs=2)]
    runs = fit(mixed)
    for run, e in zip(runs, mixed, strict=True):
        assert run.experiment == e
        torch.testing.assert_close(
            curves(run), curves(fit(e)[0]), rtol=1e-11, atol=1e-13
        )
    assert len(runs[3].history["val_loss"]) == 2


def test_patience_stops_and_keeps_the_best_weights():
    e = BASE.replace(n_train=30, label_noise=0.4, epochs=80, patience=5, lr=0.03)
    free, stopped = fit([e.replace(patience=None), e])
    best = stopped.history["val_loss"]
    assert stopped.status == "stopped early"
    assert stopped.epoch == 1 + int(np.argmin(best)) == len(best) - 5
    assert best == pytest.approx(free.history["val_loss"][: len(best)], rel=1e-11)
    at_best = fit(e.replace(patience=None, epochs=stopped.epoch))[0]
    for a, b in zip(stopped.state, at_best.state, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


def test_patience_that_never_runs_out_still_keeps_the_best():
    run = fit(BASE.replace(patience=100, epochs=40, label_noise=0.5, lr=0.03))[0]
    assert run.status == "finished"
    assert run.epoch == 1 + int(np.argmin(run.history["val_loss"]))


def test_a_diverging_member_stops_and_the_others_finish():
    wild = BASE.replace(**SGD).replace(lr=1e6, l2=1e6)
    tame = BASE.replace(**SGD)
    with pytest.warns(RuntimeWarning, match=r"run 1 'wild' diverged in epoch \d"):
        runs = fit({"tame": tame, "wild": wild})
    assert runs[1].status == "diverged"
    assert not math.isfinite(runs[1].history["val_loss"][-1])
    assert runs[0].history == fit(tame)[0].history


def test_set_changes_knobs_and_keeps_weights():
    ensemble = Ensemble([BASE])
    ensemble.run_epoch()
    before = ensemble.state(0)
    ensemble.set([BASE.replace(l2=0.1)])
    assert all(
        torch.equal(a, b) for a, b in zip(before, ensemble.state(0), strict=True)
    )
    changed = ensemble.run_epoch()
    assert changed.epoch == 2
    ensemble.reset()
    assert ensemble.run_epoch().epoch == 1
    with pytest.raises(ValueError, match="cannot share an ensemble"):
        ensemble.set([BASE.replace(hidden=(5,))])
    with pytest.raises(ValueError, match="must be 1"):
        ensemble.set([BASE, BASE])


def test_set_follows_a_new_seed_and_its_data():
    ensemble = Ensemble([BASE])
    ensemble.set([BASE.replace(seed=3)])
    ensemble.reset()
    expected = fit(BASE.replace(seed=3))[0].history["val_loss"][0]
    assert float(ensemble.run_epoch().val_loss[0]) == pytest.approx(expected, rel=1e-12)


def test_nothing_to_train_is_an_error():
    for call in (Ensemble, Training, fit):
        with pytest.raises(ValueError, match="experiments: must be at least one"):
            call([])


@pytest.mark.parametrize("device", ["tpu", "cuda:x y", "gpu"])
def test_unknown_device_is_named(device):
    with pytest.raises(ValueError, match="device = "):
        choose_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has CUDA")
def test_missing_cuda_is_named():
    with pytest.raises(ValueError, match="device = 'cuda': not available"):
        choose_device("cuda")


def test_no_warnings_while_training():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runs = fit(BASE.replace(**KNOBS["everything"]).grid(seed=range(2)))
    assert len(runs) == 2


@pytest.mark.parametrize("data", ["moons", "diabetes", "digits"])
def test_a_fold_trains_as_the_plain_loop_does(data):
    """Several seeds and folds in one ensemble, unequal label noise, a short batch."""
    base = Experiment(data=data, n_train=41, hidden=(6,), epochs=3, batch_size=8)
    members = base.grid(seed=[3, 4], fold=[(0, 4), (2, 4)], label_noise=[0, 0.5])
    for run, e in zip(fit(members), members, strict=True):
        torch.testing.assert_close(curves(run), reference(e)[0], rtol=1e-9, atol=1e-12)


def test_members_that_have_ended_are_left_out():
    """What the others learn stays: Adam's moments, batch norm's statistics."""
    base = BASE.replace(batch_norm=True, dropout=0.3)
    members = base.grid(epochs=[2, 3, 9], seed=[0, 1])
    training = Training(members)
    sizes = []
    while not training.done:
        training.run_epoch()
        sizes.append(len(training.groups[0][1].experiments))
    assert sizes == [6, 6, 6, 2, 2, 2, 2, 2, 2]
    for i, e in enumerate(members):
        alone = fit(e)[0].state
        for a, b in zip(training.state[i], alone, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_without_curves_every_run_ends_the_same(monkeypatch, dtype):
    """Diverged, stopped early or finished: epoch, metrics and weights."""
    wild = BASE.replace(data="diabetes", n_train=50, optimizer="sgd", dtype=dtype)
    fit_noise = BASE.replace(label_noise=0.5, lr=0.1, hidden=(5,))
    members = [
        *wild.grid(lr=[1e-3, 0.3, 3.0, 1e4], l2=[0, 1e-3]),
        *BASE.grid(l2=[0, 0.01], epochs=[5, 6], batch_norm=[False, True]),
        *fit_noise.grid(patience=[1, None], seed=[0, 1]),
    ]
    evaluated, record = [], Ensemble._record
    monkeypatch.setattr(
        Ensemble, "_record", lambda e, o: evaluated.append(e) or record(e, o)
    )
    names, found, counts = [""] * len(members), [], []
    for curves in (True, False):
        evaluated.clear()
        found.append(train_all(names, members, "cpu", curves))
        counts.append(len(evaluated))
    assert counts[1] < 0.7 * counts[0]
    assert {run.status for run in found[0]} == {"finished", "stopped early", "diverged"}
    for with_curves, without in zip(*found, strict=True):
        assert with_curves.status == without.status
        assert with_curves.epoch == without.epoch
        at, there = with_curves.at_kept_epoch(), without.at_kept_epoch()
        if with_curves.status == "diverged":
            del at["objective"], there["objective"]
        np.testing.assert_array_equal(list(at.values()), list(there.values()))
        for a, b in zip(with_curves.state, without.state, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_a_run_can_be_stopped():
    training = Training(BASE.grid(seed=[0, 1, 2]))
    with pytest.raises(ValueError, match="member 0: must be running"):
        training.stop([0])
    training.run_epoch()
    training.stop([0, 2])
    with pytest.raises(ValueError, match="member 2: must be running, is 'pruned'"):
        training.stop([2])
    while not training.done:
        record = training.run_epoch()
    assert training.status == ["pruned", "finished", "pruned"]
    assert training.kept_epoch == [1, BASE.epochs, 1]
    assert record.active.tolist() == [False, True, False]
    first = fit(BASE.replace(epochs=1))[0].state
    for a, b in zip(training.state[0], first, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_an_ensemble_keeps_at_least_one():
    with pytest.raises(ValueError, match="at least one"):
        Ensemble([BASE]).keep([])


# A fold is of another structure than none.
CHANGES = {name: value for name, value in CHANGED.items() if name != "fold"}


@pytest.mark.parametrize("name", CHANGES)
def test_new_knobs_and_a_reset_are_as_good_as_a_new_ensemble(name):
    base = CNN.replace(optimizer="sgd", augment=Augment(shift=1), batch_norm=True)
    changed = base.replace(**{name: CHANGES[name]})
    ensemble = Ensemble([base])
    ensemble.run_epoch()
    for e in (changed, base, changed):
        ensemble.set([e])
        ensemble.reset()
        found, expected = ensemble.run_epoch(), Ensemble([e]).run_epoch()
        for metric in METRICS:
            assert getattr(found, metric) == getattr(expected, metric)


@pytest.mark.parametrize("size", [1, 50, 120, 10**6])
def test_orders_are_drawn_for_several_epochs_at_once(monkeypatch, size):
    monkeypatch.setattr(ensembles, "ORDERED", size)
    ensemble, expected = Ensemble([BASE]), reference(BASE)[0]
    for _ in range(2):
        losses = [float(ensemble.run_epoch().train_loss[0]) for _ in range(6)]
        assert losses == pytest.approx(expected[:, 0].tolist(), rel=1e-9)
        ensemble.reset()


def test_a_batch_beyond_the_training_set_is_the_whole_of_it():
    e = BASE.replace(dropout=0.5, input_noise=0.1)
    whole, more = fit([e.replace(batch_size=size) for size in (50, 100_000)])
    assert whole.history == more.history


@pytest.mark.parametrize("data", ["moons", "digits", "wave"])
def test_own_points_take_the_place_of_the_training_set(monkeypatch, data):
    base = BASE.replace(data=data, n_train=20, dropout=0.2)
    points = training_set(base.replace(seed=9, label_noise=0.3))
    monkeypatch.setattr(plain_loop, "training_set", lambda e: points)
    members = [base, base.replace(seed=2, label_noise=0)]
    training = Training(members, points=points)
    records = [training.run_epoch() for _ in range(base.epochs)]
    for i, e in enumerate(members):
        names = ("train_loss", "val_loss", "objective")
        found = [[float(getattr(r, n)[i]) for n in names] for r in records]
        np.testing.assert_allclose(found, reference(e)[0], rtol=1e-9, atol=1e-12)


def test_own_points_may_come_and_go():
    points = training_set(BASE.replace(seed=9))
    ensemble = Ensemble([BASE], points=points)
    first = float(ensemble.run_epoch().train_loss[0])
    for own, same in ((None, False), (points, True)):
        ensemble.set([BASE], own)
        ensemble.reset()
        assert (float(ensemble.run_epoch().train_loss[0]) == first) is same


@pytest.mark.parametrize("changes", [{"n_train": 49}, {"fold": (0, 5)}])
def test_own_points_must_be_as_many_as_n_train(changes):
    points = training_set(BASE)
    with pytest.raises(ValueError, match=r"points: 50 of them: must be n_train"):
        Ensemble([BASE.replace(**changes)], points=points)


def due(e, curves):
    """The epochs that a run of its own is scored at."""
    many = range(1, curves + 1)
    return {1, *(math.ceil(k * e.epochs / curves) for k in many)}


@pytest.mark.parametrize("curves", [1, 3, 4, 20, 1000])
def test_curves_may_be_scored_a_few_times_a_run(curves):
    """Members of one structure are scored together, whichever asks for it."""
    members = [*BASE.grid(epochs=[9, 20], seed=[0, 1]), BASE.replace(dropout=0.5)]
    expected, training = fit(members), Training(members, curves=curves)
    epochs = set()
    while not training.done:
        record = training.run_epoch()
        live = record.active.nonzero()[:, 0].tolist()
        scored = any(record.epoch in due(members[i], curves) for i in live)
        epochs |= {record.epoch} if scored else set()
        for i in live:
            loss = float(record.val_loss[i])
            known = expected[i].history["val_loss"][record.epoch - 1]
            assert loss == known if scored else math.isnan(loss)
    assert epochs == set().union(*(due(e, curves) for e in members))
    assert training.kept_epoch == [run.epoch for run in expected]
    for state, run in zip(training.state, expected, strict=True):
        assert all(map(torch.equal, state, run.state))


def test_a_training_starts_again_in_the_same_ensembles():
    """As far as their structures and sizes fit; the results are those of fit."""
    training = Training([*BASE.grid(seed=range(3)), DIGITS])
    first, digits = (ensemble for _, ensemble in training.groups)
    training.run_epoch()
    others = [DIGITS.replace(l2=0.1), *BASE.grid(seed=range(4, 7), dropout=[0.2])]
    training.start(others)
    assert [ensemble for _, ensemble in training.groups] == [digits, first]
    assert (training.epochs, training.status) == ([0] * 4, ["running"] * 4)
    while not training.done:
        training.run_epoch()
    for state, run in zip(training.state, fit(others), strict=True):
        for a, b in zip(state, run.state, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    training.start(others[:2])
    assert training.groups[0][1] is digits
    assert training.groups[1][1] is not first
    with pytest.raises(ValueError, match="at least one"):
        training.start([])


def test_going_on_takes_each_from_its_own_last_epoch():
    """Adam's moments and batch norm's statistics too, of members long left out."""
    base = BASE.replace(batch_norm=True, dropout=0.3)
    members = base.grid(epochs=[2, 3, 9], seed=[0, 1])
    training = Training(members)
    for goes in range(2):
        if goes:
            assert training.go_on([e.replace(epochs=4) for e in members])
            assert training.begin == [2, 2, 3, 3, 9, 9]
        while not training.done:
            training.run_epoch()
    assert training.epochs == training.kept_epoch == [6, 6, 7, 7, 13, 13]
    for i, e in enumerate(members):
        alone = fit(e.replace(epochs=training.epochs[i]))[0].state
        for a, b in zip(training.state[i], alone, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_going_on_amid_a_run_keeps_the_ensemble():
    training = Training(BASE.grid(seed=[0, 1]))
    ((_, ensemble),) = training.groups
    training.run_epoch()
    assert training.go_on(BASE.grid(seed=[0, 1], l2=[0.1]))
    assert training.groups[0][1] is ensemble
    records = []
    while not training.done:
        records.append(training.run_epoch())
    assert [record.epoch for record in records] == [*range(2, 8)]
    assert training.status == ["finished"] * 2


@pytest.mark.parametrize(
    "others, obstacle",
    [
        ([BASE], "1 members in place of 2"),
        ([BASE, DIGITS], "member 1 would have another structure"),
        ([BASE, BASE.replace(n_train=49)], "member 1 would have another structure"),
    ],
)
def test_what_stands_in_the_way_of_going_on_is_named(others, obstacle):
    training = Training([BASE, BASE.replace(seed=1)])
    record = training.run_epoch()
    assert training.obstacle(training.experiments) == ""
    assert training.obstacle(others) == obstacle
    assert not training.go_on(others)
    assert isinstance(record, Record) and training.epochs == [1, 1]
    while not training.done:
        training.run_epoch()
    assert training.kept_epoch == [6, 6]


def test_what_diverged_cannot_go_on():
    wild = BASE.replace(**SGD).replace(lr=1e6, l2=1e6)
    training = Training([wild])
    while not training.done:
        training.run_epoch()
    assert "no longer numbers" in training.obstacle([wild])
    assert not training.go_on([wild])


def test_present_weights_are_the_kept_ones_once_a_run_is_over():
    e = BASE.replace(n_train=30, label_noise=0.4, epochs=80, patience=5, lr=0.03)
    training, run = Training([e]), fit(e)[0]
    while not training.done:
        training.run_epoch()
        if training.status == ["running"]:
            at = fit(e.replace(patience=None, epochs=training.epochs[0]))[0]
            assert all(map(torch.equal, training.present(0), at.state))
    assert all(map(torch.equal, training.present(0), run.state))
