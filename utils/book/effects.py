"""Effects: what a change does, paired over draws.

A draw is a new everything: points, label noise, initial weights, batches (see
Experiment.draws). On each draw the changed run is compared with the baseline's, so
that what both owe to the draw cancels (paired comparison; Student 1908).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
import torch.nn.functional as F

from utils.arguments import choice, fail, show
from utils.data import load, validation_set
from utils.engine.runs import Run, Runs
from utils.settings import label

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

LATE = 10  # epochs of a mean at the end: one epoch may be a spike
RECORDED = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "objective")
METRICS = (*RECORDED, "gap", "calibrated_loss")
WHEN = ("kept", "last", "best", "late")
_HOT = (math.log(1e-2), math.log(1e3))  # log temperatures that are tried


@dataclass(frozen=True)
class Effect:
    """A paired difference over draws: `name` minus `against`, in `metric`.

    Args:
        name, against: what is compared with what.
        metric: one of METRICS.
        differences: one for each draw, at least two.
    Raises: ValueError for fewer, or for one that is not finite.
    """

    name: str
    against: str
    metric: str
    differences: tuple[float, ...]

    def __post_init__(self):
        if len(self.differences) < 2 or not all(map(math.isfinite, self.differences)):
            fail("differences", self.differences, "at least two finite numbers")

    @property
    def n(self) -> int:
        """How many draws."""
        return len(self.differences)

    @property
    def mean(self) -> float:
        """The mean difference."""
        return float(np.mean(self.differences))

    @property
    def se(self) -> float:
        """Its standard error, s / √n, s with n − 1."""
        return float(np.std(self.differences, ddof=1) / math.sqrt(self.n))

    @property
    def median(self) -> float:
        """The median difference, which one disaster does not move."""
        return float(np.median(self.differences))

    @property
    def lower(self) -> int:
        """On how many draws the difference is negative."""
        return sum(d < 0 for d in self.differences)

    @property
    def higher(self) -> int:
        """On how many draws it is positive."""
        return sum(d > 0 for d in self.differences)

    @property
    def ratio(self) -> float:
        """Mean over standard error, Student's t; 0/0 is 0."""
        if not self.mean:
            return 0.0
        return self.mean / self.se if self.se else math.copysign(math.inf, self.mean)

    def __str__(self) -> str:
        size = f"{self.mean:+.3g} ± {self.se:.2g}"
        return f"{size}, lower on {self.lower} of {self.n} draws"


class Effects(Sequence[Effect]):
    """Effects of one metric, in the order of the runs' names."""

    def __init__(self, effects: Sequence[Effect]):
        self._effects = list(effects)

    def __len__(self) -> int:
        return len(self._effects)

    def __iter__(self) -> Iterator[Effect]:
        return iter(self._effects)

    @overload
    def __getitem__(self, key: int | str) -> Effect: ...
    @overload
    def __getitem__(self, key: slice) -> "Effects": ...
    def __getitem__(self, key: int | str | slice) -> "Effect | Effects":
        """effects['L2'] and effects[0] are an Effect."""
        if isinstance(key, str):
            names = [effect.name for effect in self._effects]
            if key not in names:
                raise KeyError(f"{key!r}: must be one of {names}")
            return self._effects[names.index(key)]
        if isinstance(key, slice):
            return Effects(self._effects[key])
        return self._effects[key]

    def frame(self) -> "pd.DataFrame":
        """Return a table with a row per effect."""
        import pandas as pd

        about = ("mean", "se", "median", "lower", "n")
        rows = [{name: getattr(effect, name) for name in about} for effect in self]
        index = pd.Index([effect.name for effect in self], name=self._title)
        return pd.DataFrame(rows, index=index)

    def __repr__(self) -> str:
        return self.frame().to_string(float_format="{:.4f}".format)

    def _repr_html_(self) -> str:
        return self.frame().to_html(float_format="{:.4f}".format, border=0)

    @property
    def _title(self):
        return f"{label(self[0].metric)}, minus {self[0].against}"

    def plot(self, *, description: str, title: str | None = None) -> "go.Figure":
        """A row per effect: a dot per draw, the mean, and two standard errors around.

        Args: description, title: as for `plots.curves`.
        """
        from utils import plots

        return plots.effects(self, self._title, description=description, title=title)


