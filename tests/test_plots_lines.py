import numpy as np
import pandas as pd
import pytest

from utils import plots


def make_path(weights=9, lams=(0, 0.01, 0.1, 1)):
    rows = [(f"w{j}", lam, j - lam) for j in range(weights) for lam in lams]
    return pd.DataFrame(rows, columns=["weight", "l1", "size"])


def draw(frame, by="weight", **options):
    return plots.lines(frame, "l1", "size", by, description="d", **options)


def drawn(fig):
    """Return the lines by name: not bands, not the key."""
    return {t.name: t for t in fig.data if t.fill is None and t.x != (None,)}


def test_a_line_per_value_needs_no_seed():
    fig = draw(make_path(3))
    assert list(drawn(fig)) == ["w0", "w1", "w2"]
    assert drawn(fig)["w2"].x == (0, 0.01, 0.1, 1)
    np.testing.assert_allclose(drawn(fig)["w2"].y, [2, 1.99, 1.9, 1], rtol=1e-5)
    assert [t.line.color for t in drawn(fig).values()] == list(plots.PALETTE[:3])


def test_rows_are_joined_in_their_order():
    frame = make_path(1)[::-1]
    assert drawn(draw(frame))["w0"].x == (1, 0.1, 0.01, 0)


def test_seeds_become_a_mean_and_a_band():
    frame = pd.concat([make_path(1).assign(seed=0), make_path(1).assign(seed=1)])
    frame.loc[frame["seed"] == 1, "size"] += 2
    fig = draw(frame)
    np.testing.assert_allclose(drawn(fig)["w0"].y, [1, 0.99, 0.9, 0], atol=1e-6)
    (band,) = (trace for trace in fig.data if trace.fill)
    np.testing.assert_allclose(band.y[0] - band.y[-1], 2, rtol=1e-5)


def test_repeated_rows_need_a_seed():
    with pytest.raises(ValueError, match="share a value of 'l1', and none has a seed"):
        draw(pd.concat([make_path(1), make_path(1)]))
    with pytest.raises(ValueError, match="differ in more than 'weight' and the seed"):
        draw(pd.concat([make_path(1).assign(seed=0)] * 2))


def test_highlights_stand_out_of_dozens_of_lines():
    fig = draw(make_path(40), highlight=["w7", "w3"])
    bold = {name for name, t in drawn(fig).items() if t.line.color in plots.PALETTE}
    assert bold == {"w3", "w7"}
    assert len(drawn(fig)) == 40
    widths = {name: t.line.width for name, t in drawn(fig).items()}
    assert widths["w3"] > widths["w4"]
    assert list(drawn(fig))[-2:] == ["w3", "w7"], "drawn last, so on top"


def test_the_legend_names_highlights_and_sums_up_the_others():
    fig = draw(make_path(40), highlight=["w3"])
    shown = [trace.name for trace in fig.data if trace.showlegend is not False]
    assert shown == ["w3", "other weight"]


def test_all_highlighted_leaves_no_others():
    fig = draw(make_path(2), highlight=["w0", "w1"])
    assert [trace.name for trace in fig.data] == ["w0", "w1"]


def test_more_lines_than_colors_need_a_highlight():
    with pytest.raises(ValueError, match="6 colours cannot tell 9 apart"):
        draw(make_path(9))


def test_an_unknown_highlight_is_told():
    with pytest.raises(ValueError, match=r"highlight must be among .*got \['w9'\]"):
        draw(make_path(3), highlight=["w1", "w9"])


@pytest.mark.parametrize(("points", "mode"), [(12, "lines+markers"), (13, "lines")])
def test_few_points_have_markers(points, mode):
    fig = draw(make_path(1, np.linspace(0, 1, points)))
    assert drawn(fig)["w0"].mode == mode


def test_zero_is_seen_on_a_logarithmic_axis():
    fig = draw(make_path(1, [0, *np.geomspace(1e-3, 1, 13)]), log_x=True)
    line = drawn(fig)["w0"]
    left, right, gap, first = line.x[:4]
    assert left < 1e-4 < right and gap is None and first == 1e-3
    assert line.y[:2] == (0, 0)
    assert line.text[:2] == ("λ₁ (L1) = 0", "λ₁ (L1) = 0")


def test_titles_of_axes_may_be_given():
    fig = draw(make_path(2), x_title="strength", y_title="weight", log_x=True)
    assert fig.layout.xaxis.title.text == "strength"
    assert fig.layout.yaxis.title.text == "weight"
    assert drawn(fig)["w0"].text[-1] == "strength = 1.0"


def test_titles_default_to_labels_and_units():
    frame = make_path(2).rename(columns={"size": "val_loss"})
    fig = plots.lines(frame, "l1", "val_loss", "weight", description="d", unit="bits")
    assert fig.layout.xaxis.title.text == "λ₁ (L1)"
    assert fig.layout.yaxis.title.text == "validation loss (bits)"


def test_log_y_refuses_zero():
    assert draw(make_path(3).query("size > 0"), log_y=True).layout.yaxis.type == "log"
    with pytest.raises(ValueError, match="size on a logarithmic axis must be > 0"):
        draw(make_path(3), log_y=True)
