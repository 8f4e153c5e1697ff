"""The map of a sweep, in a notebook, that fills as its ensembles end."""

import pandas as pd
from IPython.display import display

from utils import lab_map
from utils.lab_fill import empty, refill
from utils.lab_layout import Fit
from utils.sweep.plan import Plan

DRAW_EVERY = 0.5  # seconds


class SweepMap:
    """The map of the validation loss over the two knobs of a sweep.

    `figure` is the map, in each cell the mean over the runs so far.

    Args:
        plan: the sweep's.
        knobs: (x, y).
    Raises: ValueError unless they are the two knobs of the space.
    """

    def __init__(self, plan: Plan, knobs: tuple[str, str]):
        if isinstance(knobs, str) or sorted(knobs) != sorted(plan.names):
            message = f"live = {knobs!r}: must be (x, y), the knobs of the space"
            raise ValueError(f"{message}, two of them; it has {plan.names}")
        labels, (x, y) = plan.labels, knobs
        self.axes = {
            "x": {"name": x, "values": labels[x].drop_duplicates().tolist()},
            "y": {"name": y, "values": labels[y].drop_duplicates().tolist()},
        }
        self.data, self._rows = plan.members[0].data, []
        self.figure = empty(self.axes, self.data)

    def show(self) -> None:
        """Display the map in the running cell."""
        display(self.figure, Fit())

    def add(self, rows: pd.DataFrame) -> None:
        """Take the results of an ensemble, and draw if it is time to."""
        self._rows.append(rows)
        if self.figure.due(DRAW_EVERY):
            self.draw()

    def draw(self) -> None:
        """Draw the map as it is now."""
        results = pd.concat(self._rows, ignore_index=True)
        refill(self.figure, lab_map.draw(self.axes, self.data, results))
