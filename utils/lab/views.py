"""What a lab shows: the skeleton of a Plotly figure for each view, filled by web/lab.

What depends on the data set stands in `layout.meta.sets`, by its name.
"""

import json
from collections.abc import Sized
from typing import Any

import numpy as np
import pandas as pd
import plotly.io as pio

from utils import plots
from utils.arguments import fail, show
from utils.data import load, training_set
from utils.experiment import DATA_SIZE, Experiment
from utils.lab.knobs import Knob
from utils.plots import live
from utils.plots.style import OUTLINED, numbers
from utils.settings import AUGMENT, label

PICTURES = ("images", "fit", "targets", "regions", "shares")  # the first that fits
VALIDATION = ("images", "targets", "shares")  # they show points of the book's own split
INPUT_KNOBS = {*AUGMENT, "input_noise", "dropout_input"}
GRID, LINE = 60, 121  # points along each axis of the regions, of a fit
IMAGES, COLUMNS, CAPTION = 10, 5, 4
BINS, SHARES = 41, 20
LOG_FROM = 30  # times their least, from which on losses have a logarithmic axis
SEEN = "training images as they are,<br>and as the network sees them in its first step"
ABOUT = "What the network computes."


def complete(spec: dict) -> dict:
    """Return a lab's JSON (Lab.to_dict) with all that its front end needs."""
    e = Experiment.from_json(json.dumps(spec["experiment"]))
    order = spec["order"].items()
    spec = spec | {part: {n: spec[part][n] for n in names} for part, names in order}
    data = load(e.data)
    figures = {view: VIEWS[view](e, spec) for view in spec["views"]}
    return spec | {
        "task": data.task,
        "features": data.features,
        "classes": data.classes,
        "image": data.image and list(data.image),
        "most": min(DATA_SIZE[name] for name in _names(e, spec)),
        "knobs": {n: _with_steps(n, knob) for n, knob in spec["knobs"].items()},
        "labels": plots.labels_for(data.task) | {n: label(n) for n in spec["over"]},
        "figures": json.loads(json.dumps(figures, allow_nan=False)),
    }


def find_misfit(
    view: str,
    e: Experiment,
    seeds: int = 1,
    against: Experiment | None = None,
    over: Sized = (),
) -> str:
    """Return what a view must be, or the lab have, to go together; '' if they do."""
    data = load(e.data)
    kind = data.task, data.features
    needs = {
        "regions": (kind == ("binary", 2), "two inputs and two classes"),
        "fit": (kind == ("regression", 1), "regression on one input"),
        "images": (data.image, "images"),
        "inputs": (data.image, "images"),
        "targets": (data.task == "regression", "regression"),
        "shares": (data.task == "binary", "two classes"),
        "path": (len(over) == 1, "one knob in over"),
        "map": (len(over) == 2, "two knobs in over"),
        "pairs": (seeds > 1 and against, "seeds > 1 and against"),
    }
    if view not in VIEWS:
        return f"one of {list(VIEWS)}"
    fits, need = needs.get(view, (True, ""))
    if fits and view in VALIDATION and e.split is not None:
        fits, need = False, "split = None"
    return "" if fits else f"left out of a lab without {need}"


def choose(lab: Any, views: tuple[str, ...] | None, knobs: dict) -> tuple[str, ...]:
    """Return the views of a lab: those asked for, or by default those that fit.

    Raises: ValueError for one that does not fit.
    """
    about = lab.base, lab.seeds, lab.against, lab.over
    sweep = {1: ("path",), 2: ("map",)}.get(len(lab.over), ())
    if views is None and sweep and not lab.asked:
        return sweep
    if views is None:
        shown = [view for view in PICTURES if not find_misfit(view, lab.base)][:1]
        more = ["inputs", "pairs"] if INPUT_KNOBS & knobs.keys() else ["pairs"]
        more = [view for view in more if not find_misfit(view, *about)]
        return ("curves", *shown, "weights", *more, *sweep)
    if not views or len(set(views)) < len(views):
        fail("views", views, "names, each once")
    for view in views:
        if misfit := find_misfit(view, *about):
            raise ValueError(f"views = {show(views)}: {view!r} must be {misfit}")
    return tuple(views)


def _curves(e, spec):
    run, count = spec["reference"], spec["seeds"]
    losses = [*run["train_loss"], *run["val_loss"]]
    log = min(losses) > 0 and max(losses) > LOG_FROM * min(losses)
    hover: dict[str, Any] = {"hovertemplate": "epoch %{x}: %{y:.4f}"}
    own = "your run" if count == 1 else f"your {count} runs"
    lines = live.loss_lines(own, "the book's run", **hover)
    for line in lines[2:4]:
        y = run[f"{line['uid'].removeprefix('book_')}_loss"]
        line |= {"x": run["epoch"], "y": y, "visible": True}
    x = live.axis("epoch", range=[0, e.epochs])
    y = live.axis(_loss(e), type="log" if log else "linear")
    text = "Training and validation loss against epoch."
    return live.figure(lines, text, x, y, **live.LEGEND_ABOVE)


