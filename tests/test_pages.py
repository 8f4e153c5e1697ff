"""The built book in a browser: over http and from disk, in both themes, on a phone.

No page may ask anything of another host, nor log an error or a warning.
"""

import json
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
import yaml
from playwright.sync_api import expect

from tests.conftest import SITE
from utils.mimetypes import FIGURE, LAB

ROOT = Path(__file__).parents[1]
PHONE = {"width": 360, "height": 740}


def list_pages(entry):
    """Return the documents of a `_toc.yml`, in order."""
    if isinstance(entry, list):
        return [page for item in entry for page in list_pages(item)]
    if not isinstance(entry, dict):
        return []
    own = [entry[key] for key in ("root", "file") if key in entry]
    return own + [page for item in entry.values() for page in list_pages(item)]


PAGES = list_pages(yaml.safe_load((ROOT / "_toc.yml").read_text()))
every_page = pytest.mark.parametrize("name", PAGES)
# From disk, where more is forbidden; over http one page.
everywhere = pytest.mark.parametrize(
    "base, name",
    [*(("file", name) for name in PAGES), ("http", "book/overview")],
    indirect=["base"],
)


@pytest.fixture(params=["http", "file"])
def base(request, base_url):
    return base_url if request.param == "http" else SITE.as_uri()


@pytest.fixture(autouse=True)
def complaints(page):
    """What the page does wrong during a test: nothing."""
    found = []
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on("requestfailed", lambda request: found.append(f"failed: {request.url}"))
    page.on("console", lambda message: found.extend(complaint_in(message)))
    page.on("request", lambda request: found.extend(foreign(request)))
    yield
    assert found == []


def complaint_in(message):
    return [message.text] if message.type in {"error", "warning"} else []


def foreign(request):
    url = urlsplit(request.url)
    own = url.scheme in {"file", "data", "blob"} or url.hostname == "127.0.0.1"
    return [] if own else [f"request to {request.url}"]


def read(page, url):
    """Open a page and scroll through it; every figure must get drawn.

    Returns: the canvases of the figures outside labs.
    """
    page.goto(url)
    canvases = page.locator("figure .plot-canvas:not(.lab *)").all()
    for canvas in canvases:
        canvas.scroll_into_view_if_needed()
        expect(canvas).to_have_attribute("data-state", "drawn")
    return canvases


def stored(name, mime):
    """Count the outputs of a mimetype that the page's notebook stores and shows."""
    path = ROOT / f"{name}.ipynb"
    cells = nbformat.read(path, as_version=4).cells if path.exists() else []
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return sum(mime in output.get("data", {}) for output in outputs)


# Text in the colour of the page; a heat map prints its values in black.
TEXT = "svg :is(.xtick, .ytick, .infolayer) text"


def color_of(canvas):
    return canvas.locator(TEXT).first.evaluate("e => getComputedStyle(e).fill")


@everywhere
def test_figures_are_drawn_and_described_and_formulas_set(page, base, name):
    canvases = read(page, f"{base}/{name}.html")
    assert len(canvases) == stored(name, FIGURE)
    for canvas in canvases:
        assert canvas.get_attribute("aria-label").strip()
        assert canvas.locator("svg :is(.trace, .hm, .contour)").count() > 0
    for formula in page.locator(".math").all():
        expect(formula.locator("mjx-container").first).to_be_attached()
    expect(page.locator("mjx-merror")).to_have_count(0)


@everywhere
def test_every_lab_trains_and_lands_on_the_books_curve(page, base, name):
    page.goto(f"{base}/{name}.html")
    labs = page.locator("div.lab").all()
    assert len(labs) == stored(name, LAB)
    for lab in labs:
        lab.scroll_into_view_if_needed()
        run = json.loads(lab.locator("script.lab-data").text_content())
        live = not run["experiment"]["channels"]
        state = "done" if live else "ready"
        expect(lab).to_have_attribute("data-state", state, timeout=60_000)
        epoch = int(lab.locator("output[name=epoch]").inner_text())
        shown = float(lab.locator("output[name=val_loss]").inner_text())
        assert shown == pytest.approx(run["reference"]["val_loss"][epoch - 1], abs=2e-4)
        for canvas in lab.locator("[data-view]:not([hidden])").all():
            expect(canvas).to_have_attribute("data-state", "drawn")


@pytest.mark.parametrize("width", [PHONE["width"], 1280])
@pytest.mark.parametrize("name", ["book/overview", "book/worked_example"])
def test_a_slider_of_the_book_trains(page, name, width):
    """From disk, with the network cut, on a phone and on a desk."""
    page.context.set_offline(True)
    page.set_viewport_size({"width": width, "height": 740})
    page.goto(f"{SITE.as_uri()}/{name}.html")
    lab = page.locator("div.lab").first
    lab.scroll_into_view_if_needed()
    expect(lab).to_have_attribute("data-state", "done", timeout=60_000)
    before = lab.locator("output[name=val_loss]").inner_text()
    lab.locator("input[name=dropout]").focus()
    page.keyboard.press("End")
    expect(lab.locator("output[name=val_loss]")).not_to_have_text(before)
    expect(lab).to_have_attribute("data-state", "done", timeout=60_000)


@every_page
def test_figures_follow_the_theme_and_a_phone_scrolls_down_only(page, base_url, name):
    page.emulate_media(color_scheme="light")
    canvases = read(page, f"{base_url}/{name}.html")
    light = [color_of(canvas) for canvas in canvases]
    page.emulate_media(color_scheme="dark")
    theme = page.locator("html")
    expect(theme).to_have_attribute("data-theme", "dark", timeout=20_000)
    for canvas, before in zip(canvases, light, strict=True):
        text = canvas.locator(TEXT).first
        expect(text).not_to_have_css("fill", before)
    page.set_viewport_size(PHONE)
    for canvas in canvases:
        handle = canvas.locator("svg").first.element_handle()
        page.wait_for_function(
            "svg => svg.getBoundingClientRect().right <= innerWidth", arg=handle
        )
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    assert_claims_wrap(page, name)


def assert_claims_wrap(page, name):
    """Within their box, on a phone."""
    claims = page.locator(".cell_output pre .claim")
    printed = (ROOT / f"{name}.ipynb").exists()
    assert bool(claims.count()) == printed
    for claim in claims.all():
        box = claim.bounding_box()
        assert box["x"] + box["width"] <= PHONE["width"]
        assert box["height"] > 20, "wrapped: more than one line"


def test_theme_switch_redraws(page, base_url):
    page.emulate_media(color_scheme="light")
    figures = [name for name in PAGES if stored(name, FIGURE)]
    canvas = read(page, f"{base_url}/{figures[0]}.html")[0]
    before = color_of(canvas)
    page.locator(".theme-switch-button:visible").click()
    expect(canvas.locator(TEXT).first).not_to_have_css("fill", before)


def test_site_opens_at_the_first_page(page, base):
    page.goto(f"{base}/index.html")
    page.wait_for_url(f"**/{PAGES[0]}.html")
    expect(page.locator("article h1")).to_be_visible()
