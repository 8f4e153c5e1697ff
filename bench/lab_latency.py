"""How fast the live lab answers in JupyterLab: in Chromium, with a real kernel."""

import shutil
import statistics
import tempfile
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.conftest import SYSTEM
from tests.jupyterlab_server import (
    CURVES,
    LAB_CELL,
    jupyterlab,
    open_notebook,
    run_all,
    slider,
    write_notebook,
)

MOVES = 30
LONG_SECONDS = 8
MINUTE = 60_000

# Notes when each key went down, and each drawing with the number of its points: a new
# run has fewer than the one before. Between two drawings the line alone gets longer.
WATCH = """plot => {
  const seen = { keys: [], draws: [] };
  window.seen = seen;
  addEventListener("keydown", () => seen.keys.push(performance.now()), true);
  const note = (points) => requestAnimationFrame(() =>
    seen.draws.push({ time: performance.now(), points }));
  const run = () => plot.data.find(({ uid }) => uid === "your_val");
  plot.on("plotly_afterplot", () => note(run().x.length));
  const line = plot.querySelector(".traceyour_val path.js-line");
  const longer = () => note(line.getAttribute("d").split("L").length);
  new MutationObserver(longer).observe(line, { attributeFilter: ["d"] });
}"""


def run() -> dict:
    """Return the measures, {name: {value, unit, target}}."""
    with _lab() as page:
        idle = _latencies(page, wait_for_end=True)
        slider(page, "epochs").press("End")
        rate, longest = _draw_rate(page)
        busy = _latencies(page, wait_for_end=False)
    return {
        "slider moved, lab idle: first point, median": _ms(idle, 0.5, "≤ 40 ms"),
        "slider moved, lab idle: first point, 95 %": _ms(idle, 0.95),
        "slider moved, lab training: median": _ms(busy, 0.5, "≤ 60 ms"),
        "slider moved, lab training: 95 %": _ms(busy, 0.95),
        "drawn updates in a long run": _row(rate, "per s", "≥ 10 per s"),
        "longest wait between two of them": _row(longest, "ms"),
    }


@contextmanager
def _lab():
    """Yield a page of Chromium with a lab in JupyterLab."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_notebook(Path(folder) / "lab.ipynb", LAB_CELL)
        path = next(filter(None, map(shutil.which, SYSTEM)), None)
        options = {"executable_path": path, "args": ["--no-sandbox"]}
        with jupyterlab(Path(folder)) as address:
            browser = playwright.chromium.launch(**options)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(MINUTE)
            open_notebook(page, address, "lab.ipynb")
            run_all(page)
            page.evaluate(WATCH, page.locator(CURVES).element_handle())
            yield page
            browser.close()


def _latencies(page, wait_for_end):
    """Milliseconds from a key press to the first point of the run it starts."""
    handle = slider(page, "l2")
    for key in ("ArrowRight", "Home"):
        handle.press(key)
        page.wait_for_timeout(1000)
    page.wait_for_timeout(2000)
    return [_one_move(page, handle, wait_for_end) for _ in range(MOVES)]


def _one_move(page, handle, wait_for_end):
    page.evaluate("() => { seen.before = seen.draws.at(-1).points; seen.draws = []; }")
    handle.press("ArrowRight")
    page.wait_for_function("seen.draws.some(draw => draw.points < seen.before)")
    if wait_for_end:
        page.wait_for_function(
            "document.querySelector('.lab').dataset.state === 'done'"
        )
    page.wait_for_timeout(400)
    return page.evaluate(
        "seen.draws.find(draw => draw.points < seen.before).time - seen.keys.at(-1)"
    )


def _draw_rate(page):
    """Draws per second of a long run, and the longest wait, milliseconds."""
    page.evaluate("() => { seen.draws = []; }")
    page.wait_for_timeout(1000 * LONG_SECONDS)
    times = page.evaluate("seen.draws.map(draw => draw.time)")
    waits = [later - earlier for earlier, later in pairwise(times)]
    return 1000 * len(waits) / (times[-1] - times[0]), max(waits)


def _ms(values, share, target=""):
    ordered = sorted(values)
    at = (
        statistics.median(values) if share == 0.5 else ordered[int(share * len(values))]
    )
    return _row(at, "ms", target)


def _row(value, unit, target=""):
    return {"value": round(value, 1), "unit": unit, "target": target}
