"""Labs of several draws, beside a baseline, and over one knob or two, in Chromium.

Every mean and every cell must be that of `fit`.
"""

import numpy as np
import pytest
from playwright.sync_api import expect

import tests.test_page_lab as page_lab
from tests.test_page_lab import (
    CURVES,
    EXACT,
    LAMS,
    MINUTE,
    MOONS,
    RATES,
    SMALL,
    assert_numbers,
    assert_shows,
    canvas,
    draws,
    ends,
    finished,
    output,
    pixel,
    press,
    put,
    reference_of,
    trace,
    type_in,
    value_of,
)
from utils import fit
from utils.settings import with_values

base_url, site = page_lab.base_url, page_lab.site  # fixtures
open_page, open_lab = page_lab.open_page, page_lab.open_lab

FIVE = MOONS.replace(epochs=10)

# Counts what the page asks of its workers.
COUNT = """window.asked = {};
const Real = Worker;
window.Worker = class extends Real {
  postMessage(message, ...rest) {
    asked[message.type] = (asked[message.type] ?? 0) + 1;
    super.postMessage(message, ...rest);
  }
};"""


# Several draws


def spreads(experiment, seeds, metric):
    return np.std([run.history[metric] for run in draws(experiment, seeds)], 0, ddof=1)


def test_five_draws_are_shown_by_their_mean_and_a_band(open_lab):
    lab = open_lab(FIVE, views=("curves", "regions"), seeds=5, dropout=RATES)
    assert_shows(lab, FIVE, seeds=5)
    type_in(lab, "dropout-value", "0.3")
    wanted = FIVE.replace(dropout=0.3)
    assert_shows(lab, wanted, seeds=5)
    means = reference_of(draws(wanted, 5))
    for part in ("train", "val"):
        spread = spreads(wanted, 5, f"{part}_loss")
        for edge, sign in (("low", -1), ("high", 1)):
            band = trace(lab, f"band_{part}_{edge}")
            line = means[f"{part}_loss"] + sign * spread
            assert band["visible"] is True
            assert band["y"] == pytest.approx(line, rel=0, abs=EXACT)
        fill = canvas(lab, "curves").locator(".fills .js-fill").first
        expect(fill).to_be_attached()
    press(lab, "draw")
    expect(lab.locator("input[name=seed]")).to_have_value("5")
    assert_shows(lab, wanted.replace(seed=5), seeds=5)
    expect(output(lab, "message")).to_contain_text("5 draws")


def test_draws_that_stop_early_count_with_what_they_keep(open_lab):
    base = MOONS.replace(patience=2, epochs=40, n_train=30, label_noise=0.4)
    runs = draws(base, 3)
    lengths = {len(run.history["val_loss"]) for run in runs}
    assert len(lengths) > 1 and min(lengths) < 40
    lab = open_lab(base, views=CURVES, seeds=3, l2=LAMS)
    assert_shows(lab, base, seeds=3)
    epoch = float(output(lab, "epoch").inner_text())
    assert epoch == pytest.approx(np.mean([run.epoch for run in runs]), abs=0.051)


def assert_difference(lab, mine, other, seeds=5):
    """The paired difference, its standard error and its sign count; returns all."""
    pairs = zip(draws(mine, seeds), draws(other, seeds), strict=True)
    apart = [
        a.at_kept_epoch()["val_loss"] - b.at_kept_epoch()["val_loss"] for a, b in pairs
    ]
    mean, error = np.mean(apart), np.std(apart, ddof=1) / seeds**0.5
    better = sum(d < 0 for d in apart)
    sign = "−" if mean < 0 else "+"
    expect(output(lab, "difference")).to_have_text(
        f"{sign}{abs(mean):.4f} ± {error:.4f}, lower on {better} of {seeds} draws"
    )
    return apart, mean, error


def test_beside_a_baseline(open_lab):
    lab = open_lab(
        FIVE, views=("curves", "pairs"), seeds=5, against=FIVE, dropout=RATES,
        label_noise=(0, 0.5),
    )  # fmt: skip
    finished(lab)
    type_in(lab, "dropout-value", "0.4")
    assert_shows(lab, FIVE.replace(dropout=0.4), seeds=5)
    assert_difference(lab, FIVE.replace(dropout=0.4), FIVE)
    type_in(lab, "label_noise-value", "0.3")  # the baseline's too
    other = FIVE.replace(label_noise=0.3)
    mine = other.replace(dropout=0.4)
    assert_shows(lab, mine, seeds=5)
    apart, mean, error = assert_difference(lab, mine, other)
    line = trace(lab, "against_val")
    wanted = reference_of(draws(other, 5))["val_loss"]
    assert line["y"] == pytest.approx(wanted, rel=0, abs=EXACT)
    high = trace(lab, "against_high")["y"]
    spread = spreads(other, 5, "val_loss")
    assert high == pytest.approx(wanted + spread, rel=0, abs=EXACT)
    dots, center = (trace(lab, uid, "pairs") for uid in ("draws", "mean"))
    assert dots["x"] == pytest.approx(apart, rel=0, abs=EXACT)
    assert center["x"] == pytest.approx([mean], rel=0, abs=EXACT)
    assert center["error_x"]["array"] == pytest.approx([error], rel=0, abs=EXACT)
    assert canvas(lab, "pairs").locator(".points .point").count() == 6
    expect(output(lab, "message")).to_contain_text("lower on")


