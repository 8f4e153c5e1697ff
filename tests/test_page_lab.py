"""The live lab of the rendered book in Chromium, as its reader uses it.

Each test gets a page of its own with one lab, opened from disk; what it shows must be
what `fit` computes for the same settings. tests/test_pages.py opens the book's own.
"""

import gzip
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from utils import Experiment, Lab, fit
from utils.lab_knobs import with_values
from utils.page_data import write
from utils.sphinx_ext import render_lab

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
MOONS = Experiment(epochs=20, hidden=(20,))
DIGITS = Experiment(data="digits", n_train=60, epochs=4, hidden=(10,))
LAMS, RATES = (1e-5, 0.1), (0, 0.9)

HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<title>A lab</title><link rel="stylesheet" href="book.css">
<script src="lab.js"></script></head>
<body><main><h1>A lab</h1>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with all that a page loads."""
    folder = tmp_path_factory.mktemp("site")
    files = [WEB / "book.css", WEB / "vendor" / "plotly-cartesian.min.js"]
    files.append(WEB / "build" / "page" / "lab.js")
    for file in files:
        if not file.exists():
            pytest.fail(f"{file} is missing: run `make book` first")
        (folder / file.name).symlink_to(file)
    write(folder / "data")
    return folder


@pytest.fixture
def open_lab(page, site):
    """open_lab(base, hash, **knobs): a page with that lab, opened; returns its div."""
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def open_it(base, settings="", above="", **knobs):
        lab = Lab(base, **knobs)
        html = f"{HEAD}{above}{render_lab(lab.to_dict())}</main></body></html>"
        lab.close()
        (site / "page.html").write_text(html, "utf-8")
        page.goto((site / "page.html").as_uri() + settings)
        return page.locator(".lab")

    yield open_it
    assert complaints == []


def finished(lab, state="done"):
    expect(lab).to_have_attribute("data-state", state, timeout=60_000)


def output(lab, name):
    return lab.locator(f"output[name={name}]")


def assert_shows(lab, experiment):
    """The numbers on show are those of PyTorch."""
    finished(lab)
    at = fit(experiment)[0].at_kept_epoch()
    for name in ("train_loss", "val_loss"):
        expect(output(lab, name)).to_have_text(f"{at[name]:.4f}")
    expect(output(lab, "val_accuracy")).to_have_text(f"{at['val_accuracy']:.1%}")
    gap = f"{at['val_loss'] - at['train_loss']:.4f}"
    expect(output(lab, "gap")).to_have_text(gap)


def put(lab, name, position):
    """Move a slider as a finger does."""
    lab.locator(f"[name={name}]").evaluate(
        """(input, position) => {
          input.value = position;
          input.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        position,
    )


def value_of(lab, name):
    return float(lab.locator(f"input[name={name}]").get_attribute("aria-valuetext"))


def curve(lab, index):
    """One trace of the curves, as drawn."""
    return lab.locator("[data-view=curves]").evaluate(
        "({data}, k) => ({x: data[k].x, y: data[k].y})",
        index,
    )


def test_it_trains_the_books_own_run_and_lands_on_it(open_lab):
    lab = open_lab(MOONS, l2=LAMS, dropout=RATES)
    assert_shows(lab, MOONS)
    expect(output(lab, "engine")).to_contain_text("WebAssembly")
    drawn = lab.locator("[data-view=curves]")
    expect(drawn).to_have_attribute("data-state", "drawn")
    book, own = curve(lab, 1), curve(lab, 7)
    assert own["x"] == list(range(1, MOONS.epochs + 1))
    assert own["y"] == pytest.approx(book["y"], rel=1e-5)


def test_a_slider_trains_another_network(open_lab, page):
    lab = open_lab(MOONS, l2=LAMS, dropout=RATES)
    finished(lab)
    put(lab, "l2", 22)
    lam = value_of(lab, "l2")
    assert 0 < lam < 0.1
    assert_shows(lab, MOONS.replace(l2=lam))
    lab.locator("input[name=dropout]").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    p = value_of(lab, "dropout")
    assert p == pytest.approx(0.05)
    assert_shows(lab, MOONS.replace(l2=lam, dropout=p))
    lab.locator("input[name=seed]").fill("7")
    assert_shows(lab, MOONS.replace(l2=lam, dropout=p, seed=7))


