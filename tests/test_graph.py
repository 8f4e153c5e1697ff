"""What a GPU asks of the engine, seen on a CPU by listing every operation.

CUDA replays an epoch's steps as a recorded graph: the operations, their numbers and the
addresses they read must be the same in every epoch, and none may wait for the host.
MPS has no float64: a float32 ensemble may make some on the host alone.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from utils import Augment, Experiment
from utils.engine.ensemble import Ensemble

BASE = Experiment(
    data="digits", n_train=70, batch_size=32, hidden=(20, 20), label_noise=0.2
)
CONV = {"channels": (4,), "n_train": 40}
# What each kind of member turns on, and what `set` makes of that in mid-run.
KINDS = {
    "plain": ({}, {"lr": 0.05}),
    "relu": ({"activation": "relu"}, {"seed": 7}),
    "tanh": ({"activation": "tanh"}, {"label_noise": 0.4}),
    "selu": ({"activation": "selu"}, {"init_scale": 2.0}),
    "dropout": ({"dropout": 0.3}, {"dropout": 0.4}),
    "last": ({"dropout": 0.3, "dropout_at": "last"}, {"dropout": 0.1}),
    "input": ({"dropout_input": 0.1}, {"dropout_input": 0.2}),
    "connect": ({"dropconnect": 0.2}, {"dropconnect": 0.1}),
    "input noise": ({"input_noise": 0.1}, {"input_noise": 0.3}),
    "weight noise": ({"weight_noise": 0.1}, {"weight_noise": 0.3}),
    "unit noise": ({"activation_noise": 0.1}, {"activation_noise": 0.3}),
    "norm": ({"batch_norm": True}, {"lr": 0.05}),
    "before norm": (
        {"batch_norm": True, "dropout": 0.2, "dropout_at": "before_norm"},
        {"dropout": 0.3},
    ),
    "l1": ({"l1": 1e-3}, {"l1": 1e-2}),
    "l1 of biases": ({"l1": 1e-3, "penalize_bias": True}, {"l1": 1e-2}),
    "l1 by slope": ({"l1": 1e-3, "l1_method": "subgradient"}, {"l1": 1e-2}),
    "l2": ({"l2": 1e-3, "weight_decay": 1e-3}, {"l2": 1e-2, "weight_decay": 0.1}),
    "adamw": ({"optimizer": "adamw", "weight_decay": 0.1}, {"weight_decay": 0.2}),
    "sgd": ({"optimizer": "sgd", "lr": 0.05}, {"lr": 0.1}),
    "momentum": ({"optimizer": "sgd", "momentum": 0.9}, {"momentum": 0.5}),
    "augment": (
        {"augment": Augment(rotation=10, shift=1, scale=0.1, flip=0.5)},
        {"augment": Augment(rotation=5, shift=2, scale=0.2, flip=0.1)},
    ),
    "convolution": (CONV, {"lr": 0.05}),
    "maps": ({**CONV, "dropout_channels": 0.2}, {"dropout_channels": 0.1}),
    "convolution with norm": ({**CONV, "batch_norm": True}, {"lr": 0.05}),
    "convolution with noise": (
        {**CONV, "activation_noise": 0.1},
        {"activation_noise": 0.2},
    ),
    "regression": ({"data": "diabetes"}, {"label_noise": 0.5}),
    "two classes": ({"data": "moons"}, {"seed": 5}),
    "folds": ({"fold": (0, 7)}, {"lr": 0.05}),
    "splits": ({"split": 1}, {"split": 2}),
}
# The host would have to wait for the device, or hand it something.
WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "is_nonzero",
    "equal",
    "masked_select",
    "lift_fresh",
    "scalar_tensor",
    "item",
    "unique",
)


class Steps(TorchDispatchMode):
    """Lists operations: name, numbers, and for tensors which temporary or where."""

    def __init__(self):
        super().__init__()
        self.rows, self.made, self.alive = [], {}, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = tree_leaves((args, kwargs or {}))
        made = func(*args, **(kwargs or {}))
        addresses = {_place(t) for t in given if isinstance(t, torch.Tensor)}
        self.rows.append((func._overloadpacket.__name__, *map(self._name, given)))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and _place(tensor) not in addresses:
                self.alive.append(tensor)  # so that no other gets its address
                self.made.setdefault(_place(tensor), len(self.made))
        return made

    def _name(self, value):
        if not isinstance(value, torch.Tensor):
            return str(value)
        view = value.storage_offset(), value.shape, value.stride(), value.dtype
        place = _place(value)
        return str((self.made.get(place, ("outside", place)), *view))


def _place(tensor):
    return tensor.untyped_storage().data_ptr()


def members_of(changes):
    """Two seeds, two learning rates, as an ensemble on a GPU may have them."""
    e = BASE.replace(**changes)
    seeds = [(e.seed + s, e.lr * (1 + s)) for s in (0, 1, 1)]
    return [e.replace(seed=seed, lr=lr) for seed, lr in seeds]


def steps_of(ensemble):
    """The operations of the coming epoch's steps."""
    ensemble._prepare()
    with Steps() as steps:
        ensemble._steps(True)
    ensemble.epoch += 1
    return steps.rows


