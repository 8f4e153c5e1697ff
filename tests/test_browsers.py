"""The live lab in Firefox and in WebKit: it trains, draws and obeys as in Chromium.

Numbers must be what `fit` computes. tests/test_page_lab.py has every part of a lab in
Chromium; here is what engines of browsers differ in.
"""

from pathlib import Path

import pytest

from tests.browsers import open_firefox, open_webkit
from utils import Experiment, Lab, fit
from utils.book.page_data import write
from utils.book.sphinx_ext import render_lab

WEB = Path(__file__).parents[1] / "web"
PARTS = [f"build/page/{name}" for name in ("lab.js", "lab.css", "book.css")]
PARTS += ["vendor/plotly-cartesian.min.js"]
MOONS = Experiment(epochs=20, hidden=(20,))
L2, DROPOUT = (1e-5, 0.1), (0, 0.9)
LEFT, RIGHT, ENTER = "\ue012", "\ue014", "\ue007"  # as WebDriver writes keys

HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<title>A lab</title><script>
  window.complaints = [];
  addEventListener("error", ({ message }) => complaints.push(message));
  addEventListener("unhandledrejection", ({ reason }) => complaints.push(`${reason}`));
</script>
<link rel="stylesheet" href="book.css"><link rel="stylesheet" href="lab.css">
<script src="lab.js"></script></head><body><main>"""

# As many addresses as a page may write, and the name of what is then thrown.
EXHAUST = """(() => {
  try {
    for (let k = 0; k < 500; k++) history.replaceState(null, "", `#${k}`);
  } catch ({ name }) {
    return name;
  }
})()"""


@pytest.fixture(scope="module", params=[open_firefox, open_webkit])
def driver(request):
    with request.param() as driver:
        yield driver


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with one lab, in a folder with all that it loads."""
    folder = tmp_path_factory.mktemp("site")
    for file in (WEB / name for name in PARTS):
        if not file.exists():
            pytest.fail(f"{file} is missing: run `make book` first")
        (folder / file.name).symlink_to(file)
    write(folder / "data")
    lab = Lab(MOONS, l2=L2, dropout=DROPOUT)
    page = folder / "page.html"
    page.write_text(f"{HEAD}{render_lab(lab.to_dict())}</main></body></html>", "utf-8")
    lab.close()
    return page.as_uri()


class Page:
    """A page with a lab, and what a reader sees and does there."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address

    def open(self, settings=""):
        self.driver.goto("about:blank")  # or it would be a step within the page
        self.driver.goto(self.address + settings)

    def ask(self, expression, selector=""):
        """Evaluate an expression in which `it` is the lab, or what it has there."""
        it = f"document.querySelector('.lab {selector}')"
        return self.driver.evaluate(f"((it) => {expression})({it})")

    def wait_for(self, name, value):
        """Until that knob's slider says a value; the field beside it says the same."""
        said = "it.getAttribute('aria-valuetext')"
        slider = f"document.querySelector('.lab input[name={name}]')"
        self.driver.wait_for(f"((it) => {said} === '{value:g}')({slider})")
        assert self.ask("it.value", f"input[name={name}-value]") == f"{value:g}"

    def assert_shows(self, experiment):
        """Numbers and curve are those of PyTorch."""
        self.driver.wait_for("document.querySelector('.lab').dataset.state === 'done'")
        last = fit(experiment)[0].at_kept_epoch()
        for name in ("train_loss", "val_loss"):
            assert self.ask("it.value", f"output[name={name}]") == f"{last[name]:.4f}"
        line = "it.data.find(({ uid }) => uid === 'your_val')"
        x, y = self.ask(f"[{line}.x.at(-1), {line}.y.at(-1)]", "[data-view=curves]")
        assert (x, f"{y:.4f}") == (experiment.epochs, f"{last['val_loss']:.4f}")


@pytest.fixture
def lab(driver, address):
    lab = Page(driver, address)
    yield lab
    assert driver.evaluate("complaints") == []


def test_it_trains_and_draws(lab):
    lab.open()
    lab.assert_shows(MOONS)
    assert "WebAssembly" in lab.ask("it.value", "output[name=engine]")
    for drawn in ("curves] .lines path", "regions] image", "weights] .barlayer"):
        assert lab.ask("it.getBoundingClientRect().width", f"[data-view={drawn}") > 100


def test_a_slider_held_down(lab):
    """Browsers let a page write its address so often in 10 s, and then throw."""
    lab.open()
    lab.assert_shows(MOONS)
    lab.ask("it.focus()", "input[name=dropout]")
    lab.driver.press(*[RIGHT] * 80, *[LEFT] * 60)
    lab.wait_for("dropout", 0.2)
    lab.assert_shows(MOONS.replace(dropout=0.2))
    lab.driver.wait_for("location.hash === '#lab=1&dropout=0.2'")
    assert lab.driver.evaluate(EXHAUST) == "SecurityError"
    lab.driver.press(RIGHT)
    lab.wait_for("dropout", 0.21)
    lab.assert_shows(MOONS.replace(dropout=0.21))


def test_a_typed_value(lab):
    lab.open()
    lab.assert_shows(MOONS)
    lab.ask("it.select()", "input[name=l2-value]")
    lab.driver.press(*"0.0033", ENTER)
    lab.wait_for("l2", 0.0033)
    lab.assert_shows(MOONS.replace(l2=0.0033))


def test_a_shared_address(lab):
    lab.open("#lab=1&l2=0.001")
    lab.wait_for("l2", 0.001)
    lab.assert_shows(MOONS.replace(l2=0.001))
    lab.driver.evaluate("location.hash = '#lab=1&dropout=0.5&seed=3'")
    lab.wait_for("dropout", 0.5)
    lab.assert_shows(MOONS.replace(dropout=0.5, seed=3))


def test_a_map(lab):
    lab.open()
    lab.assert_shows(MOONS)
    lab.ask("it.click()", "button[name=fill]")
    said = "document.querySelector('.lab output[name=map]').value"
    lab.driver.wait_for(f"{said}.includes('mean of 3 seeds')")
    last = lab.ask("it.textContent", ".lab-cells tr:last-child td:last-child button")
    runs = fit(MOONS.grid(l2=[L2[1]], dropout=[DROPOUT[1]], seed=range(3))).summary()
    assert last == f"{runs['val_loss'].mean():.3f}"
    assert lab.ask("it.getBoundingClientRect().width", "[data-view=map] image") > 100
