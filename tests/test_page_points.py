"""The reader's own training points, by mouse, finger and keyboard, in Chromium.

What a network learns from them must be what PyTorch's learns.
"""

import re

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

import tests.test_page_lab as page_lab
from tests.test_page_lab import (
    CURVES,
    EXACT,
    LAMS,
    METRICS,
    MOONS,
    RATES,
    assert_shows,
    canvas,
    draws,
    finished,
    grid_of,
    note,
    on_phone,
    output,
    pixel,
    press,
    trace,
    type_in,
)
from tests.test_page_sweep import filled, map_of, over_of
from utils import Experiment
from utils.data import load, own_points, training_set
from utils.engine.module import build_module
from utils.engine.training import Training
from utils.settings import with_values

base_url, site = page_lab.base_url, page_lab.site  # fixtures
open_page, open_lab = page_lab.open_page, page_lab.open_lab
finger = page_lab.finger

FEW = MOONS.replace(n_train=12, epochs=10)
WAVE = Experiment(data="wave", n_train=15, hidden=(12,), epochs=10)
FLAT = ("curves", "regions")


# The points, as the address keeps them


def points_of(page):
    """{"X", "y"} in the address: hundredths, base 36, the class by the sign behind."""
    page.wait_for_timeout(500)  # it is written once nothing has changed for 400
    text = (
        re.search(r"points=([^&;]+)", page.url)[1]
        .replace("%7E", "~")
        .replace("%21", "!")
    )
    X, y = [], []
    for one in text.split("_"):
        a, b = (int(number, 36) / 100 for number in one.rstrip("!~").split("."))
        flat = one[-1] in "!~"
        X += [a, b] if flat else [a]
        y.append(int(one[-1] == "!") if flat else b)
    return {"X": X, "y": y}


def book_points(experiment):
    """Those of the data set as the editor takes them over: to hundredths."""
    train = training_set(experiment)
    X = np.floor(train.X * 100 + 0.5) / 100
    y = train.y if train.task == "binary" else np.floor(train.y * 100 + 0.5) / 100
    return {"X": X.ravel().tolist(), "y": y.tolist()}


def trained_on(points, *members):
    """PyTorch's training on the points: histories [members], and the Training."""
    own = own_points(members[0].data, **points)
    n = len(own.y)
    training = Training([e.replace(n_train=n) for e in members], points=own)
    rows = []
    while not training.done:
        record = training.run_epoch()
        rows.append([getattr(record, name).tolist() for name in METRICS])
    return np.array(rows), training


def assert_learned(lab, points, *members):
    """The curves are those of networks trained on the points, and so is the picture."""
    finished(lab)
    rows, training = trained_on(points, *members)
    for k, part in enumerate(("train", "val")):
        line = trace(lab, f"your_{part}")
        assert line["x"] == list(range(1, len(rows) + 1))
        mean = rows[:, k].mean(1)
        assert line["y"] == pytest.approx(mean, rel=0, abs=EXACT), part
    expect(output(lab, "val_loss")).to_have_text(f"{rows[-1, 1].mean():.4f}")
    return training


def predict(training, k, X):
    module = build_module(training.experiments[k], training.state[k])
    logits = module(torch.as_tensor(np.array(X, float))).detach()[:, 0]
    return logits if training.points.task == "regression" else logits.sigmoid()


def shown_points(lab):
    """{"X", "y"} as drawn in the picture of the regions."""
    found = {"X": [], "y": []}
    for k in (0, 1):
        dots = trace(lab, f"class_{k}", "regions")
        found["X"] += [
            v for pair in zip(dots["x"], dots["y"], strict=True) for v in pair
        ]
        found["y"] += [k] * len(dots["x"])
    return found


def rows_of(points):
    X = np.reshape(points["X"], (len(points["y"]), -1))
    return sorted(zip(X.tolist(), points["y"], strict=True))


# The mouse


