"""What an ensemble and a training keep, take up again, and forget, for every knob."""

import itertools
import math

import pytest
import torch

from tests.reference import reference
from utils import Augment, Experiment, fit
from utils.engine.ensemble import METRICS, Ensemble
from utils.engine.runs import train_all
from utils.engine.training import Training

DENSE = Experiment(n_train=42, hidden=(9, 7), epochs=2, batch_size=16)
MAPS = DENSE.replace(data="digits", channels=(3,), hidden=(6,), dropout_channels=0.1)
# By field: what it is changed to; fields that shape an ensemble it refuses.
KNOBS = {
    "label_noise": 0.6,
    "init_scale": 2.0,
    "dropout": 0.3,
    "dropout_input": 0.2,
    "dropout_channels": 0.3,
    "dropconnect": 0.2,
    "input_noise": 0.2,
    "weight_noise": 0.1,
    "activation_noise": 0.2,
    "augment": Augment(rotation=20, flip=0.5),
    "momentum": 0.8,
    "lr": 0.03,
    "epochs": 3,
    "l1": 0.01,
    "l2": 0.01,
    "weight_decay": 0.1,
    "patience": 1,
    "fold": (1, 7),
    "split": 3,
    "seed": 5,
}
SHAPES = {
    "data": "ring",
    "n_train": 41,
    "hidden": (9, 8),
    "channels": (4,),
    "activation": "tanh",
    "batch_norm": True,
    "dropout_at": "last",
    "optimizer": "adam",
    "batch_size": 15,
    "l1_method": "subgradient",
    "penalize_bias": True,
    "dtype": "float32",
}


def before(name):
    """Experiments that have this knob, and the change of it."""
    for optimizer in ("sgd",) if name == "momentum" else ("sgd", "adam", "adamw"):
        maps = name in ("dropout_channels", "augment", "channels")
        base = (MAPS if maps else DENSE).replace(optimizer=optimizer)
        if name == "augment":
            base = base.replace(augment=Augment(shift=1))
        if name == "fold":
            base = base.replace(fold=(0, 7))
        yield base, base.replace(**{name: KNOBS[name]})


def values(record):
    return [getattr(record, name).tolist() for name in METRICS]


def same(ones, others):
    return all(map(torch.equal, ones, others)) and len(ones) == len(others)


def test_every_field_is_here():
    assert {*KNOBS, *SHAPES} == set(vars(DENSE))


@pytest.mark.parametrize("name", SHAPES)
def test_an_ensemble_keeps_its_structure(name):
    base = (MAPS if name == "channels" else DENSE).replace(optimizer="sgd")
    ensemble = Ensemble([base])
    with pytest.raises(ValueError, match="cannot share an ensemble"):
        ensemble.set([base.replace(**{name: SHAPES[name]})])
    ensemble.run_epoch()
    alone = Ensemble([base])
    alone.run_epoch()
    assert same(ensemble.state(0), alone.state(0))


@pytest.mark.parametrize("name", KNOBS)
def test_set_and_reset_give_what_a_new_ensemble_gives(name):
    for base, changed in before(name):
        other = base.replace(seed=9)
        ensemble = Ensemble([base, other])
        ensemble.run_epoch()
        for e in (changed, base):
            ensemble.set([e, other])
            ensemble.reset()
            new = Ensemble([e, other])
            for _ in range(2):
                assert values(ensemble.run_epoch()) == values(new.run_epoch())
            assert same(ensemble.everything(0), new.everything(0))
            assert same(ensemble.everything(1), new.everything(1))


@pytest.mark.parametrize("name", KNOBS)
def test_set_amid_a_run_gives_what_the_plain_loop_gives_from_there(name):
    for base, changed in before(name):
        ensemble, found = Ensemble([base]), []
        for e in (base, changed, base):
            ensemble.set([e])
            found += [ensemble.run_epoch() for _ in range(e.epochs)]
        expected, _ = reference(base, changed, base)
        names = ("train_loss", "val_loss", "objective")
        curves = [[float(getattr(record, n)) for n in names] for record in found]
        torch.testing.assert_close(
            torch.tensor(curves, dtype=torch.float64), expected, rtol=1e-9, atol=1e-12
        )


STATES = {
    "adam": DENSE,
    "sgd": DENSE.replace(optimizer="sgd", momentum=0.9),
    "norm": DENSE.replace(batch_norm=True, dropout=0.2),
    "maps": MAPS.replace(batch_norm=True),
}


@pytest.mark.parametrize("name", STATES)
def test_what_is_saved_comes_back_whole(name):
    members = STATES[name].grid(seed=[0, 1])
    ensemble, twin = Ensemble(members), Ensemble(members)
    for _ in range(2):
        ensemble.run_epoch()
    saved = [ensemble.everything(k) for k in (0, 1)]
    first = [values(ensemble.run_epoch()) for _ in range(2)]
    end = ensemble.everything(1)
    assert not any(same(a, ensemble.everything(k)) for k, a in enumerate(saved))
    for one in (ensemble, twin):  # back on its way, and in another that never trained
        one.go_on_from(2, saved)
        assert same(one.everything(0), saved[0])
        assert [values(one.run_epoch()) for _ in range(2)] == first
        assert same(one.everything(1), end) and one.epoch == 4


def test_what_is_saved_does_not_change_with_training():
    ensemble = Ensemble([STATES["norm"]])
    ensemble.run_epoch()
    saved, state = ensemble.everything(0), ensemble.state(0)
    copies = [t.clone() for t in saved], [t.clone() for t in state]
    ensemble.run_epoch()
    assert same(saved, copies[0]) and same(state, copies[1])


