import json

import numpy as np
import pandas as pd
import pytest

from utils import plots

EPOCHS = range(1, 6)
SEEDS = range(3)


def make_frame(methods=("none", "L2")):
    rng = np.random.default_rng(0)
    rows = [(m, s, e) for m in methods for s in SEEDS for e in EPOCHS]
    frame = pd.DataFrame(rows, columns=["name", "seed", "epoch"])
    for value in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
        frame[value] = rng.random(len(frame))
    return frame


def make_sweep(strengths=(0, 1e-4, 1e-2)):
    rows = [(lam, seed, lam + seed) for lam in strengths for seed in SEEDS]
    return pd.DataFrame(rows, columns=["l2", "seed", "val_loss"])


@pytest.fixture
def frame():
    return make_frame()


def lines(fig):
    """Return the traces that show means: not bands, not the key."""
    return [t for t in fig.data if t.fill is None and t.x != (None,)]


def bundle(fig):
    return plots.BookRenderer().to_mimebundle(fig.to_dict())


def test_curves_show_the_mean_over_seeds(frame):
    fig = plots.curves(frame, "name", ("val_loss",), description="d")
    mean = frame[frame["name"] == "L2"].groupby("epoch")["val_loss"].mean()
    drawn = next(trace for trace in lines(fig) if trace.name == "L2")
    assert list(drawn.x) == list(EPOCHS)
    np.testing.assert_allclose(drawn.y, mean, rtol=1e-5)


def test_band_spans_the_seeds(frame):
    one = frame[frame["name"] == "L2"]
    fig = plots.curves(one, values=("val_loss",), description="d")
    (band,) = (trace for trace in fig.data if trace.fill == "toself")
    over = one.groupby("epoch")["val_loss"]
    np.testing.assert_allclose(band.y[:5], over.max(), rtol=1e-5)
    np.testing.assert_allclose(band.y[5:], over.min()[::-1], rtol=1e-5)


def test_one_seed_has_no_band(frame):
    fig = plots.curves(frame[frame["seed"] == 0], "name", description="d")
    assert all(trace.fill is None for trace in fig.data)


def test_color_is_the_method_and_dots_are_training(frame):
    fig = plots.curves(frame, "name", description="d")
    style = {(t.name, t.line.dash): t.line.color for t in lines(fig)}
    blue, orange = plots.PALETTE[:2]
    assert style == {
        ("none", "dot"): blue,
        ("none", "solid"): blue,
        ("L2", "dot"): orange,
        ("L2", "solid"): orange,
    }


def test_legend_names_each_method_once_and_explains_the_dashes(frame):
    fig = plots.curves(frame, "name", description="d")
    shown = [trace.name for trace in fig.data if trace.showlegend is not False]
    assert shown == ["none", "L2", "training", "validation"]


def test_a_knob_that_is_off_is_a_method_too(frame):
    frame["patience"] = frame["name"].map({"none": None, "L2": 5})
    fig = plots.curves(frame, "patience", ("val_loss",), description="d")
    assert [line.name for line in lines(fig)] == ["patience: none", "patience = 5"]


def test_losses_have_units(frame):
    fig = plots.curves(frame, "name", description="d")
    assert fig.layout.yaxis.title.text == "loss (nats per example)"
    assert fig.layout.xaxis.title.text == "epoch"


def test_curves_do_not_mix_runs_that_differ_in_a_hidden_knob(frame):
    with pytest.raises(ValueError, match="differ in more than None and the seed"):
        plots.curves(frame, description="d")


def test_more_methods_than_colors_are_refused():
    with pytest.raises(ValueError, match="6 colours cannot tell 7 apart"):
        plots.curves(make_frame("abcdefg"), "name", description="d")


def test_missing_columns_are_named(frame):
    with pytest.raises(ValueError, match=r"\['dropout'\] are missing"):
        plots.curves(frame, "dropout", description="d")


@pytest.mark.parametrize("description", ["", "  ", None])
def test_description_is_required(frame, description):
    with pytest.raises(ValueError, match="description must say"):
        plots.curves(frame, "name", description=description)


def test_sweep_puts_zero_at_the_left_end_of_a_log_axis():
    fig = plots.sweep(make_sweep(), "l2", ("val_loss",), description="d")
    (line,) = lines(fig)
    assert line.x == (1e-5, None, 1e-4, 1e-2)
    assert fig.layout.xaxis.type == "log"
    ticks = dict(zip(fig.layout.xaxis.tickvals, fig.layout.xaxis.ticktext, strict=True))
    assert ticks == {1e-5: "0", 1e-4: "10⁻⁴", 1e-3: "10⁻³", 1e-2: "10⁻²"}


