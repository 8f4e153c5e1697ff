"""The live lab in JupyterLab: a real kernel, Chromium, sliders moved by keyboard."""

import json
import os
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import expect

from tests.jupyterlab_server import (
    LAB_CELL,
    curve,
    jupyterlab,
    lab_data,
    open_notebook,
    run_all,
    run_code,
    slider,
    write_notebook,
)
from tests.notebooks import BOOK
from utils import Experiment, fit

MILLISECONDS = 120_000
CHAPTER = BOOK / "overview.ipynb"
CHOICES_CELL = """\
from utils import Experiment, Lab
base = Experiment(n_train=40, hidden=(8,), epochs=6)
Lab(base, dropout=(0, 0.9), batch_norm=(False, True),
    optimizer=("adam", "adamw", "sgd"))
"""
MAP_CELL = """\
from utils import Experiment, Lab
base = Experiment(n_train=40, hidden=(8,), epochs=30)
Lab(base, l2=(1e-6, 0.1), dropout=(0, 0.9))
"""
SWEEP_CELL = """\
import numpy as np
from utils import Experiment, sweep
base = Experiment(n_train=40, hidden=(8,), epochs=200)
space = {"l2": np.linspace(0, 0.1, 10), "dropout": np.linspace(0, 0.8, 12)}
where = {"cache": None, "workers": 1}
len(sweep(base, space, [0], live=("dropout", "l2"), **where).frame)"""
BUSY_CELL = """\
import pathlib, time
while pathlib.Path("busy").exists():
    time.sleep(0.1)"""
MAP = ".lab-live .lab-map .js-plotly-plot"
FILLED = """(document.querySelector("%s")?.data[0].z ?? []).flat()
  .filter(Number.isFinite).length"""
SWEPT = FILLED % ".jp-OutputArea .js-plotly-plot"
FILLED %= MAP
RUNNING = """[...document.querySelectorAll(".jp-InputPrompt")]
  .filter(prompt => prompt.innerText.includes("*")).length"""
LAB_THREADS = """\
import threading
print(sum(thread.name == "lab" for thread in threading.enumerate()))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jupyterlab")
    for name in ("pause.ipynb", "close.ipynb"):
        write_notebook(folder / name, LAB_CELL)
    write_notebook(folder / "choices.ipynb", CHOICES_CELL, BUSY_CELL)
    write_notebook(folder / "map.ipynb", MAP_CELL)
    write_notebook(folder / "sweep.ipynb", SWEEP_CELL)
    copy_until_lab(CHAPTER, folder / CHAPTER.name)
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with jupyterlab(folder) as address:
        yield address


@pytest.fixture
def page(browser):
    """A page that asks nothing of another host and meets no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(MILLISECONDS)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.extend(foreign(request.url)))
    yield page
    context.close()
    assert complaints == []


def copy_until_lab(chapter, path):
    """The chapter up to its first lab; nbval runs the rest."""
    notebook = nbformat.read(chapter, as_version=4)
    cells = notebook.cells
    last = next(i for i, cell in enumerate(cells) if "Lab(" in cell.source)
    notebook.cells = cells[: last + 1]
    nbformat.write(notebook, path)


def foreign(address):
    url = urlsplit(address)
    own = url.scheme in {"data", "blob"} or url.hostname == "127.0.0.1"
    return [] if own else [address]


def state(page):
    return page.locator(".lab-status [data-state]").get_attribute("data-state")


def wait_for_state(page, name):
    page.locator(f".lab-status [data-state={name}]").wait_for()


