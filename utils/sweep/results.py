"""What a sweep found: one tidy table, its heat map and its best setting."""

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from utils.sweep.plan import COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


class Sweep:
    """The results of a sweep.

    `frame` has a row per run: the knobs of the space, `seed`, `fold` (if there are
    folds), and as in Runs.summary() the metrics at the kept `epoch`; `status` is
    'finished', 'stopped early' or 'diverged'. `names` are the knobs.
    """

    def __init__(self, frame: "pd.DataFrame", names: Iterable[str]):
        self.frame, self.names = frame, list(names)

    def map(self, x: str, y: str, metric: str = "val_loss") -> "go.Figure":
        """Return a heat map: the mean over seeds and folds in each cell.

        A cell in which a run diverged stays empty. The best cell is outlined.

        Args: x, y: the two knobs of the sweep; more cannot be shown.
        Returns: go.Figure.
        Raises: ValueError for a column that is not there, or more than two knobs.
        """
        from utils.plots import heatmap

        summary = seed_means(self._usable(metric), self.names, metric)
        seeds = self.frame["seed"].nunique()
        text = f"Heat map of {metric} over {x} and {y}, mean of {seeds} seeds."
        mark = "max" if _more_is_better(metric) else "min"
        return heatmap(summary, x, y, metric, mark=mark, description=text)

    def best(self, metric: str = "val_loss") -> "pd.Series":
        """Return the setting of the lowest mean, for an accuracy the highest.

        The mean is over seeds and folds. A setting of which any run diverged has no
        mean and is never the best. The standard error takes all runs as independent;
        folds of one seed share training points, so with them it is too small.

        Returns: pandas Series: the knobs, the mean under the metric's name, its
            `standard_error` (NaN for a single run) and `n`, the runs behind it.
        Raises: ValueError for an unknown metric, or if every setting diverged.
        """
        groups = self._usable(metric).groupby(self.names, dropna=False, sort=False)
        table = groups[metric].agg(lambda values: values.mean(skipna=False))
        table = table.to_frame()
        table["standard_error"] = groups[metric].sem()
        table["n"] = groups[metric].size()
        if table[metric].isna().all():
            raise ValueError(f"best({metric!r}): every setting has a run that diverged")
        order = table[metric] if _more_is_better(metric) else -table[metric]
        return table.reset_index().astype(object).iloc[int(order.argmax())]

    def _usable(self, metric):
        """The frame, NaN where a run diverged."""
        if metric not in COLUMNS or metric == "status":
            known = [name for name in COLUMNS if name != "status"]
            raise ValueError(f"metric = {metric!r}: must be one of {known}")
        return without_diverged(self.frame, metric)


def without_diverged(frame: "pd.DataFrame", metric: str) -> "pd.DataFrame":
    """Return the table, NaN in a metric's column where a run diverged."""
    values = frame[metric].astype(float).mask(frame["status"] == "diverged")
    return frame.assign(**{metric: values})


def seed_means(
    frame: "pd.DataFrame", names: Iterable[str], metric: str
) -> "pd.DataFrame":
    """Return a row per setting of the knobs `names` and seed: the mean over folds."""
    keys = [*names, "seed"]
    groups = frame.groupby(keys, dropna=False, sort=False, as_index=False)
    return groups[metric].mean(skipna=False)


def tidy(labels: "pd.DataFrame", *tables: "pd.DataFrame") -> "pd.DataFrame":
    """Return the tables as one, keyed by `experiment`, knobs and seed in front."""
    import pandas as pd

    filled = [table for table in tables if len(table)]
    results = pd.concat(filled).set_index("experiment")
    return labels.loc[results.index].join(results)


def nothing() -> "pd.DataFrame":
    """Return a table of results without a row."""
    import pandas as pd

    return pd.DataFrame({name: [] for name in ("experiment", *COLUMNS)})


def warn_of_divergence(frame: "pd.DataFrame") -> None:
    """Warns: RuntimeWarning if runs diverged."""
    count = int((frame["status"] == "diverged").sum())
    if count:
        message = f"{count} of {len(frame)} runs diverged: their metrics are NaN or"
        message += " infinite, and no mean is taken over them"
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def _more_is_better(metric):
    return metric.endswith("accuracy")
