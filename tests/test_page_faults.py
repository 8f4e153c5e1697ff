"""A live lab among hostile addresses, dying workers, fast hands and other labs.

Whatever happens, a last move must train, and show what `fit` computes.
"""

import re

import pytest
from playwright.sync_api import expect

import tests.test_page_lab as page_lab
from tests.test_address import fragments
from tests.test_page_lab import (
    CURVES,
    LAMS,
    LONG,
    MOONS,
    RATES,
    SMALL,
    assert_shows,
    canvas,
    finished,
    in_mid_run,
    on_phone,
    output,
    press,
    put,
    run_of,
    type_in,
    value_of,
)
from tests.test_page_sweep import COUNT, assert_map, assert_path, filled

base_url, site = page_lab.base_url, page_lab.site  # fixtures
open_page, open_lab = page_lab.open_page, page_lab.open_lab
finger = page_lab.finger

REST = 600  # ms; the address is written after 400 without a change


# The address


def test_the_address_restores_a_setting(open_lab, page):
    settings = "#lab=1&l2=0.001&dropout=0.5&seed=3&hidden=5"
    knobs = {"l2": LAMS, "dropout": RATES, "hidden": [(20,), (5,)]}
    lab = open_lab(MOONS, settings, views=CURVES, **knobs)
    wanted = MOONS.replace(l2=0.001, dropout=0.5, seed=3, hidden=(5,))
    assert_shows(lab, wanted)
    type_in(lab, "l2-value", "0")
    assert_shows(lab, wanted.replace(l2=0))
    page.wait_for_timeout(REST)
    found = dict(re.findall(r"(\w+)=([\w.]+)", page.url))
    assert found == {"lab": "1", "dropout": "0.5", "seed": "3", "hidden": "5"}
    page.reload()
    assert_shows(page.locator(".lab"), wanted.replace(l2=0))


def test_labs_have_addresses_of_their_own(open_page, page):
    two = [
        (MOONS, {"views": CURVES, "l2": LAMS}),
        (SMALL, {"views": CURVES, "dropout": RATES}),
    ]
    first, second = open_page(*two, settings="#lab=1&l2=0.01;lab=2&dropout=0.5")
    first.scroll_into_view_if_needed()
    assert_shows(first, MOONS.replace(l2=0.01))
    second.scroll_into_view_if_needed()
    assert_shows(second, SMALL.replace(dropout=0.5))
    type_in(second, "seed", "4")
    type_in(first, "l2-value", "0.02")
    page.wait_for_timeout(REST)
    assert page.url.endswith("#lab=1&l2=0.02;lab=2&dropout=0.5&seed=4")
    press(first, "back")
    page.wait_for_timeout(REST)
    assert page.url.endswith("#lab=2&dropout=0.5&seed=4")
    assert_shows(second, SMALL.replace(dropout=0.5, seed=4))
    page.evaluate("location.hash = '#lab=1&l2=0.05;lab=2&seed=9'")  # in the same tab
    expect(second.locator("input[name=seed]")).to_have_value("9")
    assert_shows(second, SMALL.replace(seed=9))
    first.scroll_into_view_if_needed()
    assert_shows(first, MOONS.replace(l2=0.05))


def test_a_link_leads_to_its_lab(open_page, page):
    labs = [(SMALL, {"l2": LAMS, "views": ("curves", "regions")})] * 3
    above = "<p style='height: 700px'>Text.</p>"
    below = "<div style='height: 1000px'></div>"
    *_, third = open_page(*labs, settings="#lab=3&l2=0.01", above=above, below=below)
    assert_shows(third, SMALL.replace(l2=0.01))
    page.wait_for_timeout(300)
    top = "lab => lab.getBoundingClientRect().top"
    assert 0 <= third.evaluate(top) <= 100
    page.evaluate("location.hash = '#lab=2&l2=0.02'")
    second = page.locator(".lab").nth(1)
    expect(second.locator("input[name=l2-value]")).to_have_value("0.02")
    assert_shows(second, SMALL.replace(l2=0.02))
    assert 0 <= second.evaluate(top) <= 100
    assert_shows(third, SMALL.replace(l2=0.01))  # a link moves its lab alone
    type_in(second, "l2-value", "0.03")
    page.wait_for_timeout(REST)
    assert page.url.endswith("#lab=3&l2=0.01;lab=2&l2=0.03")


