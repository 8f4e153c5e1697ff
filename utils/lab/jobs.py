"""What a lab's engine has in hand: a run whose curves are shown, a sweep."""

import math
import time
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch

from utils.data import Split, training_set, validation_set
from utils.engine.ensemble import Ensemble
from utils.engine.runs import Run
from utils.engine.training import Training
from utils.experiment import Experiment

CURVES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
PACE, VIEWS_PACE, LATE = 1 / 20, 0.3, 0.5  # seconds
UNDRAWN = 2  # frames under way, until the last is LATE
SWEEP_SCORES = 5
WATCH = {"grid": None, "validation": 0, "weights": False, "inputs": 0}
WATCH |= {"training": False}


class Job(ABC):
    """Members in training, and somebody who looks on.

    Args:
        message: the question.
        training: that of its members.
    """

    def __init__(self, message: dict, training: Training):
        self.ids, self.training = [message["id"]], training
        self.paused, self.undrawn, self.told = False, 0, -math.inf

    @property
    def runs(self) -> bool:
        """True while there is anything to train."""
        return bool(self.ids) and not self.paused and not self.training.done

    @property
    def begun(self) -> bool:
        """True once anything was told."""
        return self.told > -math.inf

    def join(
        self, message: dict, members: list[Experiment], points: Split | None
    ) -> bool:
        """Answer one more question, if it is the same; return whether it is."""
        if not (self.trains(members, points) and self.is_asked_again(message)):
            return False
        self.ids.append(message["id"])
        self.paused = False
        self.face(message)
        return True

    def trains(self, members: list[Experiment], points: Split | None) -> bool:
        """Return whether its members and their own points are these."""
        both = self.training.points, points
        ours, theirs = ((p.X.tolist(), p.y.tolist()) if p else None for p in both)
        return members == self.training.experiments and ours == theirs

    @abstractmethod
    def is_asked_again(self, message: dict) -> bool:
        """Return whether what this job has to tell also answers this question."""

    @abstractmethod
    def face(self, message: dict) -> None:
        """Turn to somebody who has been told nothing yet."""

    def hear(self, kind: str, id: str) -> None:
        """Take drawn, stop, pause or resume."""
        if kind == "drawn":
            self.undrawn = max(0, self.undrawn - 1)
        elif kind == "stop":
            self.ids.remove(id)
        else:
            self.paused = kind == "pause"

    @abstractmethod
    def train(self) -> None:
        """Train an epoch."""

    @abstractmethod
    def has_news(self) -> bool:
        """Return whether there is something to tell."""

    @abstractmethod
    def news(self) -> list[tuple[dict, dict]]:
        """Return messages and their arrays: what was not told yet."""

    def _epoch(self):
        """Train an epoch; return the metrics [members, 4], and who was scored."""
        record, status = self.training.run_epoch(), np.array(self.training.status)
        metrics = torch.stack([getattr(record, name) for name in CURVES], 1).numpy()
        scored = ~np.isnan(metrics[:, 1]) | (status != "running")
        return metrics, np.flatnonzero(scored & record.active.numpy()).tolist()

    def is_due(self) -> bool:
        """Return whether there is something to tell, and it is time."""
        waited = time.monotonic() - self.told
        drawn = self.undrawn < UNDRAWN or waited >= LATE
        return self.training.done or (waited >= PACE and drawn and self.has_news())

    def tell(self) -> list[tuple[dict, dict]]:
        """Return messages and their arrays: what is new."""
        told = self.news()
        self.told, self.undrawn = time.monotonic(), min(self.undrawn + 1, UNDRAWN)
        return told


