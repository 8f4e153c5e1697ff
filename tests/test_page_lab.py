"""The live lab of the rendered book in Chromium, as its reader uses it.

Each test gets a page of its own, opened from disk. What a lab shows must be what `fit`
computes for the same settings: its curves to 1e-9, its numbers as they are rounded.
tests/test_page_sweep.py, _points.py, _faults.py and _layout.py go on from here;
tests/test_pages.py opens the book's own.
"""

import functools
import re
import warnings
from pathlib import Path

import numpy as np
import pydata_sphinx_theme
import pytest
import sphinx_book_theme
from playwright.sync_api import expect

from utils import Experiment, Lab, fit
from utils.book.page_data import write
from utils.book.sphinx_ext import render_lab
from utils.data import load, training_set
from utils.engine.training import Training
from utils.settings import with_values

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "web" / "build" / "page"
PLOTLY = ROOT / "web" / "vendor" / "plotly-cartesian.min.js"
THEMES = [
    Path(module.__file__).parent
    / "theme"
    / module.__name__
    / "static"
    / "styles"
    / name
    for module, name in (
        (pydata_sphinx_theme, "pydata-sphinx-theme.css"),
        (sphinx_book_theme, "sphinx-book-theme.css"),
    )
]
MOONS = Experiment(epochs=20, hidden=(20,))
SMALL = MOONS.replace(epochs=4, n_train=40, hidden=(8,))
DIGITS = Experiment(data="digits", n_train=60, epochs=4, hidden=(10,))
LAMS, RATES = (1e-5, 0.1), (0, 0.9)
CURVES = ("curves",)
METRICS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
EXACT, SCORES = 1e-9, 25
MINUTE = 60_000

HEAD = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A lab</title>
<link rel="stylesheet" href="pydata-sphinx-theme.css">
<link rel="stylesheet" href="sphinx-book-theme.css">
<link rel="stylesheet" href="book.css"><link rel="stylesheet" href="lab.css">"""
BODY = """<script src="lab.js"></script></head>
<body><main style="margin: 0 auto; width: min(900px, 100%)"><h1>A lab</h1>"""
END = "</main></body></html>"


@pytest.fixture(scope="session")
def base_url():
    """None: these pages are opened from disk."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with all that a page loads."""
    folder = tmp_path_factory.mktemp("site")
    ours = [BUILD / name for name in ("lab.js", "lab.css", "book.css")]
    for file in (*ours, PLOTLY, *THEMES):
        if not file.exists():
            pytest.fail(f"{file} is missing: run `make book` first")
        (folder / file.name).symlink_to(file)
    write(folder / "data")
    return folder


@pytest.fixture
def open_page(page, site):
    """open_page(*labs, settings, above, below, head): a page with these labs, opened.

    labs: (base, options of Lab), each. Nothing may be wrong with the page afterwards.
    """
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def open_it(*labs, settings="", above="", below="", head=""):
        html = "".join(above + rendered(base, **options) for base, options in labs)
        text = HEAD + head + BODY + html + below + END
        (site / "page.html").write_text(text, "utf-8")
        page.goto((site / "page.html").as_uri() + settings)
        return page.locator(".lab").all()

    yield open_it
    assert complaints == []


@pytest.fixture
def open_lab(open_page):
    """open_lab(base, settings, above, below, head, **options): a lab alone, its div."""

    def open_it(base, settings="", above="", below="", head="", **options):
        page = {"settings": settings, "above": above, "below": below, "head": head}
        return open_page((base, options), **page)[0]

    return open_it


def rendered(base, **options):
    """A lab's HTML."""
    lab = Lab(base, **options)
    lab.close()
    return f'<div class="cell_output">{render_lab(lab.to_dict())}</div>'


# What a lab shows


def finished(lab, state="done"):
    expect(lab).to_have_attribute("data-state", state, timeout=MINUTE)


def output(lab, name):
    return lab.locator(f"output[name={name}]")


def canvas(lab, view):
    return lab.locator(f"[data-view={view}]")


def trace(lab, uid, view="curves"):
    """One trace of a view, as drawn."""
    script = "({data}, uid) => data.find((trace) => trace.uid === uid)"
    return canvas(lab, view).evaluate(script, uid)


