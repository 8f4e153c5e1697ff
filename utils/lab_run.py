"""One network being trained for a live lab, an epoch at a time."""

import math

import numpy as np
import torch

from utils.data import load
from utils.engine import Ensemble, structure
from utils.experiment import Experiment

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

        Returns: False, and nothing changes, where the present weights cannot serve:
            they are not finite, or the experiments differ in structure.
        """
        other = structure(experiment) != structure(self.experiment)
        if other or self.stopped == "diverged":
            return False
        self.ensemble.set([experiment])
        self._aim(experiment)
        return True

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
    def weights(self) -> np.ndarray:
        """Every weight of the network, biases left out, [n_weights]."""
        depth = len(self.experiment.hidden) + 1
        state = self.ensemble.state(0)[:depth]
        return torch.cat([w.flatten() for w in state]).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return P(class 1) [n] for two classes, else class probabilities [n, classes].

        Args: X: inputs [n, features].
        """
        e = self.ensemble
        inputs = torch.as_tensor(X, dtype=e.dtype, device=e.device)[None]
        logits = e.logits(inputs)[0].cpu()
        if load(self.experiment.data).outputs == 1:
            return torch.sigmoid(logits[:, 0]).numpy()
        return torch.softmax(logits, dim=1).numpy()

    def _begin(self, experiment):
        self.curve = {name: [] for name in CURVES}
        self._aim(experiment)

    def _aim(self, experiment):
        self.experiment = experiment
        self.end = self.epoch + experiment.epochs
        self.best_epoch, self._best = self.epoch, math.inf
        self.stopped = ""

    def _judge(self, loss):
        """End the run where `fit` would: by patience, or at the last epoch."""
        if loss < self._best:
            self.best_epoch, self._best = self.epoch, loss
        patience = self.experiment.patience
        if patience is not None and self.epoch - self.best_epoch >= patience:
            self.stopped = "stopped early"
        elif self.epoch >= self.end:
            self.stopped = "finished"
