"""Sweeps in worker processes: the same numbers, and what a death costs."""

import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from utils import Experiment, sweep
from utils.sweep import stream, work
from utils.sweep.plan import Plan

BASE = Experiment(n_train=40, hidden=(8,), epochs=3)
SPACE = {"l2": np.linspace(0, 0.1, 12)}
same = pd.testing.assert_frame_equal


class Mortal(work._Worker):
    """The first of these is killed while it has work."""

    deaths = 0

    def give(self, job):
        super().give(job)
        if not Mortal.deaths:
            Mortal.deaths = 1
            os.kill(self.process.pid, signal.SIGKILL)


def test_processes_give_the_same_bits_as_one_and_a_dead_one_is_replaced(monkeypatch):
    monkeypatch.setattr(work, "_Worker", Mortal)
    several = sweep(BASE, SPACE, workers=2, cache=None).frame
    assert Mortal.deaths == 1
    same(several, sweep(BASE, SPACE, workers=1, cache=None).frame)


def test_an_ensemble_that_kills_thrice_is_named(monkeypatch):
    monkeypatch.setattr(work, "_serve", sys.exit)  # ends at once, at its first argument
    with pytest.raises(RuntimeError, match=r"ended 3 times.* \d+ runs.*Experiment\("):
        sweep(BASE, SPACE, workers=2, cache=None)


def test_an_error_in_a_process_is_raised_here(monkeypatch):
    with pytest.raises(ValueError, match="not available here"):
        list(work.train_in_processes([[BASE]], 1, "cuda:99"))
    assert not multiprocessing.active_children()


def test_closing_a_stream_ends_its_processes():
    rows = stream(BASE, {"epochs": [1, 100_000]}, range(8), cache=None, workers=2)
    assert set(next(rows)["epochs"]) == {1}
    rows.close()
    assert not multiprocessing.active_children()


KILLED = """
import sys
from utils import Experiment, sweep

def tell(rows):
    print(len(rows), flush=True)

if __name__ == "__main__":
    base = Experiment(n_train=40, hidden=(8,), epochs=60)
    space = {"l2": [i / 1000 for i in range(164)]}
    sweep(base, space, range(2), workers=2, cache=sys.argv[1], on_result=tell)
"""


def test_after_a_kill_less_than_a_twentieth_is_trained_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(tmp_path / "cache")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        done = [int(process.stdout.readline()) for _ in range(5)]
        os.kill(process.pid, signal.SIGKILL)
        done += map(int, process.stdout)  # also waits for its workers to end
    base = Experiment(n_train=40, hidden=(8,), epochs=60)
    space = {"l2": [i / 1000 for i in range(164)]}
    sizes = [len(part) for part in Plan(base, space, range(2)).ensembles("cpu")]
    assert len(done) < len(sizes)
    # Two were in training, and nothing else is lost.
    assert 2 * max(sizes) / sum(sizes) < 0.05
    again = []
    sweep(
        base,
        space,
        range(2),
        workers=1,
        cache=tmp_path / "cache",
        on_result=lambda rows: again.append(len(rows)),
    )
    assert again[0] >= sum(done) and sum(again) == sum(sizes)