def click(page, lab, x, y, view="regions"):
    page.mouse.click(*pixel(lab, view, x, y))


def drag(page, lab, start, end, view="regions"):
    page.mouse.move(*pixel(lab, view, *start))
    page.mouse.down()
    page.mouse.move(*pixel(lab, view, *end), steps=5)
    page.mouse.up()


def test_points_are_added_moved_flipped_and_removed(open_lab, page):
    lab = open_lab(FEW, views=FLAT, l2=LAMS, n_train=(10, 100), data=("moons", "ring"))
    finished(lab)
    book = book_points(FEW)
    assert "12 training points" in note(lab, "regions")
    expect(lab.locator("button[name=drawn]")).to_be_hidden()

    click(page, lab, 1.9, 1.3)
    points = points_of(page)
    assert points["y"] == [*book["y"], 0]
    assert points["X"][:-2] == book["X"]
    assert points["X"][-2:] == pytest.approx([1.9, 1.3], abs=0.02)
    assert_learned(lab, points, FEW)
    assert "13 your points" in note(lab, "regions")
    for name in ("n_train", "n_train-value", "data"):
        expect(lab.locator(f"[name={name}]")).to_be_disabled()

    lab.locator("select[name=class]").select_option("1")
    click(page, lab, -1.0, -0.9)
    finished(lab)
    points = points_of(page)
    assert points["y"] == [*book["y"], 0, 1]
    assert rows_of(shown_points(lab)) == rows_of(points)

    drag(page, lab, points["X"][-2:], (-0.5, -0.5))
    finished(lab)
    moved = points_of(page)
    assert moved["X"][:-2] == points["X"][:-2]
    assert moved["X"][-2:] == pytest.approx([-0.5, -0.5], abs=0.02)
    training = assert_learned(lab, moved, FEW)
    colors = trace(lab, "colors", "regions")
    wanted = predict(training, 0, grid_of(colors)).reshape(60, 60)
    assert np.array(colors["z"]) == pytest.approx(wanted.numpy(), rel=0, abs=EXACT)

    press(lab, "flip")
    finished(lab)
    moved["y"][-1] = 0
    assert rows_of(shown_points(lab)) == rows_of(moved)
    drag(page, lab, moved["X"][-2:], moved["X"][-2:])  # a click on it
    page.keyboard.press("Delete")
    finished(lab)
    del moved["X"][-2:], moved["y"][-1]
    assert rows_of(shown_points(lab)) == rows_of(moved)
    assert_learned(lab, moved, FEW)

    for _ in range(2):  # the point, its class
        press(lab, "undo")
    finished(lab)
    assert len(shown_points(lab)["y"]) == 14
    for _ in range(3):  # the move, two points
        press(lab, "undo")
    assert_shows(lab, FEW)
    expect(lab.locator("button[name=undo]")).to_be_disabled()
    expect(lab.locator("button[name=drawn]")).to_be_hidden()
    expect(lab.locator("select[name=data]")).to_be_enabled()


def test_back_to_the_books_points(open_lab, page):
    lab = open_lab(FEW, views=FLAT, l2=LAMS)
    finished(lab)
    click(page, lab, 1.9, 1.3)
    click(page, lab, -1.0, -0.9)
    type_in(lab, "l2-value", "0.01")
    assert_learned(lab, points_of(page), FEW.replace(l2=0.01))
    press(lab, "drawn")
    assert_shows(lab, FEW.replace(l2=0.01))
    press(lab, "undo")
    assert_learned(lab, points_of(page), FEW.replace(l2=0.01))
    press(lab, "back")
    assert_shows(lab, FEW)
    page.wait_for_url(re.compile(r"^[^#]*$"))


def test_points_in_the_address_come_back(open_lab, page):
    lab = open_lab(FEW, views=FLAT, l2=LAMS)
    finished(lab)
    click(page, lab, 1.9, 1.3)
    type_in(lab, "l2-value", "0.02")
    points = points_of(page)
    page.reload()
    lab = page.locator(".lab")
    assert_learned(lab, points, FEW.replace(l2=0.02))
    assert rows_of(shown_points(lab)) == rows_of(points)
    press(lab, "drawn")
    assert_shows(lab, FEW.replace(l2=0.02))


