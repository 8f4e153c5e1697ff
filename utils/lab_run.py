"""One network being trained for a live lab, an epoch at a time."""

import dataclasses
import math

from utils.engine import Ensemble, structure
from utils.experiment import Experiment
from utils.lab_knobs import short_label
from utils.runs import Run
from utils.training import judge

CURVES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")


class LiveRun:
    """A run that can start again or go on with other knobs, at any epoch.

    `curve` has a list per metric of CURVES, one value per epoch since the start;
    `end` is the epoch at which the run is finished; `stopped` says why it went no
    further: '' (it can), 'finished', 'stopped early' or 'diverged'.

    Args:
        experiment: what to train first.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
    Raises: ValueError if the device is not there.
    """

    def __init__(self, experiment: Experiment, device: str = "auto"):
        self.device = device
        self.ensemble = Ensemble([experiment], device)
        self._begin(experiment)

    def start(self, experiment: Experiment) -> None:
        """Take other knobs and return to the initial weights."""
        if structure(experiment) == structure(self.experiment):
            self.ensemble.set([experiment])
            self.ensemble.reset()
        else:
            self.ensemble = Ensemble([experiment], self.device)
        self._begin(experiment)

    def go_on(self, experiment: Experiment) -> bool:
        """Take other knobs, keep the weights, train `experiment.epochs` more.

        Returns: False, and nothing changes, where there is an obstacle.
        """
        if self.obstacle(experiment):
            return False
        self.ensemble.set([experiment])
        self._aim(experiment)
        return True

    def obstacle(self, experiment: Experiment) -> str:
        """Return why the present weights cannot serve an experiment; '' if they can."""
        if self.stopped == "diverged":
            return "the weights were no longer numbers"
        own = self.experiment
        if structure(experiment) == structure(own):
            return ""
        names = [field.name for field in dataclasses.fields(experiment)]
        changed = [n for n in names if getattr(experiment, n) != getattr(own, n)]
        return f"{' and '.join(map(short_label, changed))} changed"

    def run_epoch(self) -> None:
        """Train one epoch and judge whether the run goes on."""
        record = self.ensemble.run_epoch()
        if not bool(record.active[0]):
            self.stopped = "diverged"
            return
        for name in CURVES:
            self.curve[name].append(float(getattr(record, name)[0]))
        self._judge(self.curve["val_loss"][-1])

    @property
    def epoch(self) -> int:
        """Epochs trained since the start."""
        return self.ensemble.epoch

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights are kept; None unless a run with patience is over."""
        over = self.stopped in ("finished", "stopped early")
        return self.best_epoch if over and self._best_state is not None else None

    @property
    def shown(self) -> Run:
        """The run as it counts: its present weights, at its end the kept ones."""
        if self.kept_epoch is None:
            epoch, state = self.epoch, self.ensemble.state(0)
        else:
            epoch, state = self.kept_epoch, self._best_state
        return Run("", self.experiment, self.curve, epoch, self.stopped, state)

    def _begin(self, experiment):
        self.curve = {name: [] for name in CURVES}
        self._aim(experiment)

    def _aim(self, experiment):
        self.experiment = experiment
        self.end = self.epoch + experiment.epochs
        self.best_epoch, self._best, self._best_state = self.epoch, math.inf, None
        self.stopped = ""

    def _judge(self, loss):
        """End the run where `fit` would: by patience, or at the last epoch."""
        patience = self.experiment.patience
        if loss < self._best:
            self.best_epoch, self._best = self.epoch, loss
            if patience is not None:
                self._best_state = self.ensemble.state(0)
        waited, over = self.epoch - self.best_epoch, self.epoch >= self.end
        status = judge(patience, waited, over)
        self.stopped = "" if status == "running" else status
