"""The map of a validation loss over two knobs, which fills as runs end."""

import time

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from utils import plots
from utils.arguments import fail, show, texts
from utils.data import load
from utils.settings import label
from utils.sweep.plan import Plan
from utils.sweep.results import seed_means, without_diverged

DRAW_EVERY = 0.5  # seconds


class SweepMap:
    """The map of the validation loss over the two knobs of a sweep.

    `figure` is the map as last drawn, in each cell the mean over the runs so far.

    Args:
        plan: the sweep's.
        knobs: (x, y).
    Raises: ValueError unless they are the two knobs of the space.
    """

    def __init__(self, plan: Plan, knobs: tuple[str, str]):
        must = "(x, y), the knobs of the space, two of them; it has"
        pair = texts("live", knobs, f"{must} {show(plan.names)}")
        if sorted(pair) != sorted(plan.names) or len(pair) != 2:
            fail("live", knobs, f"{must} {show(plan.names)}")
        x, y = pair
        labels = plan.labels
        self.axes = {
            "x": {"name": x, "values": labels[x].drop_duplicates().tolist()},
            "y": {"name": y, "values": labels[y].drop_duplicates().tolist()},
        }
        self.data, self._rows = plan.members[0].data, []
        self.figure = draw(self.axes, self.data)
        self._handle, self._drawn = None, -DRAW_EVERY

    def show(self) -> None:
        """Display the map in the running cell."""
        from IPython.display import display  # which a sweep without a map does not need

        self._handle = display(self._bundle(), raw=True, display_id=True)

    def add(self, rows: pd.DataFrame) -> None:
        """Take the results of an ensemble, and draw if it is time to."""
        self._rows.append(rows)
        if time.monotonic() - self._drawn >= DRAW_EVERY:
            self.draw()

    def draw(self) -> None:
        """Draw the map as it is now."""
        results = pd.concat(self._rows, ignore_index=True)
        self.figure = draw(self.axes, self.data, results)
        if self._handle is not None:  # None outside a notebook
            # JupyterLab's renderer of Plotly draws an output only once, but makes room
            # for another kind.
            self._handle.update({"text/plain": ""}, raw=True)
            self._handle.update(self._bundle(), raw=True)
        self._drawn = time.monotonic()

    def _bundle(self):
        # A Plotly figure displays itself, and not under the id that an update names.
        return plots.BookRenderer().to_mimebundle(self.figure)


def draw(axes: dict, data: str, results: pd.DataFrame | None = None) -> go.Figure:
    """Return the map: in each cell the mean over its runs so far.

    Args:
        axes: {"x": {"name": a knob, "values": its values}, "y": the same}.
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
