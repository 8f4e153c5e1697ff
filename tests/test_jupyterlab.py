"""The live lab in JupyterLab: a real kernel, Chromium, sliders moved by keyboard.

What a lab shows, by whichever engine, must be what `fit` computes: curves to 1e-9.
"""

import json
import os
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import nbformat
import numpy as np
import pytest
from playwright.sync_api import expect

from tests.jupyterlab_server import (
    jupyterlab,
    open_notebook,
    run_all,
    run_code,
    setting,
    start_all,
    write_notebook,
)
from tests.notebooks import BOOK
from tests.test_page_lab import (
    assert_regions,
    assert_shows,
    canvas,
    choose,
    ends,
    finished,
    output,
    press,
    trace,
    value_of,
)
from tests.test_page_points import assert_learned, click
from tests.test_page_sweep import filled, map_of
from utils import Experiment, fit

MILLISECONDS, TRIES = 120_000, 10
CHAPTER = BOOK / "overview.ipynb"
BASE = Experiment(n_train=40, hidden=(8,), epochs=20)
LAB = """\
from utils import Experiment, Lab
base = Experiment(n_train=40, hidden=(8,), epochs=20)
lab = Lab(base, l2=(1e-4, 0.1), dropout=(0, 0.9), epochs=(20, 100_000),
          n_train=(40, 1000))
lab"""
BUSY = """\
import pathlib, time
while pathlib.Path("busy").exists():
    time.sleep(0.1)"""
SWEEP = """\
import numpy as np
from utils import Experiment, sweep
base = Experiment(n_train=40, hidden=(8,), epochs=200)
space = {"l2": np.linspace(0, 0.1, 10), "dropout": np.linspace(0, 0.8, 12)}
where = {"cache": None, "workers": 1}
len(sweep(base, space, [0], live=("dropout", "l2"), **where).frame)"""
SWEPT = """(document.querySelector(".jp-OutputArea .js-plotly-plot")?.data[0].z ?? [])
  .flat().filter(Number.isFinite).length"""
RUNNING = """[...document.querySelectorAll(".jp-InputPrompt")]
  .filter(prompt => prompt.innerText.includes("*")).length"""
CLOSE = "import ipywidgets; ipywidgets.Widget.close_all()"
LAB_THREADS = """\
import threading
print(sum(thread.name == "lab" for thread in threading.enumerate()))"""
CONVOLUTION = """\
Lab(Experiment(data="digits", n_train=40, channels=(2,), hidden=(8,), epochs=2),
    l2=(1e-4, 0.1))"""
LINK = """\
import ipywidgets
link = ipywidgets.jslink((ipywidgets.FloatSlider(), "value"), (lab, "dropout"))"""
MOMENTUM = """\
from utils import Experiment, Lab
base = Experiment(n_train=40, hidden=(8,), epochs=20, optimizer="sgd", momentum=0.5)
lab = Lab(base, optimizer=("sgd", "adam"), momentum=(0, 0.9))
lab"""
REFUSED = """\
try:
    lab.knobs["l2"] = 5
except ValueError as error:
    print(error)"""
MAP = """\
from utils import Experiment, Lab
base = Experiment(n_train=40, hidden=(8,), epochs=6)
lab = Lab(base, l2=(1e-4, 0.1), dropout=(0, 0.9))
lab"""
PLOTLY_SCRIPTS = """[...document.scripts]
  .filter(({ textContent }) => textContent.length > 1e6).length"""
SESSION = "jupyterapp.shell.currentWidget?.sessionContext"
COMMAND = """async ([command, cell]) => {
  const notebook = jupyterapp.shell.currentWidget;
  notebook.content.activeCellIndex = cell;
  await jupyterapp.commands.execute(command);
  jupyterapp.shell.activateById(notebook.id);
}"""
IDS = "[...document.querySelectorAll('.lab form [id]')].map(({ id }) => id)"
SELECTED = "jupyterapp.shell.currentWidget.content.activeCellIndex"
COUNT = "jupyterapp.shell.currentWidget.content.widgets.length"
FIRST_CELL = (
    "jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.source"
)
# A kernel counts as busy 700 ms after it was asked again: here only if `impatient`.
PATIENT = """(() => {
  const soon = window.setTimeout;
  window.setTimeout = (act, ms, ...rest) =>
    soon(act, ms === 700 && !window.impatient ? 60_000 : ms, ...rest);
})()"""
TRAIN_AGAIN = """lab =>
  lab.dataset.state === "done" && lab.querySelector("button[name=play]").click()"""