def test_of_many_training_points_some_are_drawn_and_said(open_lab):
    base = Experiment(data="ring", n_train=400, epochs=1)
    lab = open_lab(base, n_train=(100, 400))
    for count, said in ((400, "100 of 400 training points"), (100, "training points")):
        most = lab.locator("input[name=n_train]").get_attribute("max")
        put(lab, "n_train", 0 if count == 100 else most)
        finished(lab)
        shown = lab.locator("[data-view=picture]").evaluate(
            "({data, layout}) => [data[2].x.length + data[3].x.length,"
            " layout.annotations[0].text]"
        )
        assert shown[0] == min(count, 100)
        assert f"decision regions, {said}<br>" in shown[1]


def test_choices_and_image_knobs(open_lab):
    lab = open_lab(
        DIGITS, rotation=(0, 45), batch_norm=(False, True), n_train=(20, 100)
    )
    finished(lab)
    put(lab, "rotation", 180)
    put(lab, "n_train", 20)
    lab.locator("select[name=batch_norm]").select_option("true")
    turned = with_values(DIGITS, {"rotation": 18, "n_train": 40, "batch_norm": True})
    assert_shows(lab, turned)
    assert lab.locator("[data-view=inputs] .heatmaplayer image").count() == 1


def test_l1_counts_exact_zeros(open_lab):
    base = MOONS.replace(l1=0.05, optimizer="sgd", lr=0.1)
    lab = open_lab(base, l1=(1e-4, 0.1))
    finished(lab)
    run = fit(base)[0]
    zeros, count = int((run.weights == 0).sum()), run.weights.size
    assert 0 < zeros < count
    text = lab.locator("[data-view=weights]").evaluate(
        "canvas => canvas.layout.annotations[0].text"
    )
    assert f"exactly 0: {zeros} of {count}" in text


def test_one_slider_is_the_strength_of_either_penalty(open_lab, page):
    lab = open_lab(MOONS, l2=LAMS, dropout=RATES)
    finished(lab)
    put(lab, "l2", 30)
    lam = value_of(lab, "l2")
    assert_shows(lab, MOONS.replace(l2=lam))
    lab.locator("select[name=penalty]").select_option("l1")
    assert_shows(lab, MOONS.replace(l1=lam))
    assert lab.locator("input[name=l2]").count() == 0
    assert f"l1={lam}" in page.url and "l2" not in page.url
    page.reload()
    lab = page.locator(".lab")
    assert_shows(lab, MOONS.replace(l1=lam))
    assert lab.locator("select[name=penalty]").input_value() == "l1"


def test_of_two_penalties_in_the_address_one_is_used(open_lab):
    lab = open_lab(MOONS, "#lab=1&l1=0.01&l2=0.001", l2=LAMS)
    assert_shows(lab, MOONS.replace(l2=0.001))
    expect(output(lab, "message")).to_contain_text("l1 = 0.01: 0 is used")


def test_patience_keeps_the_best_epoch(open_lab):
    base = MOONS.replace(patience=3, epochs=60, n_train=30, label_noise=0.4)
    lab = open_lab(base, patience=(1, 30), l2=LAMS)
    assert_shows(lab, base)
    run = fit(base)[0]
    assert run.status == "stopped early"
    expect(output(lab, "message")).to_contain_text(f"epoch {run.epoch} is kept")
    expect(output(lab, "epoch")).to_have_text(str(run.epoch))


def test_the_address_restores_a_setting(open_lab, page):
    settings = "#lab=1&l2=0.001&dropout=0.5&seed=3"
    lab = open_lab(MOONS, settings, l2=LAMS, dropout=RATES)
    wanted = MOONS.replace(l2=0.001, dropout=0.5, seed=3)
    assert_shows(lab, wanted)
    put(lab, "l2", 0)
    finished(lab)
    found = dict(re.findall(r"(\w+)=([\w.]+)", page.url))
    assert found == {"lab": "1", "dropout": "0.5", "seed": "3"}
    page.reload()
    assert_shows(page.locator(".lab"), wanted.replace(l2=0))


@pytest.mark.parametrize(
    "settings, said, becomes",
    [
        ("l2=5", "l2 = 5", {"l2": 0.1}),
        ("l2=-1", "l2 = -1", {}),
        ("dropout=1e9", "dropout = 1e9", {"dropout": 0.9}),
        ("l2=abc", "l2 = abc: must be a number", {}),
        ("dropout=", "dropout = : must be a number", {}),
        ("dropout=NaN", "dropout = NaN: must be a number", {}),
        ("seed=1.5", "seed = 1.5", {"seed": 2}),
        ("nope=3", "nope is no knob", {}),
        ("%E0%A4%A", "no knob", {}),
    ],
)
def test_a_garbled_address_is_put_right_and_said(open_lab, settings, said, becomes):
    lab = open_lab(MOONS, f"#lab=1&{settings}", l2=LAMS, dropout=RATES)
    assert_shows(lab, MOONS.replace(**becomes))
    expect(output(lab, "message")).to_contain_text(said)