def note(lab, view):
    """The heading of a view."""
    return canvas(lab, view).evaluate("({layout}) => layout.annotations[0].text")


@functools.cache
def run_of(experiment):
    """What PyTorch makes of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it diverged
        return fit(experiment)[0]


def draws(experiment, seeds=1):
    return [run_of(experiment.replace(seed=experiment.seed + k)) for k in range(seeds)]


def ends(runs):
    """What counts of runs: means."""
    records = [run.at_kept_epoch() for run in runs]
    found = {name: np.mean([r[name] for r in records]) for name in METRICS}
    return found | {"gap": found["val_loss"] - found["train_loss"]}


def scored(epochs):
    """The epochs of a run that are scored."""
    return sorted({1} | {-(-k * epochs // SCORES) for k in range(1, SCORES + 1)})


def assert_curves(lab, histories, epochs=None, role="your"):
    """Both lines of a run are these, {metric: by epoch}, where it is scored."""
    for part in ("train", "val"):
        values = np.array(histories[f"{part}_loss"])
        line = trace(lab, f"{role}_{part}")
        assert line["visible"] is True
        assert line["x"] == (epochs or scored(len(values)))
        wanted = values[np.array(line["x"]) - 1]
        assert line["y"] == pytest.approx(wanted, rel=0, abs=EXACT), part


def assert_numbers(lab, wanted):
    for name in ("train_loss", "val_loss", "gap"):
        text = output(lab, name).inner_text()
        assert re.fullmatch(r"-?\d+\.\d{4}", text), (name, text)
        assert float(text) == pytest.approx(wanted[name], abs=5.1e-5), name
    share = output(lab, "val_accuracy").inner_text()
    known = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
    assert known == pytest.approx(wanted["val_accuracy"], abs=5.1e-4)


def assert_shows(lab, experiment, seeds=1):
    """The numbers on show, and the curves, are those of PyTorch."""
    finished(lab)
    runs = draws(experiment, seeds)
    assert_numbers(lab, ends(runs))
    means = reference_of(runs)
    every = len(means["epoch"]) if experiment.patience else None
    assert_curves(lab, means, every and list(range(1, every + 1)))


def reference_of(runs):
    """Mean curves; one that has stopped counts with what it kept."""
    length = max(len(run.history["val_loss"]) for run in runs)
    found = {"epoch": list(range(1, length + 1))}
    for name in METRICS:
        rows = [
            run.history[name]
            + [run.at_kept_epoch()[name]] * (length - len(run.history[name]))
            for run in runs
        ]
        found[name] = np.mean(rows, axis=0)
    return found


# What a reader does


def put(lab, name, position):
    """Move a slider as a finger does."""
    lab.locator(f"input[type=range][name={name}]").evaluate(
        """(input, position) => {
          input.value = position;
          input.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        position,
    )


def type_in(lab, name, text):
    """Type a value; its field takes it when it is left."""
    field = lab.locator(f"input[name={name}]")
    field.fill(text)
    field.press("Enter")


def choose(lab, name, text):
    lab.locator(f"select[name={name}]").select_option(label=text)


def press(lab, name):
    lab.locator(f"button[name={name}]").click()


def value_of(lab, name):
    slider = lab.locator(f"input[type=range][name={name}]")
    return float(slider.get_attribute("aria-valuetext"))


on_phone = pytest.mark.browser_context_args(
    has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844}
)


class Finger:
    """A finger on the page's screen."""

    def __init__(self, page):
        self.wire = page.context.new_cdp_session(page)
        self.rest = page.wait_for_timeout

    def touch(self, kind, *places):
        points = [{"x": x, "y": y} for x, y in places]
        self.wire.send(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
        )

    def tap(self, x, y):
        self.touch("touchStart", (x, y))
        self.touch("touchEnd")

    def drag(self, start, end, steps=10):
        self.touch("touchStart", start)
        for k in range(1, steps + 1):
            at = [a + (b - a) * k / steps for a, b in zip(start, end, strict=True)]
            self.touch("touchMove", at)
            self.rest(16)
        self.touch("touchEnd")
        self.rest(200)