@pytest.fixture
def held(monkeypatch):
    """Addresses are kept, as on CUDA."""
    monkeypatch.setattr(Ensemble, "_keep", Ensemble._hold)
    with torch.no_grad():
        yield


@pytest.mark.parametrize("kind", KINDS)
def test_the_steps_of_every_epoch_are_the_same_operations(held, kind):
    on, later = KINDS[kind]
    ensemble = Ensemble(members_of(on), "cpu")
    steps_of(ensemble)  # makes the buffers
    first = steps_of(ensemble)
    assert first == steps_of(ensemble)
    ensemble.set(members_of({**on, **later}))
    after = steps_of(ensemble)
    assert first == after
    assert [name for name, *_ in first if name in WAITS] == []


def test_every_knob_is_among_them():
    known = set().union(*(on for on, _ in KINDS.values()))
    # Of the sweep's fields these change what is trained on, or how long.
    rest = {"n_train", "label_noise", "hidden", "init_scale", "epochs", "batch_size"}
    rest |= {"patience", "seed", "dtype"}
    assert known | rest == set(vars(BASE))


def test_what_cannot_be_replayed_is_seen():
    amounts = torch.arange(8.0).view(2, 4)
    with Steps() as steps:
        amounts[:, [0, 1, 1, 2]]
        torch.where(amounts > 1, -1.0, 1.0)
        amounts.sum().item()
    names = {name for name, *_ in steps.rows}
    assert {"lift_fresh", "scalar_tensor", "_local_scalar_dense"} <= names


class Doubles(TorchDispatchMode):
    """Lists operations that make float64 of what is not the host's."""

    def __init__(self):
        super().__init__()
        self.host, self.alive, self.wrong = set(), [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = tree_leaves((args, kwargs or {}))
        given = [t for t in given if isinstance(t, torch.Tensor)]
        made = func(*args, **(kwargs or {}))
        at_home = all(_place(t) in self.host for t in given)
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                self.alive.append(tensor)
                self.host.add(_place(tensor))
                if not at_home:
                    self.wrong.append(func._overloadpacket.__name__)
        return made


def doubles(monkeypatch, act):
    mode = Doubles()

    def to_host(tensor):
        copy = tensor.clone()
        mode.alive.append(copy)
        mode.host.add(_place(copy))
        return copy

    monkeypatch.setattr(torch.Tensor, "cpu", to_host)
    with mode:
        act()
    return mode.wrong


@pytest.mark.parametrize("kind", KINDS)
def test_float32_makes_no_float64_on_the_device(monkeypatch, kind):
    on, later = KINDS[kind]
    members = members_of({**on, "dtype": "float32"})
    ensemble = Ensemble(members, "cpu")
    assert doubles(monkeypatch, ensemble.run_epoch) == []
    ensemble.set([e.replace(**later) for e in members])
    assert doubles(monkeypatch, ensemble.run_epoch) == []


def test_a_float64_on_the_device_is_seen(monkeypatch):
    x = torch.ones(3, dtype=torch.float32)
    assert doubles(monkeypatch, lambda: x.double().cpu()) != []
    assert doubles(monkeypatch, lambda: x.cpu().double()) == []
