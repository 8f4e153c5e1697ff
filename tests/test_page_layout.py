"""How a live lab looks: on a laptop and a phone, contrast, axe, motion, weight."""

import gzip
import re

import pytest

import tests.test_page_lab as page_lab
from tests.test_page_lab import (
    LAMS,
    LONG,
    MOONS,
    RATES,
    ROOT,
    SMALL,
    assert_shows,
    canvas,
    finished,
    on_phone,
    press,
    trace,
    type_in,
    value_of,
)
from tests.test_page_sweep import filled

base_url, site = page_lab.base_url, page_lab.site  # fixtures
open_page, open_lab = page_lab.open_page, page_lab.open_lab
finger = page_lab.finger

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
THREE = {"l2": LAMS, "dropout": RATES, "n_train": (10, 1000)}
KIB = 1024


def resized(page, width, height):
    page.set_viewport_size({"width": width, "height": height})


def test_a_lab_fits_a_laptops_screen(open_lab, page):
    resized(page, 1280, 900)
    lab = open_lab(MOONS, views=("curves", "regions"), **THREE)
    finished(lab)
    assert lab.bounding_box()["height"] <= 860
    slider = lab.locator("input[name=l2]").bounding_box()
    curves = canvas(lab, "curves").bounding_box()
    assert slider["x"] + slider["width"] <= curves["x"]  # side by side
    type_in(lab, "l2-value", "0.01")
    before = lab.bounding_box()["height"]
    finished(lab)
    assert lab.bounding_box()["height"] == before


VISIBLE = """(element) => {
  const { left, top, width, height } = element.getBoundingClientRect();
  const found = document.elementFromPoint(left + width / 2, top + height / 2);
  return element === found || element.contains(found);
}"""


@on_phone
def test_on_a_phone_a_slider_is_in_view_with_the_picture(open_lab, page, finger):
    lab = open_lab(
        MOONS,
        views=("curves", "regions"),
        below="<p style='height: 900px'>Text.</p>",
        **THREE,
    )
    finished(lab)
    for view in ("curves", "regions"):
        picture = canvas(lab, view)
        picture.evaluate("canvas => canvas.scrollIntoView({ block: 'start' })")
        box = picture.bounding_box()
        assert box["y"] >= -1
        sliders = lab.locator("input[type=range]").all()
        seen = [one for one in sliders if one.evaluate(VISIBLE)]
        assert seen, view
        slider = seen[0].bounding_box()
        assert box["y"] + box["height"] <= slider["y"] + 1  # nothing is covered
        assert slider["height"] >= 44
        assert slider["y"] + slider["height"] <= 844
    name = seen[0].get_attribute("name")
    box = seen[0].bounding_box()
    finger.tap(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    base = {"l2": MOONS.l2, "dropout": MOONS.dropout, "n_train": MOONS.n_train}[name]
    assert value_of(lab, name) != base
    whole = name == "n_train"
    assert_shows(
        lab,
        MOONS.replace(
            **{name: int(value_of(lab, name)) if whole else value_of(lab, name)}
        ),
    )


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_scrolls_sideways(open_lab, page, width):
    resized(page, width, 800)
    lab = open_lab(
        SMALL, views=("curves", "regions", "weights", "pairs", "map"), seeds=3,
        against=SMALL, optimizer=("sgd", "adam"), hidden=[(8,), (50, 50)], **THREE,
    )  # fmt: skip
    finished(lab)
    type_in(lab, "l2-value", "abc")
    press(lab, "fill")
    filled(lab)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    right = lab.bounding_box()["x"] + lab.bounding_box()["width"]
    for part in lab.locator(
        ".lab-live :is(input, select, button, output, .plot-canvas):visible"
    ).all():
        box = part.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= right + 1, part


# Colours


def luminance(color):
    parts = [int(v) / 255 for v in re.findall(r"\d+", color)[:3]]
    linear = [
        v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts
    ]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_stand_out_in_both_themes(open_lab, page, theme):
    lab = open_lab(SMALL, views=("curves",), against=SMALL, l2=LAMS)
    finished(lab)
    for lam in (0.01, 0.02, 0.03, 0.04):
        type_in(lab, "l2-value", str(lam))
        finished(lab)
        press(lab, "pin")
    page.evaluate(
        """theme => new Promise((resolve) => {
          const canvas = document.querySelector("[data-view=curves]");
          canvas.once("plotly_afterplot", resolve);
          document.documentElement.dataset.theme = theme;
        })""",
        theme,
    )
    page.wait_for_timeout(300)
    ground = lab.evaluate("lab => getComputedStyle(lab).backgroundColor")
    dark = luminance(ground) < 0.2
    assert dark == (theme == "dark")
    roles = ["book_train", "book_val", "your_train", "your_val", "against_val"]
    for role in [*roles, "pin_0", "pin_1", "pin_2", "pin_3"]:
        line = canvas(lab, "curves").locator(f".trace{role} path.js-line")
        color, opacity = line.evaluate(
            """path => {
              const { stroke, strokeOpacity } = getComputedStyle(path);
              return [stroke, strokeOpacity];
            }"""
        )
        assert opacity == "1"
        assert contrast(color, ground) >= 3, (role, color, ground)
    text = canvas(lab, "curves").locator(".xtick text").first
    assert contrast(text.evaluate("e => getComputedStyle(e).fill"), ground) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing(open_lab, page, width, theme):
    resized(page, width, 800)
    page.add_init_script(
        f"""addEventListener("DOMContentLoaded", () => {{
          document.documentElement.dataset.theme = "{theme}";
        }});"""
    )
    lab = open_lab(
        SMALL, views=("curves", "regions", "map"), over={"dropout": 3, "l2": 3},
        batch_norm=(False, True), l2=LAMS, dropout=RATES,
    )  # fmt: skip
    finished(lab)
    filled(lab)
    lab.get_by_text("The map as a table").click()
    lab.get_by_text("Your run as a table").click()
    type_in(lab, "l2-value", "abc")
    page.wait_for_timeout(400)  # what was dimmed is no longer
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document).then(({violations}) => violations)")
    named = [(v["id"], n["html"][:160]) for v in found for n in v["nodes"]]
    assert named == []