class RunJob(Job):
    """Members whose curves are shown, and what those that are watched compute."""

    viewed: float  # when somebody was last told what they compute

    def __init__(self, message: dict, training: Training, fresh: bool, former: Any):
        super().__init__(message, training)
        training.curves, self.fresh = message.get("scores", True), fresh
        self.rows = [[] for _ in training.experiments] if fresh else former.untold()
        self.face(message)
        if former:
            self.viewed = former.viewed

    def face(self, message: dict) -> None:
        """Turn to somebody who has been told nothing yet."""
        watch = {"members": []} | message.get("watch", {})
        self.watched, self.watch = watch.pop("members"), WATCH | watch
        self.counts, self.viewed = [0] * len(self.rows), -math.inf
        self.inputs, self.knows_points = None, False

    def is_asked_again(self, message: dict) -> bool:
        """A view that opens, or follows another, looks on."""
        return bool(message.get("look")) or (self.fresh and not message.get("keep"))

    def hear(self, kind: str, id: str) -> None:
        super().hear(kind, id)
        if kind == "pause":
            self.viewed = -math.inf

    def train(self) -> None:
        metrics, scored = self._epoch()
        for i in scored:
            self.rows[i].append((self.training.epochs[i], metrics[i]))

    def untold(self) -> list[list]:
        """Return each member's rows that were not told: (epoch, metrics)."""
        return [rows[n:] for rows, n in zip(self.rows, self.counts, strict=True)]

    def has_news(self) -> bool:
        return any(self.untold()) or self.looks()

    def looks(self) -> bool:
        """Whether it is time for what the watched compute: after the first metrics."""
        late = self.begun and time.monotonic() - self.viewed >= VIEWS_PACE
        wanted = bool(self.watched) and any(self.watch.values())
        return wanted and (late or self.training.done)

    def news(self) -> list[tuple[dict, dict]]:
        """Frames; members that began at one epoch share one."""
        rows, begin = self.untold(), self.training.begin
        self.counts = [len(own) for own in self.rows]
        groups = [[i for i, b in enumerate(begin) if b == one] for one in set(begin)]
        new = [own for own in groups if any(rows[i] for i in own)] or groups[:1]
        frames = [self.frame(own, [rows[i] for i in own]) for own in new]
        if self.looks():
            frames[-1][0]["views"], self.viewed = self.watched, time.monotonic()
            frames[-1][1].update(self.views())
        return frames

    def frame(self, members: list[int], rows: list[list]) -> tuple[dict, dict]:
        """Return one frame: a message, and the metrics of these members' rows."""
        t = self.training
        epochs = sorted({epoch for own in rows for epoch, _ in own})
        metrics = np.full((len(members), len(epochs), len(CURVES)), math.nan)
        for m, own in enumerate(rows):
            for epoch, values in own:
                metrics[m, epochs.index(epoch)] = values
        status, kept = ([of[i] for i in members] for of in (t.status, t.kept_epoch))
        message = {"type": "frame", "ids": self.ids[:], "fresh": self.fresh}
        message |= {"members": members, "epochs": epochs, "status": status}
        message |= {"kept": kept, "over": "running" not in status, "views": None}
        return message, {"metrics": metrics}

    def views(self) -> dict[str, np.ndarray]:
        """What the watched compute: points and validation [watched, n, …], and more."""
        t, wanted, found = self.training, self.watch, {}
        watched = [
            Run("", t.experiments[i], {}, t.epochs[i], t.status[i], t.present(i))
            for i in self.watched
        ]
        first = watched[0].experiment
        if wanted["grid"]:
            grid = np.meshgrid(*wanted["grid"])
            X = np.stack(grid, axis=-1).reshape(-1, len(grid))
            found["points"] = np.stack([run.predict(X) for run in watched])
        if n := wanted["validation"]:
            held = [validation_set(run.experiment).X[:n] for run in watched]
            pairs = zip(watched, held, strict=True)
            found["validation"] = np.stack([run.predict(X) for run, X in pairs])
        if wanted["weights"]:
            found["weights"] = watched[0].weights
        if n := wanted["inputs"]:
            self.inputs = self.inputs or _inputs(first, t.points, n)
            found |= self.inputs
        if wanted["training"] and not self.knows_points:
            self.knows_points = True
            found |= _training_set(first, t.points)
        return {name: np.asarray(array, float) for name, array in found.items()}


class SweepJob(Job):
    """Members of which the end counts."""

    def __init__(
        self, message: dict, training: Training, fresh: bool, former: Job | None
    ):
        super().__init__(message, training)
        training.curves, self.new = SWEEP_SCORES, False
        self.records = np.full((len(training.experiments), len(CURVES)), math.nan)

    def is_asked_again(self, message: dict) -> bool:
        return True

    def face(self, message: dict) -> None:
        self.new = True

    def train(self) -> None:
        t, (metrics, scored) = self.training, self._epoch()
        for i in scored:
            # With patience the best counts, else what is last.
            if t.experiments[i].patience is None or t.kept_epoch[i] == t.epochs[i]:
                self.records[i] = metrics[i]
            if t.status[i] == "diverged":
                self.records[i] = math.nan
        self.new |= bool(scored)

    def has_news(self) -> bool:
        return self.new

    def news(self) -> list[tuple[dict, dict]]:
        """One message with the present records of all."""
        status, self.new = self.training.status, False
        total, done = len(status), len(status) - status.count("running")
        message = {"type": "cells", "id": self.ids[-1], "ids": self.ids[:]}
        message |= {"members": [*range(total)]}
        message |= {"done": done, "total": total, "over": done == total}
        return [(message, {"records": self.records.copy()})]


def _inputs(experiment, points, count):
    """Images of the first step, as they are and as the first layer sees them."""
    front = {"hidden": (), "channels": (), "dropout_channels": 0, "batch_norm": False}
    both = Ensemble([experiment.replace(**front)], "cpu", points).first_inputs()
    return {
        k: x[0, :count].numpy() for k, x in zip(("plain", "seen"), both, strict=True)
    }


def _training_set(experiment, points):
    """The training points, and the labels that they would have without noise."""
    own = points or training_set(experiment)
    clean = own if points else training_set(experiment.replace(label_noise=0))
    return {"X": own.X, "y": own.y, "clean": clean.y}