def test_sweep_tells_the_true_strength_on_hover():
    fig = plots.sweep(make_sweep(), "l2", ("val_loss",), description="d")
    assert lines(fig)[0].text[0] == "λ₂ (L2) = 0"


def test_sweep_is_linear_for_probabilities():
    summary = make_sweep((0, 0.5)).rename(columns={"l2": "dropout"})
    fig = plots.sweep(summary, "dropout", ("val_loss",), description="d")
    assert fig.layout.xaxis.type is None
    assert lines(fig)[0].x == (0, 0.5)


@pytest.mark.parametrize("strengths", [(-1e-3, 1e-3), (0,)])
def test_log_sweep_needs_positive_strengths(strengths):
    with pytest.raises(ValueError, match="l2 on a logarithmic axis"):
        plots.sweep(make_sweep(strengths), "l2", ("val_loss",), description="d")


def test_points_show_each_seed_and_their_mean(frame):
    last = frame[frame["epoch"] == 5]
    fig = plots.points(last, "name", "val_accuracy", baseline="none", description="d")
    seeds, mean = (t for t in fig.data if t.name == "L2")
    expected = last[last["name"] == "L2"]["val_accuracy"]
    np.testing.assert_allclose(seeds.x, expected, rtol=1e-5)
    np.testing.assert_allclose(mean.x, expected.mean(), rtol=1e-5)


def test_points_mark_the_mean_of_the_baseline(frame):
    fig = plots.points(frame, "name", "val_loss", baseline="none", description="d")
    mean = frame[frame["name"] == "none"]["val_loss"].mean()
    assert fig.layout.shapes[0].x0 == pytest.approx(mean, rel=1e-5)


def test_points_refuse_an_unknown_baseline(frame):
    with pytest.raises(ValueError, match="got 'dropout'"):
        plots.points(frame, "name", "val_loss", baseline="dropout", description="d")


def draw_regions(probability):
    X = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 1.0]])
    grid = np.linspace(0, 2, 4), np.linspace(0, 1, 3)
    return plots.regions(*grid, probability, X, np.array([0, 1, 1]), description="d")


def test_regions_share_one_color_scale():
    fig = draw_regions({"a": np.zeros((3, 4)), "b": np.ones((3, 4))})
    planes = [trace for trace in fig.data if trace.type == "contour"]
    assert [plane.coloraxis for plane in planes] == ["coloraxis", "coloraxis"]
    assert (fig.layout.coloraxis.cmin, fig.layout.coloraxis.cmax) == (0, 1)
    assert [note.text for note in fig.layout.annotations] == ["a", "b"]


def test_regions_tell_classes_apart_by_more_than_color():
    fig = draw_regions(np.zeros((3, 4)))
    classes = {t.name: (len(t.x), t.marker.symbol) for t in fig.data if t.name}
    assert classes == {"class 0": (1, "circle"), "class 1": (2, "diamond")}


def test_regions_refuse_a_transposed_grid():
    with pytest.raises(ValueError, match=r"= \[3, 4\], got \[4, 3\]"):
        draw_regions(np.zeros((4, 3)))


def test_histogram_counts_exact_zeros_apart():
    weights = np.array([0.0, 0.0, -0.0, 1e-12, 1.0])
    fig = plots.histogram({"L1": weights}, description="d")
    assert fig.layout.annotations[0].text == "L1<br>exactly 0: 3 of 5 (60.0%)"
    assert sum(fig.data[0].y) == 2


def test_histogram_of_nothing_but_zeros():
    fig = plots.histogram({"L1": np.zeros((2, 2))}, description="d")
    assert sum(fig.data[0].y) == 0


def test_mistakes_are_marked_by_more_than_color():
    fig = plots.images(np.zeros((2, 8, 8)), [3, 4], [3, 9], description="d")
    texts = [note.text for note in fig.layout.annotations]
    assert texts == ["3", "<b>4 → 9 ✗</b>"]


def test_images_and_labels_must_match():
    with pytest.raises(ValueError, match=r"\(2, 1, 1\)"):
        plots.images(np.zeros((2, 8, 8)), [3], description="d")


