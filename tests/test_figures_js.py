"""web/book/figures.js on a page of its own: the slider of a figure, wide and narrow."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.io as pio
import pytest
from playwright.sync_api import expect

from utils import plots
from utils.book.sphinx_ext import render_figure

WEB = Path(__file__).parents[1] / "web"
PLOTLY = WEB / "vendor" / "plotly-cartesian.min.js"
GRID = np.linspace(-1, 3, 21)
TICKS = ".xtick text"
LAMS = np.arange(5)
PATH = np.array([2, 1]) / (1 + LAMS[:, None])
SOLUTIONS = """canvas => canvas.data
    .filter(trace => trace.mode === "markers" && trace.x[0] !== null)
    .map(({ x, y }) => [x[0], y[0]])"""


@pytest.fixture(scope="session")
def base_url():
    """None: these pages need no built book."""


@pytest.fixture(params=[1000, 360])
def width(request):
    return request.param


@pytest.fixture
def canvas(page, tmp_path, width):
    """A figure with a slider, drawn on a page of this width."""
    loss = (GRID - 2) ** 2 + (GRID[:, None] - 1) ** 2
    paths = {"L1": PATH, "L2": PATH}
    fig = plots.geometry(GRID, GRID, loss, paths, LAMS, description="d")
    return drawn(page, tmp_path, width, fig)


def drawn(page, tmp_path, width, fig):
    """The canvas of a figure on a page of its own."""
    html = render_figure(json.loads(pio.to_json(fig, validate=False)))
    for path in (WEB / "build" / "page" / "lab.js", WEB / "book" / "book.css", PLOTLY):
        shutil.copy(path, tmp_path)
    head = '<!doctype html><meta charset="utf-8"><script src="lab.js"></script>'
    head += '<link rel="stylesheet" href="book.css">'
    (tmp_path / "index.html").write_text(head + html, "utf-8")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((tmp_path / "index.html").as_uri())
    canvas = page.locator(".plot-canvas")
    expect(canvas).to_have_attribute("data-state", "drawn")
    return canvas


def test_a_heat_map_shows_what_has_room(page, tmp_path, width):
    """On a phone the labels of seven columns slant, and their values are left out."""
    cells = [(p / 10, lam, 0, p + lam) for p in range(7) for lam in (0, 0.1)]
    frame = pd.DataFrame(cells, columns=["dropout", "l2", "seed", "val_loss"])
    fig = plots.heatmap(frame, "dropout", "l2", "val_loss", description="d")
    canvas = drawn(page, tmp_path, width, fig)
    narrow = width < 480
    assert canvas.locator(".heatmap-label text").count() == (0 if narrow else 14)
    turns = [label.get_attribute("transform") for label in canvas.locator(TICKS).all()]
    assert ["rotate(-45" in turn for turn in turns] == [narrow] * 7


def drag(page, canvas, share):
    """Drag the slider to a share of its length."""
    grip = canvas.locator(".slider-grip-rect").bounding_box()
    rail = canvas.locator(".slider-rail-rect").bounding_box()
    height = grip["y"] + grip["height"] / 2
    page.mouse.move(grip["x"] + grip["width"] / 2, height)
    page.mouse.down()
    page.mouse.move(rail["x"] + share * rail["width"], height, steps=4)
    page.mouse.up()


def expect_step(page, canvas, step):
    """Both panels' solutions, and the text, are those of a step."""
    expect(canvas.locator(".slider-label").first).to_have_text(f"λ = {LAMS[step]}")
    there = json.dumps([[float(f"{w:.4g}") for w in PATH[step]]] * 2)
    page.wait_for_function(
        f"canvas => JSON.stringify(({SOLUTIONS})(canvas)) === JSON.stringify({there})",
        arg=canvas.element_handle(),
    )


@pytest.mark.parametrize(("share", "step"), [(0, 0), (0.76, 3), (1, 4)])
def test_the_slider_moves_the_solution_in_all_panels(page, canvas, share, step):
    expect_step(page, canvas, 2)
    drag(page, canvas, share)
    expect_step(page, canvas, step)


def test_the_slider_stays_where_it_was_left(page, canvas):
    drag(page, canvas, 1)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.set_viewport_size({"width": 500, "height": 900})
    page.wait_for_function(
        "canvas => canvas.layout.width <= 500", arg=canvas.element_handle()
    )
    expect_step(page, canvas, 4)


def test_panels_keep_their_size_below_each_other(page, canvas):
    page.set_viewport_size({"width": 360, "height": 900})
    handle = canvas.element_handle()
    page.wait_for_function("canvas => canvas.layout.grid.rows === 2", arg=handle)
    first, second = canvas.evaluate(
        "({_fullLayout: l}) => [l.yaxis._length, l.yaxis2._length]"
    )
    assert first == pytest.approx(second)
    assert 200 < first < 360