HOSTILE = [
    "constructor=1", "__proto__=1", "toString=1", "hasOwnProperty=1&l2=0.01",
    "l2=<img src=x onerror=hurt()>", "<img src=x onerror=hurt()>=1",
    "points=<img src=x onerror=hurt()>", "%E0%A4%A", "seed=-1", "l2=1e999",
    "optimizer=<script>hurt()</script>", "l2=%00", "optimizer=constructor",
]  # fmt: skip


# Follows addresses; returns how many elements they have brought into the lab.
VISIT = """async (hashes) => {
  const foreign = ".lab :is(img, iframe, a, script:not(.lab-data))";
  let count = 0;
  for (const hash of hashes) {
    location.hash = hash;
    await new Promise((resolve) => setTimeout(resolve, 10));
    count += document.querySelectorAll(foreign).length;
  }
  return count;
}"""


def test_hostile_addresses_do_no_harm(open_lab, page):
    page.add_init_script("window.hurt = () => { window.harmed = true; };")
    knobs = {"l2": LAMS, "optimizer": ("sgd", "adam")}
    lab = open_lab(SMALL, f"#lab=1&{HOSTILE[0]}", views=CURVES, **knobs)
    for hash in HOSTILE:
        page.evaluate("hash => { location.hash = `#lab=1&${hash}`; }", hash)
        page.wait_for_timeout(30)
        finished(lab)
        assert output(lab, "message").inner_text().count("After epoch") == 1
        assert lab.locator("img, script:not(.lab-data)").count() == 0
    said = "optimizer = constructor: must be one of"
    expect(output(lab, "message")).to_contain_text(said)
    assert page.evaluate(VISIT, list(fragments(100))) == 0
    assert page.evaluate("window.harmed") is None
    page.evaluate("location.hash = '#lab=1'")
    expect(output(lab, "message")).not_to_contain_text("must be")
    type_in(lab, "l2-value", "0.02")
    assert_shows(lab, SMALL.replace(l2=0.02))


def test_a_browser_that_refuses_to_write_the_address(open_lab, page):
    page.add_init_script(
        """history.replaceState = () => {
          throw new DOMException("no", "SecurityError");
        };"""
    )
    lab = open_lab(SMALL, views=CURVES, l2=LAMS)
    for lam in (0.01, 0.02, 0.03):
        type_in(lab, "l2-value", str(lam))
        page.wait_for_timeout(REST)
        assert_shows(lab, SMALL.replace(l2=lam))


def test_a_link_to_copy(open_lab, page):
    page.add_init_script(
        """if (navigator.clipboard) {
          navigator.clipboard.writeText = async (text) => { window.copied = text; };
        }"""
    )
    lab = open_lab(SMALL, views=CURVES, l2=LAMS)
    type_in(lab, "l2-value", "0.02")
    finished(lab)
    press(lab, "share")
    expect(output(lab, "message")).to_contain_text("link")
    link = page.evaluate("copied")
    page.goto("about:blank")
    page.goto(link)
    assert_shows(page.locator(".lab"), SMALL.replace(l2=0.02))


# Fingers