def test_pause_and_go_on(open_lab):
    slow = Experiment(data="ring", n_train=None, hidden=(90, 90), epochs=200, l2=1e-3)
    lab = open_lab(slow.replace(epochs=2), epochs=(1, 200))
    finished(lab)
    put(lab, "epochs", lab.locator("input[name=epochs]").get_attribute("max"))
    button = lab.locator("button[name=play]")
    button.click()
    expect(lab).to_have_attribute("data-state", "paused")
    expect(button).to_have_text("Go on")
    lab.page.wait_for_timeout(300)
    before = output(lab, "epoch").inner_text()
    lab.page.wait_for_timeout(500)
    assert output(lab, "epoch").inner_text() == before
    assert int(before) < slow.epochs
    button.click()
    assert_shows(lab, slow)


LINE = """lab => {
  const path = lab.querySelector("[data-view=curves] .traceown1 path.js-line");
  const ends = [0, path.getTotalLength()].map((at) => path.getPointAtLength(at));
  return [path.getTotalLength(), ...ends.flatMap(({ x, y }) => [x, y])];
}"""


def test_on_the_way_the_line_is_where_plotly_draws_it(open_lab, page):
    base = Experiment(data="ring", n_train=None, hidden=(90, 90), epochs=120)
    lab = open_lab(base, l2=LAMS)
    finished(lab)
    lab.evaluate(
        """lab => {
          window.stretched = [];
          const { stretch } = bookFigures;
          bookFigures.stretch = (canvas, lines) => {
            const done = stretch(canvas, lines);
            stretched.push(done);
            if (stretched.length === 3) lab.querySelector("[name=play]").click();
            return done;
          };
        }"""
    )
    put(lab, "l2", 1)  # a curve so near the book's that the axes stay
    expect(lab).to_have_attribute("data-state", "paused")
    page.wait_for_timeout(300)
    assert all(page.evaluate("stretched"))
    line = lab.evaluate(LINE)
    page.evaluate(
        """() => new Promise((resolve) => {
          const canvas = document.querySelector("[data-view=curves]");
          canvas.once("plotly_afterplot", resolve);
          document.documentElement.dataset.theme = "dark";
        })"""
    )
    assert lab.evaluate(LINE) == pytest.approx(line, abs=0.5)
    lab.locator("button[name=play]").click()
    finished(lab)
    assert lab.evaluate(LINE)[3] > line[3]


def test_going_on_keeps_the_weights(open_lab):
    lab = open_lab(MOONS, l2=LAMS)
    finished(lab)
    lab.locator("input[name=keep]").check()
    put(lab, "l2", 20)
    finished(lab)
    expect(output(lab, "epoch")).to_have_text(str(2 * MOONS.epochs))
    assert curve(lab, 7)["x"] == list(range(1, 2 * MOONS.epochs + 1))


def test_a_pinned_run_stays(open_lab):
    lab = open_lab(MOONS, l2=LAMS)
    finished(lab)
    put(lab, "l2", 30)
    finished(lab)
    own = curve(lab, 7)["y"]
    lab.locator("button[name=pin]").click()
    put(lab, "l2", 0)
    finished(lab)
    expect(lab.locator("[data-view=curves] .legendtext", has_text="λ₂")).to_be_visible()
    assert curve(lab, 2)["y"] == own
    assert curve(lab, 7)["y"] != own


def test_a_run_that_diverges_says_so_and_offers_the_way_back(open_lab):
    base = MOONS.replace(optimizer="sgd", lr=0.1)
    lab = open_lab(base, lr=(0.01, 1e9))
    finished(lab)
    last = lab.locator("input[name=lr]").get_attribute("max")
    put(lab, "lr", last)
    finished(lab, "error")
    expect(output(lab, "message")).to_contain_text("diverged")
    lab.get_by_text("Back to the last good settings").click()
    assert_shows(lab, base)


def test_a_combination_that_is_refused_is_named(open_lab):
    base = MOONS.replace(optimizer="sgd", momentum=0.5)
    lab = open_lab(base, optimizer=("sgd", "adam"), momentum=(0, 0.9))
    finished(lab)
    options = lab.locator("select[name=optimizer] option")
    expect(options).to_have_text(["SGD", "Adam"])
    lab.locator("select[name=optimizer]").select_option("adam")
    finished(lab, "error")
    expect(output(lab, "message")).to_contain_text("momentum = 0.5: must be 0")
    lab.locator("select[name=optimizer]").select_option("sgd")
    assert_shows(lab, base)


