from itertools import product

import numpy as np
import pandas as pd
import pytest

from utils import plots

GRID = (1e-2, 0, 3e-4, 1e-3)  # out of order: the axis sorts


def make_grid(levels=GRID, methods=("sgd",), seeds=2):
    rows = list(product(methods, levels, levels, range(seeds)))
    frame = pd.DataFrame(rows, columns=["optimizer", "l1", "l2", "seed"])
    frame["val_loss"] = 1 + frame["l1"] - 10 * frame["l2"] + frame["seed"]
    return frame


def draw(frame, value="val_loss", **options):
    return plots.heatmap(frame, "l1", "l2", value, description="d", **options)


def cells(fig):
    return [trace for trace in fig.data if trace.type == "heatmap"]


def corners(fig):
    return {(s.x0, s.x1, s.y0, s.y1) for s in fig.layout.shapes}


def test_cells_are_means_over_seeds():
    (cell,) = cells(draw(make_grid()))
    lams = sorted(GRID)
    expected = [[1.5 + l1 - 10 * l2 for l1 in lams] for l2 in lams]
    np.testing.assert_allclose(cell.z, expected, rtol=1e-5)


def test_strengths_are_categories_in_order():
    fig = draw(make_grid())
    (cell,) = cells(fig)
    assert cell.x == cell.y == ("0", "3·10⁻⁴", "10⁻³", "10⁻²")
    assert fig.layout.xaxis.type == fig.layout.yaxis.type == "category"
    assert fig.layout.xaxis.title.text == "λ₁ (L1)"
    assert fig.layout.yaxis.title.text == "λ₂ (L2)"


def test_other_knobs_are_named_as_they_are():
    frame = make_grid().rename(columns={"l1": "dropout"})
    frame["patience"] = frame["l2"].map(dict(zip(GRID, [None, 5, 10, 2], strict=True)))
    fig = plots.heatmap(frame, "dropout", "patience", "val_loss", description="d")
    (cell,) = cells(fig)
    assert cell.x == ("0", "0.0003", "0.001", "0.01")
    assert cell.y == ("2", "5", "10", "none")
    first = frame[frame["patience"].isna() & (frame["dropout"] == 0)]["val_loss"].mean()
    assert cell.z[3][0] == pytest.approx(first, rel=1e-5)


@pytest.mark.parametrize(("mark", "cell"), [("min", (0, 3)), ("max", (3, 0))])
def test_the_best_cell_is_outlined(mark, cell):
    column, row = cell
    box = column - 0.5, column + 0.5, row - 0.5, row + 0.5
    assert corners(draw(make_grid(), mark=mark)) == {box}


def test_no_mark_no_outline():
    assert corners(draw(make_grid(), mark=None)) == set()


def test_an_unknown_mark_is_told():
    with pytest.raises(ValueError, match=r"mark must be .*, got 'best'"):
        draw(make_grid(), mark="best")


def test_a_cell_with_a_diverged_run_is_empty_and_never_best():
    frame = make_grid()
    worst = (frame["l1"] == 0) & (frame["l2"] == 1e-2) & (frame["seed"] == 0)
    frame.loc[worst, "val_loss"] = -np.inf
    fig = draw(frame)
    assert cells(fig)[0].z[3][0] is None
    assert corners(fig) == {(0.5, 1.5, 2.5, 3.5)}


def test_a_missing_cell_is_empty():
    frame = make_grid().query("l1 != 0 or l2 != 0")
    assert cells(draw(frame))[0].z[0][0] is None


def test_nothing_but_diverged_runs_has_no_best():
    assert corners(draw(make_grid().assign(val_loss=np.nan))) == set()


def test_panels_share_one_scale_and_have_a_best_each():
    frame = make_grid(methods=("sgd", "adam"))
    frame.loc[frame["optimizer"] == "adam", "val_loss"] *= -1
    fig = draw(frame, by="optimizer")
    assert [cell.coloraxis for cell in cells(fig)] == ["coloraxis"] * 2
    assert [note.text for note in fig.layout.annotations] == ["sgd", "adam"]
    best = {(s.xref, s.x0, s.y0) for s in fig.layout.shapes}
    assert best == {("x", -0.5, 2.5), ("x2", 2.5, -0.5)}


def test_values_are_written_into_few_cells_only():
    few, many = make_grid(np.arange(7) / 10), make_grid(np.arange(8) / 10)
    assert cells(draw(few))[0].texttemplate == "%{z:.3g}"
    assert cells(draw(many))[0].texttemplate is None


def test_shares_read_in_per_cent():
    frame = make_grid().rename(columns={"val_loss": "val_accuracy"})
    fig = draw(frame, "val_accuracy", mark="max")
    assert cells(fig)[0].texttemplate == "%{z:.1%}"
    assert fig.layout.coloraxis.colorbar.tickformat == ".0%"


def test_hover_tells_both_knobs_and_the_value():
    template = cells(draw(make_grid()))[0].hovertemplate
    for part in ("λ₁ (L1): %{x}", "λ₂ (L2): %{y}", "validation loss: %{z"):
        assert part in template


def test_the_scale_names_its_unit():
    fig = draw(make_grid(), unit="mean squared error")
    title = fig.layout.coloraxis.colorbar.title.text
    assert title == "validation loss<br>(mean squared error)"


def luminance(rgb):
    """Relative luminance of an sRGB colour, WCAG 2.1."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_print_reads_on_every_color_and_order_shows_as_lightness():
    fig = draw(make_grid())
    ends = [color for _, color in fig.layout.coloraxis.colorscale]
    ends = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in ends]
    between = np.linspace(0, 1, 33)[:, None]
    light = luminance((1 - between) * ends[0] + between * ends[1])
    assert cells(fig)[0].textfont.color == "black"
    assert (light + 0.05).min() / 0.05 > 4.5
    assert (np.diff(light) > 0).all()


def test_runs_that_differ_in_a_hidden_knob_are_refused():
    with pytest.raises(ValueError, match=r"more than \['l1', 'l2'\] and the seed"):
        draw(make_grid(methods=("sgd", "adam")))


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"\['seed'\] are missing"):
        draw(make_grid().drop(columns="seed"))
