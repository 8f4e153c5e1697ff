"""The map of a validation loss over λ × p: one definition for the page and JupyterLab.

web/lab/plane.js fills it in the reader's browser, utils/lab_fill.py in JupyterLab.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from utils import plots
from utils.data import load
from utils.lab_knobs import Choice, Knob, label
from utils.sweep.results import seed_means, without_diverged

STRENGTHS = ("l2", "l1", "weight_decay")
RATE = "dropout"
LAMS, RATES = 7, 7  # beside λ = 0
SEEDS = 3  # of each cell; as in web/lab/plane.js


def axes(knobs: Mapping[str, Knob | Choice]) -> dict | None:
    """Return the axes of a lab's map, if it has a knob for each.

    Args:
        knobs: those of the lab, by name.
    Returns: {"y": {"name": the penalty's knob, "values": its λs, 0 first},
        "x": the same for the dropout rate}, or None.
    """
    numbers = {n: k for n, k in knobs.items() if isinstance(k, Knob)}
    ranges = {name: (knob.low, knob.high) for name, knob in numbers.items()}
    strength = next((name for name in STRENGTHS if name in ranges), None)
    if strength is None or RATE not in ranges:
        return None
    lams = np.geomspace(*ranges[strength], LAMS)
    rates = np.linspace(*ranges[RATE], RATES).round(2)
    lams = np.clip([float(f"{lam:.1e}") for lam in lams], *ranges[strength])
    return {
        "y": {"name": strength, "values": [0.0, *lams.tolist()]},
        "x": {"name": RATE, "values": np.clip(rates, *ranges[RATE]).tolist()},
    }


def draw(axes: dict, data: str, results: pd.DataFrame | None = None) -> go.Figure:
    """Return the map: in each cell the mean over its runs so far.

    Args:
        axes: what `axes` returned.
        data: the name of the data set, which decides the loss.
        results: a row per run, columns val_loss, seed, status and those of the axes;
            folds of a seed are averaged first; None: no run yet.
    """
    x, y = (axes[key]["name"] for key in "xy")
    values = [axes[key]["values"] for key in "xy"]
    cells = pd.MultiIndex.from_product(values, names=[x, y]).to_frame(index=False)
    frame, mark = cells.assign(seed=0, val_loss=np.nan), None
    if results is not None:
        known = without_diverged(results, "val_loss")
        known = seed_means(known, [x, y], "val_loss")
        frame, mark = cells.merge(known, how="left", on=[x, y]), "min"
    unit = plots.UNITS[load(data).task]
    text = f"Heat map of the validation loss over {label(y)} and {label(x)}."
    style = {"description": text, "unit": unit, "mark": mark}
    return plots.heatmap(frame, x, y, "val_loss", **style)
