"""Experiments over a grid of knobs, seeds and folds, on every core or a cluster.

A sweep is divided into ensembles (utils.engine); each that ends is kept on disk, so
that a sweep that was stopped, or that grows, trains only what is missing.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from os import PathLike
from typing import TYPE_CHECKING

from utils.arguments import fail, optional
from utils.experiment import Experiment
from utils.sweep.cache import Cache, check_folder, default_folder, fingerprint, prune
from utils.sweep.cluster import (
    check_client,
    configured_address,
    connected,
    kind_of_workers,
    train_on_cluster,
)
from utils.sweep.plan import Plan, check_count
from utils.sweep.results import Sweep, nothing, tidy, warn_of_divergence
from utils.sweep.work import kind_of, train_here, train_in_processes, worthwhile

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

__all__ = ["DEFAULT", "Sweep", "prune", "stream", "sweep"]

DEFAULT = "default"  # the folder that default_folder() names


def sweep(
    base: Experiment,
    space: Mapping[str, Iterable],
    seeds: Iterable[int] = range(3),
    folds: int | None = None,
    *,
    device: str = "auto",
    workers: int | None = None,
    client: "Client | None" = None,
    cache: str | PathLike | None = DEFAULT,
    progress: bool | None = None,
    on_result: "Callable[[pd.DataFrame], object] | None" = None,
    live: tuple[str, str] | None = None,
) -> Sweep:
    """Train every setting of a grid with every seed and fold.

    Args:
        base: the Experiment that the knobs change.
        space: {knob: its values}; a knob is a field of Experiment but seed and fold,
            or rotation, shift, scale or flip of its augmentation.
        seeds: whole numbers, at least one.
        folds: None, or K ≥ 2 for K-fold cross-validation with every seed.
        device: 'auto', 'cpu', 'cuda' or 'mps', where the training takes place.
        workers: processes on this machine's CPU; None: as many as are worth their
            start, at most one per core. On a GPU there is one.
        client: a dask.distributed.Client; None: of the scheduler that Dask's
            configuration names (DASK_SCHEDULER_ADDRESS), or this machine alone.
        cache: a folder that keeps the results; default $REGULARIZATION_CACHE or the
            user's cache directory; None keeps none.
        progress: True or False shows a bar or not; None: beside a live map, and in a
            terminal.
        on_result: called with a table like `frame` whenever an ensemble has ended,
            first with what the cache held, if anything.
        live: None, or (x, y), the two knobs of the space: shows their map of the
            validation loss in the notebook, which fills as ensembles end.
    Raises: ValueError at the start for what is empty, unknown or not allowed.
        RuntimeError if a scheduler does not answer, if Dask workers have other code,
        or if an ensemble keeps killing the processes it trains in.
    Warns: RuntimeWarning if runs diverged: their metrics are NaN or infinite.
    """
    from tqdm.auto import tqdm

    optional("progress", progress, bool, "True or False")
    if on_result is not None and not callable(on_result):
        fail("on_result", on_result, "a function of a table, or None")
    plan, results = _start(base, space, seeds, folds, device, workers, client, cache)
    labels, tables = plan.labels, []
    if progress is None:  # a kernel's own stderr calls itself a terminal
        terminal = sys.stderr is sys.__stderr__ and sys.stderr.isatty()
        progress = live is not None or terminal
    shown = None if live is None else _live_map(plan, live)
    listeners = [f for f in (shown and shown.add, on_result) if f]

    def tell(table):
        for listener in listeners:
            listener(tidy(labels, table).reset_index(drop=True))

    with closing(results):
        tables.append(next(results))
        count, held = len(labels), len(tables[0])
        with tqdm(total=count, initial=held, unit="run", disable=not progress) as bar:
            if shown:
                shown.show()
            if held:
                tell(tables[0])
            for table in results:
                tables.append(table)
                bar.update(len(table))
                tell(table)
    if shown:
        shown.draw()
    frame = tidy(labels, *tables).loc[labels.index].reset_index(drop=True)
    warn_of_divergence(frame)
    return Sweep(frame, plan.names)


def stream(
    base: Experiment,
    space: Mapping[str, Iterable],
    seeds: Iterable[int] = range(3),
    folds: int | None = None,
    *,
    device: str = "auto",
    workers: int | None = None,
    client: "Client | None" = None,
    cache: str | PathLike | None = DEFAULT,
    stop: threading.Event | None = None,
) -> Iterator["pd.DataFrame"]:
    """Yield the rows of each ensemble as it ends, first those that the cache held.

    Closing the generator stops the training. Other arguments and errors are those of
    sweep; bad arguments raise at the call.

    Args:
        stop: None, or a threading.Event for training in this process: once another
            thread sets it, training ends with the present epoch.
    """
    if not isinstance(stop, threading.Event | None):
        fail("stop", stop, "None or a threading.Event")
    where = device, workers, client, cache
    plan, results = _start(base, space, seeds, folds, *where, stop)
    return _frames(plan.labels, results)


def _start(base, space, seeds, folds, device, workers, client, cache, stop=None):
    """Check everything that can be checked before work begins."""
    plan = Plan(base, space, seeds, folds)
    check_client(client)
    if workers is not None:
        workers = check_count("workers", workers)
        if client is not None:
            fail("workers", workers, "None with a client")
    if client is None and configured_address() is None:
        kind_of(device, plan.dtypes)
    default = isinstance(cache, str) and str.__eq__(cache, DEFAULT) is True
    folder = default_folder() if default else cache
    folder = None if folder is None else check_folder(folder)
    return plan, _results(plan, device, workers, client, folder, stop)


def _results(plan, device, workers, client, folder, stop):
    """Yield tables of results: what the cache held, then each ensemble's."""
    with connected(client) as cluster:
        if cluster is None:
            kind = kind_of(device, plan.dtypes)
        else:
            kind = kind_of_workers(cluster, device, plan.dtypes)
        store = None if folder is None else Cache(folder, fingerprint(kind))
        held = nothing() if store is None else store.read(plan.keys)
        yield held
        missing = plan.ensembles(kind, held["experiment"])
        with closing(_train(missing, kind, device, workers, cluster, stop)) as work:
            for table in work:
                if store is not None:
                    store.write(table)
                yield table


def _train(ensembles, kind, device, workers, cluster, stop):
    if cluster is not None:
        return train_on_cluster(ensembles, cluster, device)
    if workers is None:
        workers = worthwhile(ensembles)
    if kind != "cpu" or workers == 1:
        return train_here(ensembles, device, stop)
    return train_in_processes(ensembles, workers, device)


def _live_map(plan, live):
    from utils.sweep.live import SweepMap  # imports Plotly

    return SweepMap(plan, live)


def _frames(labels, results):
    with closing(results):
        for table in results:
            if len(table):
                yield tidy(labels, table).reset_index(drop=True)
