import numpy as np
import pytest

from utils import plots

GRID_1, GRID_2 = np.linspace(-1, 3, 41), np.linspace(-2, 2, 31)
LAMS = [0, 0.5, 1.5]
LOSS = (GRID_1 - 2) ** 2 + (GRID_2[:, None] - 1) ** 2
PATHS = {
    "L1 (lasso)": np.array([[2, 1], [1.75, 0.75], [1.25, 0.25]]),
    "L2 (ridge)": np.array([2, 1]) / (1 + np.array(LAMS)[:, None]),
}


def draw(grid_1=GRID_1, loss=LOSS, paths=None, lams=LAMS, **options):
    paths = paths or PATHS
    return plots.geometry(grid_1, GRID_2, loss, paths, lams, description="d", **options)


def slide(fig, step):
    """Return what the slider's step makes of its traces, {trace: {key: value}}."""
    change, traces = fig.layout.sliders[0].steps[step].args
    return {
        trace: {key: values[i] for key, values in change.items()}
        for i, trace in enumerate(traces)
    }


def kinds(fig, step):
    """Return a step's moves by kind, each a list over panels."""
    moves = {"contour": [], "lines": [], "markers": []}
    for trace, move in slide(fig, step).items():
        drawn = fig.data[trace]
        moves["contour" if drawn.type == "contour" else drawn.mode].append(move)
    return moves


def test_a_step_for_each_strength():
    steps = draw().layout.sliders[0].steps
    assert [step.label for step in steps] == ["0", "0.5", "1.5"]
    assert {step.method for step in steps} == {"restyle"}


@pytest.mark.parametrize("step", range(len(LAMS)))
def test_solutions_move_along_their_paths(step):
    solutions = kinds(draw(), step)["markers"]
    for move, path in zip(solutions, PATHS.values(), strict=True):
        np.testing.assert_allclose([*move["x"], *move["y"]], path[step], rtol=1e-3)


@pytest.mark.parametrize("step", range(len(LAMS)))
def test_level_sets_run_through_the_solutions(step):
    diamond, circle = kinds(draw(), step)["lines"]
    lasso, ridge = (path[step] for path in PATHS.values())
    sums = np.abs(diamond["x"]) + np.abs(diamond["y"])
    np.testing.assert_allclose(sums, np.abs(lasso).sum(), rtol=1e-3)
    assert len(diamond["x"]) == 5
    radii = np.hypot(circle["x"], circle["y"])
    np.testing.assert_allclose(radii, np.hypot(*ridge), rtol=1e-3)


@pytest.mark.parametrize("step", range(len(LAMS)))
def test_the_contour_touched_is_the_loss_at_the_solution(step):
    fig = draw()
    for move, path in zip(kinds(fig, step)["contour"], PATHS.values(), strict=True):
        assert move["contours.start"] == move["contours.end"]
        distance = np.hypot(*(path[step] - [2, 1]))  # contours of the root of the loss
        assert move["contours.start"] == pytest.approx(distance, abs=0.05)


def test_a_step_changes_nothing_that_a_trace_lacks():
    for trace, move in slide(draw(), 1).items():
        drawn = draw().data[trace]
        lacking = ["x", "y"] if drawn.type == "contour" else ["contours.start"]
        assert all(move[key] is None for key in lacking)
        assert all(drawn[key] is None for key in lacking if key in ("x", "y"))


def test_the_picture_shows_the_step_that_the_slider_stands_at():
    fig = draw()
    for trace, move in slide(fig, fig.layout.sliders[0].active).items():
        for key, value in move.items():
            if value is not None:
                shown = fig.data[trace][key]
                assert (list(shown) if key in ("x", "y") else shown) == value


def test_contours_lie_at_the_loss():
    (contour, *_) = (trace for trace in draw().data if trace.type == "contour")
    x = contour.x0 + contour.dx * np.arange(41)
    y = contour.y0 + contour.dy * np.arange(31)
    np.testing.assert_allclose([x[-1], y[-1]], [3, 2], atol=1e-5)
    expected = np.sqrt(LOSS - LOSS.min())
    np.testing.assert_allclose(contour.z, expected, rtol=1e-4, atol=1e-5)


def test_axes_keep_still_and_equal():
    layout = draw().layout
    assert layout.xaxis.range == layout.xaxis2.range == (-1, 3)
    assert layout.yaxis.range == layout.yaxis2.range == (-2, 2)
    assert layout.yaxis.scaleanchor == "x"


def test_panels_are_told_from_the_room_of_the_slider():
    layout = draw().layout
    assert layout.meta["panels"] == 2
    assert 0 < layout.meta["above"] < layout.height / 2


def test_the_slider_reads_in_both_themes():
    slider = draw().layout.sliders[0]
    parts = slider.bgcolor, slider.bordercolor, slider.tickcolor
    assert parts == (plots.NEUTRAL,) * 3
    assert slider.font.color is None, "the page's own"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": LOSS.T}, r"loss must be \[rows, columns\] = \[31, 41\]"),
        ({"lams": [0, 1]}, r"path 'L1 \(lasso\)' must be .* = \[2, 2\], got \[3, 2\]"),
        ({"lams": [0, 2, 1]}, r"lams must ascend from ≥ 0, got \[0, 2, 1\]"),
        ({"lams": [-1, 0, 1]}, "lams must ascend from ≥ 0"),
        ({"grid_1": GRID_1**3}, "grid_1 must be evenly spaced"),
        ({"paths": {"elastic": PATHS["L1 (lasso)"]}}, "got 'elastic'"),
    ],
)
def test_wrong_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        draw(**change)
