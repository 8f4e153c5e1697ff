"""What sweeps keep on disk: found again, or told to be damaged and trained again."""

import importlib
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from tests.test_imports import own
from utils import Experiment, sweep
from utils.engine import optimizer
from utils.sweep import cache, prune
from utils.sweep.cache import FILE, Cache
from utils.sweep.plan import COLUMNS

BASE = Experiment(n_train=40, hidden=(8,), epochs=2)
SPACE = {"l2": [0.0, 1e-3, 1e-2], "hidden": [(8,), (4, 4)]}
RUNS = 18
same = pd.testing.assert_frame_equal


def run(folder):
    """A small sweep in this process."""
    return sweep(BASE, SPACE, cache=folder, workers=1).frame


@pytest.fixture
def filled(tmp_path, trained):
    """A folder with the results of a sweep, and these."""
    frame = run(tmp_path)
    trained.clear()
    return tmp_path, frame


def table_of(names, status="finished"):
    """Results under these names, as an ensemble leaves them."""
    values = [[name, 3, status, *([0.1, 0.2, float("nan")] * 2)] for name in names]
    return pd.DataFrame(values, columns=["experiment", *COLUMNS])


def change(folder, command, *values):
    with closing(sqlite3.connect(folder / FILE)) as database, database:
        return database.execute(command, values).rowcount


# Kept


def test_what_is_read_is_what_was_written(tmp_path):
    store = Cache(tmp_path, "code")
    written = table_of("abc")
    assert len(store.read("abc")) == 0
    store.write(written)
    same(store.read("abc"), written)
    same(store.read("bz"), written[1:2].reset_index(drop=True))
    assert len(Cache(tmp_path, "other").read("abc")) == 0
    Cache(tmp_path, "other").write(table_of("a", "diverged"))
    assert store.read("a").status[0] == "finished"


def test_what_is_missing_alone_is_trained_again(filled, trained):
    folder, frame = filled
    assert change(folder, "DELETE FROM results WHERE experiment LIKE '%[4, 4]%'") == 9
    same(run(folder), frame)
    assert len(trained) == 9 and {e.hidden for e in trained} == {(4, 4)}


def test_results_kept_twice_are_one(tmp_path):
    store = Cache(tmp_path, "code")
    store.write(table_of("ab"))
    store.write(table_of("bc", "pruned"))
    assert store.read("abc").status.tolist() == ["finished", "pruned", "pruned"]


def test_many_results_open_soon_enough(tmp_path):
    """100,000 of them; no time is asserted, only that a few cost less than all."""
    names = [f"{k:06}" for k in range(100_000)]
    store = Cache(tmp_path, "code")
    store.write(table_of(names))
    began = time.perf_counter()
    assert len(store.read(names[:10])) == 10
    few = time.perf_counter() - began
    assert len(store.read(names)) == 100_000
    assert time.perf_counter() - began > 5 * few


# Forgotten


def test_old_results_are_pruned(tmp_path):
    store = Cache(tmp_path, "code")
    store.write(table_of([f"old {k}" for k in range(2000)]))
    change(tmp_path, "UPDATE results SET day = day - 30")
    store.write(table_of(["new"]))
    large = (tmp_path / FILE).stat().st_size
    assert prune(31, tmp_path) == 0
    assert prune(30, tmp_path) == 2000
    assert (tmp_path / FILE).stat().st_size < large / 4
    assert len(store.read(["new", "old 0"])) == 1
    assert prune(cache=tmp_path) == 1
    assert len(store.read(["new"])) == 0


@pytest.mark.parametrize("days", [-1, 1.5, None, True, "7"])
def test_days_are_whole_numbers(days, tmp_path):
    with pytest.raises(ValueError, match="days"):
        prune(days, tmp_path)


# Damaged


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5000])


def flip_bytes(path):
    content = bytearray(path.read_bytes())
    content[100:140] = bytes(b ^ 0xFF for b in content[100:140])
    path.write_bytes(content)


