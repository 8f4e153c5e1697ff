"""A sweep of the worked example: seconds with one and two workers, and Dask's share.

A plain DataLoader loop would take hours; a few of its epochs are timed and multiplied.
The figures' names say which ones are extrapolated.

    python -m bench sweep
"""

import os
import statistics
import time

import numpy as np

from bench.rivals.loops import PlainLoop
from utils import Experiment, sweep
from utils.sweep.plan import Plan

WORKED = Experiment(data="ring", n_train=None, label_noise=0)
CORES = 2
LOOP_EPOCHS = 3
TASKS = 200


def space(side):
    """λ₂ × dropout, side values each."""
    lambdas = [0.0, *np.geomspace(1e-6, 1e-2, side - 1)]
    return {"l2": lambdas, "dropout": np.linspace(0, 0.8, side)}


def seconds(work):
    """Wall-clock seconds of work()."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def loop_seconds(runs):
    """What the plain loop would take for this many runs, from a few epochs of it."""
    loop = PlainLoop(WORKED.replace(l2=1e-4, dropout=0.2))
    loop.epoch()
    epoch = statistics.median(seconds(loop.epoch) for _ in range(LOOP_EPOCHS))
    return runs * WORKED.epochs * epoch


def dask_overhead():
    """Milliseconds that Dask adds to an ensemble: the smallest there is, trained so
    often that starting weighs nothing, on one worker and without Dask.
    """
    from distributed import Client, LocalCluster

    from utils.sweep.cluster import train_on_cluster
    from utils.sweep.work import train_here

    tiny = [[WORKED.replace(n_train=1, hidden=(), epochs=1)]] * TASKS
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        list(train_on_cluster(tiny[:20], client, "cpu"))
        alone = [seconds(lambda: list(train_here(tiny, "cpu"))) for _ in range(3)]
        there = [
            seconds(lambda: list(train_on_cluster(tiny, client, "cpu")))
            for _ in range(3)
        ]
    extra = statistics.median(there) - statistics.median(alone)
    return 1000 * extra / TASKS


def run() -> dict:
    """Return the figures, {measure: {value, unit, target}}."""
    quick = bool(os.environ.get("BENCH_QUICK"))
    side, seeds = (5, 1) if quick else (33, 3)
    grid, found = space(side), {}
    runs = len(Plan(WORKED, grid, range(seeds)).members)

    def measure(name, value, unit, target=""):
        found[name] = {"value": value, "unit": unit, "target": target}

    for workers in (1, CORES):
        options = {"workers": workers, "cache": None, "progress": False}
        wall = seconds(lambda o=options: sweep(WORKED, grid, range(seeds), **o))
        target = "< 180" if workers == CORES and not quick else ""
        measure(f"{runs} runs, {workers} workers", wall, "s", target)
    loop = loop_seconds(runs)
    measure(f"DataLoader loop, extrapolated from {LOOP_EPOCHS} epochs", loop, "s")
    measure(f"loop / sweep with {CORES} workers", loop / wall, "times")
    measure("Dask, added to an ensemble", dask_overhead(), "ms")
    return found