@pytest.mark.parametrize(
    "text", ["1.1", "1.1~_zz", "<img src=x onerror=alert(1)>", "1.1~_zzzzz.1!", ""]
)
def test_points_that_cannot_be_read_are_left_out(open_lab, text):
    lab = open_lab(FEW, f"#lab=1&points={text}", views=FLAT, l2=LAMS)
    assert_shows(lab, FEW)
    expect(output(lab, "message")).to_contain_text(
        "the points in the address cannot be read"
    )


def test_no_points_for_a_lab_of_images(open_lab):
    base = Experiment(data="digits", n_train=30, epochs=2, hidden=(5,))
    lab = open_lab(base, "#lab=1&points=1.1_2.2", views=CURVES, l2=LAMS)
    assert_shows(lab, base)
    expect(output(lab, "message")).to_contain_text("points")


def test_points_by_keyboard_alone(open_lab, page):
    lab = open_lab(FEW, views=FLAT, l2=LAMS)
    finished(lab)
    book = book_points(FEW)
    box = canvas(lab, "regions")
    for _ in range(30):
        page.keyboard.press("Tab")
        if box.evaluate("canvas => canvas === document.activeElement"):
            break
    spans = box.evaluate(
        """({ _fullLayout: { xaxis, yaxis } }) =>
          [xaxis, yaxis].map(({ range: [low, high] }) => (high - low) / 50)"""
    )
    page.keyboard.press("n")
    page.keyboard.press("n")
    expect(box.locator(".lab-ring")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("f")
    finished(lab)
    points = points_of(page)
    wanted = np.array(book["X"][2:4]) + np.array([2, -1]) * spans
    assert points["X"][2:4] == pytest.approx(wanted, abs=0.011)
    assert points["X"][:2] + points["X"][4:] == book["X"][:2] + book["X"][4:]
    assert points["y"] == [book["y"][0], 1 - book["y"][1], *book["y"][2:]]
    assert_learned(lab, points, FEW)
    page.keyboard.press("a")
    finished(lab)
    assert len(shown_points(lab)["y"]) == 13
    page.keyboard.press("Delete")
    finished(lab)
    assert rows_of(shown_points(lab)) == rows_of(points)
    for _ in range(6):
        page.keyboard.press("Control+z")
    assert_shows(lab, FEW)


@on_phone
def test_a_finger_adds_a_point_moves_one_and_scrolls(open_lab, page, finger):
    lab = open_lab(FEW, views=("regions", "curves"), l2=LAMS)
    finished(lab)
    book = book_points(FEW)
    finger.tap(*pixel(lab, "regions", 1.9, 1.3))
    points = points_of(page)
    assert points["y"] == [*book["y"], 0]
    start, end = (pixel(lab, "regions", *at) for at in (points["X"][-2:], (1.9, 0.9)))
    top = page.evaluate("scrollY")
    finger.drag(start, end)
    finished(lab)
    assert page.evaluate("scrollY") == top
    moved = points_of(page)
    assert moved["X"][-2:] == pytest.approx([1.9, 0.9], abs=0.03)
    x, y = pixel(lab, "regions", 1.9, -0.9)
    finger.drag((x, y), (x, y - 150))
    assert page.evaluate("scrollY") > top
    assert points_of(page) == moved


def test_two_points_remain(open_lab, page):
    lab = open_lab(FEW, "#lab=1&points=0.0~_1e.1e!_1e.0!", views=FLAT, l2=LAMS)
    finished(lab)
    box = canvas(lab, "regions")
    box.focus()
    for _ in range(4):
        page.keyboard.press("n")
        page.keyboard.press("Delete")
    finished(lab)
    assert len(shown_points(lab)["y"]) == 2


def test_draws_and_a_map_on_own_points(open_lab, page):
    base = FEW.replace(epochs=4)
    lab = open_lab(base, views=(*FLAT, "map"), seeds=3, l2=(1e-4, 0.1), dropout=RATES)
    finished(lab)
    click(page, lab, 1.9, 1.3)
    points = points_of(page)
    three = [base.replace(seed=k) for k in range(3)]
    assert_learned(lab, points, *three)
    press(lab, "fill")
    filled(lab)
    (x, xs), (y, ys) = over_of(lab).items()
    cells = [with_values(e, {x: u, y: v}) for v in ys for u in xs for e in three]
    rows, _ = trained_on(points, *cells)
    means = rows[-1, 1].reshape(len(ys), len(xs), 3).mean(2)
    assert map_of(lab) == pytest.approx(means, rel=0, abs=EXACT)


# One input: the function itself


def assert_fits(lab, training, seeds):
    """The lines are what the networks say, each and their mean, beside the truth."""
    line, true = trace(lab, "fit", "fit"), trace(lab, "true", "fit")
    grid = np.array(line["x"])
    assert len(grid) == 121
    assert true["y"] == pytest.approx(load("wave").truth(grid[:, None]), abs=1e-5)
    each = [predict(training, k, grid[:, None]).numpy() for k in range(seeds)]
    assert line["y"] == pytest.approx(np.mean(each, 0), rel=0, abs=EXACT)
    thin = trace(lab, "draws", "fit")
    assert thin["visible"] is (seeds > 1)
    if seeds > 1:
        y = np.array(thin["y"], float).reshape(seeds, 122)
        assert np.isnan(y[:, -1]).all()
        assert y[:, :-1] == pytest.approx(np.array(each), rel=0, abs=EXACT)
        assert canvas(lab, "fit").locator(".tracedraws path.js-line").count() == seeds


def test_the_fit_of_one_input(open_lab, page):
    lab = open_lab(WAVE, views=("curves", "fit"), seeds=3, l2=LAMS, n_train=(5, 100))
    assert_shows(lab, WAVE, seeds=3)
    runs = draws(WAVE, 3)
    training = Training([run.experiment for run in runs])
    training.state = [run.state for run in runs]
    training.points = training_set(WAVE)
    assert_fits(lab, training, 3)
    dots, train = trace(lab, "points", "fit"), training_set(WAVE)
    assert dots["x"] == pytest.approx(train.X[:, 0].tolist())
    assert dots["y"] == pytest.approx(train.y.tolist())
    book = book_points(WAVE)
    click(page, lab, 0.0, 1.0, "fit")
    points = points_of(page)
    assert points["X"][:-1] == book["X"] and points["y"][:-1] == book["y"]
    assert [points["X"][-1], points["y"][-1]] == pytest.approx([0, 1], abs=0.03)
    members = [run.experiment for run in runs]
    training = assert_learned(lab, points, *members)
    assert_fits(lab, training, 3)
    start = points["X"][3], points["y"][3]
    drag(page, lab, start, (start[0] - 0.5, start[1] + 0.5), "fit")
    finished(lab)
    moved = points_of(page)
    assert moved["X"][3] == pytest.approx(start[0] - 0.5, abs=0.05)
    assert moved["y"][3] == pytest.approx(start[1] + 0.5, abs=0.05)
    assert_fits(lab, assert_learned(lab, moved, *members), 3)
    page.reload()
    lab = page.locator(".lab")
    assert_learned(lab, moved, *members)
    press(lab, "drawn")
    assert_shows(lab, WAVE, seeds=3)


def test_the_fit_of_one_network(open_lab):
    lab = open_lab(WAVE, views=("fit", "curves"), l2=LAMS)
    assert_shows(lab, WAVE)
    training = Training([WAVE])
    training.state, training.points = [draws(WAVE)[0].state], training_set(WAVE)
    assert_fits(lab, training, 1)