def wait_for_curve(page, condition):
    """Poll until what is drawn meets the condition."""
    for _ in range(MILLISECONDS // 50):
        if condition(drawn := curve(page)):
            return drawn
        page.wait_for_timeout(50)
    raise AssertionError(f"not met by {len(drawn)} epochs ending in {drawn[-1:]}")


def has_epochs(count):
    return lambda drawn: len(drawn) > count


def test_the_chapters_lab_lands_on_what_fit_computes(page, address):
    open_notebook(page, address, CHAPTER.name)
    run_all(page)
    assert (state(page), curve(page)) == ("ready", [])
    data = lab_data(page)
    base = Experiment.from_json(json.dumps(data["experiment"]))
    name, knob = next(iter(data["knobs"].items()))
    for key, value in (("End", knob["max"]), ("Home", knob["value"])):
        slider(page, name).press(key)
        assert_curve(page, base.replace(**{name: value}))


def test_knobs_and_choices_answer_while_a_cell_runs(page, address, folder):
    open_notebook(page, address, "choices.ipynb")
    run_all(page)
    (folder / "busy").touch()
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    try:
        wait_for_running(page, 1)
        wait_for_state(page, "ready")
        base = Experiment(n_train=40, hidden=(8,), epochs=6, dropout=0.9)
        slider(page, "dropout").press("End")
        assert_curve(page, base)
        base = base.replace(optimizer="sgd")
        page.locator(".lab-optimizer select").select_option("SGD")
        assert_curve(page, base)
        base = base.replace(batch_norm=True)
        page.locator(".lab-batch_norm button", has_text="on").click()
        assert_curve(page, base)
        assert page.evaluate(RUNNING) == 1
    finally:
        (folder / "busy").unlink()
    wait_for_running(page, 0)


def wait_for_running(page, count):
    """Until so many cells run; the kernel's own status flickers."""
    page.wait_for_function(f"{RUNNING} === {count}")


def assert_curve(page, experiment):
    expected = pytest.approx(fit(experiment)[0].history["val_loss"], rel=1e-6)
    assert wait_for_curve(page, lambda drawn: drawn == expected) == expected


def test_the_map_fills_and_a_click_loads_a_cell(page, address):
    open_notebook(page, address, "map.ipynb")
    run_all(page)
    assert page.locator(MAP).count() == 0
    page.locator(".lab-fill").click()
    page.wait_for_function(f"{FILLED} > 0 && {FILLED} < 56")
    page.locator(".lab-map-status", has_text="mean of 3 seeds").wait_for()
    assert page.evaluate(FILLED) == 56
    click_cell(page, row=7, column=4)
    base = Experiment(n_train=40, hidden=(8,), epochs=30)
    assert_curve(page, base.replace(l2=0.1, dropout=0.6))
    assert slider(page, "dropout").get_attribute("aria-valuenow") == "0.6"


def test_a_sweep_shows_its_map_while_it_trains(page, address):
    open_notebook(page, address, "sweep.ipynb")
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(f"{SWEPT} > 0 && {SWEPT} < 120")
    assert page.evaluate(RUNNING) == 1
    wait_for_running(page, 0)
    page.wait_for_function(f"{SWEPT} === 120")
    expect(page.locator(".jp-OutputArea").first).to_contain_text("120/120")


def click_cell(page, row, column):
    """Click a cell of the map of 8 rows, counted from below, and 7 columns."""
    cells = page.locator(f"{MAP} .nsewdrag")
    box = cells.bounding_box()
    x = (column + 0.5) * box["width"] / 7
    y = (7.5 - row) * box["height"] / 8
    cells.click(position={"x": x, "y": y})


def test_pause_and_the_end_of_the_thread(page, address):
    open_notebook(page, address, "pause.ipynb")
    run_all(page)
    slider(page, "epochs").press("End")
    wait_for_curve(page, has_epochs(50))
    page.locator(".lab-play").click()
    wait_for_state(page, "paused")
    page.wait_for_timeout(500)
    paused = curve(page)
    page.wait_for_timeout(500)
    assert curve(page) == paused
    page.locator(".lab-play").click()
    wait_for_curve(page, has_epochs(len(paused)))
    assert run_code(page, LAB_THREADS) == "1\n"
    run_all(page)
    wait_for_state(page, "ready")
    assert run_code(page, LAB_THREADS) == "0\n"


def test_closing_the_kernel_ends_a_training_lab(page, address):
    open_notebook(page, address, "close.ipynb")
    run_all(page)
    slider(page, "epochs").press("End")
    wait_for_curve(page, has_epochs(50))
    kernel = int(run_code(page, "import os; print(os.getpid())"))
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)
