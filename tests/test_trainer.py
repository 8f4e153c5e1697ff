"""The page's trainer in Chromium, against curves that PyTorch computes here and now.

Both compute in float64 from the same random numbers. What was seen: 1e-13 over 1,600
steps, with every knob; the limit leaves room for another processor.
"""

import json
from pathlib import Path

import pytest

from tests.test_engine import KNOBS as ENGINE_KNOBS
from utils import Augment, Experiment, fit
from utils.experiment import DATA
from utils.page_data import pack

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
}
KNOBS = ENGINE_KNOBS | {
    "selu": {"activation": "selu", "dropout": 0.3},
    "seed": {"seed": 4_000_000_000},
    "patience": {"patience": 2, "epochs": 30, "lr": 0.05},
}

RUN = """async ([engine, experiments, packed]) => {
  const { chooseEngine, Trainer, unpack } = trainer;
  const chosen = await chooseEngine(engine);
  const data = Object.fromEntries(
    Object.entries(packed).map(([name, value]) => [name, unpack(value)]));
  return experiments.map((e) => {
    const one = new Trainer(chosen, e, data[e.data]), records = [];
    while (one.status === "running") records.push(one.runEpoch());
    const weights = Array.from(one.network.weights());
    return { records, status: one.status, kept: one.kept.epoch, weights };
  });
}"""


@pytest.fixture
def in_page(page):
    """in_page(engine, experiments) trains them in Chromium, returns what came out."""
    if not BUILD.exists():
        pytest.fail(f"{BUILD} is missing: run `make book` first")
    page.add_script_tag(path=BUILD)

    def run(engine, experiments):
        packed = {name: pack(name) for name in {e.data for e in experiments}}
        sent = [json.loads(e.to_json()) for e in experiments]
        return page.evaluate(RUN, [engine, sent, packed])

    return run


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


@pytest.mark.parametrize(
    "field, value",
    [
        ("l2", -1), ("dropout", 1), ("lr", None), ("optimizer", "rmsprop"),
        ("hidden", [0]), ("seed", 2**32), ("channels", [16]), ("n_train", 0),
        ("n_train", 1001), ("momentum", 0.5), ("batch_size", 99),
        ("hidden", [4096] * 4),
    ],
)  # fmt: skip
def test_bad_fields_are_named(in_page, page, field, value):
    in_page("auto", [])
    sent = json.loads(WORKED.replace(batch_norm=field == "batch_size").to_json())
    sent |= {field: value} | ({"n_train": 100} if field == "batch_size" else {})
    message = page.evaluate(
        """async ([experiment, packed]) => {
          const engine = await trainer.chooseEngine(), data = trainer.unpack(packed);
          try { new trainer.Trainer(engine, experiment, data); }
          catch (error) { return error.name + " " + error.message; }
        }""",
        [sent, pack("ring")],
    )
    assert message.startswith("RangeError")
    assert "must be" in message
    assert field in message
