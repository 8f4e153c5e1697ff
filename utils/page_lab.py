"""A lab of the rendered book: what its page needs to train, before it has.

The figures carry the book's style and its own run; web/lab fills in the reader's.
"""

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio

from utils import lab_map, plots
from utils.data import load
from utils.experiment import Experiment
from utils.lab_knobs import Knob, merge, option_text, penalty_knobs
from utils.lab_panels import (
    BINS,
    IMAGES,
    INPUT_KNOBS,
    ImagePanel,
    InputPanel,
    RegionPanel,
    SharePanel,
    TargetPanel,
    WeightPanel,
    picture,
)

YOURS, BOOKS = "your run", "the book's run"
PINS = 4
WEIGHTS = {"description": "Histogram of the weights that are not 0.", "bins": BINS}
INPUTS = {"description": "Training images as they are, and as the network sees them."}
HEIGHT = 280
KINDS = {
    RegionPanel: "regions",
    ImagePanel: "images",
    TargetPanel: "targets",
    SharePanel: "shares",
}


def views(lab: dict) -> dict:
    """Return what web/lab needs beside the lab's own JSON.

    Args:
        lab: what Lab.to_dict returned.
    Returns: {"figures": {view: Plotly JSON}, "watch": what the worker is to predict,
        "inputs": {knob: {"values": a slider's positions, "whole": if it counts, or
        "texts": what its choices are called}}, "penalty": the knobs that share a
        slider as in JupyterLab, the one in use first; "inputs" has all of both}.
    """
    e = Experiment.from_json(json.dumps(lab["experiment"]))
    panel = picture(e, _nothing(e))
    figures = {
        "curves": _curves(lab["reference"], plots.UNITS[load(e.data).task]),
        "picture": _panel(panel, _about(panel)),
        "weights": _panel(WeightPanel(np.zeros(1)), WEIGHTS, suffix="2"),
    }
    if INPUT_KNOBS & lab["knobs"].keys() and load(e.data).image:
        rows, columns = load(e.data).image
        shape = {"rows": rows, "columns": columns}
        figures["inputs"] = _panel(InputPanel(e), INPUTS | shape)
    parsed = {name: json.loads(pio.to_json(f)) for name, f in figures.items()}
    watch = _watch(panel, "inputs" in figures)
    shared = penalty_knobs(e, _numbers(lab["knobs"]))
    inputs = _inputs(lab["knobs"]) | _shared(shared)
    found = {"figures": parsed, "watch": watch, "inputs": inputs}
    return found | {"penalty": list(shared)}


def plane(lab: dict) -> dict | None:
    """Return the empty map of the validation loss over λ × p, if both are knobs.

    Args:
        lab: what Lab.to_dict returned.
    Returns: {"figure": Plotly JSON, "x": {"name", "values"}, "y": the same}, or None.
    """
    axes = lab_map.axes(_numbers(lab["knobs"]))
    if axes is None:
        return None
    figure = lab_map.draw(axes, lab["experiment"]["data"])
    return axes | {"figure": json.loads(pio.to_json(figure))}


def _inputs(knobs):
    """The positions of every slider, the names of every choice: those of JupyterLab."""
    texts = {
        name: {"texts": [option_text(choice) for choice in knob["choices"]]}
        for name, knob in knobs.items()
        if "choices" in knob
    }
    numbers = _numbers(knobs).items()
    return {n: {"values": k.steps, "whole": k.whole} for n, k in numbers} | texts


def _numbers(knobs):
    return {
        name: Knob(name, *(knob[key] for key in ("min", "max", "value")))
        for name, knob in knobs.items()
        if "choices" not in knob
    }


def _shared(knobs):
    """The knobs that share a slider, with its positions."""
    if not knobs:
        return {}
    positions = {"values": merge(knobs).steps, "whole": False}
    return {name: knob.to_dict() | positions for name, knob in knobs.items()}


def _nothing(e):
    """A network that has not been trained yet."""
    data = load(e.data)
    shape = (data.classes,) if data.task == "multiclass" else ()
    return lambda X: np.zeros((len(X), *shape))


def _curves(reference, unit):
    run = pd.DataFrame(reference).assign(seed=0)
    frame = pd.concat([run.assign(run=YOURS), run.assign(run=BOOKS)])
    text = "Loss against epoch."
    figure = plots.curves(frame, by="run", description=text, unit=unit)
    own, book, key = figure.data[:2], figure.data[2:4], figure.data[4:]
    for trace in book:  # broad and pale, to be seen below a curve that lands on it
        trace.line.update(color=plots.NEUTRAL, width=6)
        trace.opacity = 0.4
    pins = [
        go.Scatter(mode="lines", line={"color": color, "width": 1.5}, visible=False)
        for color in plots.PALETTE[1 : PINS + 1]
    ]
    return go.Figure([*book, *pins, *own, *key], figure.layout)


def _panel(panel, meta, suffix=""):
    """A panel of the lab as a figure of its own."""
    layout = {
        "xaxis": {**panel.layout[f"xaxis{suffix}"], "domain": [0, 1], "anchor": "y"},
        "yaxis": {**panel.layout[f"yaxis{suffix}"], "anchor": "x"},
        "annotations": [panel.note | {"xref": "paper", "yref": "paper"}],
    }
    kept = {k: v for k, v in panel.layout.items() if k in ("coloraxis", "barmode")}
    figure = go.Figure(panel.traces, layout | kept)
    figure.update_traces(xaxis="x", yaxis="y")
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        axis.automargin = True
    margin = {"t": 44, "l": 8, "r": 12, "b": 8}
    figure.update_layout(height=HEIGHT, margin=margin, meta=meta)
    return _quick(figure) if isinstance(panel, RegionPanel) else figure


def _quick(regions):
    """The same regions, drawn in half the time: the browser smooths the colours, the
    border is a trace of its own, and no label is measured for the margins.
    """
    filled, *points = regions.data
    place = {"x": filled.x, "y": filled.y, "z": filled.z, "xaxis": "x", "yaxis": "y"}
    colors = go.Heatmap(**place, zsmooth="fast", coloraxis="coloraxis")
    colors.hovertemplate = filled.hovertemplate
    border = go.Contour(**place, contours=filled.contours, line=filled.line)
    border.update(contours_coloring="none", showlegend=False, hoverinfo="skip")
    figure = go.Figure([colors, border, *points], regions.layout)
    figure.update_layout(margin={"l": 44, "b": 40, "autoexpand": False})
    figure.layout.xaxis.automargin = figure.layout.yaxis.automargin = False
    return figure


def _about(panel):
    """What web/lab must know to draw it."""
    about = {"kind": KINDS[type(panel)], "description": "What the network computes."}
    if isinstance(panel, ImagePanel):
        colors = {"wrong": plots.PALETTE[1], "right": plots.NEUTRAL}
        return about | colors | {"labels": np.asarray(panel.labels).tolist()}
    if isinstance(panel, SharePanel):
        return about | {"labels": panel.points.y.tolist()}
    return about


def _watch(panel, inputs):
    """What the worker sends back beside the curves."""
    watch = {"inputs": IMAGES} if inputs else {}
    if isinstance(panel, RegionPanel):
        return watch | {"grid": True}
    if isinstance(panel, ImagePanel):
        return watch | {"validation": IMAGES}
    return watch | {"validation": len(panel.points.y)}
