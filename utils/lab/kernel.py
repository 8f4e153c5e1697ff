"""A lab's engine in the kernel: one thread that trains what a front end asks for.

It speaks the protocol of the page's workers, web/lab/engines. What is asked, by type:
    run: id, members, points, keep, look, scores, watch; it takes the place of the run
        before, unless it is the same: `look` joins also one that went on
    sweep: id, members, points
    pause, resume, stop, drawn: id
What is told, and the arrays that come with it:
    frame: ids, fresh, members, epochs, status, kept, over, views; metrics [members,
        epochs, 4] as jobs.CURVES, NaN where a member was not scored; and where `views`
        is not None: points, validation, weights, plain, seen, X, y, clean
    cells: id, ids, members, done, total, over, name; records [members, 4], NaN for
        runs that diverged
    error: id, message
"""

import json
import threading
import time
from collections.abc import Callable

import numpy as np
import torch

from utils.data import own_points
from utils.engine.ensemble import choose_device
from utils.engine.training import Training
from utils.experiment import Experiment
from utils.lab.jobs import Job, RunJob, SweepJob

YIELD = 0.002  # seconds, for the thread that sends what was told
RECENT = 20  # questions that a view still knows, as in web/lab/lab.js
KINDS = {"run": RunJob, "sweep": SweepJob}  # the more urgent first


class KernelEngine:
    """Trains for one lab, on a thread that starts with the first question.

    Args:
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        tell: called on that thread with a message and its arrays, float64.
    Raises: ValueError for a device that is not there.
    """

    def __init__(
        self, device: str, tell: Callable[[dict, dict[str, np.ndarray]], None]
    ):
        where = choose_device(device, "float64" if device == "auto" else "float32")
        gpu = torch.cuda.get_device_name(where) if where.type == "cuda" else ""
        self.name = f"PyTorch on {where.type.upper()}" + (gpu and f" ({gpu})")
        self._device, self._tell = device, tell
        self._jobs: dict[str, Job | None] = dict.fromkeys(KINDS)
        self._asked: list[dict] = []
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._resting, self._closed = True, False

    def ask(self, message: dict) -> None:
        """Take a question, from any thread; members are Experiments or their JSON."""
        with self._news:
            self._asked.append(message)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(
                    target=self._work, name="lab", daemon=True
                )
                self._thread.start()
            self._news.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until there is nothing left to do.

        Returns: False if that took longer than timeout, seconds.
        """
        with self._news:
            return self._news.wait_for(self._is_resting, timeout)

    def close(self) -> None:
        """End the thread, between two epochs."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join()

    def _is_resting(self):
        return self._closed or (self._resting and not self._asked)

    # What the engine's own thread does.

    def _work(self):
        while not self._closed:
            for message in self._take():
                self._try([message.get("id")], self._answer, message)
            for kind, job in self._busy()[:1]:
                if not self._try(job.ids, self._advance, job):
                    self._jobs[kind] = None

    def _busy(self):
        return [(kind, job) for kind, job in self._jobs.items() if job and job.runs]

    def _take(self):
        """Wait until there is something to do; return what was asked, oldest first."""
        with self._news:
            self._resting = not self._busy()
            self._news.notify_all()
            self._news.wait_for(
                lambda: self._asked or self._closed or not self._resting
            )
            asked, self._asked, self._resting = self._asked, [], False
        return asked

    def _try(self, ids, act, *args):
        """Return whether it went well; above this thread nobody could catch errors."""
        try:
            act(*args)
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            for id in ids:
                self._tell({"type": "error", "id": id, "message": f"{kind}{error}"}, {})
            return False
        return True

    def _answer(self, message):
        kind, id = message["type"], message["id"]
        if kind in KINDS:
            self._start(kind, message)
        for job in filter(None, self._jobs.values()):
            if id in job.ids and kind not in KINDS:
                shown = job.begun and job.runs
                job.hear(kind, id)
                if shown and job.paused:  # what rests is shown as it is
                    self._publish(job)

    def _start(self, kind, message):
        """Join the run that trains these members, let it go on with them, or begin."""
        members, points = _parse(message)
        former, keep = self._jobs[kind], message.get("keep", False)
        if former and former.join(message, members, points):
            if former.begun:
                self._publish(former)
            return
        # Who looks at these members still does when they begin again, or go on.
        watchers = former.ids if former and former.trains(members, points) else []
        if former is None:
            training, fresh = Training(members, self._device, points=points), True
        else:
            training = former.training
            fresh = not (keep and training.go_on(members, points))
            if fresh:
                training.start(members, points)
        job = self._jobs[kind] = KINDS[kind](message, training, fresh, former)
        job.ids = [*watchers, *job.ids][-RECENT:]

    def _advance(self, job):
        job.train()
        if job.is_due():
            self._publish(job)

    def _publish(self, job):
        for message, arrays in job.tell():
            name = {"name": self.name} if message["type"] == "cells" else {}
            self._tell(message | name, arrays)
        time.sleep(YIELD)


def _parse(message):
    """Return the members, and the points they are to learn in place of their own."""
    members = [
        e if isinstance(e, Experiment) else Experiment.from_json(json.dumps(e))
        for e in message["members"]
    ]
    points = message.get("points")
    if points is None:
        return members, None
    data = sorted({e.data for e in members})
    if len(data) != 1:
        raise ValueError(f"points: members must be of one data set, are of {data}")
    points = own_points(data[0], points["X"], points["y"])
    return [e.replace(n_train=len(points.y)) for e in members], points
