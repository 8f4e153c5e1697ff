"""Sweeps on a Dask cluster: the numbers of one process, whatever happens to workers."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

from utils import Experiment, sweep
from utils.sweep import cluster, work

BASE = Experiment(n_train=40, hidden=(8,), epochs=20)
SPACE = {"l2": np.linspace(0, 0.1, 64)}
same = pd.testing.assert_frame_equal


@pytest.fixture(scope="module")
def client():
    """Two worker processes of one thread each, as users are told to have."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as local, Client(local, set_as_default=False) as made:
        yield made


@pytest.fixture(scope="module")
def serial():
    return sweep(BASE, SPACE, workers=1, cache=None).frame


def test_a_worker_killed_on_the_way_changes_no_bit(client, serial, tmp_path):
    pids = client.run(os.getpid)
    parts = []

    def kill_one(rows):
        parts.append(len(rows))
        if len(parts) == 3:
            os.kill(next(iter(pids.values())), signal.SIGKILL)

    options = {"client": client, "cache": tmp_path}
    same(sweep(BASE, SPACE, **options, on_result=kill_one).frame, serial)
    assert len(parts) > 10 and sum(parts) == len(serial)
    parts.clear()
    same(sweep(BASE, SPACE, **options, on_result=kill_one).frame, serial)
    assert parts == [len(serial)]  # all from the cache, in one table


def test_the_scheduler_may_come_from_dasks_configuration(client, serial, monkeypatch):
    import dask

    monkeypatch.setattr(work, "train_rows", lambda *_: pytest.fail("trained here"))
    with dask.config.set({"scheduler-address": client.scheduler.address}):
        there = sweep(BASE, SPACE, cache=None).frame
    assert there.equals(serial)


@pytest.mark.parametrize("accepts", [False, True])
def test_a_scheduler_that_does_not_answer_is_named(monkeypatch, accepts):
    import dask

    monkeypatch.setattr(cluster, "TIMEOUT", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if accepts:  # the call, and then says nothing
            silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with (
            dask.config.set({"scheduler-address": address}),
            pytest.raises(
                RuntimeError, match=f"no Dask scheduler answers at '{address}"
            ),
        ):
            sweep(BASE, SPACE, cache=None)


def test_a_worker_with_other_code_is_named(client, monkeypatch):
    monkeypatch.setattr(cluster, "code", lambda: "mine")
    with pytest.raises(RuntimeError, match=r"worker tcp://.* has other code"):
        sweep(BASE, SPACE, client=client, cache=None)


def test_a_worker_without_the_device_is_named(client):
    with pytest.raises(RuntimeError, match=r"worker tcp://.* cannot train.*'cuda:7'"):
        sweep(BASE, SPACE, client=client, cache=None, device="cuda:7")


def test_workers_and_a_client_exclude_each_other(client):
    with pytest.raises(ValueError, match="workers = 2"):
        sweep(BASE, SPACE, client=client, workers=2, cache=None)


def test_an_ensemble_that_kills_its_workers_is_named(client, monkeypatch):
    import dask

    def die(*_):
        os._exit(1)

    monkeypatch.setattr(cluster, "_train", die)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(RuntimeError, match=r"Dask gave up \d+ runs.*Experiment\("),
    ):
        sweep(BASE, {"l2": [0.0]}, [0], client=client, cache=None)


def test_closing_leaves_no_process_of_ours():
    assert not [p for p in multiprocessing.active_children() if "Spawn" in p.name]


@pytest.fixture
def own_scheduler(tmp_path):
    """A scheduler and a worker, each a process of its own: (process, its address)."""
    start = [sys.executable, "-W", "ignore", "-m"]
    file, quiet = tmp_path / "scheduler.json", {"stderr": subprocess.DEVNULL}
    port = ["--port", "0", "--no-dashboard", "--scheduler-file", file]
    command = [*start, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", *port]
    with ExitStack() as stack:

        def run(*command):
            process = subprocess.Popen(command, **quiet)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        scheduler = run(*command)
        end = time.monotonic() + 60
        while not (file.exists() and file.read_text()):
            assert scheduler.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        one = ["--nworkers", "1", "--nthreads", "1", "--no-dashboard"]
        run(*start, "distributed.cli.dask_worker", address, "--no-nanny", *one)
        yield scheduler, address


@pytest.mark.parametrize("configured", [False, True])
def test_a_scheduler_that_dies_is_named_and_results_are_kept(
    own_scheduler, configured, serial, tmp_path
):
    import dask

    scheduler, address = own_scheduler
    rows = []

    def kill(table):
        rows.append(len(table))
        if len(rows) == 3:
            scheduler.kill()
            scheduler.wait()
            time.sleep(1)  # else the client waits for an answer, as long as it may

    with ExitStack() as stack:
        options = {"cache": tmp_path / "cache", "on_result": kill}
        made = stack.enter_context(Client(address, set_as_default=False))
        made.wait_for_workers(1, timeout=60)
        if configured:
            stack.enter_context(dask.config.set({"scheduler-address": address}))
        else:
            options["client"] = made
        message = f"scheduler at '{address}' does not answer any more: start it"
        with pytest.raises(RuntimeError, match=message):
            sweep(BASE, SPACE, **options)
        assert 3 <= len(rows) < 20
        if not configured:  # nor does one that was gone before
            with pytest.raises(RuntimeError, match=message):
                sweep(BASE, SPACE, **options)
    again = []
    options = {"cache": tmp_path / "cache", "workers": 1, "on_result": again.append}
    same(sweep(BASE, SPACE, **options).frame, serial)
    assert len(again[0]) >= sum(rows)
