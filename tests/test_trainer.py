"""The page's trainer in Chromium, against curves that PyTorch computes here and now.

Both compute in float64 from the same random numbers. What was seen: 1e-13 over 1,600
steps, with every knob; the limit leaves room for another processor.
"""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.test_engine import KNOBS as ENGINE_KNOBS
from utils import Augment, Experiment, fit
from utils.book.page_data import pack
from utils.data import load, own_points
from utils.engine.ensemble import Ensemble, structure
from utils.experiment import DATA

BUILD = Path(__file__).parents[1] / "web" / "build" / "trainer.js"
LIMIT = 1e-9
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
ENGINES = ("wasm", "javascript")

WORKED = Experiment(data="ring", n_train=None, label_noise=0)
LONG = {
    "plain": {},
    "dropout": {"dropout": 0.5},
    "input noise": {"input_noise": 0.3},
    "weight noise": {"weight_noise": 0.05},
    "batch norm": {"batch_norm": True},
    "l1": {"l1": 1e-3},
    "l1 subgradient": {"l1": 1e-3, "l1_method": "subgradient"},
    "l2": {"l2": 1e-3},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01},
}
BASES = {
    "moons": Experiment(epochs=6),
    "digits": Experiment(data="digits", n_train=200, epochs=3, hidden=(20,)),
    "diabetes": Experiment(data="diabetes", epochs=6),
    "breast_cancer": Experiment(data="breast_cancer", epochs=6),
    "wave": Experiment(data="wave", n_train=50, label_noise=0, epochs=6),
}
KNOBS = ENGINE_KNOBS | {
    "selu": {"activation": "selu", "dropout": 0.3},
    "seed": {"seed": 4_000_000_000},
    "split": {"split": 4_000_000_000},
    "patience": {"patience": 2, "epochs": 30, "lr": 0.05},
}

# What each script below begins with: `make` a trainer, `run` it to its end.
PRELUDE = """
  const { chooseEngine, Trainer, unpack } = trainer;
  const chosen = await chooseEngine(engine);
  const data = Object.fromEntries(
    Object.entries(packed).map(([name, value]) => [name, unpack(value)]));
  const make = (e, points) => new Trainer(chosen, e, data[e.data], points);
  const told = (one, records) => {
    const weights = Array.from(one.network.weights());
    return { records, status: one.status, kept: one.kept.epoch, weights };
  };
  const run = (one, scored = () => true, epochs = Infinity) => {
    const records = [];
    for (let k = 0; k < epochs && one.status === "running"; k++) {
      records.push(one.runEpoch(scored(one)));
    }
    return told(one, records);
  };"""
RUN = "return given.map((e) => run(make(e)));"


@pytest.fixture(scope="session")
def base_url():
    """None: a blank page serves, and no built book is needed."""


@pytest.fixture
def script(page):
    """script(body, given, data, engine) runs JavaScript in Chromium, after PRELUDE."""
    if not BUILD.exists():
        pytest.fail(f"{BUILD} is missing: run `make book` first")
    page.add_script_tag(path=BUILD)

    def run(body, given, data=("ring", "moons"), engine="auto"):
        packed = {name: pack(name) for name in data}
        whole = f"async ([engine, given, packed]) => {{ {PRELUDE} {body} }}"
        return page.evaluate(whole, [engine, given, packed])

    return run


@pytest.fixture
def in_page(script):
    """in_page(engine, experiments) trains them in Chromium, returns what came out."""

    def run(engine, experiments):
        names = {e.data for e in experiments}
        return script(RUN, [sent(e) for e in experiments], names, engine)

    return run


def sent(experiment):
    return json.loads(experiment.to_json())