def test_a_baseline_of_one_draw_and_of_another_network(open_lab):
    other = SMALL.replace(hidden=(3,), epochs=2)
    lab = open_lab(SMALL, views=CURVES, against=other, n_train=(20, 100))
    type_in(lab, "n_train-value", "70")
    mine, other = SMALL.replace(n_train=70), other.replace(n_train=70)
    finished(lab)
    assert_numbers(lab, ends(draws(mine)))
    line = trace(lab, "against_val")
    history = draws(other)[0].history["val_loss"]
    wanted = history + [history[-1]] * (SMALL.epochs - len(history))
    assert line["y"] == pytest.approx(wanted[: len(line["y"])], rel=0, abs=EXACT)


# Over one knob


def means_over(base, cells, seeds):
    """[cells] records: means over seeds, as fit().summary() has them."""
    members = [
        with_values(base, cell).replace(seed=base.seed + k)
        for cell in cells
        for k in range(seeds)
    ]
    table = fit(members).summary()[["train_loss", "val_loss", "val_accuracy"]]
    split = table.to_numpy().reshape(len(cells), seeds, 3)
    return split.mean(1), split[:, :, 1].std(1, ddof=1) / seeds**0.5


def assert_path(lab, base, seeds=3):
    """The curve's means and its band are those of `fit`; returns [cells] records."""
    filled(lab, seeds)
    ((name, values),) = over_of(lab).items()
    means, errors = means_over(base, [{name: value} for value in values], seeds)
    wanted = {"your_train": means[:, 0], "your_val": means[:, 1]}
    wanted["band_val_low"] = means[:, 1] - errors
    wanted["band_val_high"] = means[:, 1] + errors
    for uid, line in wanted.items():
        found = trace(lab, uid, "path")
        assert found["visible"] is True
        assert found["y"] == pytest.approx(line, rel=0, abs=EXACT), uid
    return means


def assert_stands_at(lab, record):
    train, val, accuracy = record
    expect(output(lab, "val_loss")).to_have_text(f"{val:.4f}")
    wanted = {"train_loss": train, "val_loss": val, "val_accuracy": accuracy}
    assert_numbers(lab, wanted | {"gap": val - train})


def test_a_curve_over_a_knob_moves_at_each_move(open_lab, page):
    page.add_init_script(COUNT)
    base = SMALL.replace(epochs=3)
    lab = open_lab(base, over={"l2": 25}, seeds=3, n_train=(20, 1000), l2=(1e-6, 1))
    finished(lab)
    lams = over_of(lab)["l2"]
    assert len(lams) == 25 and lams[0] == 0
    for n in (40, 200):
        type_in(lab, "n_train-value", str(n))
        finished(lab)
        means = assert_path(lab, base.replace(n_train=n))
    expect(output(lab, "map")).to_contain_text("75 networks")
    before = page.evaluate("() => ({...asked})")
    type_in(lab, "l2-value", str(lams[20]))  # the mark moves, nothing trains
    places = canvas(lab, "path").evaluate("({layout}) => layout.meta.x")
    page.wait_for_function(
        "x => document.querySelector('[data-view=path]').layout.shapes[0].x0 === x",
        arg=places[20],
    )
    assert_stands_at(lab, means[20])
    assert page.evaluate("() => ({...asked})") == before
    line = canvas(lab, "path").locator(".shapelayer path").first.bounding_box()
    dots = canvas(lab, "path").locator(".trace path.point").all()
    centers = [b["x"] + b["width"] / 2 for b in (dot.bounding_box() for dot in dots)]
    assert min(abs(line["x"] + line["width"] / 2 - x) for x in centers) < 1.5
    lab.get_by_text("The curve as a table").click()
    lab.locator(".lab-cells button").nth(5).click()
    assert value_of(lab, "l2") == pytest.approx(lams[5], rel=1e-5)
    assert_stands_at(lab, means[5])
    assert page.evaluate("() => ({...asked})") == before