@pytest.fixture
def finger(page):
    return Finger(page)


def pixel(lab, view, x, y):
    """Where on the screen a place of a picture is; of categories, by their numbers."""
    box = canvas(lab, view)
    box.scroll_into_view_if_needed()
    return box.evaluate(
        """(canvas, [x, y]) => {
          const { left, top } = canvas.getBoundingClientRect();
          const { xaxis: across, yaxis: down } = canvas._fullLayout;
          const place = [across._offset + across.c2p(x), down._offset + down.c2p(y)];
          return [left + place[0], top + place[1]];
        }""",
        [x, y],
    )


def in_mid_run(lab, begin, epoch, act):
    """Begin a run, and do something as soon as it is so far: both in one go."""
    lab.evaluate(
        f"""(lab, epoch) => new Promise((resolve, reject) => {{
          const find = (selector) => lab.querySelector(selector);
          const move = (name, position) => {{
            const slider = find(`input[type=range][name=${{name}}]`);
            slider.value = position;
            slider.dispatchEvent(new Event("input", {{ bubbles: true }}));
          }};
          const click = (name) => find(`button[name=${{name}}]`).click();
          const look = () => {{
            if (lab.dataset.state !== "training") return reject(new Error("too late"));
            const old = find(".lab-results.lab-stale");
            if (old || Number(find("output[name=epoch]").value) < epoch) {{
              return setTimeout(look, 1);
            }}
            {act};
            return resolve();
          }};
          {begin};
          look();
        }})""",
        epoch,
    )


# The book's own run, and one knob after another


def test_it_trains_the_books_own_run_and_lands_on_it(open_lab):
    lab = open_lab(MOONS, l2=LAMS, dropout=RATES)
    assert_shows(lab, MOONS)
    expect(output(lab, "engine")).to_contain_text("WebAssembly")
    expect(output(lab, "epoch")).to_have_text("20")
    own, book = trace(lab, "your_val"), trace(lab, "book_val")
    assert own["y"] == pytest.approx(book["y"], rel=1e-6)
    said = output(lab, "message").inner_text()
    assert f"validation loss {run_of(MOONS).history['val_loss'][-1]:.4f}" in said
    assert lab.locator(".lab-still").count() == 0
    for view in ("curves", "regions", "weights"):
        expect(canvas(lab, view)).to_have_attribute("data-state", "drawn")


def test_a_slider_trains_another_network(open_lab, page):
    lab = open_lab(MOONS, views=CURVES, l2=LAMS, dropout=RATES)
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
    put(lab, "l2", 0)
    assert_shows(lab, MOONS.replace(dropout=p))


def test_every_value_can_be_typed(open_lab):
    lab = open_lab(MOONS, views=CURVES, l2=LAMS, n_train=(10, 1000))
    finished(lab)
    typed = {"0,003": 0.003, "0.01234": 0.01234, " 2e-3 ": 0.002, ".05": 0.05}
    steps = lab.locator("script.lab-data").evaluate(
        "s => JSON.parse(s.textContent).knobs.l2.values"
    )
    assert 0.01234 not in steps
    for text, lam in typed.items():
        type_in(lab, "l2-value", text)
        assert value_of(lab, "l2") == lam
        assert_shows(lab, MOONS.replace(l2=lam))
        nearest = min(steps, key=lambda step: abs(step - lam))
        place = lab.locator("input[type=range][name=l2]").input_value()
        assert steps[int(place)] == nearest
    type_in(lab, "n_train-value", "37")
    assert_shows(lab, MOONS.replace(l2=0.05, n_train=37))
    type_in(lab, "seed", "7")
    assert_shows(lab, MOONS.replace(l2=0.05, n_train=37, seed=7))


REFUSED = {
    "l2-value": ["-1", "", "abc", "10¹¹", "100000000000", "0.2", "1e-3x", "NaN", "--1"],
    "n_train-value": ["1.5", "-1", "", "9", "100000000000"],
    "seed": ["1.5", "-1", "", "abc", "10¹¹", "100000000000"],
}


