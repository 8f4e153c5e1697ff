"""The geometry of a penalty on two weights.

The picture is that of Hastie, Tibshirani & Friedman, "The Elements of Statistical
Learning" (2009), figure 3.11; here λ moves.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from utils.plots.checks import need_shape
from utils.plots.labels import scientific
from utils.plots.panels import add_panels, axes, share_axes, update_axes
from utils.plots.style import NEUTRAL, add_key, colored, fade, figure, numbers

_CONTOURS = 12
_PATH = {"width": 1.5, "dash": "dot"}
_SET = {"width": 2}
_TOUCHED = {"width": 1.5, "dash": "dash"}
_SOLUTION = {"size": 11, "symbol": "diamond"}
_ANGLES = np.linspace(0, 2 * np.pi, 49)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
_DIAMOND = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]])
_BALLS = {"L1": (1, _DIAMOND), "L2": (2, _CIRCLE)}  # order of the norm, unit ball
_ABOVE = 85  # pixels that the slider takes above the panels
_SLIDER = {
    "bgcolor": NEUTRAL,
    "activebgcolor": NEUTRAL,
    "bordercolor": NEUTRAL,
    "tickcolor": NEUTRAL,
    "currentvalue": {"prefix": "λ = ", "font": {"size": 15}, "offset": 6},
    "ticklen": 4,
    "minorticklen": 2,
    "y": 1,
    "yanchor": "bottom",
}


def geometry(
    grid_1: Sequence[float],
    grid_2: Sequence[float],
    loss: np.ndarray,
    paths: Mapping[str, np.ndarray],
    lams: Sequence[float],
    *,
    description: str,
    title: str | None = None,
) -> go.Figure:
    """A data loss over two weights, and what a penalty makes of its minimum.

    Each panel shows contours of the loss, the path of the minimiser of loss + penalty
    as λ grows, and at one λ the solution, the penalty's level set through it, and the
    contour of the loss that touches it there. A slider moves λ in all panels.

    Args:
        grid_1, grid_2: values of w₁ [columns] and w₂ [rows], evenly spaced.
        loss: the data loss without the penalty, [rows, columns].
        paths: the minimiser at each λ, {penalty: [lams, 2]}; a penalty's name starts
            with "L1" or "L2".
        lams: the strengths λ ≥ 0, ascending, [lams].
        description, title: as for `curves`.
    Returns: go.Figure.
    Raises: ValueError if a shape does not fit, a grid is not evenly spaced, a penalty
        has another name, λ does not ascend from ≥ 0, or the description is missing.
    """
    _need_ascending(lams)
    need_shape("loss", loss, {"rows": len(grid_2), "columns": len(grid_1)})
    # The root of a parabola: its contours lie at equal distances.
    depth = np.sqrt(np.asarray(loss) - np.min(loss))
    fig = figure(description, title)
    plane = _spacing("grid_1", grid_1, "x") | _spacing("grid_2", grid_2, "y")
    plane |= {"z": [numbers(row, 5) for row in depth]}
    moving = []
    for number, (color, (name, path)) in enumerate(colored(paths.items()), 1):
        need_shape(f"path {name!r}", path, {"lams": len(lams), "weights": 2})
        _add_contours(fig, number, plane, depth.max())
        _add_path(fig, number, np.asarray(path), lams, color)
        _add_moving(fig, number, plane, color)
        depths = [_interpolate(grid_1, grid_2, depth, *point) for point in path]
        moving.append((np.asarray(path), _level_sets(name, path), depths))
    _lay_out(fig, list(paths), grid_1, grid_2)
    _add_slider(fig, lams, moving)
    return fig


def _need_ascending(lams):
    if len(lams) == 0 or lams[0] < 0 or (np.diff(lams) <= 0).any():
        raise ValueError(f"lams must ascend from ≥ 0, got {list(lams)}")


def _spacing(what, grid, axis):
    """Returns: the start and the step of a grid, as a contour trace names them."""
    steps = np.diff(grid)
    if not (len(steps) and np.allclose(steps, steps[0]) and steps[0] > 0):
        raise ValueError(f"{what} must be evenly spaced and ascend, got {list(grid)}")
    start, step = numbers([grid[0], steps.mean()])
    return {f"{axis}0": start, f"d{axis}": step}


def _level_sets(name, path):
    """Returns: the penalty's level set through each point, [lams, corners, 2]."""
    if name[:2] not in _BALLS:
        raise ValueError(f"penalty must start with one of {list(_BALLS)}, got {name!r}")
    order, ball = _BALLS[name[:2]]
    return np.linalg.norm(path, order, axis=1)[:, None, None] * ball