# The epoch that counts


NOISY = DENSE.replace(n_train=30, label_noise=0.4, lr=0.03, epochs=40)
WILD = NOISY.replace(data="diabetes", optimizer="sgd", hidden=(5,))


def history(training):
    """Train to the end; return each member's validation losses while it ran."""
    losses = [[] for _ in training.experiments]
    while not training.done:
        record = training.run_epoch()
        for i in record.active.nonzero()[:, 0].tolist():
            losses[i].append(float(record.val_loss[i]))
    return losses


def alike(ones, others):
    """The same but for rounding, which depends on the company."""
    close = {"rtol": 1e-9, "atol": 1e-12, "equal_nan": True}
    return all(torch.allclose(a, b, **close) for a, b in zip(ones, others, strict=True))


def state_after(e, epoch):
    e = e.replace(epochs=epoch, patience=None)
    return train_all([""], [e], "cpu")[0].state


def kept(losses, patience):
    """The epoch of the first lowest loss, and the epoch at which patience ends."""
    best = 0
    for k, loss in enumerate(losses):
        if loss < losses[best]:
            best = k
        if k - best >= patience:
            return best + 1, k + 1
    return best + 1, len(losses)


@pytest.mark.parametrize("patience", [1, 2, 5, 100])
def test_with_patience_the_best_epoch_is_kept(patience):
    members = NOISY.grid(seed=range(6), patience=[patience])
    whole = fit([e.replace(patience=None) for e in members])
    training = Training(members)
    history(training)
    for i, (e, run) in enumerate(zip(members, whole, strict=True)):
        best, last = kept(run.history["val_loss"], patience)
        assert (training.kept_epoch[i], training.epochs[i]) == (best, last)
        early = last - best >= patience
        assert training.status[i] == ("stopped early" if early else "finished")
        assert alike(training.state[i], state_after(e, best))


def test_of_equal_losses_the_first_is_kept(monkeypatch):
    """A network whose weights do not move: its validation loss never changes."""
    e = DENSE.replace(optimizer="sgd", lr=1e-300, epochs=6, patience=3)
    training = Training([e])
    history(training)
    assert (training.kept_epoch, training.epochs) == ([1], [4])


@pytest.mark.parametrize("when", [1, 3, 7, 20])
def test_a_run_that_is_stopped_keeps_its_best_state(when):
    members = NOISY.grid(seed=range(4), patience=[None, 30])
    losses = fit([e.replace(patience=None) for e in members])
    training = Training(members)
    for _ in range(when):
        training.run_epoch()
    training.stop(range(0, 8, 3))
    history(training)
    for i, e in enumerate(members):
        if i % 3:
            continue
        best = kept(losses[i].history["val_loss"][:when], math.inf)[0]
        epoch = when if e.patience is None else best
        assert training.status[i] == "pruned" and training.epochs[i] == when
        assert training.kept_epoch[i] == epoch
        assert alike(training.state[i], state_after(e, epoch))
        assert alike(training.present(i), training.state[i])


def diverging(patience):
    """Runs that diverge: at once, and after they were better for a while."""
    members = [WILD.replace(lr=lr, patience=patience) for lr in (1e150, 3.0, 1.0, 0.9)]
    training = Training(members)
    return members, training, history(training)


def test_a_run_that_diverges_without_patience_keeps_its_last_state():
    members, training, losses = diverging(None)
    assert set(training.status) == {"diverged"}
    for i in range(len(members)):
        assert training.kept_epoch[i] == training.epochs[i] == len(losses[i])
        assert training.state[i] is not None
        assert not math.isfinite(losses[i][-1])
        assert alike(training.state[i], state_after(members[i], len(losses[i])))


def test_a_run_that_diverges_with_patience_keeps_its_best_state():
    members, training, losses = diverging(100)
    assert set(training.status) == {"diverged"}
    assert training.kept_epoch[3] > 1
    for i in range(len(members)):
        finite = [loss if math.isfinite(loss) else math.inf for loss in losses[i]]
        best = kept(finite, math.inf)[0]
        assert training.state[i] is not None
        if finite[0] < math.inf:
            assert training.kept_epoch[i] == best
            assert alike(training.state[i], state_after(members[i], best))
        else:
            assert training.kept_epoch[i] == training.epochs[i] == 1


ORDERS = list(itertools.permutations(["stop", "go on", "end"]))


@pytest.mark.parametrize("order", ORDERS)
def test_whatever_comes_first_the_others_keep_what_counts(order):
    """Stopped, gone on and ended in any order: the last stretch decides."""
    e = NOISY.replace(patience=4)
    training, begin = Training([e, e.replace(seed=1), e.replace(lr=0.01)]), 0
    for act in order:
        running = [i for i, s in enumerate(training.status) if s == "running"]
        if act == "stop" and running and training.epochs[0]:
            training.stop(running[:1])
        elif act == "go on" and training.epochs[0]:
            assert training.go_on(training.experiments)
            begin = max(training.begin)
        elif act == "end":
            history(training)
        if not training.done:
            training.run_epoch()
    history(training)
    for i, member in enumerate(training.experiments):
        losses = fit(member.replace(epochs=training.epochs[i], patience=None))[0]
        own = losses.history["val_loss"][training.begin[i] :]
        best = training.begin[i] + kept(own, math.inf)[0]
        assert training.kept_epoch[i] == best
        assert alike(training.state[i], state_after(member, best))
    assert begin == max(training.begin)