def test_notebook_stores_the_figure_and_its_description(frame):
    stored = bundle(plots.curves(frame, "name", description="Loss falls."))
    assert set(stored) == {plots.MIME, "text/plain"}
    assert stored["text/plain"] == "Loss falls."
    assert stored[plots.MIME]["layout"]["meta"]["description"] == "Loss falls."


def test_stored_numbers_are_short_lists(frame):
    stored = bundle(plots.curves(frame, "name", description="d"))[plots.MIME]
    y = stored["data"][1]["y"]
    assert y == [float(f"{value:.6g}") for value in y]
    assert "bdata" not in json.dumps(stored)


def test_diverged_losses_are_stored_as_gaps(frame):
    frame.loc[frame["epoch"] == 5, "val_loss"] = np.nan
    stored = bundle(plots.curves(frame, "name", ("val_loss",), description="d"))
    assert stored[plots.MIME]["data"][1]["y"][-1] is None


def test_template_is_small():
    assert len(json.dumps(plots.TEMPLATE.to_plotly_json())) < 1024


def test_regression_has_its_own_unit(frame):
    unit = plots.UNITS["regression"]
    fig = plots.curves(frame, "name", description="d", unit=unit)
    assert fig.layout.yaxis.title.text == "loss (mean squared error)"
    fig = plots.points(frame, "name", "val_loss", description="d", unit=unit)
    assert fig.layout.xaxis.title.text == "validation loss (mean squared error)"
    fig = plots.sweep(make_sweep(), "l2", ("val_loss",), description="d", unit=unit)
    assert fig.layout.yaxis.title.text == "validation loss (mean squared error)"


def test_r2_has_neither_unit_nor_per_cent(frame):
    frame = frame.rename(
        columns={"train_accuracy": "train_r2", "val_accuracy": "val_r2"}
    )
    fig = plots.curves(frame, "name", ("train_r2", "val_r2"), description="d")
    assert fig.layout.yaxis.title.text == "R²"
    assert fig.layout.yaxis.tickformat is None
    shown = [trace.name for trace in fig.data if trace.showlegend is not False]
    assert shown == ["none", "L2", "training", "validation"]


def test_labels_follow_the_task():
    labels = plots.labels_for("regression")
    assert labels["val_accuracy"] == "validation R²"
    assert labels["train_loss"] == "training mean squared error"
    assert labels["lr"] == plots.LABELS["lr"]
    assert plots.labels_for("binary") == plots.LABELS
    with pytest.raises(ValueError, match=r"task must be .* got 'ranking'"):
        plots.labels_for("ranking")


MARKS = {"early": 2, "a little later": 2, "middle": 3, "late": 5}


def test_marks_are_lines_at_their_epochs(frame):
    fig = plots.curves(frame, "name", description="d", marks=MARKS)
    assert sorted(shape.x0 for shape in fig.layout.shapes) == [2, 2, 3, 5]
    assert all(shape.x0 == shape.x1 for shape in fig.layout.shapes)
    assert {note.text: note.x for note in fig.layout.annotations} == MARKS


def test_labels_of_marks_have_rows_of_their_own_below_the_title(frame):
    fig = plots.curves(frame, "name", description="d", title="t", marks=MARKS)
    rises = sorted(-note.ay for note in fig.layout.annotations)
    assert np.diff(rises).min() > plots.TEMPLATE.layout.font.size
    assert rises[-1] + plots.TEMPLATE.layout.font.size / 2 < fig.layout.margin.t
    assert fig.layout.title.pad.b == fig.layout.margin.t


def test_labels_of_marks_lean_inwards_and_leave_other_stalks_alone(frame):
    marks = {"a": 1, "b": 2, "c": 4, "d": 5}
    fig = plots.curves(frame, "name", description="d", marks=marks)
    notes = {note.text: (note.xanchor, -note.ay) for note in fig.layout.annotations}
    assert [notes[text][0] for text in "abcd"] == ["left", "left", "right", "right"]
    assert notes["a"][1] > notes["b"][1]
    assert notes["d"][1] > notes["c"][1]


@pytest.mark.parametrize("epoch", [0, 6])
def test_a_mark_must_be_an_epoch_of_the_curves(frame, epoch):
    with pytest.raises(ValueError, match=f"mark 'end' must be in 1–5, got {epoch}"):
        plots.curves(frame, "name", description="d", marks={"end": epoch})


def test_without_marks_nothing_is_reserved(frame):
    fig = plots.curves(frame, "name", description="d", title="t")
    assert fig.layout.margin.t is None and not fig.layout.shapes
