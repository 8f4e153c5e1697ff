"""Trains the ensembles of a sweep: here, or in worker processes of this machine."""

import itertools
import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from multiprocessing import connection
from typing import TYPE_CHECKING

from utils.data import load
from utils.engine.ensemble import choose_device
from utils.engine.runs import Runs, Stopped, train_all
from utils.experiment import Experiment
from utils.sweep.plan import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

TRIES = 3
START = 6.0  # seconds that a process needs to import torch, about
_GPU = threading.Lock()  # threads of one process record no two CUDA graphs at once


def train_rows(
    experiments: Sequence[Experiment], device: str, stop: threading.Event | None = None
) -> "pd.DataFrame":
    """Train one ensemble; return a table with a row per run, keyed by `experiment`.

    Args: stop: as for train_all.
    Raises: Stopped.
    """
    cuda = choose_device(device, experiments[0].dtype).type == "cuda"
    with _GPU if cuda else nullcontext():
        names = [""] * len(experiments)
        runs = train_all(names, experiments, device, curves=False, stop=stop)
    table = Runs(runs).summary()
    table["status"] = [run.status for run in runs]
    table["experiment"] = [e.to_json() for e in experiments]
    return table[["experiment", *COLUMNS]]


def kind_of(device: str, dtypes: Iterable[str]) -> str:
    """Return the type of the device that experiments of these dtypes would use.

    Raises: ValueError if the device is not there.
    """
    return min(choose_device(device, dtype).type for dtype in dtypes)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worthwhile(ensembles: Sequence[Sequence[Experiment]]) -> int:
    """Return how many processes to train in: as many as earn back their start."""
    if multiprocessing.current_process().daemon:  # may not have processes of its own
        return 1
    total = sum(map(_seconds, ensembles))
    return max(1, min(usable_cores(), len(ensembles), int(total / (2 * START))))


def train_here(
    ensembles: Sequence[Sequence[Experiment]],
    device: str,
    stop: threading.Event | None = None,
) -> Iterator["pd.DataFrame"]:
    """Yield each ensemble's results, until the event `stop` is set."""
    with suppress(Stopped):
        for ensemble in ensembles:
            yield train_rows(ensemble, device, stop)


def train_in_processes(
    ensembles: Sequence[Sequence[Experiment]], workers: int, device: str
) -> Iterator["pd.DataFrame"]:
    """Yield each ensemble's results as it ends; `workers` train at a time.

    Processes of its own, not a ProcessPoolExecutor: one that dies is known to be the
    one that had the ensemble, none outlives a parent that was killed, and closing
    the generator stops them in the middle of their work.

    Raises: RuntimeError naming the ensemble in whose training a process died thrice.
    """
    waiting = deque((ensemble, 1) for ensemble in ensembles)
    pool = [_Worker(device) for _ in range(min(workers, len(ensembles)))]
    try:
        while waiting or any(worker.job for worker in pool):
            for worker in pool:
                if waiting and not worker.job:
                    worker.give(waiting.popleft())
            busy: dict = {worker.pipe: worker for worker in pool if worker.job}
            for pipe in connection.wait(busy):
                worker = busy[pipe]
                results, job = worker.take()
                if results is not None:
                    yield results
                    continue
                pool[pool.index(worker)] = _Worker(device)
                ensemble, tries = job
                waiting.append(_again(ensemble, tries, worker.stop()))
    finally:
        for worker in pool:
            worker.stop()


class _Worker:
    """A process that trains an ensemble at a time; `job` is (ensemble, which try)."""

    def __init__(self, device):
        context = multiprocessing.get_context("spawn")
        self.pipe, far_end = context.Pipe()
        arguments = (far_end, device)
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        far_end.close()  # so that reading ends when the process does
        self.job = None

    def give(self, job):
        self.job = job
        with suppress(BrokenPipeError):  # it died: take() will find out
            self.pipe.send(job[0])

    def take(self):
        """Return the results, None if the process has died, and the job."""
        job, self.job = self.job, None
        try:
            results = self.pipe.recv()
        except (EOFError, OSError):
            return None, job
        if isinstance(results, Exception):
            raise results
        return results, job

    def stop(self):
        """End the process, whatever it does; return its exit code."""
        self.pipe.close()
        self.process.join(1 if self.job is None else 0)
        self.process.kill()
        self.process.join()
        return self.process.exitcode


def _serve(pipe, device):
    """What a worker process does: ensembles in, results or an error out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    gone = EOFError, BrokenPipeError, ConnectionResetError
    with suppress(*gone):  # no parent, no work
        while True:
            ensemble = pipe.recv()
            try:
                results = train_rows(ensemble, device)
            except Exception as error:
                results = error
            pipe.send(results)


def _again(ensemble, tries, code):
    """The job for one more try.

    Raises: RuntimeError if it had enough.
    """
    if tries < TRIES:
        return ensemble, tries + 1
    hint = " (a script must call it under `if __name__ == '__main__':`)"
    raise RuntimeError(
        f"sweep: a worker process ended {tries} times, last with exit code {code},"
        f" training {len(ensemble)} runs, the first {ensemble[0]}"
        + (hint if code == 1 else "")
    )


def _seconds(ensemble):
    """What one core needs for it, roughly: 0.2 ms a step, 0.7 ns a weight and point."""
    e = ensemble[0]
    widths = (load(e.data).features, *e.channels, *e.hidden, load(e.data).outputs)
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    steps = max(e.epochs for e in ensemble) * math.ceil(e.n_points / e.batch_size)
    return steps * (2e-4 + 7e-10 * len(ensemble) * e.batch_size * weights)