def test_the_keyboard_reaches_every_control_in_order(open_lab, page):
    lab = open_lab(
        SMALL, views=("curves", "regions"), optimizer=("sgd", "adam"), l2=LAMS
    )
    finished(lab)
    order = []
    for _ in range(18):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "document.activeElement.name || document.activeElement.dataset.view"
            )
        )
    wanted = [
        "optimizer",
        "l2",
        "l2-value",
        "seed",
        "draw",
        "play",
        "keep",
        "pin",
        "share",
        "back",
    ]
    assert order[: len(wanted)] == wanted
    assert {"regions", "class"} < set(order)


# Motion

WATCH = """lab => {
  const canvas = lab.querySelector("[data-view=curves]");
  const shown = lab.querySelector("output[name=epoch]");
  window.epochs = new Set();
  window.lengths = new Set();
  const line = () => canvas.data.find(({ uid }) => uid === "your_val").x.length;
  canvas.on("plotly_afterplot", () => lengths.add(line()));
  new MutationObserver(() => epochs.add(Number(shown.value)))
    .observe(shown, { childList: true, characterData: true, subtree: true });
}"""


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_reduced_motion_draws_the_end_alone(open_lab, page, motion):
    page.emulate_media(reduced_motion=motion)
    lab = open_lab(LONG.replace(epochs=2), views=("curves",), epochs=(1, 200))
    finished(lab)
    lab.evaluate(WATCH)
    type_in(lab, "epochs-value", "200")
    assert_shows(lab, LONG)
    epochs = set(page.evaluate("[...epochs]"))
    lengths = set(page.evaluate("[...lengths]"))
    whole = len(trace(lab, "your_val")["x"])
    assert 200 in epochs and whole in lengths
    if motion == "reduce":
        assert epochs == {200}
        assert lengths <= {2, whole}
    else:
        assert len(epochs) > 1  # what the first case would see


# Weight


def test_the_script_is_small(site):
    """Kernels, trainer, lab and figures: all that is ours, in one."""
    assert len(gzip.compress((site / "lab.js").read_bytes())) <= 45 * KIB
