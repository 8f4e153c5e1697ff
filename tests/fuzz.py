"""What nobody should pass, passed everywhere: `python -m tests.fuzz SEED N` tells all.

Each call must return, or raise a ValueError that names the field and what it must be,
within SECONDS.
"""

import copy
import itertools
import json
import math
import random
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections import Counter, UserDict, UserList, deque
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import fields
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from utils import Augment, Experiment, Lab, fit, search, sweep, train
from utils.arguments import whole
from utils.book.sphinx_ext import BookMimeRenderer, find_problem, render_figure
from utils.book.sphinx_ext import render_lab as render_a_lab
from utils.data import own_points
from utils.engine.ensemble import Ensemble
from utils.engine.training import Training
from utils.lab.knobs import NAMES
from utils.lab.views import VIEWS
from utils.mimetypes import FIGURE, LAB
from utils.settings import AUGMENT
from utils.sweep import stream

SECONDS = 8  # for one call: a machine may be busy
FIELDS = [field.name for field in fields(Experiment)]
TINY = Experiment(n_train=8, hidden=(3,), epochs=1, label_noise=0)
CLEAR = ("must", "not an experiment in JSON")


class Hangs(BaseException):
    """Not an Exception, which the code under test may catch."""


def _raise(*_):
    raise RuntimeError("hostile")


def _endless(*_):
    return itertools.repeat(3)


def _hostile(name, **methods):
    return type(name, (), methods)


BadFloat = _hostile("BadFloat", __float__=_raise)
WrongFloat = _hostile("WrongFloat", __float__=lambda self: "0.1")
NanFloat = _hostile("NanFloat", __float__=lambda self: math.nan)
BadIndex = _hostile("BadIndex", __index__=_raise, __float__=_raise)
WrongIndex = _hostile("WrongIndex", __index__=lambda self: "3")
BadIter = _hostile("BadIter", __iter__=_raise, __len__=lambda self: 3)
Endless = _hostile("Endless", __iter__=_endless)
EndlessItems = _hostile("EndlessItems", __getitem__=lambda self, key: 3)
BadRepr = _hostile("BadRepr", __repr__=_raise, __str__=_raise)
WrongRepr = _hostile("WrongRepr", __repr__=lambda self: 3)
BadEqual = _hostile("BadEqual", __eq__=_raise, __hash__=lambda self: 0)
BadHash = _hostile("BadHash", __hash__=_raise)
BadBool = _hostile("BadBool", __bool__=_raise, __len__=_raise)
BadAttribute = _hostile("BadAttribute", __getattr__=_raise)
BadShape = _hostile("BadShape", shape=property(_raise), __float__=lambda self: 0.5)
BadPath = _hostile("BadPath", __fspath__=_raise)
Anything = _hostile("Anything", __getattr__=lambda self, name: False)
METHODS = "float index iter repr str eq hash bool len getitem getattr contains lt call"
AllBad = _hostile("AllBad", **{f"__{name}__": _raise for name in METHODS.split()})


class BadStr(str):
    __slots__ = ()
    __eq__ = __repr__ = __str__ = _raise
    __hash__ = str.__hash__


class BadInt(int):
    __index__ = __repr__ = __float__ = _raise
    __lt__ = __le__ = __gt__ = __ge__ = _raise


class BadNumber(float):
    __float__ = __repr__ = _raise
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = _raise
    __hash__ = float.__hash__


class BadDict(dict):
    __iter__ = __getitem__ = __repr__ = items = keys = _raise


class Colour(StrEnum):
    adam = "adam"