GONE = "The kernel is gone, so this browser trains. Run the cell again"
KERNELS = "@jupyterlab/apputils-extension/kernels-settings"
HERE, BROWSER = "Trained here, by PyTorch on CPU.", "Trained in this browser, by"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("jupyterlab")


@pytest.fixture(scope="module")
def address(folder):
    with jupyterlab(folder) as address:
        yield address


@pytest.fixture
def page(browser):
    """A page that asks nothing of another host and meets no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(PATIENT)
    page.set_default_timeout(MILLISECONDS)
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.extend(foreign(request.url)))
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def notebook(page, address, folder, request):
    """notebook(*cells, alone): a notebook of these cells, opened; no cell is run.

    Its kernel is that of the test before, with its imports, or one that is its alone.
    """
    lonely = []

    def open_it(*cells, alone=False):
        lonely.append(alone)
        name = f"{request.node.originalname if alone else 'shared'}.ipynb"
        write_notebook(folder / name, *cells)
        open_notebook(page, address, name)

    yield open_it
    # Not later: where a comm opens while the last one closes, JupyterLab 4.6 takes the
    # subshell away that it has given the new one.
    if any(lonely):
        page.evaluate(f"void {SESSION}?.shutdown()")
    else:
        run_code(page, CLOSE)


@pytest.fixture
def open_lab(page, notebook):
    """open_lab(*cells, alone): the first lab of these cells, all run, at rest."""

    def open_it(*cells, alone=False):
        notebook(*(cells or [LAB]), alone=alone)
        run_all(page)
        lab = page.locator(".lab").first
        finished(lab)
        return lab

    return open_it


def foreign(address):
    url = urlsplit(address)
    own = url.scheme in {"data", "blob"} or url.hostname == "127.0.0.1"
    return [] if own else [address]


def slider(lab, knob):
    return lab.locator(f"input[type=range][name={knob}]")


def move(lab, knob, *keys):
    """Move a slider as a hand does, and return where it stands then."""
    for key in keys:
        slider(lab, knob).press(key)
    return value_of(lab, knob)


def stands(lab, knob, value):
    text = f"{value:g}"
    expect(slider(lab, knob)).to_have_attribute(
        "aria-valuetext", text, timeout=MILLISECONDS
    )


def says(lab, text):
    expect(output(lab, "message")).to_contain_text(text, timeout=MILLISECONDS)


def trained(lab, who):
    """What is shown was trained by this engine. A slow kernel may need another try."""
    for _ in range(TRIES):
        finished(lab)
        if who in output(lab, "engine").inner_text():
            return
        lab.evaluate(TRAIN_AGAIN)
    raise AssertionError(output(lab, "engine").inner_text())


def wait_until(page, condition):
    """Poll until a condition is met."""
    for _ in range(MILLISECONDS // 50):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("not met")


def in_training(page, lab):
    """A run that takes longer than a test, once it has drawn something."""
    move(lab, "n_train", "End")
    move(lab, "epochs", "End")
    expect(lab).to_have_attribute("data-state", "training")
    wait_until(page, lambda: 0 < output_number(lab, "epoch") != 20)


def short_again(lab):
    move(lab, "epochs", "Home")
    move(lab, "n_train", "Home")


def output_number(lab, name):
    return float(output(lab, name).inner_text())


def ask(page, expression):
    """The value of a Python expression in the kernel."""
    return json.loads(run_code(page, f"import json; print(json.dumps({expression}))"))


def run(page, code):
    assert run_code(page, code) == ""


# The chapter, Python, the engines


def test_the_server_answers_nobody_without_its_token(address):
    server, token = address.split("?")
    with urlopen(f"{server}api/contents?{token}") as answer:
        assert answer.status == 200
    with pytest.raises(HTTPError, match="403") as refused:
        urlopen(f"{server}api/contents")
    refused.value.close()


def test_the_chapters_lab_is_linked_with_a_slider_of_ipywidgets(open_lab, page):
    cells, link = cells_of(CHAPTER)
    lab = open_lab(*cells)
    base = Experiment(n_train=50, label_noise=0.2, epochs=100, seed=1)
    assert_shows(lab, base)
    run_code(page, link)
    stands(lab, "l2", 0.01)  # where the other slider is
    assert_shows(lab, base.replace(l2=0.01))
    page.locator(".widget-slider .noUi-handle").press("ArrowRight")
    stands(lab, "l2", 10**-1.9)
    mine, its = ask(page, "[lab.knobs['l2'], strength.value]")
    assert mine == its == pytest.approx(10**-1.9)
    assert_shows(lab, base.replace(l2=mine))
    assert move(lab, "l2", "End") == 0.1
    assert_shows(lab, base.replace(l2=0.1))
    assert ask(page, "[lab.knobs['l2'], strength.value]") == [0.1, 0.1]


def cells_of(chapter):
    """What a chapter's first lab needs, and it; the cell that links it."""
    cells = nbformat.read(chapter, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    lab = next(text for text in code if "Lab(" in text)
    needed = [text for text in code if text.startswith(("import", "moons ="))]
    return [*needed, lab], next(text for text in code if "jslink(" in text)


def test_a_choice_that_does_not_go_with_the_rest_is_put_back(open_lab, page):
    lab = open_lab(MOMENTUM)
    base = BASE.replace(optimizer="sgd", momentum=0.5)
    assert_shows(lab, base)
    choose(lab, "optimizer", "Adam")
    says(lab, "nothing has changed: momentum = 0.5: must be 0")
    expect(lab.locator("select[name=optimizer] :checked")).to_have_text("SGD")
    assert_shows(lab, base)
    assert ask(page, "lab.knobs['optimizer']") == "sgd"
    assert move(lab, "momentum", "Home") == 0
    choose(lab, "optimizer", "Adam")
    assert_shows(lab, BASE)
    expect(output(lab, "message")).not_to_contain_text("nothing")


def test_python_moves_the_lab_and_reads_what_it_shows(open_lab, page):
    lab = open_lab()
    run(page, "seen = []; note = lambda change: seen.append(change['new'])")
    run(page, "lab.observe(note, ['l2', 'state'])")
    run(page, "lab.knobs['l2'] = 1e-3")
    stands(lab, "l2", 1e-3)
    assert_shows(lab, BASE.replace(l2=1e-3))
    trained(lab, HERE)
    assert_reads(page, lab)
    seen = ask(page, "seen")
    assert seen[:3] == ["training", 1e-3, "done"] and seen[-1] == "done"
    assert run_code(page, REFUSED) == "l2 = 5: must be a number in [0.0, 0.1]\n"
    assert ask(page, "lab.knobs['l2']") == 1e-3
    assert value_of(lab, "l2") == 1e-3
    assert_shows(lab, BASE.replace(l2=1e-3))
    assert move(lab, "l2", "End") == 0.1
    assert_shows(lab, BASE.replace(l2=0.1))
    assert ask(page, "[v for v in seen if v != 'training'][-2:]") == [0.1, "done"]
    assert_reads(page, lab)


def assert_reads(page, lab):
    """What Python reads is what the lab shows."""
    loss = output(lab, "val_loss").inner_text()
    reads = f"'{loss}' == '%.4f' % lab.results['val_loss'] and lab.state == 'done'"
    wait_until(page, lambda: ask(page, reads))
    results = ask(page, "lab.results")
    for name in ("train_loss", "val_loss", "gap"):
        assert output(lab, name).inner_text() == f"{results[name]:.4f}"
    assert output_number(lab, "epoch") == results["epoch"]
    for part in ("train", "val"):
        last = trace(lab, f"your_{part}")["y"][-1]
        assert results[f"{part}_loss"] == pytest.approx(last, rel=0, abs=1e-9)


def test_the_kernel_and_this_browser_draw_the_same_curve(open_lab, page):
    lab = open_lab(LAB, "Lab(base, l2=(1e-4, 0.1))")
    other = page.locator(".lab").nth(1)
    assert_shows(other, BASE)
    assert page.evaluate(PLOTLY_SCRIPTS) == 1
    ids = page.evaluate(IDS)
    assert len(set(ids)) == len(ids)
    wanted = BASE.replace(l2=0.1)
    move(lab, "l2", "End")
    assert_shows(lab, wanted)
    trained(lab, HERE)
    choose(lab, "engine", "this browser")
    trained(lab, "by WebAssembly")
    assert_shows(lab, wanted)
    assert_reads(page, lab)
    run(page, "lab.knobs['dropout'] = 0.9")
    stands(lab, "dropout", 0.9)
    assert_shows(lab, wanted.replace(dropout=0.9))
    trained(lab, "by WebAssembly")
    assert_reads(page, lab)
    choose(lab, "engine", "the kernel")
    trained(lab, HERE)
    assert_shows(lab, wanted.replace(dropout=0.9))
    assert_reads(page, lab)
    run(page, "lab.engine = 'browser'")
    expect(lab.locator("select[name=engine]")).to_have_value("browser")
    trained(lab, "by WebAssembly")


# While a cell runs


@contextmanager
def a_running_cell(page, folder):
    """While all cells are run, of which the last waits for a file to be gone."""
    (folder / "busy").touch()
    start_all(page)
    try:
        yield
        assert page.evaluate(RUNNING) == 1
    finally:
        (folder / "busy").unlink()
    page.wait_for_function(f"{RUNNING} === 0")


def test_the_kernel_answers_while_a_cell_runs(notebook, page, folder):
    """By a subshell, from a lab's first messages on."""
    notebook(LAB, BUSY)
    lab = page.locator(".lab")
    with a_running_cell(page, folder):
        assert_shows(lab, BASE)
        move(lab, "dropout", "End")
        assert_shows(lab, BASE.replace(dropout=0.9))
        trained(lab, HERE)
        expect(output(lab, "message")).not_to_contain_text("busy")


def test_where_the_kernel_cannot_answer_this_browser_trains(notebook, page, folder):
    with setting(folder, KERNELS, {"commsOverSubshells": "disabled"}):
        notebook(LAB, BUSY)
    lab = page.locator(".lab")
    page.evaluate("window.impatient = true")
    with a_running_cell(page, folder):
        says(lab, "The kernel is busy, so this browser trains meanwhile")
        assert_shows(lab, BASE)
        for key in ("End", "ArrowLeft"):
            l2 = move(lab, "l2", key)
            assert_shows(lab, BASE.replace(l2=l2))
            trained(lab, BROWSER)
    expect(output(lab, "message")).not_to_contain_text("busy", timeout=MILLISECONDS)
    page.evaluate("window.impatient = false")
    wait_until(page, lambda: ask(page, "lab.knobs['l2']") == l2)
    assert_reads(page, lab)
    assert_shows(lab, BASE.replace(l2=move(lab, "l2", "ArrowLeft")))
    trained(lab, HERE)
    assert_reads(page, lab)


# Views


def test_two_views_follow_each_other(open_lab, page):
    one = open_lab(LAB, "lab")
    two = page.locator(".lab").nth(1)
    assert_shows(two, BASE)
    for mover, follower, key in ((one, two, "End"), (two, one, "ArrowLeft")):
        l2 = move(mover, "l2", key)
        stands(follower, "l2", l2)
        assert_shows(one, BASE.replace(l2=l2))
        assert_shows(two, BASE.replace(l2=l2))
    in_training(page, one)
    expect(two).to_have_attribute("data-state", "training")
    for by, state in ((two, "paused"), (one, "training"), (one, "paused")):
        press(by, "play")
        for lab in (one, two):
            expect(lab).to_have_attribute("data-state", state)
    short_again(one)
    for lab in (one, two):
        finished(lab)


def test_two_views_go_on_once(open_lab, page):
    one = open_lab(LAB, "lab")
    two = page.locator(".lab").nth(1)
    trained(one, HERE)
    trained(two, HERE)
    one.locator("input[name=keep]").check()
    expect(two.locator("input[name=keep]")).to_be_checked()
    for epoch, act in ((40, ("l2", "End")), (60, None), (80, ("l2", "ArrowLeft"))):
        move(one, *act) if act else press(one, "play")
        for lab in (one, two):
            wait_until(page, lambda lab=lab, n=epoch: output_number(lab, "epoch") == n)
            finished(lab)
    assert len({output(lab, "val_loss").inner_text() for lab in (one, two)}) == 1
    assert run_code(page, LAB_THREADS) == "1\n"


def test_two_views_of_a_curve_over_a_knob(open_lab, page):
    over = LAB.replace("n_train=(40, 1000)", "over={'l2': [0, 1e-3, 0.1]}")
    one = open_lab(over, "lab")
    two = page.locator(".lab").nth(1)
    move(one, "dropout", "End")
    stands(two, "dropout", 0.9)
    cells = [BASE.replace(dropout=0.9, l2=l2) for l2 in (0, 1e-3, 0.1)]
    wanted = [ends(fit(cell.grid(seed=range(3))))["val_loss"] for cell in cells]
    for lab in (one, two):
        finished(lab)
        filled(lab)
        assert trace(lab, "your_val", "path")["y"] == pytest.approx(wanted, abs=1e-9)


def test_reload_move_another_view_and_another_run_leave_it_working(open_lab, page):
    """Nor does what is linked to a lab whose cell was run again."""
    lab = open_lab(LAB, "pass", alone=True)
    run_code(page, LINK)
    page.evaluate(COMMAND, ["notebook:run-cell", 0])
    finished(lab)
    l2 = move(lab, "l2", "End")
    assert_shows(lab, BASE.replace(l2=l2))
    page.evaluate(COMMAND, ["docmanager:save", 0])
    page.reload()
    lab.wait_for()
    stands(lab, "l2", l2)
    assert_works(lab)
    page.evaluate(COMMAND, ["notebook:move-cell-down", 0])
    assert_works(lab)
    assert page.evaluate(FIRST_CELL) == "pass"
    page.evaluate(COMMAND, ["notebook:move-cell-up", 1])
    page.evaluate(COMMAND, ["notebook:create-output-view", 0])
    expect(page.locator(".lab")).to_have_count(2)
    assert_works(page.locator(".lab").nth(1))
    assert_works(lab)
    in_training(page, lab)
    assert run_code(page, LAB_THREADS) == "1\n"
    run_all(page)
    assert_shows(lab, BASE)
    assert_works(lab)
    assert run_code(page, LAB_THREADS) == "1\n"


def assert_works(lab):
    """It trains by the kernel what a slider says, and draws the regions."""
    for key in ("ArrowLeft", "ArrowLeft"):
        l2 = move(lab, "l2", key)
        assert_shows(lab, BASE.replace(l2=l2))
        trained(lab, HERE)
    assert_regions(lab, BASE.replace(l2=l2))


# The end of a kernel


def test_after_a_restart_the_lab_says_so_and_this_browser_trains(open_lab, page):
    lab = open_lab(LAB, CONVOLUTION, alone=True)
    other = page.locator(".lab").nth(1)
    finished(other)
    page.evaluate(f"void {SESSION}.session.kernel.restart()")
    says(lab, GONE)
    assert_shows(lab, BASE)
    says(other, "The kernel is gone. Run the cell again to train")
    assert other.get_attribute("data-state") == "done"
    expect(page.locator("select[name=engine]")).to_have_count(0)
    for key in ("End", "ArrowLeft"):
        l2 = move(lab, "l2", key)
        assert_shows(lab, BASE.replace(l2=l2))
        trained(lab, BROWSER)
    move(other, "l2", "End")
    expect(other).to_have_attribute("data-state", "error")
    page.wait_for_function(f"{SESSION}.session.kernel.status === 'idle'")
    run_all(page)
    expect(output(lab, "message")).not_to_contain_text("gone")
    assert_works(lab)


def test_a_killed_kernel_leaves_the_run_to_this_browser(open_lab, page):
    lab = open_lab(alone=True)
    in_training(page, lab)
    os.kill(ask(page, "__import__('os').getpid()"), 9)
    page.locator(".jp-Dialog").get_by_text("Ok").click()
    says(lab, GONE)
    expect(output(lab, "engine")).to_contain_text(BROWSER, timeout=MILLISECONDS)
    expect(lab).to_have_attribute("data-state", "training")
    epoch = output_number(lab, "epoch")
    wait_until(page, lambda: output_number(lab, "epoch") > epoch)
    press(lab, "play")
    expect(lab).to_have_attribute("data-state", "paused")
    short_again(lab)
    assert_shows(lab, BASE)
    l2 = move(lab, "l2", "End")
    assert_shows(lab, BASE.replace(l2=l2))
    says(lab, GONE)


def test_closing_the_kernel_ends_a_training_lab(open_lab, page):
    lab = open_lab(alone=True)
    in_training(page, lab)
    kernel = ask(page, "__import__('os').getpid()")
    page.evaluate(f"{SESSION}.shutdown()")
    with pytest.raises(ProcessLookupError):
        os.kill(kernel, 0)
    says(lab, GONE)
    short_again(lab)
    assert_shows(lab, BASE)


# What one can do


def test_pause_and_go_on(open_lab, page):
    lab = open_lab()
    in_training(page, lab)
    press(lab, "play")
    expect(lab).to_have_attribute("data-state", "paused")
    page.wait_for_timeout(500)
    paused = output_number(lab, "epoch")
    page.wait_for_timeout(500)
    assert output_number(lab, "epoch") == paused
    assert ask(page, "lab.state") == "paused"
    press(lab, "play")
    wait_until(page, lambda: output_number(lab, "epoch") > paused)
    short_again(lab)
    assert_shows(lab, BASE)


def test_the_kernel_fills_the_map_and_a_click_loads_a_cell(open_lab, page):
    base = BASE.replace(epochs=6)
    lab = open_lab(MAP)
    press(lab, "fill")
    filled(lab)
    xs, ys = ask(page, "list(lab.over.values())")
    names = ask(page, "list(lab.over)")
    cells = [dict(zip(names, (x, y), strict=True)) for y in ys for x in xs]
    runs = fit([e for cell in cells for e in base.replace(**cell).grid(seed=range(3))])
    losses = np.array([run.at_kept_epoch()["val_loss"] for run in runs])
    wanted = losses.reshape(len(ys), len(xs), 3).mean(axis=2)
    assert map_of(lab) == pytest.approx(wanted, rel=0, abs=1e-9)
    wait_until(page, lambda: ask(page, "'over' in lab.results"))
    known = ask(page, "[cell['val_loss'] for cell in lab.results['over']]")
    assert known == pytest.approx(wanted.ravel(), rel=0, abs=1e-9)
    box = canvas(lab, "map").locator(".nsewdrag")
    size = box.bounding_box()
    place = {"x": 4.5 * size["width"] / len(xs), "y": 0.5 * size["height"] / len(ys)}
    box.click(position=place)
    cell = {names[0]: xs[4], names[1]: ys[-1]}
    for name, value in cell.items():
        stands(lab, name, value)
    assert_shows(lab, base.replace(**cell))


def test_own_points_and_the_keyboard(open_lab, page):
    lab = open_lab()
    cells = page.evaluate(COUNT)
    canvas(lab, "regions").press("a")  # which elsewhere in JupyterLab makes a cell
    assert page.evaluate(COUNT) == cells
    finished(lab)
    assert len(ask(page, "lab.data.y.tolist()")) == 41
    click(page, lab, -1.2, 1.5)
    finished(lab)
    X, y = ask(page, "[lab.data.X.ravel().tolist(), lab.data.y.tolist()]")
    assert len(y) == 42 and X[-2:] == pytest.approx([-1.2, 1.5], abs=0.02)
    assert_learned(lab, {"X": X, "y": y}, BASE)
    trained(lab, HERE)
    slider(lab, "l2").focus()
    selected = page.evaluate(SELECTED)
    for key in ("ArrowUp", "ArrowUp", "ArrowRight", "ArrowDown"):
        l2 = move(lab, "l2", key)
    assert_learned(lab, {"X": X, "y": y}, BASE.replace(l2=l2))
    assert page.evaluate(SELECTED) == selected
    run(page, "lab.points = None")
    assert_shows(lab, BASE.replace(l2=l2))


def test_a_sweep_shows_its_map_while_it_trains(notebook, page):
    notebook(SWEEP)
    start_all(page)
    page.wait_for_function(f"{SWEPT} > 0 && {SWEPT} < 120")
    assert page.evaluate(RUNNING) == 1
    page.wait_for_function(f"{RUNNING} === 0")
    page.wait_for_function(f"{SWEPT} === 120")
    expect(page.locator(".jp-OutputArea").last).to_contain_text("120/120")