def test_a_drawn_curve_rests(open_lab, page):
    lab = open_lab(SMALL, over={"l2": [0.0, 0.01, 0.1]}, l2=LAMS)
    finished(lab)
    page.wait_for_timeout(500)
    canvas(lab, "path").evaluate(
        "c => { window.drawn = 0; c.on('plotly_afterplot', () => { drawn += 1; }); }"
    )
    page.wait_for_timeout(700)
    assert page.evaluate("drawn") == 0


def test_the_former_curve_stays_until_the_next_comes(open_lab, page):
    base = SMALL.replace(epochs=100)
    lab = open_lab(base, over={"l2": 20}, l2=(1e-6, 1), n_train=(20, 1000))
    finished(lab)
    canvas(lab, "path").evaluate(
        """canvas => {
          window.lengths = [];
          const line = () => canvas.data.find(({ uid }) => uid === "your_val");
          canvas.on("plotly_afterplot", () => lengths.push(line().x.length));
          const look = () => (window.dimmed ||= canvas.classList.contains("lab-stale"));
          new MutationObserver(look).observe(canvas, { attributes: true });
        }"""
    )
    type_in(lab, "n_train-value", "1000")
    page.wait_for_function("window.dimmed")
    finished(lab)
    assert_path(lab, base.replace(n_train=1000))
    assert 0 < min(page.evaluate("lengths")) < max(page.evaluate("lengths")) == 20


def test_many_moves_end_with_the_curve_of_the_last(open_lab):
    lams = [0.0, 0.001, 0.01, 0.1]
    lab = open_lab(SMALL, over={"l2": lams}, n_train=(20, 1000))
    for position in (3, 9, 1, 12, 5, 17):
        put(lab, "n_train", position)
    n = int(value_of(lab, "n_train"))
    finished(lab)
    assert_path(lab, SMALL.replace(n_train=n))


def test_a_curve_and_the_run_on_it(open_lab):
    lams = [0.0, 0.001, 0.01, 0.1]
    lab = open_lab(
        SMALL, over={"l2": lams}, views=("path", "curves"), l2=LAMS, dropout=RATES
    )
    finished(lab)
    type_in(lab, "l2-value", "0.01")
    type_in(lab, "dropout-value", "0.5")
    assert_shows(lab, SMALL.replace(l2=0.01, dropout=0.5))
    filled(lab)
    assert_path(lab, SMALL.replace(dropout=0.5))


# Over two knobs


def over_of(lab):
    script = "s => JSON.parse(s.textContent).over"
    return lab.locator("script.lab-data").evaluate(script)


def filled(lab, seeds=3):
    expect(output(lab, "map")).to_contain_text(f"mean of {seeds} seeds", timeout=MINUTE)


def map_of(lab):
    return np.array(trace(lab, "cells", "map")["z"], float)


def assert_map(lab, base, seeds=3):
    filled(lab, seeds)
    (x, xs), (y, ys) = over_of(lab).items()
    means, _ = means_over(base, [{y: v, x: u} for v in ys for u in xs], seeds)
    wanted = means[:, 1].reshape(len(ys), len(xs))
    assert map_of(lab) == pytest.approx(wanted, rel=0, abs=EXACT)


GRID = {"lr": [0.001, 0.01, 0.1], "n_train": [20, 60, 180]}


def test_a_map_that_is_asked_for_leads_to_its_settings(open_lab):
    lab = open_lab(SMALL, l2=(1e-4, 0.1), dropout=RATES)
    finished(lab)
    assert list(over_of(lab)) == ["dropout", "l2"]
    expect(canvas(lab, "map")).to_be_hidden()
    press(lab, "fill")
    assert_map(lab, SMALL)
    expect(output(lab, "map")).to_contain_text("by WebAssembly")
    lab.get_by_text("The map as a table").click()
    rows = lab.locator(".lab-cells tr").all()
    assert len(rows) == 9
    cell = rows[3].locator("button").nth(2)
    lam, p = over_of(lab)["l2"][2], over_of(lab)["dropout"][2]
    assert cell.inner_text() == f"{map_of(lab)[2, 2]:.3f}"
    cell.click()
    assert value_of(lab, "l2") == pytest.approx(lam)
    assert value_of(lab, "dropout") == pytest.approx(p)
    assert_shows(lab, SMALL.replace(l2=lam, dropout=p))
    expect(canvas(lab, "map")).not_to_have_class("lab-stale")
    assert_map(lab, SMALL)


