"""The live lab of a page in Chromium: how soon the answer to a move shows.

Needs the built front end (`make book`). Each lab stands alone on a page, from disk.
"""

import gzip
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.conftest import SYSTEM
from utils import Experiment, Lab
from utils.book.page_data import write
from utils.book.sphinx_ext import render_lab

WEB = Path(__file__).parents[1] / "web"
FILES = [
    *(WEB / "build" / "page" / f"{name}" for name in ("lab.js", "lab.css", "book.css")),
    WEB / "vendor" / "plotly-cartesian.min.js",
]
MOVES, MINUTE = 20, 60_000
MOONS = Experiment()  # 100 points, 50 epochs
WORKED = Experiment(data="ring", n_train=None, label_noise=0)
RANGES = {"l2": (1e-4, 1), "dropout": (0, 0.9)}
LABS = {
    "worked": lambda: Lab(WORKED, **RANGES),
    "draws": lambda: Lab(MOONS, seeds=5, **RANGES),
    "path": lambda: Lab(MOONS, seeds=3, over={"l2": 25}, n_train=(20, 1000)),
    "map": lambda: Lab(
        MOONS,
        over={"dropout": [0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9], "l2": 7},
        views=("map",),
        n_train=(20, 1000),
        l2=(1e-4, 1),
    ),
}
SWEEPS = "path", "map"  # over when all cells are trained
HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<link rel="stylesheet" href="book.css"><link rel="stylesheet" href="lab.css">
<script src="lab.js"></script></head><body><main style="max-width: 70rem">"""
# Notes each drawing: how many points or cells are on show, and a number that tells one
# answer from another; and the tasks that held the main thread for over 50 ms.
WATCH = """(role) => {
  window.seen = { draws: [], long: [] };
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) seen.long.push(duration);
  }).observe({ entryTypes: ["longtask"] });
  const canvas = document.querySelector(".lab .plot-canvas");
  const look = () => {
    const trace = canvas.data.find(({ uid }) => uid === role);
    const values = (trace.z ?? [trace.y]).flat().filter(Number.isFinite);
    return { count: values.length, first: values[0] };
  };
  const note = (found) => requestAnimationFrame(() =>
    seen.draws.push({ time: performance.now(), ...found }));
  canvas.on("plotly_afterplot", () => note(look()));
  const line = canvas.querySelector(`.trace${role} path.js-line`);
  // Between two drawings the line alone gets longer.
  if (line) new MutationObserver(() => note({ count: 1, stretched: true })).observe(
    line, { attributeFilter: ["d"] });
}"""
MOVE = """async ([knob, position, whole, over]) => {
  const input = document.querySelector(`.lab input[type=range][name=${knob}]`);
  const before = seen.draws.at(-1)?.first, lab = input.closest(".lab");
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
  const fresh = (d) => d.stretched || d.first !== before;
  const first = await at((d) => fresh(d) && d.count > 0);
  const done = () => !over || lab.dataset.state === "done";
  const last = await at((d) => d.first !== before && d.count >= whole && done());
  await new Promise((resolve) => setTimeout(resolve, 400));
  return [first, last];
}"""


def run() -> dict:
    """Return the measures, {name: {value, unit, target}}."""
    script = gzip.compress(FILES[0].read_bytes())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, SYSTEM)), None)
        options = {"executable_path": path, "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        pages = _Pages(Path(folder), browser)
        worked = pages.moves("worked", "your_val", "l2", range(5, 5 + MOVES), 25)
        draws = pages.moves("draws", "your_val", "l2", range(5, 5 + MOVES), 25)
        path = pages.moves("path", "your_val", "n_train", range(5, 5 + MOVES // 2), 25)
        grid = pages.moves("map", "cells", "n_train", range(5, 9), 49)
        browser.close()
    tasks = [*worked[2], *draws[2]]
    return {
        "slider → first frame, median": _row(worked[0], "≤ 20 ms"),
        "slider → worked example, 50 epochs drawn": _row(worked[1], "≤ 150 ms"),
        "slider → five draws of moons with bands": _row(draws[1], "≤ 250 ms"),
        "curve over 25 λ × 3 draws, first shape": _row(path[0], "≤ 300 ms"),
        "curve over 25 λ × 3 draws, complete": _row(path[1], "≤ 1500 ms"),
        "map of 49 cells × 3 draws, complete": _row(grid[1], "≤ 5000 ms"),
        f"tasks over 50 ms in {2 * MOVES} moves": _row(len(tasks), "0", ""),
        "the longest of them": _row(max(tasks, default=0), "≤ 50 ms"),
        "script with kernels, gzipped": _row(len(script) / 1024, "≤ 45", "KiB"),
    }


class _Pages:
    """Pages of one lab each, in a folder with all that they load."""

    def __init__(self, folder, browser):
        self.folder, self.browser = folder, browser
        for file in FILES:
            (folder / file.name).symlink_to(file)
        write(folder / "data")

    def moves(self, name, role, knob, positions, whole):
        """Move a slider; return median ms to the first and the last drawing, tasks."""
        lab = LABS[name]()
        page = self.browser.new_page(viewport={"width": 1280, "height": 900})
        (self.folder / "page.html").write_text(HEAD + render_lab(lab.to_dict()))
        page.goto((self.folder / "page.html").as_uri())
        done = "document.querySelector('.lab').dataset.state === 'done'"
        page.wait_for_function(done, timeout=MINUTE)
        page.wait_for_timeout(1000)
        page.evaluate(WATCH, role)
        found = [
            page.evaluate(MOVE, [knob, k, whole, name in SWEEPS]) for k in positions
        ]
        tasks = page.evaluate("seen.long")
        page.close()
        return *map(statistics.median, zip(*found, strict=True)), tasks


def _row(value, target, unit="ms"):
    return {"value": round(value, 1), "unit": unit, "target": target}
