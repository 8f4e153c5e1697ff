"""Sweeps by WebGPU in Chromium, on a software adapter, against curves of PyTorch.

The kernels compute in float32, so what they give is held against `fit` in float32,
which is as far from float64 as they are. L1 and L2 in Adam amplify rounding: there the
first epochs, the means and the accuracy must agree.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.test_trainer import BASES, BUILD, METRICS, WORKED, base_url, sent
from utils import Experiment, fit
from utils.book.page_data import pack

__all__ = ["base_url"]  # a fixture

FLAGS = [
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
]
LIMIT = 1e-5
NEAR = 5e-3  # of epoch means, where rounding is amplified
EARLY = 3  # epochs, of 32 steps each
EMPTY = Path(__file__).parents[1] / "web" / "favicon.svg"  # any page of a safe origin

SGD = {"optimizer": "sgd", "momentum": 0.9, "lr": 0.02}
KNOBS = {
    "linear": {"hidden": ()},
    "deep": {"hidden": (7, 6, 5), "dropout": 0.2},
    "tanh": {"activation": "tanh", "dropout": 0.3},
    "selu": {"activation": "selu", "dropout": 0.3},
    "sgd": {"optimizer": "sgd", "weight_decay": 0.1},
    "momentum, l1": {**SGD, "l1": 1e-3},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "penalize_bias": True},
    "adam decay": {"weight_decay": 0.1},
    "l1 subgradient": {"l1": 0.003, "l1_method": "subgradient"},
    "l2 and biases": {"l2": 0.01, "l1": 0.01, "penalize_bias": True},
    "dropout last": {"hidden": (8, 7), "dropout": 0.5, "dropout_at": "last"},
    "dropout input": {"dropout_input": 0.2, "dropout": 0.7},
    "labels, scale": {"label_noise": 0.5, "init_scale": 3},
    "odd batch": {"batch_size": 7, "dropout": 0.3, "seed": 4_000_000_000},
}
SOME = ("tanh", "momentum, l1", "odd batch", "dropout input")

REAL = """Object.defineProperty(
  GPUAdapterInfo.prototype, "isFallbackAdapter", { get: () => false });"""
LITTLE = """Object.defineProperty(
  GPUSupportedLimits.prototype, "maxStorageBufferBindingSize",
  { get: () => 2 ** 20 });"""
REFUSED = (
    "GPUAdapter.prototype.requestDevice = async () => { throw new Error('no!'); };"
)
# The device goes at a submission; an epoch of SMALL takes two of them.
LOST = """const request = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function () {
  const device = await request.call(this), submit = device.queue.submit;
  let count = 0;
  device.queue.submit = function (...all) {
    if (++count === AT) device.destroy();
    return submit.apply(this, all);
  };
  return device;
};"""
EARLIER, LATER = (LOST.replace("AT", str(at)) for at in (4, 8))

TRAIN = """async ([groups, packed]) => {
  const { chooseEngine, chooseGpu, GpuTrainer, unpack } = trainer;
  const engine = await chooseEngine(), gpu = await chooseGpu(), found = [];
  const data = Object.fromEntries(
    Object.entries(packed).map(([name, value]) => [name, unpack(value)]));
  for (const group of groups) {
    const one = new GpuTrainer(gpu, engine, group, data[group[0].data]);
    const runs = group.map(() => []);
    while (one.running) {
      (await one.runEpoch()).forEach((record, k) => runs[k].push(record));
    }
    one.members.forEach(({ status, kept }, k) =>
      found.push({ records: runs[k], status, kept: kept.epoch }));
    one.close();
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser(browser_type, browser_type_launch_args):
    """Chromium with WebGPU in software, in place of pytest-playwright's browser."""
    args = [*browser_type_launch_args.get("args", []), *FLAGS]
    browser = browser_type.launch(**browser_type_launch_args | {"args": args})
    yield browser
    browser.close()


def open_page(page):
    """A page of a safe origin that has the trainer: WebGPU asks for one."""
    page.goto(EMPTY.as_uri())
    page.evaluate(f"window.eval({json.dumps(BUILD.read_text())})")


@pytest.fixture
def on_gpu(page):
    """on_gpu(groups): train lists of experiments by WebGPU, return what came out."""
    page.add_init_script(REAL)
    open_page(page)

    def run(groups):
        members = [[sent(e) for e in group] for group in groups]
        packed = {name: pack(name) for name in {g[0].data for g in groups}}
        return page.evaluate(TRAIN, [members, packed])

    return run


def distances(found, run):
    """|found − torch's|, {metric: [epochs]}."""
    return {
        name: np.abs([r[name] for r in found["records"]] - np.array(run.history[name]))
        for name in METRICS
    }


def in_float32(experiments):
    return fit([e.replace(dtype="float32") for e in experiments])


def test_the_worked_example_lands_on_torchs_curve(on_gpu):
    members = [WORKED, WORKED.replace(dropout=0.5)]
    for one, run in zip(on_gpu([members]), in_float32(members), strict=True):
        for name, distance in distances(one, run).items():
            assert distance.max() <= LIMIT, name


def test_with_penalties_it_stays_near_torchs_curve(on_gpu):
    base = WORKED.replace(epochs=6)
    members = [base.replace(l2=1e-3), base.replace(l1=1e-3)]
    members.append(base.replace(weight_decay=1e-3, dropout=0.5))
    for one, run in zip(on_gpu([members]), in_float32(members), strict=True):
        off = distances(one, run)
        assert off["val_loss"][:EARLY].max() <= LIMIT
        assert off["val_loss"].mean() <= NEAR
        assert off["val_accuracy"].mean() <= NEAR


def test_a_network_that_diverges_stops_alone(on_gpu):
    base = Experiment(epochs=4, optimizer="sgd", lr=0.1)
    found = on_gpu([[base.replace(lr=1e30), base]])
    assert [one["status"] for one in found] == ["diverged", "finished"]
    assert found[1]["records"][-1]["val_loss"] < 1


@pytest.mark.parametrize("base", BASES)
def test_the_knobs_take_torchs_steps(on_gpu, base):
    names = KNOBS if base == "moons" else SOME
    short = BASES[base].replace(epochs=3)
    experiments = [short.replace(**KNOBS[name]) for name in names]
    found = on_gpu([[e] for e in experiments])
    for name, one, run in zip(names, found, in_float32(experiments), strict=True):
        assert one["status"] == "finished"
        for metric, distance in distances(one, run).items():
            assert distance.max() <= LIMIT, (name, metric)


def test_members_may_differ_and_stop_on_their_own(on_gpu):
    base = Experiment(epochs=30, n_train=40, label_noise=0.4, lr=0.05, patience=2)
    members = [base, base.replace(seed=5, l2=0.01, lr=0.01, label_noise=0.1)]
    members.append(base.replace(dropout=0.4, init_scale=0.5, patience=None))
    for one, run in zip(on_gpu([members]), in_float32(members), strict=True):
        assert (one["status"], one["kept"]) == (run.status, run.epoch)


@pytest.mark.parametrize(
    "knobs, fits",
    [({}, True), ({"l1": 1, "dropout": 0.5, "patience": 3}, True),
     ({"batch_norm": True}, False), ({"dropout_at": "before_norm"}, False),
     ({"dropconnect": 0.1}, False), ({"weight_noise": 0.1}, False)],
)  # fmt: skip
def test_what_the_kernels_do_not_know_is_refused(page, knobs, fits):
    page.add_script_tag(path=BUILD)
    one = sent(WORKED.replace(**knobs))
    assert page.evaluate("e => trainer.fitsGpu(e)", one) is fits


def in_worker(page, *changes):
    """Run scripts before the trainer's own, in every worker."""
    page.add_init_script(
        f"""const Real = Blob;
        window.Blob = function ([source], options) {{
          return new Real([{json.dumps("".join(changes))}, source], options);
        }};"""
    )


SMALL = Experiment(epochs=3, n_train=40)
LAMS, RATES, SEEDS = (0.0, 1e-4, 1e-2, 0.1), (0.0, 0.3, 0.6), (0, 1, 2)

# Ask for sweeps in turn, or stop the first after `most` answers; every answer to each
SWEEP = """async ([questions, packed, most]) => {
  const pool = new trainer.PoolEngine(async (name) => packed[name]), found = [];
  let lab, told, over;
  const on = {
    engine() {}, frame() {},
    cells(cells) {
      told.push({ ...cells, records: Array.from(cells.records) });
      if (most && told.length === most) {
        lab.stop(cells.id);
        setTimeout(over, 400);
      } else if (cells.over) over();
    },
    error({ message }) { told.push({ message }); over(); },
  };
  lab = pool.open(on);
  for (const members of questions) {
    found.push(told = []);
    await new Promise((resolve) => {
      over = resolve;
      lab.sweep({ id: `sweep ${found.length}`, members, points: null });
    });
  }
  lab.close();
  return found;
}"""


@pytest.fixture
def fill(page):
    """fill(*changes of the worker, members, stop, times): the answers to a sweep."""

    def begin(*changes, members=None, stop=0, times=1):
        in_worker(page, *changes)
        open_page(page)
        asked = [sent(e) for e in members or cells(SMALL)]
        packed = {name: pack(name) for name in ("moons", "ring")}
        found = page.evaluate(SWEEP, [[asked] * times, packed, stop])
        return found if times > 1 else found[0]

    return begin


def cells(base):
    return base.grid(seed=SEEDS, l2=LAMS, dropout=RATES)


@cache
def torchs(members):
    """The validation losses that PyTorch ends with."""
    return [run.history["val_loss"][run.epoch - 1] for run in fit(list(members))]


def losses(told):
    """{member: the loss that was told last}."""
    found = {}
    for message in told:
        records = np.reshape(message["records"], (-1, 4))
        found |= dict(zip(message["members"], records[:, 1].tolist(), strict=True))
    return found


def assert_filled(told, members=None):
    """Every cell is torch's; returns which engine says that it trained them."""
    members = tuple(members or cells(SMALL))
    last, found = told[-1], losses(told)
    assert last["over"]
    assert last["done"] == last["total"] == len(members)
    assert [m["done"] for m in told] == sorted(m["done"] for m in told)
    values = [found[m] for m in range(len(members))]
    assert values == pytest.approx(torchs(members), abs=LIMIT)
    return last["name"]


def test_a_sweep_is_trained_by_webgpu_in_groups(fill):
    told = fill(REAL, LITTLE)
    assert assert_filled(told) == "WebGPU on google swiftshader"
    assert len({tuple(message["members"]) for message in told}) > 1


def test_a_device_serves_several_sweeps(fill):
    requests = "let asked = 0; const first = GPUAdapter.prototype.requestDevice;"
    once = """GPUAdapter.prototype.requestDevice = function () {
      if (asked++) throw new Error("again!");
      return first.call(this);
    };"""
    for told in fill(REAL, requests, once, times=2):
        assert assert_filled(told) == "WebGPU on google swiftshader"


TWO = """async ([questions, packed]) => {
  const pool = new trainer.PoolEngine(async (name) => packed[name]);
  return Promise.all(questions.map((members, k) => new Promise((resolve) => {
    const told = [], lab = pool.open({
      engine() {}, frame() {},
      cells(cells) {
        told.push({ ...cells, records: Array.from(cells.records) });
        if (cells.over) resolve(told);
      },
      error: ({ message }) => resolve([{ message }]),
    });
    lab.sweep({ id: `sweep ${k}`, members, points: null });
  })));
}"""


def test_two_labs_have_their_sweeps_trained_at_once(page):
    in_worker(page, REAL)
    open_page(page)
    both = [cells(SMALL), cells(SMALL.replace(lr=0.03))]
    asked = [[sent(e) for e in members] for members in both]
    found = page.evaluate(TWO, [asked, {"moons": pack("moons")}])
    for told, members in zip(found, both, strict=True):
        assert assert_filled(told, members) == "WebGPU on google swiftshader"


@pytest.mark.parametrize(
    "changes, why",
    [([], "no graphics card"), ([REAL, REFUSED], "no!"),
     ([REAL, EARLIER], "device was lost"),
     ([REAL, LITTLE, LATER], "device was lost")],
    ids=["software", "refused", "lost", "lost in the second group"],
)  # fmt: skip
def test_workers_train_what_webgpu_does_not(fill, changes, why):
    name = assert_filled(fill(*changes))
    assert name.startswith("WebAssembly (")
    assert why in name


@pytest.mark.parametrize(
    "members, why",
    [([SMALL.replace(input_noise=0.1, epochs=1)], "WebGPU does not know these"),
     ([SMALL, SMALL.replace(hidden=(7,))], "that differ in hidden"),
     ([SMALL, SMALL.replace(n_train=20)], "that differ in n_train")],
)  # fmt: skip
def test_what_webgpu_cannot_train_goes_to_the_workers(fill, members, why):
    assert why in assert_filled(fill(REAL, members=members), members)


def test_a_sweep_evolves_and_stops(fill):
    slow = cells(SMALL.replace(epochs=500, hidden=(8,)))
    told = fill(REAL, members=slow, stop=3)
    assert len(told) == 3
    early, late = losses(told[:1]), losses(told)
    assert np.isfinite(list(early.values())).all()
    assert early.keys() == late.keys() == set(range(len(slow)))
    assert all(early[m] != late[m] for m in early)
    assert not any(message["over"] or message["done"] for message in told)


def test_a_sweep_by_webgpu_says_which_members_have_ended(fill):
    members = [SMALL.replace(lr=0.05, patience=1, epochs=40, seed=k) for k in range(4)]
    members.append(SMALL.replace(epochs=40, optimizer="adam", lr=1e30))
    told = fill(REAL, members=members)
    done = [message["done"] for message in told]
    assert done == sorted(done)
    assert done[-1] == 5
    assert set(done) > {5}
    assert np.isnan(losses(told)[4])