def assert_same(found, run, limit=LIMIT):
    assert found["status"] == run.status
    assert found["kept"] == run.epoch
    for name in METRICS:
        values = [record[name] for record in found["records"]]
        assert values == pytest.approx(run.history[name], rel=0, abs=limit), name
    assert found["weights"] == pytest.approx(run.weights.tolist(), rel=0, abs=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_worked_example_lands_on_torchs_curve(in_page, engine):
    experiments = {name: WORKED.replace(**knobs) for name, knobs in LONG.items()}
    for found, run in zip(
        in_page(engine, list(experiments.values())), fit(experiments), strict=True
    ):
        assert_same(found, run)


@pytest.mark.parametrize("base", BASES)
def test_every_knob_takes_torchs_steps(in_page, base):
    experiments = {name: BASES[base].replace(**knobs) for name, knobs in KNOBS.items()}
    if base == "digits":
        changes = Augment(rotation=20, shift=1, scale=0.2, flip=0.3)
        experiments["augment"] = BASES[base].replace(augment=changes)
    for found, run in zip(
        in_page("auto", list(experiments.values())), fit(experiments), strict=True
    ):
        assert_same(found, run)


def test_every_data_set_is_tried():
    assert set(DATA) == {*BASES, WORKED.data}


def test_plain_javascript_agrees_with_webassembly(in_page):
    everything = WORKED.replace(
        n_train=100, epochs=5, batch_norm=True, dropout=0.3, dropconnect=0.1, l1=1e-3,
        l2=1e-3, input_noise=0.1, weight_noise=0.05, activation_noise=0.1,
    )  # fmt: skip
    wasm, plain = (in_page(engine, [everything])[0] for engine in ENGINES)
    assert wasm["weights"] == pytest.approx(plain["weights"], rel=0, abs=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("activation", ["relu", "tanh", "selu"])
def test_an_activation_does_not_hide_what_is_no_number(script, engine, activation):
    body = """
      const one = make(given), { network } = one;
      network.view(network.p(network.layers[0].w), 1)[0] = NaN;
      return one.predict(data.moons.validation.X, 5).some(Number.isFinite);"""
    assert not script(body, sent(Experiment(activation=activation)), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_batches_and_layers_of_every_size(in_page, engine):
    """Kernels take rows and columns by twos and fours: here is all that can be left."""
    base = Experiment(n_train=7, epochs=3, dropout=0.2, l2=0.01, hidden=(1, 4, 3))
    shapes = base.grid(batch_size=range(1, 9)) + base.grid(hidden=[(1,), (2, 5), (6,)])
    for found, run in zip(in_page(engine, shapes), fit(shapes), strict=True):
        assert_same(found, run)


EDGES = [
    -1e300,
    -800.0,
    -40.0,
    -1e-8,
    -5e-324,
    -0.0,
    0.0,
    5e-324,
    1e-8,
    2.0,
    40.0,
    1e300,
]
ACTIVATIONS = {"relu": F.relu, "tanh": torch.tanh, "selu": F.selu}
SLOPES = """
  const { kernels, buffer, base } = chosen.open(8 * 100, undefined);
  const at = Math.ceil(base / 16) * 16, n = given.edges.length, slopes = at + 8 * n;
  return given.names.map((name) => {
    const view = (pointer) => new Float64Array(buffer, pointer, n);
    view(at).set(given.edges);
    view(slopes).fill(1);
    kernels[name](at, n);
    kernels[`${name}Gate`](slopes, at, n);
    return [Array.from(view(at)), Array.from(view(slopes))];
  });"""


@pytest.mark.parametrize("engine", ENGINES)
def test_activations_at_their_edges(script, engine):
    """At 0 an activation has the slope that PyTorch gives it."""
    given = {"edges": EDGES, "names": list(ACTIVATIONS)}
    for found, act in zip(
        script(SLOPES, given, engine=engine), ACTIVATIONS.values(), strict=True
    ):
        x = torch.tensor(EDGES, dtype=torch.float64, requires_grad=True)
        y = act(x)
        y.sum().backward()
        for values, wanted in zip(found, (y.detach(), x.grad), strict=True):
            assert values == pytest.approx(wanted.tolist(), rel=1e-12, abs=1e-12)


ONE = """
  const { kernels, buffer, base } = chosen.open(8 * 100, undefined);
  const at = (k) => Math.ceil(base / 16) * 16 + 32 * k;
  const view = (k) => new Float64Array(buffer, at(k), 4);
  const [z, hat, inverse, mean, variance, gamma, beta] = [0, 1, 2, 3, 4, 5, 6];
  view(z).set(given);
  view(variance).fill(1);
  view(gamma).fill(3);
  view(beta).fill(7);
  const all = [z, hat, inverse, mean, variance, gamma, beta].map(at);
  kernels.normalize(...all, 1, 4);
  return [z, mean, variance].map((k) => Array.from(view(k)));"""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_of_one_has_no_variance(script, engine):
    found = script(ONE, [1, -2, 0, 30], engine=engine)
    for values, wanted in zip(
        found, ([7] * 4, [0.1, -0.2, 0, 3], [0.9] * 4), strict=True
    ):
        assert values == pytest.approx(wanted, rel=1e-12)


REFUSED = """
  try { make(...given); }
  catch (error) { return error.name + " " + error.message; }"""


@pytest.mark.parametrize(
    "field, value",
    [
        ("l2", -1), ("dropout", 1), ("lr", None), ("optimizer", "rmsprop"),
        ("hidden", [0]), ("seed", 2**32), ("channels", [16]), ("n_train", 0),
        ("n_train", 1001), ("momentum", 0.5), ("batch_size", 99),
        ("hidden", [4096] * 4), ("augment", {"rotation": 9, "shift": 0, "scale": 0,
                                             "flip": 0}),
    ],
)  # fmt: skip
def test_bad_fields_are_named(script, field, value):
    bad = sent(WORKED.replace(batch_norm=field == "batch_size"))
    bad |= {field: value} | ({"n_train": 100} if field == "batch_size" else {})
    message = script(REFUSED, [bad])
    assert message.startswith("RangeError")
    assert "must be" in message
    assert field in message


# Scores that nobody asks for

SOME = """return given.map(([e, count]) => {
  const scored = (one) => one.due(count);
  const none = run(make(e), () => false);
  return { all: run(make(e)), some: run(make(e), scored), none };
});"""
SEARCH = Experiment(n_train=40, label_noise=0.4, lr=0.05, epochs=60, seed=3)


@pytest.mark.parametrize(
    "experiment, count",
    [(Experiment(epochs=7), 3), (Experiment(epochs=9, dropout=0.3, l2=0.01), 25),
     (Experiment(epochs=10, batch_norm=True), 1), (SEARCH.replace(patience=4), 5),
     (SEARCH.replace(patience=60, epochs=8), 3),
     (Experiment(epochs=6, optimizer="sgd", lr=1e30), 2)],
)  # fmt: skip
def test_scores_not_asked_for_change_nothing(script, experiment, count):
    found = script(SOME, [[sent(experiment), count]])[0]
    whole, epochs = found["all"]["records"], experiment.epochs
    due = {1} | {math.ceil(k * epochs / count) for k in range(1, count + 1)}
    for name, asked in (("some", due), ("none", set())):
        one, told = found[name], found[name]["records"]
        if found["all"]["status"] == "diverged":  # noticed when it is looked at
            assert one["status"] == "diverged"
            continue
        assert {k: one[k] for k in ("status", "kept", "weights")} == {
            k: found["all"][k] for k in ("status", "kept", "weights")
        }
        assert len(told) == len(whole)
        for epoch, (a, b) in enumerate(zip(told, whole, strict=True), 1):
            expected = b if epoch in asked | {len(whole)} else None
            assert a == expected, (name, epoch)


# Points of one's own

POINTS = {"X": [0.1, -0.4, 1.2, 0.3, -0.9, 0.6, 1.5, -0.2], "y": [1, 0, 0, 1]}
OWN = """const points = (p) =>
    ({ X: Float64Array.from(p.X), y: Float64Array.from(p.y), n: p.y.length });"""


def test_points_of_ones_own_take_torchs_steps(script):
    base = Experiment(n_train=4, epochs=8, batch_size=3, dropout=0.2, label_noise=0.9)
    sets = [POINTS, POINTS | {"y": [0, 1, 0, 0]}]
    body = f"""{OWN}
      const [first, ...others] = given.sets.map(points);
      const one = make({{ ...given.e, n_train: 900 }}, first), found = [run(one)];
      for (const p of others) {{
        one.set(given.e, p);
        one.reset();
        found.push(run(one));
      }}
      one.set(given.e);
      one.reset();
      return [...found, run(one)];"""
    *own, books = script(body, {"e": sent(base), "sets": sets})
    for found, points in zip(own, sets, strict=True):
        ensemble = Ensemble([base], points=own_points("moons", **points))
        for record in found["records"]:
            expected = ensemble.run_epoch()
            for name in METRICS:
                value = float(getattr(expected, name)[0])
                assert record[name] == pytest.approx(value, abs=LIMIT), name
    assert_same(books, fit(base)[0])  # the data set's own again


@pytest.mark.parametrize(
    "points, why",
    [({"X": [1], "y": [0]}, "X has 1 numbers, y 1: must be 2 for each"),
     ({"X": [], "y": []}, "must be 2 for each"),
     ({"X": [1, None], "y": [0]}, "must be finite numbers"),
     ({"X": [1, 2], "y": [2]}, "y has 2: must be whole numbers in [0, 1]")],
)  # fmt: skip
def test_points_that_do_not_fit_are_refused(script, points, why):
    nan = "p.X = p.X.map((x) => x ?? NaN);"
    body = f"{OWN} const p = given[1]; {nan} given[1] = points(p); {REFUSED}"
    message = script(body, [sent(WORKED), points])
    assert message.startswith("RangeError points: ")
    assert why in message


# New settings

FIELDS = {
    "data": ({}, "ring"), "n_train": ({}, 30), "label_noise": ({}, 0.5),
    "hidden": ({}, (6,)), "activation": ({}, "selu"), "init_scale": ({}, 2),
    "batch_norm": ({}, True), "dropout": ({}, 0.3), "dropout_input": ({}, 0.2),
    "dropout_at": ({"dropout": 0.4}, "last"), "dropconnect": ({}, 0.2),
    "input_noise": ({}, 0.3), "weight_noise": ({}, 0.1), "activation_noise": ({}, 0.2),
    "augment": ({"data": "digits", "augment": Augment()}, Augment(rotation=30)),
    "optimizer": ({}, "sgd"), "momentum": ({"optimizer": "sgd"}, 0.9), "lr": ({}, 0.03),
    "epochs": ({}, 5), "batch_size": ({}, 9), "l1": ({}, 1e-3),
    "l1_method": ({"l1": 0.01}, "subgradient"), "l2": ({}, 0.01),
    "weight_decay": ({}, 0.1), "penalize_bias": ({"l2": 0.1}, True),
    "patience": ({"lr": 0.3, "epochs": 12}, 1), "seed": ({}, 7), "split": ({}, 7),
}  # fmt: skip
NOT_HERE = {"channels", "dropout_channels", "fold", "dtype"}  # PyTorch's alone
SMALL = Experiment(n_train=50, hidden=(9, 7), epochs=4, batch_size=16)
PAIRS = {
    field: (SMALL.replace(**also), SMALL.replace(**also | {field: value}))
    for field, (also, value) in FIELDS.items()
}
SETS = """return given.map((e) => {
  const { pool, validation } = make(e).data;
  return [pool, validation].map(({ X, y }) => [Array.from(X), Array.from(y)]);
});"""


@pytest.mark.parametrize("name", DATA)
def test_a_split_is_the_same_as_in_python(script, name):
    """One after the other, more than are kept, and the first once more."""
    splits = [None, 0, 2**32 - 1, *range(1, 65), 0]
    given = [{**sent(SMALL), "data": name, "split": split} for split in splits]
    found = script(SETS, given, [name])
    for split, sets in zip([*splits[:3], 0], [*found[:3], found[-1]], strict=True):
        data = load(name, split)
        for one, (X, y) in zip((data.pool, data.validation), sets, strict=True):
            assert pytest.approx(one.X.ravel(), rel=0, abs=1e-12) == X
            assert y == pytest.approx(one.y, rel=0, abs=1e-12)
    assert found[0] != found[1] != found[2]


AGAIN = """return given.map(([old, e]) => {
  const one = make(old);
  const before = run(one);
  one.set(e, null, data[e.data]);
  one.reset();
  return [before, run(one), run(make(e))];
});"""


def test_every_field_is_tried():
    fields = {field.name for field in dataclasses.fields(Experiment)}
    assert fields == NOT_HERE | FIELDS.keys()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trainer_set_anew_is_a_new_trainer(script, engine):
    given = [[sent(e) for e in pair] for pair in PAIRS.values()]
    names = {e.data for pair in PAIRS.values() for e in pair}
    for field, (before, again, new) in zip(
        PAIRS, script(AGAIN, given, names, engine), strict=True
    ):
        assert again == new, field
        assert before != new, field


LEGS = """return given.map(([first, ...legs]) => {
  const one = make(first.e);
  const found = [run(one, undefined, first.epochs ?? Infinity)];
  for (const { e, epochs } of legs) {
    one.set(e);
    one.goOn();
    found.push(run(one, undefined, epochs ?? Infinity));
    found.at(-1).shown = one.scores();
  }
  return found;
});"""


def test_settings_changed_on_the_way_take_torchs_steps(script):
    """Those that leave the structure alone; weights, moments and epoch stay."""
    pairs = {f: p for f, p in PAIRS.items() if structure(p[0]) == structure(p[1])}
    assert len(pairs) > 12
    given = [
        [{"e": sent(a), "epochs": 2}, {"e": sent(b), "epochs": 3}]
        for a, b in pairs.values()
    ]
    names = {e.data for pair in pairs.values() for e in pair}
    for (field, pair), legs in zip(
        pairs.items(), script(LEGS, given, names), strict=True
    ):
        assert_torchs_legs(legs, pair, [2, 3], field)


def assert_torchs_legs(legs, experiments, lengths, what):
    """Legs of a run that went on: an Ensemble with other knobs; patience as in words.

    Each leg ends after so many epochs, or, for None, where it is due.
    """
    ensemble = Ensemble(experiments[:1])
    for leg, e, length in zip(legs, experiments, lengths, strict=True):
        ensemble.set([e])
        start, told, status = ensemble.epoch, [], "running"
        kept, best = start, math.inf
        while status == "running" and len(told) != length:
            told.append(ensemble.run_epoch())
            epoch, loss = ensemble.epoch, float(told[-1].val_loss[0])
            if loss < best or e.patience is None:
                kept, best = epoch, loss
            elif epoch - kept >= e.patience:
                status = "stopped early"
            if status == "running" and epoch - start >= e.epochs:
                status = "finished"
        assert (leg["status"], leg["kept"]) == (status, kept), what
        assert [r["epoch"] for r in leg["records"]] == [r.epoch for r in told], what
        for name in METRICS:
            expected = [float(getattr(record, name)[0]) for record in told]
            values = [record[name] for record in leg["records"]]
            assert values == pytest.approx(expected, rel=0, abs=LIMIT), (what, name)
        if status != "running" and "shown" in leg:
            shown = next(r for r in leg["records"] if r["epoch"] == kept)
            for name in METRICS:
                assert leg["shown"][name] == pytest.approx(shown[name]), (what, name)


EARLY = SEARCH.replace(patience=3, batch_norm=True)
LATE = EARLY.replace(epochs=4, patience=50, dropout=0.3)
PLAIN = EARLY.replace(epochs=5, patience=None, l2=0.01)
ORDERS = {
    "end, end": [(PLAIN, None), (PLAIN, None), (PLAIN, None)],
    "early stop, early stop": [(EARLY, None), (EARLY, None), (EARLY, None)],
    "early stop, kept, end": [(EARLY, None), (LATE, None), (PLAIN, None)],
    "mid-run, early stop": [(PLAIN, 2), (EARLY, None), (EARLY, None)],
    "mid-run, mid-run": [(EARLY, 2), (PLAIN, 2), (PLAIN, None)],
    "early stop, mid-run": [(EARLY, None), (PLAIN, 3), (EARLY, None)],
    "kept, mid-run, kept": [(LATE, None), (LATE, 1), (LATE, None)],
}


@pytest.mark.parametrize("order", ORDERS)
def test_going_on_means_from_the_last_trained_epoch(script, order):
    legs = ORDERS[order]
    given = [[{"e": sent(e), "epochs": length} for e, length in legs]]
    found = script(LEGS, given)[0]
    experiments, lengths = zip(*legs, strict=True)
    assert_torchs_legs(found, experiments, lengths, order)
    if "early" in order:
        assert any(leg["status"] == "stopped early" for leg in found)


def test_what_is_saved_is_all_that_training_needs(script):
    body = """return given.map((e) => {
      const one = make(e);
      run(one, undefined, 3);
      const saved = one.network.save();
      const first = run(one, undefined, 3);
      one.network.restore(saved);
      one.epoch = 3;
      return [first, run(one, undefined, 3)];
    });"""
    base = Experiment(n_train=50, epochs=20, batch_norm=True, dropout=0.2)
    sgd = base.replace(optimizer="sgd", momentum=0.9, hidden=(8,))
    for first, again in script(body, [sent(base), sent(sgd)]):
        assert first == again


def test_an_equal_loss_is_no_better_one(in_page):
    e = Experiment(n_train=20, optimizer="sgd", lr=1e-300, patience=3)
    (found,), (run,) = in_page("auto", [e]), fit(e)
    assert (found["status"], found["kept"]) == ("stopped early", 1)
    assert_same(found, run)


def test_a_run_that_diverges_at_once_keeps_that_epoch(script):
    e = Experiment(epochs=5, optimizer="sgd", lr=1e200, patience=3)
    with pytest.warns(RuntimeWarning, match="diverged"):
        (run,) = fit(e)
    (found,) = script(RUN, [sent(e)])
    assert found["status"] == run.status == "diverged"
    assert found["kept"] == run.epoch


def test_memory_is_used_again(script):
    """Of what has been larger as well: nothing is left of it, and nothing is added."""
    body = """
      let count = 0;
      const Real = WebAssembly.Memory;
      WebAssembly.Memory = class extends Real {
        constructor(...all) { super(...all); count += 1; }
      };
      const one = make(given[0]), found = [];
      for (const e of given) {
        one.set(e, null, data[e.data]);
        one.reset();
        found.push(run(one));
      }
      WebAssembly.Memory = Real;
      return { count, found, anew: given.map((e) => run(make(e))) };"""
    sizes = [(5,), (50, 50), (3,), (80, 80, 80), (4, 4)]
    members = [SMALL.replace(hidden=h, dropout=0.1, batch_norm=True) for h in sizes]
    members.append(BASES["digits"].replace(epochs=2, input_noise=0.1))
    members.append(SMALL.replace(activation_noise=0.2))
    found = script(body, [sent(e) for e in members], BASES)
    assert found["count"] == 1
    assert found["found"] == found["anew"]
    assert np.isfinite(found["found"][-1]["weights"]).all()
