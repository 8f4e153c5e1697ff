"""The page's trainer in Chromium: its speed beside a bare torch loop, and a drag.

Needs the built book (`make book`), for it measures what a reader opens: the lab of the
worked example, from disk.
"""

import gzip
import json
import shutil
import statistics
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench.rivals.loops import BareLoop
from tests.conftest import SITE, SYSTEM
from tests.test_webgpu import EMPTY, FLAGS, REAL
from utils import Experiment
from utils.page_data import pack

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "web" / "build"
WORKED = Experiment(data="ring", n_train=None, label_noise=0, dtype="float32")
STEPS = 32  # an epoch's
ROUNDS, EPOCHS, MOVES = 7, 50, 20
MINUTE = 60_000
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
# Where a move of the slider begins, when its run's first point and its last are drawn,
# and the tasks that held the main thread for more than 50 ms.
WATCH = """() => {
  window.seen = { draws: [], long: [] };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) seen.long.push(duration);
  }).observe({ entryTypes: ["longtask"] });
  const canvas = document.querySelector(".lab [data-view=curves]");
  const note = (epochs) => requestAnimationFrame(() =>
    seen.draws.push({ time: performance.now(), first: canvas.data[7].y[0], epochs }));
  canvas.on("plotly_afterplot", () => note(canvas.data[7].x.length));
  // Between two drawings the line alone gets longer.
  new MutationObserver(() => note(0)).observe(
    canvas.querySelector(".traceown0 path.js-line"), { attributeFilter: ["d"] });
}"""
MOVE = """async (position) => {
  const input = document.querySelector(".lab input[name=l2]");
  const before = seen.draws.at(-1)?.first;
  seen.draws = [];
  const begin = performance.now();
  input.value = position;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  const at = (test) => new Promise((resolve) => {
    const look = () => {
      const draw = seen.draws.find(test);
      draw ? resolve(draw.time - begin) : setTimeout(look, 2);
    };
    look();
  });
  const first = await at(({ epochs }) => epochs < 50);
  const whole = await at((d) => d.first !== before && d.epochs === 50);
  await new Promise((resolve) => setTimeout(resolve, 400));
  return [first, whole];
}"""


def run() -> dict:
    """Return the measures, {name: {value, unit, target}}."""
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, SYSTEM)), None)
        options = {"executable_path": path, "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        speeds = _speeds(browser.new_page())
        first, whole, long = _drags(browser.new_page())
        browser.close()
        options["args"] += FLAGS
        browser = playwright.chromium.launch(**options)
        maps = _maps(browser.new_page())
        browser.close()
    script = (BUILD / "page" / "lab.js").read_bytes()
    size = len(gzip.compress(script)) / 1024
    return {
        **speeds,
        **maps,
        "slider moved: first frame, median": _row(first, "ms", "≤ 30 ms"),
        "slider moved: 50 epochs drawn, median": _row(whole, "ms", "≤ 200 ms"),
        f"tasks over 50 ms in {MOVES} moves": _row(len(long), "", "0"),
        "the longest of them": _row(max(long, default=0), "ms", "≤ 50 ms"),
        "our script, gzipped": _row(size, "KiB", "≤ 25"),
    }


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
    return {**rows, "WebAssembly × bare torch loop": _row(times, "×", "≥ 4")}


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


def _drags(page):
    """Median ms to the first frame and to the whole result; ms of tasks over 50."""
    page.goto(f"{SITE.as_uri()}/book/worked_example.html")
    lab = page.locator(".lab").first
    lab.scroll_into_view_if_needed()
    page.wait_for_function(
        "document.querySelector('.lab').dataset.state === 'done'", timeout=MINUTE
    )
    lab.locator("select[name=penalty]").select_option("l2")
    page.wait_for_timeout(1000)
    page.evaluate(WATCH)
    moves = [page.evaluate(MOVE, 5 + k) for k in range(MOVES)]
    first, whole = (statistics.median(column) for column in zip(*moves, strict=True))
    return first, whole, page.evaluate("seen.long")


def _row(value, unit, target=""):
    return {"value": round(value, 1), "unit": unit, "target": target}