def _path(e, spec):
    ((name, values),) = spec["over"].items()
    low, *_, high = [v for v in values if v > 0] * 2
    log = Knob(name, low, high, low).scale == "log"
    axis, places = live.knob_axis(label(name), values, log)
    lines = live.loss_lines("your runs", mode="lines+markers", hovertemplate="%{y:.4f}")
    text = f"Loss at the end of a run against {label(name)}."
    meta, y = {"knob": name, "x": places}, live.axis(_loss(e))
    return live.figure(lines, text, axis, y, meta=meta, **live.LEGEND_ABOVE)


def _map(e, spec):
    (x, xs), (y, ys) = spec["over"].items()
    empty = {"seed": 0, "val_loss": np.nan}
    cells = [{x: u, y: v} | empty for v in ys for u in xs]
    text = f"Heat map of the validation loss over {label(y)} and {label(x)}."
    style = {"description": text, "unit": plots.UNITS[load(e.data).task], "mark": None}
    figure = _plain(plots.heatmap(pd.DataFrame(cells), x, y, "val_loss", **style))
    figure["data"][0]["uid"] = "cells"
    return figure


def _pairs(e, spec):
    count, color = spec["seeds"], {"color": live.YOURS}
    up = [0.5 * (k % 3) for k in range(count)]  # apart, where one would cover another
    mean = color | {"symbol": "diamond", "size": 12}
    bar: dict[str, Any] = {"error_x": color | {"type": "data", "array": [0]}}
    dots = [
        live.dots("draws", [None] * count, up, color | {"size": 8}, "one draw"),
        live.dots("mean", [None], [1.5], mean, "mean ± standard error", **bar),
    ]
    line = {"color": plots.NEUTRAL, "width": 1, "dash": "dash"}
    ends = {"yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1}
    zero = {"type": "line", "line": line} | ends
    x, y = live.axis(f"difference in {_loss(e)}"), live.axis(None, visible=False)
    text = "Validation loss of your run minus the baseline's, a dot for each draw."
    note = "validation loss, yours minus the baseline's<br>● one draw  ◆ mean ± SE"
    y["range"] = [-0.5, 2]
    look: dict[str, Any] = {"height": 200, "shapes": [zero], "showlegend": False}
    return live.figure(dots, text, x, y, note, **look)


def _regions(e, spec):
    points = training_set(e)
    nothing = [0, 1], [0, 1], np.zeros((2, 2))
    styled = _plain(plots.regions(*nothing, points.X, points.y, description=ABOUT))
    filled, *classes = styled["data"]
    sets = _sets(e, spec, lambda data: {"grid": _grid(data, GRID)})
    place = dict(zip("xyz", (*sets[e.data]["grid"], []), strict=True))
    colors = {"zsmooth": "fast", "hovertemplate": filled["hovertemplate"]}
    border = {"line": filled["line"], "hoverinfo": "skip"}
    moved = points.X[_replaced(e)]
    border["contours"] = filled["contours"] | {"coloring": "none"}
    traces = [
        live.trace("heatmap", "colors", coloraxis="coloraxis", **place, **colors),
        live.trace("contour", "border", **place, **border),
        *(
            t | {"uid": f"class_{k}", "showlegend": False}
            for k, t in enumerate(classes)
        ),
        live.dots("replaced", moved[:, 0], moved[:, 1], live.RING),
    ]
    x, y = (live.axis(f"x{'₁₂'[k]}", range=_ends(place["xy"[k]])) for k in (0, 1))
    note = f"decision regions, training points<br>{_key('●◆')}  ◯ label replaced"
    axis = styled["layout"]["coloraxis"] | {"showscale": False}
    return live.figure(traces, ABOUT, x, y, note, {"sets": sets}, coloraxis=axis)


def _fit(e, spec):
    def about(data):
        grid = _grid(data, LINE)
        known = data.truth is not None
        true = data.truth(np.array(grid).T) if known else []
        return {"grid": grid, "true": numbers(true)}

    (x, y), sets = (training_set(e).X[:, 0], training_set(e).y), _sets(e, spec, about)
    (grid,), true = sets[e.data].values()
    known = {"x": grid, "visible": True}
    moved, grey = _replaced(e), OUTLINED | {"color": plots.NEUTRAL}
    traces = [
        live.line("true", "the true function", dash="dash", **known | {"y": true}),
        live.line("draws", "", live.YOURS, 1, opacity=0.45),
        live.line("fit", "your network", live.YOURS, 2.5, **known),
        live.dots("points", x, y, grey),
        live.dots("replaced", x[moved], y[moved], live.RING),
    ]
    axes = live.axis("x", range=_ends(grid)), live.axis("y", range=_wider(y))
    blue = f"<span style='color:{live.YOURS}'>━</span>"
    note = f"{blue} your network  ┅ the true function<br>● training points  ◯ moved"
    return live.figure(traces, ABOUT, *axes, note, {"sets": sets})


def _images(e, spec):
    def about(data):
        images = data.validation.X[:IMAGES].reshape(-1, *data.image)
        labels = data.validation.y[:IMAGES].tolist()
        return {"labels": labels, "z": live.mosaic(images, COLUMNS, CAPTION)}

    sets, (height, width) = _sets(e, spec, about), load(e.data).image
    row, column = np.divmod(np.arange(IMAGES), COLUMNS)
    x = column * (width + 1) + (width - 1) / 2
    y = row * (height + CAPTION) + height + (CAPTION - 1) / 2 - 0.5
    font = {"size": 11, "color": plots.NEUTRAL}
    captions = live.dots("captions", x, y, {}, mode="text", text=[], textfont=font)
    traces = [live.pixels(sets[e.data]["z"]), captions | {"cliponaxis": False}]
    colors = {"wrong": live.OTHERS, "right": plots.NEUTRAL}
    return live.pictures(traces, ABOUT, "validation images", {"sets": sets} | colors)


def _inputs(e, spec):
    rows, columns = load(e.data).image
    text = "Training images as they are, and as the network sees them."
    shape = {"rows": rows, "columns": columns, "images": IMAGES}
    return live.pictures([live.pixels()], text, SEEN, shape, height=180)


def _targets(e, spec):
    sets = _sets(e, spec, lambda data: {"true": numbers(data.validation.y)})
    true, ends = sets[e.data]["true"], _ends(sorted(sets[e.data]["true"]))
    dot = {"size": 5, "opacity": 0.7, "color": live.YOURS}
    equal = live.line("equal", x=ends, y=ends, visible=True)
    traces = [equal, live.dots("points", true, [], dot)]
    axes = live.axis("true target"), live.axis("predicted", range=_wider(true))
    note = "validation points<br>on the line: no error"
    return live.figure(traces, ABOUT, *axes, note, {"sets": sets})


def _shares(e, spec):
    sets = _sets(e, spec, lambda data: {"labels": data.validation.y.tolist()})
    x = numbers((np.arange(SHARES) + 0.5) / SHARES)
    bars = [live.bars(f"class_{k}", color, x) for k, color in enumerate(_CLASSES)]
    axes = live.axis("P(class 1)", range=[0, 1]), live.axis(None, rangemode="tozero")
    note = f"validation points by true class<br>{_key('■■')}"
    return live.figure(bars, ABOUT, *axes, note, {"sets": sets}, barmode="stack")


def _weights(e, spec):
    hover = "%{y} weights near %{x:.3g}<extra></extra>"
    bars, text = live.bars("weights", live.YOURS, hovertemplate=hover), "Histogram of"
    axes = live.axis("weight", nticks=4), live.axis(None, rangemode="tozero")
    text = f"{text} the weights that are not 0."
    return live.figure([bars], text, *axes, "weights", {"bins": BINS}, bargap=0)


VIEWS = {
    "curves": _curves,
    "regions": _regions,
    "fit": _fit,
    "images": _images,
    "targets": _targets,
    "shares": _shares,
    "weights": _weights,
    "inputs": _inputs,
    "path": _path,
    "map": _map,
    "pairs": _pairs,
}
_CLASSES = plots.PALETTE[:2]


def _sets(e, spec, about):
    """What a view needs of each data set that the reader may choose."""
    return {name: about(load(name)) for name in _names(e, spec)}


def _names(e, spec):
    """The data sets that the reader may choose."""
    return spec["knobs"].get("data", {}).get("choices", [e.data])


def _with_steps(name, knob):
    """A knob with the positions of its slider."""
    if "choices" in knob:
        return knob
    steps = Knob(name, knob["min"], knob["max"], knob["value"]).steps
    return knob | {"values": steps}


def _grid(data, count):
    """Coordinates along each input, a little beyond the points."""
    X = data.pool.X
    margin = 0.08 * np.ptp(X, axis=0)
    ends = X.min(axis=0) - margin, X.max(axis=0) + margin
    return [numbers(axis) for axis in np.linspace(*ends, count).T]


def _replaced(e):
    """Which training points have a label that is not the true one, [n]."""
    return training_set(e).y != training_set(e.replace(label_noise=0)).y


def _loss(e):
    unit = plots.UNITS[load(e.data).task]
    return unit if load(e.data).task == "regression" else f"loss ({unit})"


def _key(marks):
    marks = zip(marks, _CLASSES, range(2), strict=True)
    return "  ".join(f"<span style='color:{c}'>{m}</span> {k}" for m, c, k in marks)


def _ends(values):
    return [values[0], values[-1]]


def _wider(values):
    low, high = min(values), max(values)
    return [low - 0.1 * (high - low), high + 0.1 * (high - low)]


def _plain(figure):
    return json.loads(pio.to_json(figure))