@pytest.mark.parametrize("field", REFUSED)
def test_a_refused_value_is_said_beside_its_field(open_lab, field):
    lab = open_lab(MOONS, views=CURVES, l2=LAMS, n_train=(10, 1000))
    type_in(lab, "l2-value", "0.01")
    assert_shows(lab, MOONS.replace(l2=0.01))
    name = field.removesuffix("-value")
    error, box = output(lab, f"{name}-error"), lab.locator(f"input[name={field}]")
    before = trace(lab, "your_val")["y"]
    for text in REFUSED[field]:
        type_in(lab, field, text)
        expect(error).to_contain_text("must be a")
        expect(error).to_contain_text(text.strip() or "empty")
        assert box.get_attribute("aria-invalid") == "true"
        assert box.get_attribute("aria-describedby") == error.get_attribute("id")
        assert error.is_visible()
    assert lab.get_attribute("data-state") == "done"
    assert trace(lab, "your_val")["y"] == before
    good = {"l2": 0.02, "n_train": 50, "seed": 3}[name]
    type_in(lab, field, str(good))
    expect(error).to_have_text("")
    assert box.get_attribute("aria-invalid") == "false"
    assert_shows(lab, MOONS.replace(**{"l2": 0.01, name: good}))


def test_new_data_and_the_way_back(open_lab):
    lab = open_lab(MOONS.replace(seed=3), views=CURVES, dropout=RATES)
    finished(lab)
    press(lab, "draw")
    expect(lab.locator("input[name=seed]")).to_have_value("4")
    assert_shows(lab, MOONS.replace(seed=4))
    put(lab, "dropout", 40)
    finished(lab)
    press(lab, "back")
    expect(lab.locator("input[name=seed]")).to_have_value("3")
    assert value_of(lab, "dropout") == 0
    assert_shows(lab, MOONS.replace(seed=3))


def test_choices(open_lab):
    shapes = [(5,), (20,), (6, 4), ()]
    lab = open_lab(
        MOONS, views=("curves", "regions"), hidden=shapes, data=("moons", "ring"),
        optimizer=("sgd", "adam", "adamw"), batch_norm=(False, True),
    )  # fmt: skip
    finished(lab)
    texts = lab.locator("select[name=hidden] option")
    expect(texts).to_have_text(["5", "20", "6-4", "none"])
    choose(lab, "hidden", "6-4")
    assert_shows(lab, MOONS.replace(hidden=(6, 4)))
    choose(lab, "hidden", "none")
    assert_shows(lab, MOONS.replace(hidden=()))
    choose(lab, "hidden", "5")
    choose(lab, "optimizer", "SGD")
    lab.locator("select[name=batch_norm]").select_option(index=1)
    wanted = MOONS.replace(hidden=(5,), optimizer="sgd", batch_norm=True)
    assert_shows(lab, wanted)
    choose(lab, "data", "ring")
    wanted = wanted.replace(data="ring")
    assert_shows(lab, wanted)
    assert_regions(lab, wanted)


def assert_regions(lab, experiment, points=None, of="training points"):
    """The picture is that of the network, with its training points."""
    colors = trace(lab, "colors", "regions")
    z = run_of(experiment).predict(grid_of(colors)).reshape(60, 60)
    assert np.array(colors["z"]) == pytest.approx(z, rel=0, abs=EXACT)
    X = load(experiment.data).pool.X
    assert colors["x"][0] < X[:, 0].min()
    assert colors["x"][-1] > X[:, 0].max()
    train, clean = (
        training_set(experiment),
        training_set(experiment.replace(label_noise=0)),
    )
    for k in (0, 1):
        dots = trace(lab, f"class_{k}", "regions")
        mine = train.X[train.y == k]
        assert pytest.approx(mine) == np.array([dots["x"], dots["y"]]).T
    rings = trace(lab, "replaced", "regions")
    assert len(rings["x"]) == (train.y != clean.y).sum()
    assert f"{len(train.y)} {of}" in note(lab, "regions")


def grid_of(colors):
    x, y = np.meshgrid(colors["x"], colors["y"])
    return np.stack([x.ravel(), y.ravel()], 1)