NO_WASM = """const Real = Blob;
window.Blob = function (parts, options) {
  return new Real(["self.WebAssembly = undefined;", ...parts], options);
};"""
FIRST_WORKER_DIES = """const Real = Worker;
let count = 0;
window.Worker = function (url) {
  const worker = new Real(url);
  const die = () => worker.dispatchEvent(new ErrorEvent("error"));
  if (count++ === 0) setTimeout(die, 50);
  return worker;
};"""


@pytest.mark.parametrize("harm", [NO_WASM, FIRST_WORKER_DIES], ids=["wasm", "worker"])
def test_the_next_engine_takes_over(open_lab, page, harm):
    page.add_init_script(harm)
    lab = open_lab(MOONS, l2=LAMS)
    assert_shows(lab, MOONS)
    expect(output(lab, "engine")).to_contain_text("JavaScript")


def test_without_workers_the_books_run_stands(open_lab, page):
    page.add_init_script("window.Worker = function () { throw new Error('none'); };")
    lab = open_lab(MOONS, l2=LAMS)
    finished(lab, "error")
    expect(output(lab, "message")).to_contain_text("none")
    at = fit(MOONS)[0].at_kept_epoch()
    expect(output(lab, "val_loss")).to_have_text(f"{at['val_loss']:.4f}")


def test_a_lab_out_of_sight_does_not_train(open_lab):
    lab = open_lab(MOONS, above='<div style="height: 4000px"></div>', l2=LAMS)
    lab.page.wait_for_timeout(500)
    expect(lab).to_have_attribute("data-state", "ready")
    lab.scroll_into_view_if_needed()
    finished(lab)


def test_convolutions_are_left_to_jupyterlab(open_lab):
    lab = open_lab(DIGITS.replace(channels=(4,), epochs=1), l2=LAMS)
    lab.page.wait_for_timeout(500)
    expect(lab).to_have_attribute("data-state", "ready")
    expect(lab).to_contain_text("train in JupyterLab")
    assert lab.locator("input").count() == 0


def test_the_map_is_the_mean_of_three_seeds_and_leads_to_its_settings(open_lab):
    base = MOONS.replace(epochs=3, n_train=40)
    lab = open_lab(base, l2=(1e-4, 0.1), dropout=RATES)
    finished(lab)
    lab.locator("button[name=fill]").click()
    expect(output(lab, "map")).to_contain_text("mean of 3 seeds", timeout=30_000)
    expect(output(lab, "map")).to_contain_text("Trained here, by WebAssembly (this")
    lab.get_by_text("The map as a table").click()
    rows = lab.locator(".lab-cells tr").all()
    assert len(rows) == 9
    cell = rows[3].locator("button").nth(2)
    lam, p = json.loads(
        lab.locator("script.lab-map").evaluate(
            "s => { const {x, y} = JSON.parse(s.textContent);"
            " return JSON.stringify([y.values[2], x.values[2]]); }"
        )
    )
    runs = fit(base.grid(l2=[lam], dropout=[p], seed=range(3))).summary()
    assert cell.inner_text() == f"{runs['val_loss'].mean():.3f}"
    cell.click()
    expect(lab.locator("input[name=dropout]")).to_have_attribute(
        "aria-valuetext", f"{p:g}"
    )
    assert_shows(lab, base.replace(l2=lam, dropout=p))


@pytest.mark.parametrize("width", [360, 1280])
def test_it_is_accessible_and_fits(open_lab, page, width):
    page.set_viewport_size({"width": width, "height": 800})
    lab = open_lab(MOONS, l2=LAMS, dropout=RATES, batch_norm=(False, True))
    finished(lab)
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document).then(({violations}) => violations)")
    named = [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in found]
    assert named == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "penalty"


def test_reduced_motion_draws_the_end_alone(open_lab, page):
    page.emulate_media(reduced_motion="reduce")
    base = Experiment(data="digits", n_train=400, epochs=2, hidden=(100, 100))
    lab = open_lab(base, epochs=(1, 25))
    finished(lab)
    lab.evaluate(
        """lab => {
          window.lengths = [];
          const canvas = lab.querySelector("[data-view=curves]");
          canvas.on("plotly_afterplot", () => lengths.push(canvas.data[7].x.length));
          bookFigures.stretch = (_, [{ x }]) => { lengths.push(x.length); };
        }"""
    )
    put(lab, "epochs", 24)
    assert_shows(lab, base.replace(epochs=25))
    assert set(page.evaluate("lengths")) <= {2, 25}


def test_the_script_is_small(site):
    """Kernels, trainer, lab and figures: all that is ours, in one."""
    assert len(gzip.compress((site / "lab.js").read_bytes())) <= 25 * 1024
