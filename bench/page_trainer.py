"""The page's trainer in Chromium: its speed beside a bare torch loop.

Needs the built front end (`make book`).
"""

import json
import shutil
import statistics
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench.rivals.loops import BareLoop
from tests.conftest import SYSTEM
from tests.test_webgpu import EMPTY, FLAGS, REAL
from utils import Experiment
from utils.book.page_data import pack

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "web" / "build"
WORKED = Experiment(data="ring", n_train=None, label_noise=0, dtype="float32")
STEPS = 32  # an epoch's
ROUNDS, EPOCHS = 7, 50
LAMS, RATES = (0, 1e-4, 1e-3, 1e-2), (0, 0.2, 0.4, 0.6)

TRAIN = """async ([engine, experiment, packed, epochs]) => {
  const { chooseEngine, Trainer, unpack } = trainer;
  window.one ??= {};
  one[engine] ??= new Trainer(await chooseEngine(engine), experiment, unpack(packed));
  one[engine].reset();
  const begin = performance.now();
  for (let k = 0; k < epochs; k++) one[engine].trainEpoch();
  return performance.now() - begin;
}"""
# Networks · steps per second, thousands, with the losses after each epoch
MAP = """async ([experiments, packed, epochs]) => {
  const { chooseEngine, chooseGpu, GpuTrainer, Trainer, unpack } = trainer;
  const engine = await chooseEngine(), gpu = await chooseGpu(), data = unpack(packed);
  const all = new GpuTrainer(gpu, engine, experiments, data);
  const one = new Trainer(engine, experiments[0], data);
  const speed = async (train, networks) => {
    await train();
    const begin = performance.now();
    for (let k = 0; k < epochs; k++) await train();
    return (networks * epochs * one.steps) / (performance.now() - begin);
  };
  return {
    [gpu.name]: await speed(() => all.runEpoch(), experiments.length),
    "WebAssembly, one worker": await speed(() => one.runEpoch(), 1),
  };
}"""


def run() -> dict:
    """Return the measures, {name: {value, unit, target}}."""
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, SYSTEM)), None)
        options = {"executable_path": path, "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        speeds = _speeds(browser.new_page())
        browser.close()
        options["args"] += FLAGS
        browser = playwright.chromium.launch(**options)
        maps = _maps(browser.new_page())
        browser.close()
    return speeds | maps


def _speeds(page):
    """Steps per second of both engines, side by side with torch's."""
    page.add_script_tag(path=BUILD / "trainer.js")
    loop = BareLoop(WORKED)
    sent = json.loads(WORKED.to_json()), pack("ring")
    found = {"WebAssembly": [], "JavaScript": [], "torch": []}
    for _ in range(ROUNDS + 1):
        for engine, name in (("wasm", "WebAssembly"), ("javascript", "JavaScript")):
            ms = page.evaluate(TRAIN, [engine, *sent, EPOCHS // 5])
            found[name].append(STEPS * (EPOCHS // 5) / ms)
        begin = time.perf_counter()
        loop.epoch()
        found["torch"].append(STEPS / (time.perf_counter() - begin) / 1000)
    speed = {name: values[1:] for name, values in found.items()}
    ratio = [a / b for a, b in zip(speed["WebAssembly"], speed["torch"], strict=True)]
    rows = {
        f"thousand steps per second, {name}": _row(statistics.median(values), "k/s")
        for name, values in speed.items()
    }
    times = statistics.median(ratio)
    return {**rows, "WebAssembly × bare torch loop": _row(times, "×", "≥ 10")}


def _maps(page):
    """Speed of the map's networks; the adapter is a software one, as its name says."""
    page.add_init_script(REAL)
    page.goto(EMPTY.as_uri())
    page.evaluate(f"window.eval({json.dumps((BUILD / 'trainer.js').read_text())})")
    cells = WORKED.grid(l2=LAMS, dropout=RATES)
    sent = [json.loads(e.to_json()) for e in cells]
    speeds = page.evaluate(MAP, [sent, pack("ring"), 3])
    return {
        f"thousand networks · steps per second of a map, {name}": _row(value, "k/s")
        for name, value in speeds.items()
    }


def _row(value, unit, target=""):
    return {"value": round(value, 1), "unit": unit, "target": target}