def compare(
    runs: Runs, against: str, metric: str = "val_loss", at: str = "kept"
) -> Effects:
    """Return the effect of each name of `runs` but `against`, paired over draws.

    Args:
        runs: of two names or more, each on the same draws (seed, split).
        against: the name of the baseline.
        metric: 'train_loss', 'val_loss', 'train_accuracy', 'val_accuracy', 'objective',
            'gap' (validation minus training loss), or 'calibrated_loss': on one half of
            the validation set, after a temperature fitted on the other (Guo et al.
            2017); of classes only, where `at` is the epoch of the run's weights.
        at: 'kept', the epoch whose weights are kept: the last, with patience the best;
            'last'; 'best', of the lowest validation loss; 'late', the mean of the last
            ten epochs.
    Raises: ValueError for an unknown name, draws that differ, and runs that diverged.
    """
    if not isinstance(runs, Runs):
        fail("runs", runs, "Runs, as fit returns them")
    metric, at = choice("metric", metric, METRICS), choice("at", at, WHEN)
    names = list(dict.fromkeys(run.name for run in runs))
    against = choice("against", against, names)
    if len(names) < 2:
        fail("runs", names, "of two names at least")
    values = {name: _by_draw(runs[name], metric, at) for name in names}
    base = values.pop(against)
    for name, own in values.items():
        if own.keys() != base.keys():
            draws = f"{show(name)} has draws {[*own]}, {show(against)} {[*base]}"
            raise ValueError(f"runs: {draws}: must be the same")
    return Effects(
        [
            Effect(name, against, metric, tuple(own[draw] - base[draw] for draw in own))
            for name, own in values.items()
        ]
    )


def _by_draw(runs: Sequence[Run], metric: str, at: str) -> dict[Any, float]:
    """The runs' values, {(seed, split): value}."""
    found: dict[Any, float] = {}
    for run in runs:
        e = run.experiment
        draw = e.seed, e.split
        if draw in found:
            message = f"runs: {show(run.name)} has seed, split = {draw} twice"
            raise ValueError(f"{message}: must be one run for each draw")
        if run.status == "diverged":
            raise ValueError(f"runs: {show(run.name)} diverged: {e}")
        found[draw] = value_of(run, metric, at)
    return found


def value_of(run: Run, metric: str, at: str = "kept") -> float:
    """Return one run's metric; `metric` and `at` as for compare."""
    if metric == "calibrated_loss":
        return _calibrated(run, at)
    if metric == "gap":
        return value_of(run, "val_loss", at) - value_of(run, "train_loss", at)
    values = run.history[metric]
    if at == "late":
        return float(np.mean(values[-LATE:]))
    best = int(np.argmin(run.history["val_loss"]))
    return values[{"kept": run.epoch - 1, "last": -1, "best": best}[at]]


def _calibrated(run, at):
    """The loss after one temperature; its weights are those of the kept epoch."""
    from scipy.optimize import minimize_scalar

    last = len(run.history["val_loss"])
    if at not in ("kept", "last") or (at == "last" and run.epoch != last):
        fail("at", at, f"'kept' for calibrated_loss of a run that keeps {run.epoch}")
    e = run.experiment
    if load(e.data).task == "regression":
        fail("metric", "calibrated_loss", f"another for data = {e.data!r}: regression")
    held = validation_set(e)
    with torch.no_grad():
        z = run.module(torch.tensor(held.X, dtype=run.state[0].dtype)).double()
    if z.shape[1] == 1:  # one logit z is the pair (0, z)
        z = F.pad(z, (1, 0))
    y, half = torch.tensor(held.y), len(held.y) // 2
    found = minimize_scalar(
        lambda t: F.cross_entropy(z[:half] / math.exp(t), y[:half]).item(),
        bounds=_HOT,
        method="bounded",
    )
    return F.cross_entropy(z[half:] / math.exp(found.x), y[half:]).item()