def _deep(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def _itself():
    value = [1]
    value.append(value)
    return value


SCALARS = [
    None, True, False, 0, 1, 2, 3, 7, -1, -(2**63), 2**31, 2**32, 2**64, 10**400,
    -(10**400), 10**5000, 0.0, -0.0, 0.1, 0.5, 0.9, 1.0, 1.5, 3.0, -0.1, 1e-3, 5e-324,
    1e-310, 1e308, 1e300, math.nan, math.inf, -math.inf, 1j, 0.5 + 0j, Decimal("0.1"),
    Decimal("NaN"), Fraction(1, 3), Fraction(3), "", " ", "0,003", "0.1", "1", "adam",
    "sgd", "relu", "moons", "digits", "wave", "hidden", "val_loss", "auto", "cpu",
    "cuda", "cuda:99", "mps", "meta", "é😀", "\ud800", "\x00", "a" * 10_000, "None",
    "../nowhere", b"", b"adam", b"\x03\x05", bytearray(b"\x03"), memoryview(b"\x03"),
    np.float64(0.1), np.float32(0.5), np.float16(0.5), np.longdouble(0.1), np.int8(3),
    np.int64(1), np.uint64(2**64 - 1), np.bool_(True), np.str_("adam"),
    np.str_("moons"), np.bytes_(b"adam"), np.float64("nan"), np.complex128(1 + 2j),
    np.complex64(1), np.datetime64("2020"), np.timedelta64(3, "s"), np.void(b"a"),
    Colour.adam, pd.NA, pd.NaT, pd.Timestamp(0), NotImplemented, ..., type, int,
    Experiment, Augment, len, object(), TINY, Augment(rotation=3), Augment(),
    Path("nowhere"), threading.Event(), BadFloat(), WrongFloat(), NanFloat(),
    BadIndex(), WrongIndex(), BadIter(), Endless(), EndlessItems(), BadRepr(),
    WrongRepr(), BadEqual(), BadHash(), BadBool(), BadAttribute(), BadShape(),
    BadPath(), Anything(), AllBad(), BadStr("adam"), BadInt(3), BadNumber(0.5),
    BadRepr, AllBad, SimpleNamespace(asynchronous=False), range(3), range(10**7),
    range(10**30), range(0), (), {3, 5}, frozenset({3}), (3, 3), (1, 3), (0, 2), (2, 2),
    (0.0, 0.9), (1e-6, 1.0), ("sgd", "adam"), (TINY, TINY), (BadEqual(), 3),
]  # fmt: skip
MAKERS = [  # what is used up, or could be changed, is made anew
    lambda: np.array(0.1), lambda: np.array(3), lambda: np.array([0.1]),
    lambda: np.array([0.1, 0.5]), lambda: np.array([3, 5]), lambda: np.zeros((2, 2)),
    lambda: np.array([]), lambda: np.array(["sgd", "adam"]),
    lambda: np.array([None, 1]), lambda: np.zeros(10**6 + 1, np.int8),
    lambda: np.array("adam"), lambda: np.array(1 + 2j), lambda: np.zeros(2, "i4,f4"),
    lambda: np.ma.masked, lambda: torch.tensor(0.1), lambda: torch.tensor(3),
    lambda: torch.tensor([0.1]), lambda: torch.tensor([3, 5]),
    lambda: torch.zeros(2, 2), lambda: torch.tensor(True), lambda: torch.tensor(1j),
    lambda: torch.tensor([]), lambda: torch.empty((), device="meta"),
    lambda: torch.tensor(0.5, requires_grad=True), lambda: pd.Series([0.1, 0.5]),
    lambda: pd.Series([3]), lambda: pd.DataFrame({"a": [1]}), lambda: pd.Index([3, 5]),
    list, dict, set, lambda: {"a": 1}, lambda: {"rotation": 3},
    lambda: {"rotation": "x", 3: 4}, lambda: {3: 5}, lambda: {"X": [0, 1], "y": [1]},
    lambda: [3], lambda: [3, [3]], lambda: [[3], (3, 3)], lambda: [None],
    lambda: [None, None], lambda: [math.nan, 1], lambda: _deep(3), lambda: _deep(3000),
    _itself, lambda: [1] * 1000, lambda: (3 for _ in range(2)),
    lambda: (1 / 0 for _ in range(2)), lambda: iter([3]), itertools.count,
    lambda: itertools.repeat(3), lambda: itertools.cycle([1, 2]),
    lambda: map(float, "ab"), lambda: zip([1], [2], strict=True), {1: 2}.keys,
    {1: 2}.values, {1: 2}.items, lambda: UserDict(a=1), lambda: UserList([3]),
    lambda: deque([3]), lambda: BadDict(a=1), lambda: lambda: 3, lambda: [TINY],
    lambda: [TINY, 3], lambda: [BadRepr(), AllBad()], lambda: [10**5000],
    lambda: {BadEqual(): 3}, lambda: {"a": TINY}, lambda: {"a": 3, None: [TINY]},
    lambda: dict.fromkeys(range(100_000)), lambda: {"": [[TINY]]},
    lambda: [np.array([1, 2]), 3], lambda: [torch.zeros(2)], lambda: [[[[[[3]]]]]],
    lambda: SimpleNamespace(shape=(), item=_raise), lambda: iter(_raise, None),
]  # fmt: skip


def value(draw):
    """Return one of the hostile values, or some of them in a list, tuple or dict."""
    kind = draw.random()
    if kind < 0.45:
        return draw.choice(SCALARS)
    if kind < 0.8:
        return draw.choice(MAKERS)()
    some = [value(draw) for _ in range(draw.randrange(4))]
    if kind < 0.9:
        return some
    return tuple(some) if kind < 0.96 else dict(zip("abc", some, strict=False))


LIKELY = {
    "data": ["ring", "digits", "wave", "diabetes"],
    "n_train": [2, 8, None],
    "label_noise": [0, 0.5],
    "hidden": [(), (3,), (3, 2)],
    "channels": [(), (2,)],
    "activation": ["tanh", "selu"],
    "batch_norm": [True, False],
    "dropout_at": ["hidden", "last"],
    "augment": [None, {"rotation": 5}],
    "optimizer": ["sgd", "adamw"],
    "l1_method": ["proximal", "subgradient"],
    "epochs": [1, 2],
    "batch_size": [4, 8],
    "penalize_bias": [True, False],
    "patience": [None, 1],
    "fold": [None, (0, 2), (1, 3)],
    "split": [None, 0, 5],
    "seed": [0, 5, 2**32 - 1],
    "dtype": ["float32", "float64"],
}


def likely(draw, name):
    """Return a value that the field may well have."""
    return draw.choice(LIKELY.get(name, [0, 0.1, 0.5, 1e-6]))


def some_of(draw, names, chance=0.5):
    """Return a few fields, each with a likely value or a hostile one."""
    chosen = draw.sample(names, min(len(names), draw.randrange(1, 4)))
    return {
        n: value(draw) if draw.random() < chance else likely(draw, n) for n in chosen
    }


# What is called: each returns a function of nothing, and the names of which the message
# must have one.


def experiment(draw):
    given = some_of(draw, FIELDS, 0.7)
    return lambda: Experiment(**given).to_json(), FIELDS


def one_field(draw):
    given = {draw.choice(FIELDS): value(draw)}
    return lambda: Experiment(**given).to_json(), FIELDS


def replace(draw):
    given = some_of(draw, [*FIELDS, "lambda_", "L2", "self_"], 0.7)
    return lambda: TINY.replace(**given).to_json(), [*FIELDS, *given]


def fold(draw):
    pair = [value(draw) if draw.random() < 0.6 else draw.randrange(4) for _ in "ab"]
    given = draw.choice([pair, tuple(pair), np.array([0, 2]), value(draw)])
    return lambda: TINY.replace(fold=given).to_json(), ["fold"]


def augment(draw):
    given = some_of(draw, list(AUGMENT), 0.7)
    if draw.random() < 0.5:
        return lambda: Augment(**given), ["augment"]
    digits = TINY.replace(data="digits")
    return lambda: digits.replace(augment=given).to_json(), ["augment"]


def axis(draw, name):
    """Return values of a knob, in a list or not."""
    kind = draw.random()
    if kind < 0.4:
        return value(draw)
    if kind < 0.7:
        return [likely(draw, name) for _ in range(draw.randrange(1, 3))]
    return [value(draw), likely(draw, name)]


def grid(draw):
    names = draw.sample([*FIELDS, "lambda_"], draw.randrange(1, 4))
    axes = {name: axis(draw, name) for name in names}
    if draw.random() < 0.1:
        axes = {"l2": range(2000), "lr": range(1, 2000), "seed": range(3)}
    return lambda: TINY.grid(**axes), [*names, "grid", "n_train", "fold"]


JUNK = [None, math.nan, -math.inf, True, -1, 0, 0.5, 3, 1e9, 1e308, -1e308, 10**30,
        5e-324, "", " ", "moons", "l2", [], [1], [[1]], {}, {"l2": [0, 1]}, [None],
        [0.1, "x"], {"": {}}, "</script>", "x" * 1000, [1e308, -1e308], [0.0, 1e-320],
        {"rotation": 1}, "0,003", False, 25, [50, 50]]  # fmt: skip


def mutate(draw, content):
    """Return a copy with one key changed, removed, doubled or added."""
    content = copy.deepcopy(content)
    inner, path = content, []
    while (
        isinstance(inner, dict | list) and inner and (not path or draw.random() < 0.7)
    ):
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        path.append((inner, draw.choice(list(keys))))
        inner = inner[path[-1][1]]
    place, key = path[-1]
    how = draw.random()
    if how < 0.15:
        del place[key]
    elif how < 0.25 and isinstance(place, dict):
        place[draw.choice(["", "extra", "l2", *FIELDS])] = draw.choice(JUNK)
    elif how < 0.35 and isinstance(place, list):
        place.insert(0, copy.deepcopy(draw.choice([inner, *JUNK])))
    else:
        place[key] = copy.deepcopy(draw.choice(JUNK))
    return content


TEXTS = ["", "{", "null", "[]", "3", '"a"', "{}", '{"l2": 1e999}', "NaN", "[" * 100_000,
         "{" * 9999, '{"a":' * 5000, "[" * 500 + "]" * 500, "9" * 5000, "é", "\ud800",
         '{"l2": ' + "9" * 5000 + "}", '{"l2": ' + "[" * 300 + "]" * 300 + "}",
         '{"seed": 1, "seed": 2}', '{"__proto__": 1}', '{"self": 1}', b"\xff\xfe",
         b'{"l2": 0.1}', '{"hidden": {"3": 1}}', '{"fold": "01"}', '{"augment": [1]}',
         '{"seed": 1e400}', '{"seed": -0}', '{"l2": -0.0}', "{'l2': 1}"]  # fmt: skip


def from_json(draw):
    kind, text = draw.random(), TINY.to_json()
    if kind < 0.2:
        text = value(draw)
    elif kind < 0.4:
        text = draw.choice(TEXTS)
    elif kind < 0.7:
        text = json.dumps(mutate(draw, json.loads(text)))
    else:
        cut, letters = draw.randrange(len(text)), draw.choices('[]{}",:0-e. ', k=2)
        text = text[:cut] + "".join(letters) + text[cut + draw.randrange(4) :]
    return lambda: Experiment.from_json(text), [*FIELDS, "experiment"]


def members(draw):
    """Return what fit and its like may be given."""
    kind = draw.random()
    if kind < 0.5:
        return value(draw)
    if kind < 0.6:
        return {draw.choice(["a", None, 3]): value(draw)}
    some = [value(draw) if draw.random() < 0.3 else TINY for _ in range(3)]
    return draw.choice([TINY, [TINY], some, {"a": some}, iter(some), (TINY, TINY)])


def device(draw):
    return value(draw) if draw.random() < 0.4 else "cpu"


def fitting(draw):
    given, where = members(draw), device(draw)
    return lambda: fit(given, where).summary(), ["experiments", "device"]


def training(draw):
    given, where = members(draw), device(draw)
    more = {"curves": value(draw)} if draw.random() < 0.2 else {}
    if draw.random() < 0.1:
        more["points"] = value(draw)
    names = ["experiments", "device", "curves", "points"]
    how = draw.randrange(5)
    if how == 0:
        return lambda: list(train(given, where)), names
    if how == 1:
        return lambda: Ensemble(given, where, more.get("points")).run_epoch(), names
    if how == 2:
        return lambda: Training([TINY], "cpu").go_on(given), names
    if how == 3:
        return lambda: Ensemble([TINY], "cpu").set(given), names
    return lambda: Training(given, where, **more).run_epoch(), names


def space_of(draw):
    kind = draw.random()
    if kind < 0.2:
        return value(draw)
    names = draw.sample(
        [*FIELDS, *AUGMENT, "width", "depth", "L2"], draw.randrange(1, 3)
    )
    keys = [value(draw) if kind < 0.25 else name for name in names]
    keys = [k if _hashable(k) else "l2" for k in keys]
    if kind < 0.6:
        keys = ["l2"]
    if kind > 0.85:
        return {
            "l2": [0, draw.choice([0.1, 1e-3])],
            draw.choice(["lr", "dropout"]): [0.1],
        }
    return {key: axis(draw, key if isinstance(key, str) else "l2") for key in keys}


def _hashable(key):
    try:
        return hash(key) is not None and type(key).__eq__ is not BadEqual.__eq__
    except Exception:
        return False


SWEEP = {
    "seeds": [[0], range(2)],
    "folds": [None, 2],
    "device": ["cpu"],
    "client": [None],
    "cache": [None],
    "progress": [False, None],
    "on_result": [None, len],
}
SPACES = [*FIELDS, *AUGMENT, "width", "depth", "L2", "space", "knob", "sweep", "base"]


def sweeping(draw):
    given = {"seeds": [0], "cache": None, "workers": 1, "progress": False}
    given |= {"device": "cpu"}
    for name in draw.sample([*SWEEP, "live", "workers"], draw.randrange(3)):
        hostile = draw.random() < 0.7 or name not in SWEEP
        given[name] = value(draw) if hostile else draw.choice(SWEEP[name])
    base = value(draw) if draw.random() < 0.15 else TINY
    if _several(given["workers"]):
        base = None  # a pool of processes is another test's
    space, names = space_of(draw), [*SPACES, *SWEEP, "live", "workers", "stop"]
    if draw.random() < 0.2:
        own = {
            k: v for k, v in given.items() if k not in ("progress", "on_result", "live")
        }
        stop = value(draw) if draw.random() < 0.5 else None
        return lambda: list(stream(base, space, **own, stop=stop)), names
    return lambda: sweep(base, space, **given), names


def _several(workers):
    try:
        return whole("workers", workers, 2)
    except ValueError:
        return 0


def searching(draw):
    options = {
        "trials": [1, 2, 4],
        "sampler": ["grid", "random", "tpe"],
        "seeds": [[0]],
        "folds": [None, 2],
        "batch": [1, 8],
        "prune": [True, False],
        "metric": ["val_loss", "val_accuracy", "objective"],
        "seed": [0, 5],
        "device": ["cpu"],
    }
    given = {"trials": 2, "seeds": [0], "device": "cpu"}
    for name in draw.sample([*options], draw.randrange(3)):
        hostile = draw.random() < 0.6
        given[name] = value(draw) if hostile else draw.choice(options[name])
    base = value(draw) if draw.random() < 0.1 else TINY
    space = space_of(draw)
    if draw.random() < 0.4:
        name, end = draw.choice(["l2", "lr", "dropout", "batch_size", "epochs"]), 0.5
        space = {name: draw.choice([(value(draw), end), (0.1, value(draw)), (1, 2),
                                    [1, 2, 3]])}  # fmt: skip
    names = [*SPACES, *options, "search"]
    return lambda: search(base, space, **given), names


def labs(draw):
    base = (
        TINY
        if draw.random() < 0.8
        else draw.choice([TINY.replace(data="digits"), value(draw)])
    )
    given = {"device": "cpu"}
    options = {
        "seeds": [1, 2],
        "against": [None, TINY],
        "over": [None, {}, {"l2": 3}, {"l2": [0, 0.1]}, {"dropout": 3, "l2": 3}],
        "views": [None, ("curves",), *[(view,) for view in VIEWS]],
        "description": [None, "Look."],
        "device": ["cpu", "auto"],
    }
    for name in draw.sample([*options], draw.randrange(3)):
        hostile = draw.random() < 0.7
        given[name] = value(draw) if hostile else draw.choice(options[name])
        if name == "over" and draw.random() < 0.4:
            key = draw.choice(["l2", "dropout", "patience", "hidden", "L2", 3])
            given[name] = {key: value(draw)}
    for name in draw.sample([*NAMES, "lambda_"], draw.randrange(2)):
        given[name] = value(draw)
        if draw.random() < 0.5:
            given[name] = draw.choice([
                (value(draw), value(draw)), (0, value(draw)), (1, 3), (0.0, 0.5),
                (likely(draw, name), likely(draw, name)),
            ])  # fmt: skip
    if draw.random() < 0.3:
        given["l2"] = (1e-6, 1.0)
    names = [*FIELDS, *NAMES, *options, *given, "knob", "base", "points"]
    return lambda: _make(base, given), names


def _make(base, given):
    lab = Lab(base, **given)
    try:
        return lab.to_dict(), repr(lab)
    finally:
        lab.close()


class Moves:
    """Settings of one lab, by trait and by name, and points of the reader's own."""

    def __init__(self):
        knobs = {"l2": (1e-6, 1.0), "epochs": (1, 3), "optimizer": ("adam", "sgd")}
        more = {
            "hidden": ((3,), (2, 2)),
            "batch_norm": (False, True),
            "n_train": (2, 8),
        }
        more |= {"momentum": (0.0, 0.5), "data": ("moons", "ring")}
        self.lab = Lab(TINY.replace(batch_size=4), device="cpu", **knobs, **more)
        self.lab.engine = "page"  # a change of a setting trains nothing
        self.names = [*self.lab.knobs, "data_set", "points", "keep", "knobs"]

    def __call__(self, draw):
        lab, knobs = self.lab, self.lab.knobs
        given, name = value(draw), draw.choice(self.names[:-1])
        if draw.random() < 0.3:
            given = likely(draw, "data" if name == "data_set" else name)
        trait = "data_set" if name == "data" else name
        how = draw.randrange(6)
        if how == 0:
            key = draw.choice([value(draw), "data" if name == "data_set" else name])
            return lambda: knobs.__setitem__(key, given), [*self.names, "[", "one of"]
        if how == 1:
            return lambda: knobs[given], ["one of"]
        if how == 2:
            two = {name: given, "l2": 0.5, draw.choice(["l2", "seed", "x"]): 1}
            return lambda: knobs.update(draw.choice([two, given])), [
                *self.names,
                "one of",
            ]
        if how == 3:
            points = draw.choice([given, {"X": given, "y": [0, 1]}, {"y": given},
                                  {"X": [0, 1, 2, 3], "y": given}])  # fmt: skip
            return lambda: setattr(lab, "points", points), [*self.names, "points"]
        if how == 4:
            return lambda: own_points("moons", given, [0, 1]), ["points"]
        return lambda: setattr(lab, trait, given), self.names

    def close(self):
        self.lab.close()


class Outputs:
    """Mutations of a lab's and a figure's stored JSON, on their way into the book."""

    def __init__(self):
        with ExitStack() as stack:
            base = Experiment(epochs=12, n_train=20, hidden=(3, 3))
            knobs = {
                "l2": (1e-6, 1.0),
                "dropout": (0.0, 0.9),
                "data": ("moons", "ring"),
            }
            views = ("curves", "regions", "weights", "pairs", "map", "shares")
            lab = Lab(base, seeds=2, against=base, views=views, device="cpu", **knobs)
            stack.callback(lab.close)
            self.labs = [json.loads(json.dumps(lab.to_dict()))]
            wave = base.replace(data="wave", label_noise=0)
            lab = Lab(wave, over={"l2": 4}, views=("path",), width=(1, 9), device="cpu")
            stack.callback(lab.close)
            self.labs.append(json.loads(json.dumps(lab.to_dict())))
            digits = base.replace(data="digits", channels=(2,), patience=3)
            lab = Lab(digits, device="cpu", rotation=(0, 30), hidden=((3, 3), ()))
            stack.callback(lab.close)
            self.labs.append(json.loads(json.dumps(lab.to_dict())))
        meta = {"description": "A figure."}
        layout = {"meta": meta, "title": {"text": "A"}, "height": 200, "width": 300}
        self.figure = {"data": [{"x": [1, 2], "y": [3, 4]}], "layout": layout}

    def __call__(self, draw):
        mime, content = LAB, draw.choice(self.labs)
        if draw.random() < 0.15:
            mime, content = FIGURE, self.figure
        for _ in range(draw.choice([1, 1, 1, 2])):
            content = mutate(draw, content)
        return lambda: _show(mime, content), ["$"]


def _show(mime, content):
    """Render as the book does; a problem becomes the promised warning.

    Raises: ValueError with the warning's text, which names the key and the cell.
    """
    said = []
    logger = SimpleNamespace(warning=lambda text, **_: said.append(text))
    data = SimpleNamespace(mime_type=mime, content=content, cell_index=7, line=3)
    shown = BookMimeRenderer.handle_mime(SimpleNamespace(logger=logger), data, False)
    if said:
        (text,) = said
        assert not shown and text.startswith(f"cell 7, {mime}: $"), text
        assert find_problem(mime, content) in text
        raise ValueError(f"{text} must")
    render = render_a_lab if mime == LAB else render_figure
    assert shown[0].astext() == render(content)


ENTRIES = {
    "Experiment": (experiment, 2000),
    "one field": (one_field, 3000),
    "replace": (replace, 600),
    "fold": (fold, 800),
    "Augment": (augment, 800),
    "grid": (grid, 1500),
    "JSON": (from_json, 1500),
    "fit": (fitting, 500),
    "train": (training, 500),
    "sweep": (sweeping, 500),
    "search": (searching, 200),
    "Lab": (labs, 200),
    "settings of a lab": (Moves, 800),
    "stored outputs": (Outputs, 1200),
}


def judge(call, names):
    """Return how a call ends: 'accepted', 'refused', or what is wrong about it."""

    def ring(*_):
        raise Hangs

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        call()
    except Hangs:
        return f"hangs: {SECONDS} s"
    except (ValueError, KeyError) as error:
        text = str(error)
        named = any(name in text for name in names if isinstance(name, str))
        if named and any(word in text for word in CLEAR) and len(text) < 3000:
            return "refused"
        return f"unclear {_where(error)}"
    except Exception as error:
        return f"unclear {_where(error)}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return "accepted"


def _where(error):
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/utils/" in f.filename] or frames
    try:
        text = str(error)[:200]
    except Exception:
        text = "?"
    return f"{type(error).__name__}: {text} at {own[-1].filename}:{own[-1].lineno}"


@contextmanager
def quiet():
    """Warnings are errors but for runs that diverge; files fall into a folder."""
    with (
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory() as folder,
        chdir(folder),
    ):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*diverged", RuntimeWarning)
        yield


def run(name, seed, share=1.0):
    """Return how the calls of one entry end, {how: how often}, and what was wrong."""
    entry, count = ENTRIES[name]
    draw, ends, wrong = random.Random(f"{name} {seed}"), Counter(), []
    with quiet():
        made = entry() if isinstance(entry, type) else entry
        try:
            for _ in range(math.ceil(count * share)):
                end = judge(*made(draw))
                ends[end.split()[0]] += 1
                if end not in ("accepted", "refused"):
                    wrong.append(end)
        finally:
            if hasattr(made, "close"):
                made.close()
    return ends, wrong


def main(seed, total):
    """Print a table of about `total` calls, and what was wrong."""
    share = total / sum(count for _, count in ENTRIES.values())
    columns = ("refused", "accepted", "unclear", "hangs:")
    print(f"{'seed ' + str(seed):20}{'tried':>9}{''.join(f'{c:>10}' for c in columns)}")
    everything, faults = Counter(), Counter()
    for name in ENTRIES:
        ends, wrong = run(name, seed, share)
        everything += ends
        faults.update(f"{name}: {text}" for text in wrong)
        row = "".join(f"{ends[c]:10}" for c in columns)
        print(f"{name:20}{ends.total():9}{row}", flush=True)
    row = "".join(f"{everything[c]:10}" for c in columns)
    print(f"{'all':20}{everything.total():9}{row}")
    for text, count in faults.most_common():
        print(f"{count:5} {text}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
