"""Trains experiments of any structures together, each to its own end."""

import math
from collections.abc import Iterator, Sequence

import torch

from utils.engine import METRICS, Ensemble, Record, structure
from utils.experiment import Experiment


class Training:
    """Experiments of any structures, each trained to its own end.

    `status[i]` is 'running', then 'finished', 'stopped early', 'diverged' or 'pruned';
    `kept_epoch[i]` and `state[i]` are the epoch and the parameters that count: the
    last, or with patience those of the lowest validation loss.

    Args:
        experiments: at least one.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        curves: False leaves out the evaluation after epochs that decide nothing: those
            without patience that are not the last of a run. Their metrics are NaN.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        device: str = "auto",
        curves: bool = True,
    ):
        self.experiments, self.curves = list(experiments), curves
        if not self.experiments:
            raise ValueError("experiments: must be at least one")
        members: dict[tuple, list[int]] = {}
        for i, e in enumerate(self.experiments):
            members.setdefault(structure(e), []).append(i)
        self.groups = [
            (group, Ensemble([self.experiments[i] for i in group], device))
            for group in members.values()
        ]
        count = len(self.experiments)
        self.status = ["running"] * count
        self.state: list[list[torch.Tensor] | None] = [None] * count
        self.kept_epoch = [0] * count
        self._best = [math.inf] * count
        self._last: Record | None = None

    def run_epoch(self) -> Record:
        """Train every running member one epoch; return one Record for all."""
        running = torch.tensor([s == "running" for s in self.status])
        epoch = 1 if self._last is None else self._last.epoch + 1
        values = {
            name: torch.zeros(len(running), dtype=torch.float64)
            if self._last is None
            else getattr(self._last, name).clone()
            for name in METRICS
        }
        for members, ensemble in self.groups:
            self._drop(members, ensemble)
            live = [k for k, i in enumerate(members) if running[i]]
            if not live:
                continue
            record = ensemble.run_epoch(self._counts(epoch, [members[k] for k in live]))
            for k in live:
                i = members[k]
                for name in METRICS:
                    values[name][i] = getattr(record, name)[k] if record else math.nan
                if record:
                    finite, loss = bool(record.active[k]), float(record.val_loss[k])
                    self._judge(i, epoch, loss, finite, ensemble, k)
        self._last = Record(epoch, **values, active=running)
        return self._last

    def _counts(self, epoch, members):
        """Whether the metrics of any of these after an epoch decide something."""
        return self.curves or any(
            e.patience is not None or epoch >= e.epochs
            for e in (self.experiments[i] for i in members)
        )

    def stop(self, members: Sequence[int]) -> None:
        """End these runs where they are: their status becomes 'pruned'.

        Raises: ValueError for one that is not running, or has not begun.
        """
        for i in members:
            if self.status[i] != "running" or self._last is None:
                raise ValueError(f"member {i}: must be running, is {self.status[i]!r}")
        places = {i: (e, k) for group, e in self.groups for k, i in enumerate(group)}
        for i in members:
            ensemble, k = places[i]
            self.status[i] = "pruned"
            if self.state[i] is None:
                self.state[i], self.kept_epoch[i] = ensemble.state(k), ensemble.epoch

    def _drop(self, members, ensemble):
        """Leave out those that have ended, once they are half of the ensemble."""
        live = [k for k, i in enumerate(members) if self.status[i] == "running"]
        if 0 < 2 * len(live) <= len(members):
            ensemble.keep(live)
            members[:] = [members[k] for k in live]

    @property
    def done(self) -> bool:
        """True when no member is running."""
        return "running" not in self.status

    def _judge(self, i, epoch, loss, finite, ensemble, k):
        """Keep member i's parameters where they count, and end its run if due."""
        e, better = self.experiments[i], loss < self._best[i]
        waited = 0 if better else epoch - self.kept_epoch[i]
        over = epoch >= e.epochs
        self.status[i] = "diverged" if not finite else judge(e.patience, waited, over)
        last = self.status[i] in ("finished", "diverged")
        keep = better if e.patience is not None else last
        if keep or (last and self.state[i] is None):
            self.state[i] = ensemble.state(k)
            self.kept_epoch[i], self._best[i] = epoch, loss


def judge(patience: int | None, waited: int, over: bool) -> str:
    """Return the status of a run after an epoch.

    Args:
        patience: that of its experiment.
        waited: epochs since its lowest validation loss.
        over: whether this was its last epoch.
    """
    if patience is not None and waited >= patience:
        return "stopped early"
    return "finished" if over else "running"


def train(experiments: Sequence[Experiment], device: str = "auto") -> Iterator[Record]:
    """Train experiments together, yielding a Record after every epoch.

    Those that cannot share an ensemble are grouped; each ends at its own last epoch,
    or earlier by patience or divergence, and the others go on.

    Args:
        experiments: at least one.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
    Raises: ValueError for an empty list or a device that is not there.
    """
    training = Training(experiments, device)
    while not training.done:
        yield training.run_epoch()