def test_width_and_depth(open_lab):
    lab = open_lab(MOONS, views=("curves", "weights"), width=(2, 40), depth=(1, 3))
    finished(lab)
    type_in(lab, "width-value", "9")
    assert_shows(lab, MOONS.replace(hidden=(9,)))
    type_in(lab, "depth-value", "3")
    deep = MOONS.replace(hidden=(9, 9, 9))
    assert_shows(lab, deep)
    bars = trace(lab, "weights", "weights")
    assert sum(bars["y"]) == run_of(deep).weights.size == 2 * 9 + 2 * 81 + 9
    assert f"of {run_of(deep).weights.size}" in note(lab, "weights")
    put(lab, "depth", 0)
    assert_shows(lab, MOONS.replace(hidden=(9,)))


def test_knobs_of_the_situation(open_lab):
    lab = open_lab(
        MOONS, views=("curves", "regions"), n_train=(10, 1000), label_noise=(0, 0.5),
        epochs=(1, 60), batch_size=(8, 128), lr=(1e-3, 0.1),
    )  # fmt: skip
    finished(lab)
    wanted = {"n_train": 400, "label_noise": 0.3, "epochs": 33, "batch_size": 100}
    wanted |= {"lr": 0.02}
    for name, value in wanted.items():
        type_in(lab, f"{name}-value", str(value))
    noisy = MOONS.replace(**wanted)
    assert_shows(lab, noisy)
    assert canvas(lab, "curves").evaluate("c => c.layout.xaxis.range") == [0, 33]
    shown = [len(trace(lab, f"class_{k}", "regions")["x"]) for k in (0, 1)]
    assert 50 < sum(shown) < 400
    assert f"{sum(shown)} of 400 training points" in note(lab, "regions")
    type_in(lab, "n_train-value", "10")
    few = noisy.replace(n_train=10)
    assert_shows(lab, few)
    assert_regions(lab, few)


def test_knobs_of_images(open_lab):
    lab = open_lab(
        DIGITS, rotation=(0, 45), shift=(0, 2), scale=(0, 0.5), flip=(0, 1),
        n_train=(20, 100),
    )  # fmt: skip
    finished(lab)
    settings = {"rotation": 18, "shift": 1, "scale": 0.2, "flip": 0.5, "n_train": 40}
    for name, value in settings.items():
        type_in(lab, f"{name}-value", str(value))
    turned = with_values(DIGITS, settings)
    assert_shows(lab, turned)
    plain, seen = seen_images(lab)
    train = training_set(turned).X.reshape(-1, 8, 8)
    for one, other in zip(plain, seen, strict=True):
        assert np.abs(train - one).max((1, 2)).min() < EXACT
        assert np.abs(one - other).max() > 0.1
    images = load("digits").validation
    guess = run_of(turned).predict(images.X[:10]).argmax(1)
    captions = trace(lab, "captions", "images")["text"]
    for text, k, y in zip(captions, guess, images.y[:10], strict=True):
        assert text == (f"{k}" if k == y else f"<b>{y}→{k}✗</b>")
    assert f"{(guess != images.y[:10]).sum()} of 10 wrong" in note(lab, "images")


def seen_images(lab):
    """Ten images as they are, and as the network sees them, [10, 8, 8] each."""
    z = np.array(trace(lab, "pixels", "inputs")["z"], float)
    tiles = [[row[:, 9 * k : 9 * k + 8] for k in range(10)] for row in (z[:8], z[9:17])]
    return np.array(tiles)


def test_views_of_two_classes_and_of_regression(open_lab):
    base = Experiment(data="breast_cancer", hidden=(6,), epochs=3, n_train=60)
    lab = open_lab(base, views=("curves", "shares", "weights"), l2=LAMS)
    type_in(lab, "l2-value", "0.01")
    assert_shows(lab, base.replace(l2=0.01))
    held = load("breast_cancer").validation
    p = run_of(base.replace(l2=0.01)).predict(held.X)
    for k in (0, 1):
        counts, _ = np.histogram(p[held.y == k], bins=20, range=(0, 1))
        assert trace(lab, f"class_{k}", "shares")["y"] == counts.tolist()
    base = Experiment(data="diabetes", hidden=(6,), epochs=3, n_train=60)
    lab = open_lab(base, views=("targets", "curves"), l2=LAMS)
    assert_shows(lab, base)
    held, dots = load("diabetes").validation, trace(lab, "points", "targets")
    assert dots["x"] == pytest.approx(held.y.tolist(), rel=1e-5)
    wanted = run_of(base).predict(held.X)
    assert dots["y"] == pytest.approx(wanted, rel=0, abs=EXACT)


