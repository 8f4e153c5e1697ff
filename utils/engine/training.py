"""Trains experiments of any structures together, each to its own end."""

import math
import os
from collections.abc import Iterator, Sequence

import torch

from utils.arguments import whole
from utils.data import Split
from utils.engine.ensemble import METRICS, Ensemble, Record, structure
from utils.experiment import Experiment, check_experiments

# The audit asks what the book says of runs that are so many times as long.
LENGTH = int(os.environ.get("AUDIT_LENGTH") or 1)


class Training:
    """Experiments of any structures, each trained to its own end.

    `status[i]` is 'running', then 'finished', 'stopped early', 'diverged' or 'pruned';
    `epochs[i]` counts the epochs trained, `begin[i]` those before it last went on;
    `kept_epoch[i]` and `state[i]` are the epoch and the parameters that count: the
    last, or with patience those of the lowest validation loss.

    Args:
        experiments: at least one.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        curves: True evaluates after every epoch; a number, so many times a run at equal
            distances, and after its first epoch; False, never but after those that
            decide something: the last of a run, and with patience all. Metrics of
            other epochs are NaN.
        points: None, or what all learn in place of their training sets.
    """

    _last: Record | None

    def __init__(
        self,
        experiments: Sequence[Experiment],
        device: str = "auto",
        curves: bool | int = True,
        points: Split | None = None,
    ):
        if not isinstance(curves, bool):
            curves = whole("curves", curves, 1)
        self.device, self.curves = device, curves
        self.groups: list[tuple[list[int], Ensemble]] = []
        self.start(experiments, points)

    def start(
        self, experiments: Sequence[Experiment], points: Split | None = None
    ) -> None:
        """Begin anew with other experiments; ensembles that fit are used again.

        Raises: ValueError for none; the former ones can then go on.
        """
        experiments = check_experiments(experiments)
        former = {(structure(e.first), len(e.experiments)): e for _, e in self.groups}
        groups = [
            (members, former.pop((alike, len(members)), None))
            for alike, members in _places(map(structure, experiments)).items()
        ]
        self.groups = self._filled(groups, experiments, points)
        for _, ensemble in self.groups:
            ensemble.reset()
        self.epochs, self._last = [0] * len(experiments), None
        self._aim(experiments, points)

    def go_on(
        self, experiments: Sequence[Experiment], points: Split | None = None
    ) -> bool:
        """Take other knobs, keep what was learned last, train `epochs` more of each.

        Patience and the epoch that is kept count from here.

        Returns: False, and nothing changes, where there is an obstacle.
        """
        experiments = check_experiments(experiments)
        if self.obstacle(experiments):
            return False
        alike = zip(map(structure, experiments), self.epochs, strict=True)
        former = {tuple(members): ensemble for members, ensemble in self.groups}
        groups = [(own, former.get(tuple(own))) for own in _places(alike).values()]
        learned = [
            None if ensemble else [self._everything(i) for i in members]
            for members, ensemble in groups
        ]
        self.groups = self._filled(groups, experiments, points)
        for (members, ensemble), states in zip(self.groups, learned, strict=True):
            if states:
                ensemble.go_on_from(self.epochs[members[0]], states)
        self._aim(experiments, points)
        return True

    def obstacle(self, experiments: Sequence[Experiment]) -> str:
        """Return why the present weights cannot serve experiments; '' if they can."""
        if len(experiments) != len(self.experiments):
            return f"{len(experiments)} members in place of {len(self.experiments)}"
        for i, (new, old) in enumerate(zip(experiments, self.experiments, strict=True)):
            if structure(new) != structure(old):
                return f"member {i} would have another structure"
            if self.status[i] == "diverged":
                return f"the weights of member {i} are no longer numbers"
        return ""

    def _filled(self, groups, experiments, points):
        """Give every group its ensemble: a new one, where the former is None."""
        both = [(m, former, [experiments[i] for i in m]) for m, former in groups]
        # What may fail for want of memory comes first.
        made = [f or Ensemble(own, self.device, points) for _, f, own in both]
        for _, former, own in both:
            if former:
                former.set(own, points)
        return [(m, ensemble) for (m, _, _), ensemble in zip(both, made, strict=True)]

    def _aim(self, experiments, points):
        """Expect each to train its epochs from here."""
        self.experiments, self.points = list(experiments), points
        count = len(experiments)
        self.begin, self.kept_epoch = self.epochs[:], self.epochs[:]
        self.status = ["running"] * count
        self.state: list[list[torch.Tensor] | None] = [None] * count
        self._best = [math.inf] * count
        self._ended: dict[int, list[torch.Tensor]] = {}  # while their ensemble goes on

    def run_epoch(self) -> Record:
        """Train every running member one epoch; return one Record for all.

        Its epoch is that of the run that has come furthest.
        """
        running = [s == "running" for s in self.status]
        values = {
            name: torch.zeros(len(running), dtype=torch.float64)
            if self._last is None
            else getattr(self._last, name).clone()
            for name in METRICS
        }
        for members, ensemble in self.groups:
            self._drop(members, ensemble)
            places = [k for k, i in enumerate(members) if running[i]]
            if not places:
                continue
            live = [members[k] for k in places]
            record = ensemble.run_epoch(self._counts(ensemble.epoch + 1, live))
            for name in METRICS:
                found = getattr(record, name)[places] if record else math.nan
                values[name][live] = found
            for i in live:
                self.epochs[i] = ensemble.epoch
            if record:
                self._judge_all(record, live, ensemble, places)
        active = torch.tensor(running)
        self._last = Record(max(self.epochs), **values, active=active)
        return self._last

    def _counts(self, epoch, members):
        """Whether what an epoch leaves behind decides or shows anything for these."""
        return any(
            self.experiments[i].patience is not None
            or epoch >= self.begin[i] + self._epochs(i)
            or self._shows(epoch - self.begin[i], self._epochs(i))
            for i in members
        )

    def _epochs(self, i):
        """How many epochs the run of member i takes."""
        return LENGTH * self.experiments[i].epochs

    def _shows(self, epoch, epochs):
        """Whether an epoch of a run is among those that `curves` asks for.

        They are ⌈k · epochs / curves⌉ for k = 1, 2, …, and the first.
        """
        if self.curves is True:
            return True
        count = min(self.curves, epochs)
        first = epoch == 1 and count > 0
        return first or epoch * count // epochs > (epoch - 1) * count // epochs

    def present(self, i: int) -> list[torch.Tensor]:
        """Return member i's parameters as they are; of a run that is over, as kept."""
        if self.status[i] != "running":
            return self.state[i]
        return next(e.state(m.index(i)) for m, e in self.groups if i in m)

    def stop(self, members: Sequence[int]) -> None:
        """End these runs where they are: their status becomes 'pruned'.

        Raises: ValueError for one that is not running, or has not begun.
        """
        for i in members:
            if self.status[i] != "running" or self._last is None:
                raise ValueError(f"member {i}: must be running, is {self.status[i]!r}")
        for i in members:
            self._ended[i], state = self._everything(i), self.present(i)
            self.status[i] = "pruned"
            if self.state[i] is None:
                self.state[i], self.kept_epoch[i] = state, self.epochs[i]

    def _everything(self, i):
        """All that member i has learned by its last epoch."""
        if i in self._ended:
            return self._ended[i]
        return next(e.everything(m.index(i)) for m, e in self.groups if i in m)

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

    def _judge_all(self, record, live, ensemble, places):
        losses, finite = record.val_loss.tolist(), record.active.tolist()
        for i, k in zip(live, places, strict=True):
            self._judge(i, losses[k], finite[k], ensemble, k)
        over = [i for i in live if self.status[i] != "running"]
        if len(over) < len(live):
            self._ended |= {i: self._everything(i) for i in over}

    def _judge(self, i, loss, finite, ensemble, k):
        """Keep member i's parameters where they count, and end its run if due."""
        e, epoch, better = self.experiments[i], self.epochs[i], loss < self._best[i]
        waited = 0 if better else epoch - self.kept_epoch[i]
        over = epoch >= self.begin[i] + self._epochs(i)
        self.status[i] = "diverged" if not finite else judge(e.patience, waited, over)
        last = self.status[i] in ("finished", "diverged")
        keep = better if e.patience is not None else last
        if keep or (last and self.state[i] is None):
            self.state[i] = ensemble.state(k)
            self.kept_epoch[i], self._best[i] = epoch, loss


def _places(kinds):
    """Return where each kind is in a sequence, {kind: [index …]}."""
    places: dict[tuple, list[int]] = {}
    for i, kind in enumerate(kinds):
        places.setdefault(kind, []).append(i)
    return places


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
