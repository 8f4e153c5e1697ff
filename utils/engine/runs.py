"""Finished runs: their networks, and their curves as tidy tables."""

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from utils.arguments import entries, not_too_many, several
from utils.data import load
from utils.engine.ensemble import METRICS
from utils.engine.module import build_module
from utils.engine.training import Training
from utils.experiment import Experiment, check_experiments

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """One finished run.

    `history` has a list per metric, one value per epoch. `epoch` is the epoch whose
    weights are kept: the last, or with patience the best. `status` is 'finished',
    'stopped early' or 'diverged'.
    """

    name: str
    experiment: Experiment
    history: dict[str, list[float]]
    epoch: int
    status: str
    state: list[torch.Tensor]

    @cached_property
    def module(self) -> torch.nn.Module:
        """The network, in evaluation mode, holding the kept weights."""
        return build_module(self.experiment, self.state)

    @property
    def weights(self) -> np.ndarray:
        """Every weight of the network, kernels first, no biases, [n_weights]."""
        depth = len(self.experiment.channels) + len(self.experiment.hidden) + 1
        return torch.cat([w.flatten() for w in self.state[:depth]]).numpy()

    def predict(self, X: np.ndarray | Sequence) -> np.ndarray:
        """Return P(class 1) [n] for two classes, else class probabilities [n, classes].

        In regression, return the predicted targets [n].

        Args: X: inputs [n, features].
        """
        with torch.no_grad():
            logits = self.module(torch.as_tensor(X, dtype=self.state[0].dtype))
        task = load(self.experiment.data).task
        if task == "regression":
            return logits[:, 0].numpy()
        if task == "binary":
            return torch.sigmoid(logits[:, 0]).numpy()
        return torch.softmax(logits, dim=1).numpy()

    def at_kept_epoch(self) -> dict[str, float]:
        """Return each metric at the epoch whose weights are kept."""
        return {name: values[self.epoch - 1] for name, values in self.history.items()}


class Runs(Sequence[Run]):
    """The runs that fit returned, in the order of its experiments."""

    def __init__(self, runs: Sequence[Run]):
        self._runs = list(runs)

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    @overload
    def __getitem__(self, key: int) -> Run: ...
    @overload
    def __getitem__(self, key: str | slice) -> "Runs": ...
    def __getitem__(self, key: int | str | slice) -> "Run | Runs":
        """runs[0] is a Run; runs[1:3] and runs['name'] are Runs."""
        if isinstance(key, str):
            found = [run for run in self._runs if run.name == key]
            if not found:
                names = list(dict.fromkeys(run.name for run in self._runs))
                raise KeyError(f"{key!r}: must be one of {names}")
            return Runs(found)
        return Runs(self._runs[key]) if isinstance(key, slice) else self._runs[key]

    def frame(self) -> "pd.DataFrame":
        """Return a table with a row per run and epoch, knobs that vary as columns."""
        import pandas as pd

        parts = [
            pd.DataFrame({**label, "epoch": range(1, len(epochs) + 1), **run.history})
            for label, run in zip(self._labels(), self._runs, strict=True)
            if (epochs := run.history["val_loss"])
        ]
        return pd.concat(parts, ignore_index=True)

    def summary(self) -> "pd.DataFrame":
        """Return a table with a row per run, metrics at the kept epoch.

        `gap` is the generalization gap, validation minus training loss; `zeros` the
        share of weights that are exactly 0.
        """
        import pandas as pd

        rows = []
        for label, run in zip(self._labels(), self._runs, strict=True):
            at = run.at_kept_epoch()
            gap = at["val_loss"] - at["train_loss"]
            zeros = float(np.mean(run.weights == 0))
            rows.append({**label, "epoch": run.epoch, **at, "gap": gap, "zeros": zeros})
        return pd.DataFrame(rows)

    def _labels(self):
        """One dict per run: number, name, seed and every field that varies."""
        fields = [vars(run.experiment) for run in self._runs]
        varies = [k for k in fields[0] if any(f[k] != fields[0][k] for f in fields)]
        keys = list(dict.fromkeys([*varies, "seed"]))
        return [
            {"run": i, "name": run.name, **{k: f[k] for k in keys}}
            for i, (run, f) in enumerate(zip(self._runs, fields, strict=True))
        ]


def fit(
    experiments: Experiment
    | Iterable[Experiment]
    | Mapping[str, Experiment | Iterable[Experiment]],
    device: str = "auto",
) -> Runs:
    """Train to the end and return the Runs.

    Args:
        experiments: an Experiment, a list of them, or a mapping from name to either.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
    Raises: ValueError for none, or a device that is not there.
    Warns: RuntimeWarning naming each run that diverged.
    """
    names, flat = _named(experiments)
    runs = train_all(names, flat, device)
    for i, run in enumerate(runs):
        if run.status == "diverged":
            at = len(run.history["val_loss"])
            message = f"run {i} {run.name!r} diverged in epoch {at}: {run.experiment}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
    return Runs(runs)


class Stopped(Exception):
    """The training was given up on request."""


def train_all(
    names: Sequence[str],
    experiments: Sequence[Experiment],
    device: str,
    curves: bool | int = True,
    stop: threading.Event | None = None,
) -> list[Run]:
    """Train all at once; where memory runs out, one half after the other.

    Args:
        names, experiments: lists of one length.
        device: as for fit.
        curves: as for Training; False is faster.
        stop: None, or a threading.Event; once it is set, no further epoch begins.
    Returns: list of Run.
    Raises: Stopped.
    """
    options = device, curves, stop
    try:
        return _fit_together(names, experiments, *options)
    except torch.OutOfMemoryError:
        if len(experiments) == 1:
            raise
    torch.cuda.empty_cache()
    half = len(experiments) // 2
    first = train_all(names[:half], experiments[:half], *options)
    return first + train_all(names[half:], experiments[half:], *options)


def _fit_together(names, experiments, device, curves, stop):
    training = Training(experiments, device, curves)
    histories: list[dict] = [{name: [] for name in METRICS} for _ in experiments]
    while not training.done:
        if stop is not None and stop.is_set():
            raise Stopped
        record = training.run_epoch()
        for i in record.active.nonzero()[:, 0].tolist():
            for name in METRICS:
                histories[i][name].append(float(getattr(record, name)[i]))
    ends = (training.kept_epoch, training.status, training.state)
    columns = zip(names, experiments, histories, *ends, strict=True)
    return [Run(*column) for column in columns]


def _named(experiments):
    """Return names and experiments, two flat lists."""
    if not isinstance(experiments, Mapping):
        experiments = {"": experiments}
    names, flat = [], []
    what = "an Experiment, a list of them, or a mapping from names to either"
    for name, value in entries("experiments", experiments, what):
        one = isinstance(value, Experiment)
        members = [value] if one else several("experiments", value, what)
        names += [name] * len(members)
        flat += members
        not_too_many("experiments", len(flat), "are more")
    return names, check_experiments(flat)