def test_l1_counts_exact_zeros(open_lab):
    base = MOONS.replace(l1=0.05, optimizer="sgd", lr=0.1)
    lab = open_lab(base, views=("curves", "weights"), l1=(1e-4, 0.1))
    finished(lab)
    run = run_of(base)
    zeros, count = int((run.weights == 0).sum()), run.weights.size
    assert 0 < zeros < count
    assert f"exactly 0: {zeros} of {count}" in note(lab, "weights")
    assert sum(trace(lab, "weights", "weights")["y"]) == count - zeros


def test_the_formula_is_the_one_that_the_optimizer_follows(open_lab):
    lab = open_lab(
        SMALL, views=CURVES, optimizer=("sgd", "adam", "adamw"), l1=(1e-4, 0.1),
        l2=LAMS, weight_decay=(1e-4, 0.1), penalize_bias=(False, True),
        l1_method=("proximal", "subgradient"),
    )  # fmt: skip
    formula = lab.locator(".lab-formula")
    l1, l2, decay = "λ₁ Σ|w|", "λ₂ Σw²", "½ d Σw²"
    choose(lab, "optimizer", "SGD")
    type_in(lab, "l2-value", "0.01")
    assert "SGD" in formula.inner_text() and l2 in formula.inner_text()
    assert l1 not in formula.inner_text() and decay not in formula.inner_text()
    type_in(lab, "weight_decay-value", "0.01")
    assert decay in formula.inner_text() and "decoupled" not in formula.inner_text()
    choose(lab, "optimizer", "Adam")
    assert decay in formula.inner_text() and "decoupled" not in formula.inner_text()
    choose(lab, "optimizer", "AdamW")
    assert decay not in formula.inner_text() and "decoupled" in formula.inner_text()
    type_in(lab, "l1-value", "0.001")
    assert f"not L + {l1}" in formula.inner_text()
    lab.locator("select[name=l1_method]").select_option(index=1)
    assert l1 in formula.inner_text() and "proximal" not in formula.inner_text()
    assert "biases" not in formula.inner_text()
    lab.locator("select[name=penalize_bias]").select_option(index=1)
    assert "biases" in formula.inner_text()
    wanted = SMALL.replace(optimizer="adamw", l1=0.001, l2=0.01, weight_decay=0.01)
    assert_shows(lab, wanted.replace(l1_method="subgradient", penalize_bias=True))


# Runs that are kept, left, and gone on with


def test_patience_keeps_the_best_epoch(open_lab):
    base = MOONS.replace(patience=3, epochs=60, n_train=30, label_noise=0.4)
    lab = open_lab(base, views=("curves", "regions"), patience=(1, 30), l2=LAMS)
    run = run_of(base)
    assert run.status == "stopped early"
    assert_shows(lab, base)
    expect(output(lab, "message")).to_contain_text(f"epoch {run.epoch} is kept")
    expect(output(lab, "epoch")).to_have_text(str(run.epoch))
    assert_regions(lab, base)
    (line,) = canvas(lab, "curves").evaluate("({layout}) => layout.shapes")
    assert line["x0"] == line["x1"] == run.epoch
    said = canvas(lab, "curves").locator(".shape-label")
    expect(said).to_contain_text(f"epoch {run.epoch}")
    type_in(lab, "patience-value", "20")
    assert_shows(lab, base.replace(patience=20))


LONG = MOONS.replace(hidden=(160, 160), n_train=200, epochs=200, lr=1e-3)