def _interpolate(grid_1, grid_2, values, w_1, w_2):
    """The value at a point of the plane, linear between the grid's points."""
    return np.interp(w_2, grid_2, [np.interp(w_1, grid_1, row) for row in values])


def _strength(lam):
    return f"{lam:.3g}" if lam == 0 or lam >= 1e-3 else scientific(lam)


def _add_contours(fig, number, plane, highest):
    step = float(f"{highest / _CONTOURS:.3g}")
    levels = {"start": step, "end": _CONTOURS * step, "size": step, "coloring": "none"}
    line = {"width": 1, "color": fade(NEUTRAL, 0.5)}
    fig.add_contour(
        **plane,
        contours=levels,
        autocontour=False,
        line=line,
        hoverinfo="skip",
        showlegend=False,
        **axes(number),
    )


def _add_path(fig, number, path, lams, color):
    fig.add_scatter(
        x=numbers(path[:, 0]),
        y=numbers(path[:, 1]),
        text=[_strength(lam) for lam in lams],
        mode="lines+markers",
        line=_PATH | {"color": color},
        marker={"size": 4},
        hovertemplate="λ = %{text}<br>w₁ = %{x:.3g}<br>w₂ = %{y:.3g}<extra></extra>",
        showlegend=False,
        **axes(number),
    )


def _add_moving(fig, number, plane, color):
    """Adds what the slider moves: the contour touched, the level set, the solution."""
    still = {"hoverinfo": "skip", "showlegend": False} | axes(number)
    contours = {"start": 0, "end": 0, "size": 1, "coloring": "none"}
    line = _TOUCHED | {"color": NEUTRAL}
    fig.add_contour(**plane, contours=contours, autocontour=False, line=line, **still)
    line, fill = _SET | {"color": color}, fade(color, 0.15)
    fig.add_scatter(mode="lines", line=line, fill="toself", fillcolor=fill, **still)
    marker = _SOLUTION | {"color": color, "line": {"width": 1.5, "color": "white"}}
    fig.add_scatter(mode="markers", marker=marker, **still)


def _lay_out(fig, names, grid_1, grid_2):
    add_key(fig, "marker", {"solution": _SOLUTION})
    keys: dict[str, dict] = {"path as λ grows": _PATH, "level set of the penalty": _SET}
    add_key(fig, "line", keys | {"contour of the loss": _TOUCHED})
    add_panels(fig, names, len(names), width=260, height=390, ygap=0.3)
    zero = {
        "zeroline": True,
        "zerolinecolor": NEUTRAL,
        "showgrid": False,
        "tickangle": 0,
    }
    share_axes(fig, "w₁", "w₂", constrain="domain", **zero)
    for number in range(1, len(names) + 1):
        ranges = [{"range": numbers([g[0], g[-1]])} for g in (grid_1, grid_2)]
        update_axes(fig, number, *ranges)
    fig.update_layout(yaxis_scaleanchor="x")  # a circle looks like one


def _add_slider(fig, lams, moving):
    top = fig.layout.margin.t
    steps = [_step(_strength(lam), k, moving) for k, lam in enumerate(lams)]
    active = len(steps) // 2
    _move(fig, *steps[active]["args"])
    slider = _SLIDER | {"active": active, "steps": steps, "pad": {"t": 0, "b": top}}
    fig.update_layout(sliders=[slider], height=fig.layout.height + _ABOVE)
    fig.update_layout(title_pad=None)  # the slider keeps it off the panels' titles
    fig.layout.meta |= {"above": _ABOVE}


def _step(text, k, moving):
    """A step of the slider: the change of each moving trace, None where it has none."""
    change = {"contours.start": [], "contours.end": [], "x": [], "y": []}
    for path, sets, depths in moving:
        level = [*numbers([depths[k]], 5), None, None]
        change["contours.start"] += level
        change["contours.end"] += level
        for axis, which in enumerate("xy"):
            drawn = sets[k][:, axis], path[k : k + 1, axis]
            change[which] += [None, *(numbers(values, 4) for values in drawn)]
    numbered = (5 * panel + part for panel in range(len(moving)) for part in (2, 3, 4))
    return {"label": text, "method": "restyle", "args": [change, list(numbered)]}


def _move(fig, change, traces):
    for key, values in change.items():
        for number, value in zip(traces, values, strict=True):
            if value is not None:
                fig.data[number][key] = value
