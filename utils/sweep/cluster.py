"""Trains the ensembles of a sweep on the workers of a Dask cluster."""

import asyncio
import sys
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from utils.arguments import fail
from utils.experiment import Experiment
from utils.sweep.cache import code
from utils.sweep.work import kind_of, train_rows

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

TIMEOUT = 15  # seconds for a scheduler to answer


@contextmanager
def connected(client: "Client | None" = None) -> Iterator["Client | None"]:
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


def check_client(client: Any) -> None:
    """Raises: ValueError if this is not a synchronous Client."""
    distributed = sys.modules.get("distributed")  # a client has loaded it
    own = distributed is not None and isinstance(client, distributed.Client)
    if client is not None and (not own or client.asynchronous):
        fail("client", client, "a dask.distributed.Client, not asynchronous")


def kind_of_workers(client: "Client", device: str, dtypes: Sequence[str]) -> str:
    """Return the type of device that all workers use.

    Raises: RuntimeError naming workers that have other code than this process, lack
        the device, or use a device of another type than the rest; or a scheduler that
        is gone.
    """
    with _scheduler_of(client):
        answers = _ask_all(client, device, dtypes)
    kinds = {}
    for worker, found in answers.items():
        if isinstance(found, Exception):
            raise RuntimeError(f"Dask worker {worker} cannot train: {found}") from found
        if found[0] != code():
            raise RuntimeError(_other_code(worker))
        kinds.setdefault(found[1], []).append(worker)
    if len(kinds) != 1:
        raise RuntimeError(f"Dask workers use devices of several types: {kinds}")
    return next(iter(kinds))


def _ask_all(client, device, dtypes):
    """Return what each worker says of its code and its device, or its exception."""
    if not _threads(client):
        message = "the Dask scheduler has no worker yet; the sweep waits for the first"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        client.submit(kind_of, device, dtypes, pure=False).result()
    return client.run(_inspect, device, dtypes, on_error="return")


@contextmanager
def _scheduler_of(client):
    """Raises: RuntimeError naming the scheduler, if it is gone."""
    address = client.scheduler.address if client.scheduler else "closed"
    try:
        yield
    except (OSError, TimeoutError, CancelledError) as error:
        if _answers(client) and not isinstance(error, _Lost):
            raise
        raise RuntimeError(
            f"the Dask scheduler at {address!r} does not answer any more: start it"
            " and the same sweep again, which trains only what is missing; all"
            f" results that had come are kept, unless cache = None ({error})"
        ) from error


class _Lost(OSError):
    """A client without its scheduler, which forgets its tasks and waits in vain."""


def _threads(client):
    """How many threads all workers have. Raises: _Lost, OSError."""
    if client.status != "running":
        raise _Lost("the connection is lost")
    threads = client.sync(client.scheduler.ncores, callback_timeout=TIMEOUT)
    return sum(threads.values())


def _answers(client):
    """True if the scheduler can still be asked, by this client."""
    try:
        if client.status == "running":
            client.sync(client.scheduler.identity, callback_timeout=TIMEOUT)
            return True
    except (OSError, TimeoutError):
        pass
    return False


def train_on_cluster(
    ensembles: Sequence[Sequence[Experiment]], client: "Client", device: str
) -> Iterator["pd.DataFrame"]:
    """Yield each ensemble's results as it ends; two per thread are under way.

    A worker that is lost costs what it was training: Dask gives that to another.

    Raises: RuntimeError naming the ensemble that cost Dask too many workers, or a
        scheduler that is gone.
    """
    with _scheduler_of(client):
        yield from _trained(ensembles, client, device)


def _trained(ensembles, client, device):
    from distributed import KilledWorker, as_completed

    waiting, under_way = deque(ensembles), {}
    queue = as_completed(loop=client.loop)

    def fill():
        most = 2 * max(1, _threads(client))
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
                if isinstance(error, CancelledError) and not _answers(client):
                    raise
                raise RuntimeError(
                    f"Dask gave up {len(ensemble)} runs, the first {ensemble[0]}:"
                    f" {error}"
                ) from error
            yield results
            fill()
    finally:
        if under_way and _answers(client):
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