def test_pause_and_go_on(open_lab, page):
    lab = open_lab(LONG.replace(epochs=2), views=("curves", "regions"), epochs=(1, 200))
    finished(lab)
    in_mid_run(lab, "move('epochs', 1000)", 3, "click('play')")
    button = lab.locator("button[name=play]")
    expect(lab).to_have_attribute("data-state", "paused")
    expect(button).to_have_text("Go on")
    page.wait_for_timeout(300)  # what is under way comes
    before = output(lab, "epoch").inner_text()
    page.wait_for_timeout(300)
    assert output(lab, "epoch").inner_text() == before
    assert 3 <= int(before) < LONG.epochs
    button.click()
    expect(button).to_have_text("Pause")
    assert_shows(lab, LONG)
    expect(button).to_have_text("Train again")
    in_mid_run(lab, "click('play')", 3, "click('play')")
    expect(lab).to_have_attribute("data-state", "paused")
    type_in(lab, "epochs-value", "5")
    assert_shows(lab, LONG.replace(epochs=5))


def went_on(*legs):
    """{metric: by epoch} of a run whose settings change, [(experiment, epochs)]."""
    training = Training([legs[0][0]])
    history = {name: [] for name in METRICS}
    for k, (experiment, epochs) in enumerate(legs):
        if k:
            assert training.go_on([experiment])
        for _ in range(epochs):
            record = training.run_epoch()
            for name in METRICS:
                history[name].append(float(getattr(record, name)[0]))
    return history, training


def test_going_on_keeps_the_weights(open_lab):
    lab = open_lab(MOONS, views=CURVES, l2=LAMS)
    finished(lab)
    lab.locator("input[name=keep]").check()
    type_in(lab, "l2-value", "0.01")
    finished(lab)
    expect(output(lab, "epoch")).to_have_text("40")
    history, _ = went_on((MOONS, 20), (MOONS.replace(l2=0.01), 20))
    assert_curves(lab, history, list(range(1, 41)))
    assert_numbers(lab, ends_of(history))
    assert canvas(lab, "curves").evaluate("c => c.layout.xaxis.range") == [0, 40]
    press(lab, "play")
    finished(lab)
    expect(output(lab, "epoch")).to_have_text("60")
    lab.locator("input[name=keep]").uncheck()
    type_in(lab, "l2-value", "0.02")
    assert_shows(lab, MOONS.replace(l2=0.02))


def ends_of(history, epoch=None):
    at = {name: values[(epoch or 0) - 1] for name, values in history.items()}
    return at | {"gap": at["val_loss"] - at["train_loss"]}


def test_going_on_after_an_early_stop(open_lab):
    base = MOONS.replace(patience=3, epochs=60, n_train=30, label_noise=0.4)
    lab = open_lab(base, views=CURVES, l2=LAMS)
    assert_shows(lab, base)
    lab.locator("input[name=keep]").check()
    other = base.replace(l2=0.05)
    type_in(lab, "l2-value", "0.05")
    finished(lab)
    training = Training([base])
    losses = {name: [] for name in METRICS}
    for change in (None, other):
        if change:
            assert training.go_on([change])
        while not training.done:
            record = training.run_epoch()
            for name in METRICS:
                losses[name].append(float(getattr(record, name)[0]))
    assert training.epochs[0] > len(run_of(base).history["val_loss"]) + 1
    assert_curves(lab, losses, list(range(1, training.epochs[0] + 1)))
    kept = training.kept_epoch[0]
    expect(output(lab, "epoch")).to_have_text(str(kept))
    assert_numbers(lab, ends_of(losses, kept))


def test_going_on_in_mid_run_keeps_the_curve(open_lab):
    base = LONG.replace(epochs=2)
    lab = open_lab(base, views=CURVES, l2=LAMS, epochs=(1, 200))
    finished(lab)
    move = "find('[name=keep]').checked = true; move('l2', 1000)"
    in_mid_run(lab, "move('epochs', 1000)", 10, move)
    finished(lab)
    last = int(output(lab, "epoch").inner_text())
    before = last - LONG.epochs
    assert 10 <= before <= LONG.epochs
    history, _ = went_on((LONG, before), (LONG.replace(l2=0.1), LONG.epochs))
    line = trace(lab, "your_val")
    early = [x for x in line["x"] if x <= before]
    assert early == [x for x in scored(LONG.epochs) if x <= before]
    wanted = np.array(history["val_loss"])[np.array(line["x"]) - 1]
    assert line["y"] == pytest.approx(wanted, rel=0, abs=EXACT)
    assert line["x"][-1] == last