@on_phone
def test_a_finger_that_scrolls_leaves_the_knobs_alone(open_lab, page, finger):
    page.add_init_script(COUNT)
    above = "<p style='height: 400px'>Text.</p>"
    lab = open_lab(SMALL, views=CURVES, above=above, l2=LAMS, dropout=RATES)
    finished(lab)
    slider = lab.locator("input[type=range][name=dropout]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    far, near = box["x"] + 0.8 * box["width"], box["x"] + 0.3 * box["width"]
    top = page.evaluate("scrollY")
    finger.drag((far, middle), (far + 3, middle - 200))
    assert page.evaluate("scrollY") > top + 100
    assert value_of(lab, "dropout") == 0
    assert page.evaluate("asked.run") == 1  # not even for a moment
    assert_shows(lab, SMALL)
    page.evaluate("top => scrollTo(0, top)", top)
    page.wait_for_timeout(200)
    finger.drag((near, middle), (far, middle + 4))
    p = value_of(lab, "dropout")
    assert p == pytest.approx(0.72, abs=0.06)
    assert page.evaluate("scrollY") == top
    assert_shows(lab, SMALL.replace(dropout=p))
    finger.tap(near, middle)
    expect(slider).not_to_have_attribute("aria-valuetext", f"{p:g}")
    p = value_of(lab, "dropout")
    assert p == pytest.approx(0.27, abs=0.06)
    assert_shows(lab, SMALL.replace(dropout=p))


# Engines that fail

NO_WASM = """const Real = Blob;
window.Blob = function (parts, options) {
  return new Real(["self.WebAssembly = undefined;", ...parts], options);
};"""
MORTAL = """window.workers = [];
const RealWorker = Worker, RealBlob = Blob;
window.Worker = class extends RealWorker {
  constructor(...all) { super(...all); workers.push(this); }
};
window.Blob = function (parts, options) {
  return new RealBlob([`addEventListener("message", (event) => {
    if (event.data.type !== "die") return;
    event.stopImmediatePropagation();
    setTimeout(() => { throw new Error("dead"); });
  });`, ...parts], options);
};"""
KILL = "workers.splice(0).forEach((worker) => worker.postMessage({ type: 'die' }))"


def test_without_webassembly_plain_javascript_trains(open_lab, page):
    page.add_init_script(NO_WASM)
    lab = open_lab(MOONS, views=CURVES, l2=LAMS)
    assert_shows(lab, MOONS)
    expect(output(lab, "engine")).to_contain_text("JavaScript")


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_worker_that_dies_in_mid_run_is_replaced(open_lab, page, seeds):
    page.add_init_script(MORTAL)
    page.add_init_script(NO_WASM)  # so that there is time to kill it
    slow = LONG.replace(hidden=(50, 50), n_train=100)
    lab = open_lab(slow.replace(epochs=2), views=CURVES, seeds=seeds, epochs=(1, 200))
    finished(lab)
    in_mid_run(lab, "move('epochs', 1000)", 3, KILL)
    assert_shows(lab, slow, seeds)
    type_in(lab, "epochs-value", "5")
    assert_shows(lab, slow.replace(epochs=5), seeds)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_that_went_on_starts_anew_when_its_worker_dies(open_lab, page, seeds):
    """Nothing stays of the curve that was longer."""
    page.add_init_script(MORTAL)
    page.add_init_script(NO_WASM)
    slow = LONG.replace(hidden=(50, 50), n_train=100)
    lab = open_lab(slow, views=CURVES, seeds=seeds, l2=LAMS)
    finished(lab)
    lab.locator("input[name=keep]").check()
    in_mid_run(lab, "move('l2', 0)", slow.epochs + 20, KILL)
    assert_shows(lab, slow.replace(l2=value_of(lab, "l2")), seeds)


def test_a_worker_that_dies_over_a_map_is_replaced(open_lab, page):
    page.add_init_script(MORTAL)
    base = SMALL.replace(epochs=60, n_train=200)
    lab = open_lab(base, views=(*CURVES, "map"), l2=(1e-4, 0.1), dropout=RATES)
    finished(lab)
    press(lab, "fill")
    expect(output(lab, "map")).to_contain_text("of 168 networks", timeout=60_000)
    page.evaluate(f"() => {{ {KILL}; }}")
    assert_map(lab, base)
    expect(output(lab, "map")).to_contain_text("by JavaScript")


def assert_books_run_stands(lab, experiment):
    at = run_of(experiment).at_kept_epoch()
    for name in ("train_loss", "val_loss"):
        expect(output(lab, name)).to_have_text(f"{at[name]:.4f}")
    expect(canvas(lab, "curves")).to_have_attribute("data-state", "drawn")
    assert len(page_lab.trace(lab, "book_val")["x"]) == experiment.epochs


def test_without_workers_the_books_run_stands(open_lab, page):
    page.add_init_script(
        "window.Worker = function () { throw new Error('none here'); };"
    )
    lab = open_lab(MOONS, views=("curves", "regions"), l2=LAMS)
    finished(lab, "error")
    expect(output(lab, "message")).to_contain_text("starts no worker: none here")
    assert_books_run_stands(lab, MOONS)


@pytest.mark.parametrize("views", [None, ("path", "curves")])
def test_a_curve_that_cannot_be_trained_says_why(open_lab, page, views):
    page.add_init_script(
        """const RealWorker = Worker;
        window.refusing = true;
        window.Worker = function (url) {
          if (refusing) throw new Error("none here");
          return new RealWorker(url);
        };"""
    )
    lams = [0.0, 0.001, 0.01, 0.1]
    lab = open_lab(SMALL, over={"l2": lams}, views=views, l2=LAMS, n_train=(20, 100))
    finished(lab, "error")
    expect(output(lab, "message")).to_contain_text("starts no worker: none here")
    put(lab, "l2", 20)
    page.wait_for_timeout(300)
    finished(lab, "error")
    page.evaluate("refusing = false")
    type_in(lab, "n_train-value", "50")
    finished(lab)
    assert_path(lab, SMALL.replace(n_train=50))


def test_a_policy_that_refuses_workers_is_named(open_lab):
    policy = "<meta http-equiv='Content-Security-Policy' content=\"worker-src 'none'\">"
    lab = open_lab(MOONS, head=policy, views=("curves", "regions"), l2=LAMS)
    finished(lab, "error")
    expect(output(lab, "message")).to_contain_text("worker-src must allow blob:")
    assert_books_run_stands(lab, MOONS)
    put(lab, "l2", 20)
    finished(lab, "error")
    expect(output(lab, "message")).to_contain_text("worker-src must allow blob:")


def test_data_that_do_not_load_are_named(open_lab, page):
    page.route("**/data/moons.js", lambda route: route.abort())
    lab = open_lab(MOONS, views=CURVES, l2=LAMS)
    finished(lab, "error")
    expect(output(lab, "message")).to_contain_text("moons.js did not load")
    assert_books_run_stands(lab, MOONS)
    page.unroute("**/data/moons.js")
    type_in(lab, "l2-value", "0.01")
    assert_shows(lab, MOONS.replace(l2=0.01))


# Fast hands, and many labs

EVENTS = """async ([seed, count]) => {
  let state = seed;
  const draw = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const one = (list) => list[Math.floor(draw() * list.length)];
  const labs = [...document.querySelectorAll(".lab")];
  const nothing = document.createElement("select"); // where a lab has no such control
  const fire = (target, event) => target.dispatchEvent(event);
  const heard = { bubbles: true, cancelable: true };
  const texts = ["0.01", "-1", "", "abc", "1e11", "0,003", "5", "1.5", "40"];
  const keys = ["n", "a", "f", "Delete", "ArrowLeft", "ArrowUp", "Backspace"];
  for (let k = 0; k < count; k++) {
    const lab = one(labs);
    const regions = lab.querySelector("[data-view=regions]");
    const some = (selector) =>
      one([...lab.querySelectorAll(selector)].filter((e) => !e.disabled)) ?? nothing;
    const kind = draw();
    if (kind < 0.4) {
      const slider = some("input[type=range]");
      slider.value = Math.floor(draw() * 60);
      fire(slider, new Event("input", heard));
    } else if (kind < 0.5) {
      const field = some("input[type=text]");
      field.value = one(texts);
      fire(field, new Event("change", heard));
    } else if (kind < 0.58) {
      const choice = some("select");
      choice.selectedIndex = Math.floor(draw() * choice.options.length);
      fire(choice, new Event("change", heard));
    } else if (kind < 0.75) some("button").click();
    else if (kind < 0.78) some("input[type=checkbox]").click();
    else if (kind < 0.9) {
      fire(regions, new KeyboardEvent("keydown", { key: one(keys), ...heard }));
    }
    else {
      const { left, top, width, height } = regions.getBoundingClientRect();
      const mouse = { pointerType: "mouse", pointerId: 1, ...heard };
      let [clientX, clientY] = [left + draw() * width, top + draw() * height];
      for (const type of ["pointerdown", "pointermove", "pointerup"]) {
        fire(regions, new PointerEvent(type, { clientX, clientY, ...mouse }));
        clientX += 6 * draw();
      }
    }
    if (draw() < 0.3) await new Promise((resolve) => setTimeout(resolve, 25 * draw()));
  }
}"""


def test_after_500_events_two_labs_train_what_they_are_asked(open_page, page):
    # The mouse of a script has no pointer that could be captured.
    page.add_init_script("Element.prototype.setPointerCapture = () => {};")
    page.set_viewport_size({"width": 1280, "height": 3000})
    options = {
        "views": ("curves", "regions", "weights", "map"),
        "optimizer": ("sgd", "adam"),
    }
    options |= {
        "dropout": RATES,
        "n_train": (10, 100),
        "over": {"dropout": 3, "n_train": [20, 40]},
    }
    alone = {**options, "l2": LAMS, "over": None, "momentum": (0, 0.9)}
    labs = open_page((SMALL, alone), (SMALL, {**options, "seeds": 2}))
    for lab in labs:
        finished(lab)
    page.evaluate(EVENTS, [1, 500])
    for lab, seeds in zip(labs, (1, 2), strict=True):
        lab.locator("input[name=keep]").uncheck()
        press(lab, "back")
        assert_shows(lab, SMALL, seeds)
        for control in lab.locator(".lab-controls :is(input, select, button)").all():
            expect(control).to_be_enabled()
        put(lab, "dropout", 20)
        type_in(lab, "n_train-value", "33")
        p = value_of(lab, "dropout")
        assert_shows(lab, SMALL.replace(dropout=p, n_train=33), seeds)
        put(lab, "dropout", 0)
        assert_shows(lab, SMALL.replace(n_train=33), seeds)
    assert_map(labs[1], SMALL.replace(n_train=33), 2)


def test_of_six_labs_those_in_view_train(open_page, page):
    labs = open_page(
        *[(MOONS, {"views": CURVES, "l2": LAMS})] * 6,
        above="<p style='height: 500px'>Text.</p>",
    )
    finished(labs[0])
    page.wait_for_timeout(300)
    for lab in labs[2:]:
        expect(lab).to_have_attribute("data-state", "ready")
    labs[4].scroll_into_view_if_needed()
    finished(labs[4])
    expect(labs[2]).to_have_attribute("data-state", "ready")
    assert_shows(labs[4], MOONS)
    type_in(labs[4], "l2-value", "0.01")
    assert_shows(labs[4], MOONS.replace(l2=0.01))


def test_a_lab_that_leaves_the_view_rests(open_lab, page):
    below = "<div style='height: 4000px'></div>"
    lab = open_lab(LONG.replace(epochs=2), below=below, views=CURVES, epochs=(1, 200))
    finished(lab)
    in_mid_run(
        lab, "move('epochs', 1000)", 5, "scrollTo(0, document.body.scrollHeight)"
    )
    page.wait_for_timeout(400)
    before = output(lab, "epoch").inner_text()
    page.wait_for_timeout(400)
    assert output(lab, "epoch").inner_text() == before
    assert int(before) < LONG.epochs
    page.evaluate("scrollTo(0, 0)")
    assert_shows(lab, LONG)


def test_a_sweep_that_leaves_the_view_rests(open_lab, page):
    below = "<div style='height: 4000px'></div>"
    over = {"over": {"l2": [1e-4, 1e-3, 1e-2, 1e-1]}, "views": ("path",)}
    base = LONG.replace(epochs=2)
    lab = open_lab(base, below=below, seeds=2, epochs=(1, 200), **over)
    finished(lab)
    in_mid_sweep = """async () => {
      const input = document.querySelector(".lab input[name=epochs]");
      input.value = 1000;
      input.dispatchEvent(new Event("input", { bubbles: true }));
      scrollTo(0, document.body.scrollHeight);
    }"""
    page.evaluate(in_mid_sweep)
    page.wait_for_timeout(1500)  # a worker ends the network at hand
    before = output(lab, "map").inner_text()
    page.wait_for_timeout(1500)
    after = output(lab, "map").inner_text()
    assert done(before) == done(after) < 8
    page.evaluate("scrollTo(0, 0)")
    filled(lab, 2)
    assert done(output(lab, "map").inner_text()) == 8


def done(progress):
    """How many networks of a sweep are trained, as it says."""
    return int(progress.split()[0])