def pickled(path):
    path.write_bytes(b"cos\nsystem\n(S'touch unpickled'\ntR." * 40)


def of_others(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE results (code TEXT, experiment TEXT)")


def with_more(path):
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE others (a TEXT)")


@pytest.mark.parametrize(
    "damage", [truncate, flip_bytes, pickled, of_others, with_more]
)
def test_a_damaged_or_foreign_database_is_named_and_set_aside(filled, trained, damage):
    folder, frame = filled
    damage(folder / FILE)
    with pytest.warns(UserWarning, match=FILE) as caught:
        same(run(folder), frame)
    assert len(caught) == 1 and "trained again" in str(caught[0].message)
    assert len(trained) == RUNS and len(list(folder.glob("*.damaged"))) == 1
    trained.clear()
    same(run(folder), frame)
    assert not trained


ROW = "UPDATE results SET row = {} WHERE experiment LIKE '%\"l2\": 0.01%'"


@pytest.mark.parametrize(
    "command",
    [
        ROW.format("replace(row, '0.', '1.')"),
        ROW.format("substr(row, 1, 30)"),
        ROW.format("NULL"),
        ROW.format("x'00'"),
        ROW.replace("row", "digest", 1).format("NULL"),
        ROW.replace("row", "digest", 1).format("x'00'"),
    ],
)
def test_a_damaged_row_is_told_and_trained_again(filled, trained, command):
    folder, frame = filled
    assert change(folder, command) == 6
    with pytest.warns(UserWarning, match="6 results are damaged") as caught:
        same(run(folder), frame)
    assert len(caught) == 1 and FILE in str(caught[0].message)
    assert len(trained) == 6
    trained.clear()
    same(run(folder), frame)
    assert not trained


def test_rows_of_other_experiments_do_not_pass(filled, trained):
    """A row under another's name is damaged, whole though it is."""
    folder, frame = filled
    swap = "UPDATE results SET row = (SELECT min(row) FROM results), digest ="
    change(folder, f"{swap} (SELECT digest FROM results ORDER BY row LIMIT 1)")
    with pytest.warns(UserWarning, match="17 results are damaged"):
        same(run(folder), frame)
    assert len(trained) == 17


def test_an_empty_file_is_a_database_without_results(filled, trained):
    folder, frame = filled
    (folder / FILE).write_bytes(b"")
    same(run(folder), frame)
    assert len(trained) == RUNS


def test_a_database_that_cannot_be_opened_is_told(tmp_path, trained):
    (tmp_path / FILE).mkdir()
    with pytest.warns() as caught:
        run(tmp_path)
    assert [w.category for w in caught] == [UserWarning, RuntimeWarning]
    assert all(FILE in str(w.message) for w in caught)
    assert len(trained) == RUNS


def test_a_full_disk_is_named_once_and_the_sweep_goes_on(tmp_path, monkeypatch):
    whole = run(None)
    connect = sqlite3.connect

    def small(*options):
        database = connect(*options)
        database.execute("PRAGMA max_page_count = 2")
        return database

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.warns(RuntimeWarning, match="full") as caught:
        same(run(tmp_path), whole)
    assert len(caught) == 1 and str(tmp_path) in str(caught[0].message)
    assert len(Cache(tmp_path, cache.fingerprint("cpu")).read(["a"])) == 0


# Many at once


WRITER = """
import sys, warnings
from pathlib import Path
from tests.test_cache import Cache, table_of
warnings.simplefilter("error")
store = Cache(Path(sys.argv[1]), "code")
for k in range(40):
    store.write(table_of([f"{sys.argv[2]} {k} {i}" for i in range(5)]))
    assert len(store.read([f"{sys.argv[2]} {k} {i}" for i in range(5)])) == 5
"""


def test_two_processes_lose_nothing_and_warn_of_nothing(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    root = Path(cache.__file__).parents[2]
    both = [subprocess.Popen([*command, name], cwd=root) for name in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    names = [f"{who} {k} {i}" for who in "ab" for k in range(40) for i in range(5)]
    assert len(Cache(tmp_path, "code").read(names)) == 400


def test_two_threads_lose_nothing_and_warn_of_nothing(tmp_path):
    store, gone = Cache(tmp_path, "code"), []

    def write(who):
        try:
            for k in range(40):
                store.write(table_of([f"{who} {k}"]))
                Cache(tmp_path, "code").write(table_of(["same"]))
                assert len(store.read([f"{who} {k}", "same"])) == 2
        except BaseException as error:
            gone.append(error)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=write, args=(who,)) for who in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert gone == [] and caught == []
    names = [f"{who} {k}" for who in "abcd" for k in range(40)]
    assert len(store.read(names)) == 160


KILLED = """
import os, sys
from pathlib import Path
from tests.test_cache import Cache, table_of
from utils.sweep import cache
store, names = Cache(Path(sys.argv[1]), "code"), [f"{k:06}" for k in range(20_000)]
store.write(table_of(["whole"]))
def act(database):
    database.execute("PRAGMA cache_size = 10")  # so that pages are on disk by then
    database.executemany("INSERT INTO results VALUES ('code', ?, 'half', x'', 0)",
                         [(name,) for name in names])
    os.kill(os.getpid(), 9)
cache._open(store.path, act)
"""


def test_what_a_killed_process_had_half_written_is_not_there(tmp_path):
    root = Path(cache.__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(command, cwd=root, check=False).returncode == -9
    assert (tmp_path / f"{FILE}-journal").exists()
    store = Cache(tmp_path, "code")
    assert store.read(["whole", "000000"]).experiment.tolist() == ["whole"]
    store.write(table_of(["000000"]))
    assert len(store.read(["whole", "000000"])) == 2


# Whose they are


def test_other_code_does_not_use_the_results(filled, trained, monkeypatch):
    monkeypatch.setattr(cache, "code", lambda: "other")
    run(filled[0])
    assert len(trained) == RUNS


def test_the_fingerprint_knows_every_module_before_the_sweep():
    needed, new = set(), {"engine.runs"}
    while new:
        needed |= new
        names = set().union(*(own(f"utils.{module}") for module in new))
        new = {name.removeprefix("utils.") for name in names} - needed
    assert needed == set(cache.MODULES)
    assert cache.fingerprint("cpu") != cache.fingerprint("cuda")


@pytest.mark.parametrize("package", cache.PACKAGES)
def test_the_fingerprint_knows_the_versions(monkeypatch, package):
    before, version = cache.code(), cache.version
    other = {package: "0.1"}
    monkeypatch.setattr(cache, "version", lambda name: other.get(name, version(name)))
    assert cache.code() != before
    other = {"torch": version("torch").split("+")[0] + "+cu130"}
    assert cache.code() == before


EDITED = """
import sys
from pathlib import Path
from utils.sweep import cache
before, file = cache.code(), Path(cache.__file__).parents[1] / "engine/optimizer.py"
file.write_text(file.read_text() + "# edited")
assert cache.code() == before
import importlib, utils.engine.optimizer
importlib.reload(utils.engine.optimizer)
assert cache.code() != before
print(before)
"""


def test_the_code_is_what_was_imported_whatever_becomes_of_the_file(tmp_path):
    shutil.copytree(Path(optimizer.__file__).parents[1], tmp_path / "utils")
    command = [sys.executable, "-c", EDITED]
    first, second = (
        subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    )
    assert first.stdout.strip() == cache.code() != second.stdout.strip()


def test_reloading_what_is_the_same_changes_nothing():
    before = cache.code()
    importlib.reload(importlib.import_module("utils.engine.penalties"))
    assert cache.code() == before
