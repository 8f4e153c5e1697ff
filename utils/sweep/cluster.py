"""Trains the ensembles of a sweep on the workers of a Dask cluster."""

import asyncio
import warnings
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec

from utils.sweep.cache import code
from utils.sweep.work import kind_of, train_rows

TIMEOUT = 15  # seconds for a scheduler to answer


@contextmanager
def connected(client=None):
    """Give the client, else one of the scheduler in Dask's configuration, else None.

    Raises: RuntimeError if that scheduler does not answer.
    """
    address = None if client is not None else configured_address()
    if address is None:
        yield client
        return
    from distributed import Client

    try:
        with ThreadPoolExecutor(1) as thread:  # a notebook's own has a running loop
            thread.submit(asyncio.run, _knock(address)).result()
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise RuntimeError(
            f"no Dask scheduler answers at {address!r}, which Dask's configuration"
            f" (DASK_SCHEDULER_ADDRESS) names: {error}"
        ) from error
    with client:
        yield client


def check_client(client):
    """Raises: ValueError if this is not a synchronous Client."""
    if client is None:
        return
    if getattr(client, "asynchronous", True):
        raise ValueError(
            f"client = {client!r}: must be a dask.distributed.Client, not asynchronous"
        )


def kind_of_workers(client, device, dtypes) -> str:
    """Return the type of device that all workers use.

    Raises: RuntimeError naming workers that have other code than this process, lack
        the device, or use a device of another type than the rest.
    """
    if not client.nthreads():
        message = "the Dask scheduler has no worker yet; the sweep waits for the first"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        client.submit(kind_of, device, dtypes, pure=False).result()
    kinds = {}
    answers = client.run(_inspect, device, dtypes, on_error="return")
    for worker, found in answers.items():
        if isinstance(found, Exception):
            raise RuntimeError(f"Dask worker {worker} cannot train: {found}") from found
        if found[0] != code():
            raise RuntimeError(_other_code(worker))
        kinds.setdefault(found[1], []).append(worker)
    if len(kinds) != 1:
        raise RuntimeError(f"Dask workers use devices of several types: {kinds}")
    return next(iter(kinds))


def train_on_cluster(ensembles, client, device):
    """Yield each ensemble's results as it ends; two per thread are under way.

    A worker that is lost costs what it was training: Dask gives that to another.

    Raises: RuntimeError naming the ensemble that cost Dask too many workers.
    """
    from distributed import KilledWorker, as_completed

    waiting, under_way = deque(ensembles), {}
    queue = as_completed(loop=client.loop)

    def fill():
        most = 2 * max(1, sum(client.nthreads().values()))
        while waiting and len(under_way) < most:
            ensemble = waiting.popleft()
            task = client.submit(_train, ensemble, device, code(), pure=False)
            under_way[task] = ensemble
            queue.add(task)

    try:
        fill()
        for task in queue:
            ensemble = under_way.pop(task)
            try:
                results = task.result()
            except (KilledWorker, CancelledError) as error:
                raise RuntimeError(
                    f"Dask gave up {len(ensemble)} runs, the first {ensemble[0]}:"
                    f" {error}"
                ) from error
            yield results
            fill()
    finally:
        client.cancel(list(under_way))


async def _knock(address):
    """Client waits without end for one that takes the call and says nothing."""
    from distributed import rpc

    async def ask():
        async with rpc(address) as scheduler:
            await scheduler.identity()

    await asyncio.wait_for(ask(), TIMEOUT)


def configured_address() -> str | None:
    """Return the scheduler that Dask's configuration names, if any."""
    if find_spec("dask") is None:
        return None
    import dask.config

    return dask.config.get("scheduler-address", None)


def _inspect(device, dtypes):
    return code(), kind_of(device, dtypes)


def _train(ensemble, device, expected):
    """What a worker does. One that came later must have the same code, too."""
    if code() != expected:
        from distributed import get_worker

        raise RuntimeError(_other_code(get_worker().address))
    return train_rows(ensemble, device)


def _other_code(worker):
    return (
        f"Dask worker {worker} has other code than this process: the same utils and"
        " the same versions of torch, numpy and scikit-learn must be on both"
    )