def test_the_last_complete_run_stays_as_a_ghost(open_lab):
    lab = open_lab(MOONS, views=CURVES, l2=LAMS)
    finished(lab)
    assert trace(lab, "ghost_val")["visible"] is False
    type_in(lab, "l2-value", "0.01")
    assert_shows(lab, MOONS.replace(l2=0.01))
    assert_curves(lab, run_of(MOONS).history, role="ghost")
    type_in(lab, "l2-value", "0.02")
    assert_shows(lab, MOONS.replace(l2=0.02))
    assert_curves(lab, run_of(MOONS.replace(l2=0.01)).history, role="ghost")


def test_pinned_runs_stay(open_lab):
    lab = open_lab(MOONS, views=CURVES, l2=LAMS)
    finished(lab)
    lams = [0.01, 0.02, 0.03, 0.04, 0.05]
    for lam in lams:
        type_in(lab, "l2-value", str(lam))
        finished(lab)
        press(lab, "pin")
    type_in(lab, "l2-value", "0")
    assert_shows(lab, MOONS)
    for k, lam in enumerate(lams[:0:-1]):
        pinned = trace(lab, f"pin_{k}")
        wanted = run_of(MOONS.replace(l2=lam)).history["val_loss"]
        assert pinned["y"] == pytest.approx(wanted, rel=0, abs=EXACT)
        said = canvas(lab, "curves").locator(".legendtext", has_text=f"λ₂ = {lam}")
        expect(said).to_be_visible()
    assert canvas(lab, "curves").locator(".legendtext", has_text="λ₂").count() == 4


def test_a_run_as_a_table(open_lab):
    lab = open_lab(SMALL, views=CURVES, l2=LAMS)
    finished(lab)
    lab.get_by_text("Your run as a table").click()
    rows = lab.locator(".lab-table tbody tr")
    expect(rows).to_have_count(SMALL.epochs)
    type_in(lab, "l2-value", "0.01")
    finished(lab)
    history = run_of(SMALL.replace(l2=0.01)).history
    for k, row in enumerate(rows.all()):
        cells = row.locator("th, td").all_inner_texts()
        losses = [f"{history[n][k]:.4f}" for n in ("train_loss", "val_loss")]
        assert cells[:3] == [str(k + 1), *losses]


def test_a_run_that_diverges_says_so_and_offers_the_way_back(open_lab):
    base = MOONS.replace(optimizer="sgd", lr=0.1)
    lab = open_lab(base, views=CURVES, lr=(0.01, 1e9))
    finished(lab)
    put(lab, "lr", lab.locator("input[type=range]").get_attribute("max"))
    finished(lab, "error")
    expect(output(lab, "message")).to_contain_text("diverged")
    lab.get_by_text("Back to the last good settings").click()
    assert_shows(lab, base)
    type_in(lab, "lr-value", "0.2")
    assert_shows(lab, base.replace(lr=0.2))


def test_a_combination_that_is_refused_is_named(open_lab):
    base = MOONS.replace(optimizer="sgd", momentum=0.5)
    lab = open_lab(base, views=CURVES, optimizer=("sgd", "adam"), momentum=(0, 0.9))
    finished(lab)
    choose(lab, "optimizer", "Adam")
    finished(lab, "error")
    why = "momentum = 0.5: must be 0"
    expect(output(lab, "message")).to_contain_text(why)
    expect(output(lab, "momentum-error")).to_contain_text(why)
    choose(lab, "optimizer", "SGD")
    assert_shows(lab, base)
    expect(output(lab, "momentum-error")).to_have_text("")
    choose(lab, "optimizer", "Adam")
    finished(lab, "error")
    type_in(lab, "momentum-value", "0")
    assert_shows(lab, base.replace(optimizer="adam", momentum=0))


def test_convolutions_are_left_to_jupyterlab(open_lab, page):
    lab = open_lab(DIGITS.replace(channels=(4,), epochs=1), views=CURVES, l2=LAMS)
    page.wait_for_timeout(500)
    expect(lab).to_have_attribute("data-state", "ready")
    expect(lab.locator(".lab-still")).to_be_visible()
    assert lab.locator("input").count() == 0
