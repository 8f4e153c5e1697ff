"""The map by WebGPU in Chromium, on a software adapter, against curves of PyTorch.

The kernels compute in float32, so what they give is held against `fit` in float32,
which is as far from float64 as they are. L1 and L2 in Adam amplify rounding: there the
first epochs, the means and the accuracy must agree.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import tests.test_page_lab as page_lab
from tests.test_trainer import BASES, BUILD, METRICS, WORKED
from utils import Experiment, fit
from utils.page_data import pack

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


site, open_lab = page_lab.site, page_lab.open_lab  # fixtures


@pytest.fixture
def on_gpu(page):
    """on_gpu(groups): train lists of experiments by WebGPU, return what came out."""
    page.add_init_script(REAL)
    page.goto(EMPTY.as_uri())

    def run(groups):
        sent = [[json.loads(e.to_json()) for e in group] for group in groups]
        packed = {name: pack(name) for name in {g[0].data for g in groups}}
        page.evaluate(f"window.eval({json.dumps(BUILD.read_text())})")
        return page.evaluate(TRAIN, [sent, packed])

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
    sent = json.loads(WORKED.replace(**knobs).to_json())
    assert page.evaluate("e => trainer.fitsGpu(e)", sent) is fits


def in_worker(page, *changes):
    """Run scripts before the trainer's own, in every worker."""
    page.add_init_script(
        f"""const Real = Blob;
        window.Blob = function ([source], options) {{
          return new Real([{json.dumps("".join(changes))}, source], options);
        }};"""
    )


SMALL = page_lab.MOONS.replace(epochs=3, n_train=40)


@pytest.fixture
def fill(open_lab, page):
    """fill(*changes of the worker, base): the lab once its map is being filled."""

    def begin(*changes, base=SMALL):
        in_worker(page, *changes)
        lab = open_lab(base, l2=(1e-4, 0.1), dropout=(0, 0.9))
        page_lab.finished(lab)
        lab.locator("button[name=fill]").click()
        return lab

    return begin


def values(lab):
    """The map as drawn, [λ, p]."""
    z = lab.locator("[data-plane]").evaluate("canvas => canvas.data[0].z")
    return np.array(z, float)


AXES = "s => ['y', 'x'].map((axis) => JSON.parse(s.textContent)[axis].values)"


@cache
def means(base, lams, rates):
    """The mean validation loss of three seeds that PyTorch trains, [λ, p]."""
    runs = fit(base.grid(l2=lams, dropout=rates, seed=range(3))).summary()
    return runs.groupby(["l2", "dropout"])["val_loss"].mean().unstack().to_numpy()


def assert_filled(lab, base=SMALL):
    """Every cell is torch's; returns what the page says."""
    said = page_lab.output(lab, "map")
    expect(said).to_contain_text("mean of 3 seeds", timeout=30_000)
    axes = map(tuple, lab.locator("script.lab-map").evaluate(AXES))
    assert values(lab) == pytest.approx(means(base, *axes), abs=LIMIT)
    return said.inner_text()


def test_the_map_fills_by_webgpu_in_groups(fill):
    said = assert_filled(fill(REAL, LITTLE))
    assert "Trained here, by WebGPU on google swiftshader." in said
    assert "168 networks in" in said


@pytest.mark.parametrize(
    "changes, why",
    [([], "no graphics card"), ([REAL, REFUSED], "no!"),
     ([REAL, EARLIER], "device was lost"),
     ([REAL, LITTLE, LATER], "device was lost")],
    ids=["software", "refused", "lost", "lost in the second group"],
)  # fmt: skip
def test_workers_train_what_webgpu_does_not(fill, changes, why):
    said = assert_filled(fill(*changes))
    assert "Trained here, by WebAssembly" in said
    assert why in said


def test_an_unknown_knob_goes_to_the_workers(fill):
    base = SMALL.replace(input_noise=0.1, epochs=1)
    said = assert_filled(fill(REAL, base=base), base)
    assert "Trained here, by WebAssembly (WebGPU does not know these settings)" in said


def test_the_map_evolves_and_stops(fill):
    lab = fill(REAL, base=SMALL.replace(epochs=500, hidden=(8,)))
    said = page_lab.output(lab, "map")
    expect(said).to_contain_text("Epoch", timeout=30_000)
    expect(said).to_contain_text("by WebGPU", timeout=30_000)
    early = values(lab)
    assert np.isfinite(early).all()
    lab.page.wait_for_timeout(600)
    assert (values(lab) != early).any()
    button = lab.locator("button[name=fill]")
    button.click()
    expect(said).to_contain_text("stopped after epoch")
    still = values(lab)
    lab.page.wait_for_timeout(400)
    assert (values(lab) == still).all()
    expect(button).to_have_text("Fill the map again")