def test_a_click_on_a_cell_moves_the_sliders(open_lab, page):
    lab = open_lab(SMALL, l2=(1e-4, 0.1), dropout=RATES)
    finished(lab)
    press(lab, "fill")
    filled(lab)
    x, y = pixel(lab, "map", 4, 6)
    page.mouse.move(x, y)
    page.wait_for_timeout(100)  # Plotly looks where the pointer is every 50 ms
    page.mouse.click(x, y)
    lam, p = over_of(lab)["l2"][6], over_of(lab)["dropout"][4]
    expect(lab.locator("input[name=dropout]")).to_have_attribute(
        "aria-valuetext", f"{p:g}"
    )
    assert value_of(lab, "l2") == pytest.approx(lam)
    assert_shows(lab, SMALL.replace(l2=lam, dropout=p))


def test_a_map_marks_its_lowest_cell_and_that_of_the_sliders(open_lab):
    lab = open_lab(SMALL.replace(lr=0.01, n_train=60), over=GRID, dropout=RATES)
    filled(lab)
    finished(lab)
    row, column = np.unravel_index(np.argmin(map_of(lab)), map_of(lab).shape)
    frame = ["rect", column - 0.5, column + 0.5, row - 0.5, row + 0.5]
    lines = [["line", 1, 1, -0.5, 2.5], ["line", -0.5, 2.5, 1, 1]]
    shapes = """({ layout }) => layout.shapes.map(
      ({ type, x0, x1, y0, y1, xref, yref, line }) =>
        [[type, x0, x1, y0, y1], xref, yref, line.color])"""
    found = canvas(lab, "map").evaluate(shapes)
    assert found == [
        [shape, "x", "y", color]
        for color, *those in (
            ("black", frame), ("white", frame), ("white", *lines), ("black", *lines)
        )
        for shape in those
    ]  # fmt: skip


def test_another_map_live_at_each_move(open_lab):
    lab = open_lab(SMALL, over=GRID, dropout=RATES)
    assert_map(lab, SMALL)
    type_in(lab, "dropout-value", "0.5")
    finished(lab)
    assert_map(lab, SMALL.replace(dropout=0.5))


def test_a_map_stopped_and_filled_again_at_once_has_the_right_cells(open_lab):
    base = SMALL.replace(epochs=20, n_train=200)
    lab = open_lab(base, l2=(1e-4, 0.1), dropout=RATES)
    finished(lab)
    press(lab, "fill")
    expect(output(lab, "map")).to_contain_text("of 168 networks", timeout=MINUTE)
    lab.locator("button[name=fill]").evaluate(
        "button => { button.click(); button.click(); }"
    )
    expect(lab.locator("button[name=fill]")).to_have_text("Stop")
    assert_map(lab, base)


def test_a_map_that_is_stopped_says_so_and_is_filled_again(open_lab):
    base = SMALL.replace(epochs=100, n_train=200)
    lab = open_lab(base, l2=(1e-4, 0.1), dropout=RATES)
    finished(lab)
    press(lab, "fill")
    expect(output(lab, "map")).to_contain_text("of 168 networks", timeout=MINUTE)
    press(lab, "fill")
    expect(output(lab, "map")).to_contain_text("not all were trained")
    expect(lab.locator("button[name=fill]")).to_contain_text("again")
    type_in(lab, "dropout-value", "0.2")
    finished(lab)
    still = map_of(lab)
    lab.page.wait_for_timeout(300)
    assert np.array_equal(map_of(lab), still, equal_nan=True)
    assert np.isnan(still).any()


def stale(lab, view="map"):
    return "lab-stale" in (canvas(lab, view).get_attribute("class") or "")


def test_a_map_of_other_settings_is_dimmed(open_lab):
    lab = open_lab(SMALL, l2=(1e-4, 0.1), dropout=RATES, n_train=(20, 100))
    finished(lab)
    press(lab, "fill")
    assert_map(lab, SMALL)
    type_in(lab, "dropout-value", "0.2")  # on the map
    finished(lab)
    assert not stale(lab)
    type_in(lab, "n_train-value", "77")
    finished(lab)
    assert stale(lab)
    type_in(lab, "n_train-value", "40")
    finished(lab)
    assert not stale(lab)
    type_in(lab, "n_train-value", "77")
    press(lab, "fill")
    assert_map(lab, SMALL.replace(n_train=77))
    assert not stale(lab)


def test_a_map_that_is_being_filled_is_dimmed_when_another_knob_moves(open_lab):
    base = SMALL.replace(epochs=60, n_train=200)
    lab = open_lab(base, l2=(1e-4, 0.1), dropout=RATES, batch_size=(16, 64))
    finished(lab)
    press(lab, "fill")
    expect(output(lab, "map")).to_contain_text("of 168 networks", timeout=MINUTE)
    type_in(lab, "batch_size-value", "50")
    filled(lab)
    assert_map(lab, base)
    assert stale(lab)
