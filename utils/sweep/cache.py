"""Results on disk: one SQLite database, a row per run and state of the code."""

import hashlib
import json
import os
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Iterable
from contextlib import closing, suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from utils import random
from utils.arguments import SHOWN, show
from utils.engine import training
from utils.sweep.plan import COLUMNS, check_count
from utils.sweep.results import nothing

if TYPE_CHECKING:
    import pandas as pd

# What a run's numbers depend on, beside its Experiment and the kind of device.
MODULES = (
    "arguments",
    "experiment",
    "random",
    "data",
    "engine.layers",
    "engine.convolution",
    "engine.network",
    "engine.optimizer",
    "engine.ensemble",
    "engine.training",
    "engine.module",
    "engine.runs",
)
PACKAGES = ("torch", "numpy", "scikit-learn")
VARIABLE = "REGULARIZATION_CACHE"
FILE = "results.sqlite"
PATIENCE = 60  # seconds that one process waits while another writes
AT_ONCE = 500  # keys of a query; SQLite takes 32,766
DAY = 86_400  # seconds
TABLE = """CREATE TABLE results (
  code TEXT, experiment TEXT, row TEXT, digest BLOB, day INTEGER,
  PRIMARY KEY (code, experiment)) WITHOUT ROWID"""

_sources: dict[str, tuple[object, bytes]] = {}  # by module: its spec, its text's hash


def _source(name):
    """Return the hash of a module's text as it was imported, or imported again."""
    module = import_module(f"utils.{name}")
    spec, digest = _sources.get(name, (None, None))
    if spec is not module.__spec__:  # importlib.reload makes another
        spec = module.__spec__
        digest = hashlib.sha256(Path(module.__file__).read_bytes()).digest()
        _sources[name] = spec, digest
    return digest


def code() -> str:
    """Return a hash of the modules and package versions that determine numbers.

    'torch 2.13.0+cpu' and '+cu130' count as one: the kind of device tells them apart.
    """
    digest = hashlib.sha256(b"".join(map(_source, MODULES)))
    for package in PACKAGES:
        digest.update(f"{package} {version(package).split('+')[0]}\n".encode())
    return digest.hexdigest()


def fingerprint(kind: str) -> str:
    """Return the hash under which results of this code and kind of device are kept."""
    drawn = random.AUDIT, training.LENGTH
    return hashlib.sha256(f"{code()} {kind} {drawn}".encode()).hexdigest()


def default_folder() -> Path:
    """Return $REGULARIZATION_CACHE, else a folder in the user's cache directory."""
    import platformdirs

    own = platformdirs.user_cache_path("regularization", appauthor=False)
    return Path(os.environ.get(VARIABLE) or own)


def check_folder(folder: str | os.PathLike) -> Path:
    """Make the folder and return its path.

    Raises: ValueError if no file can be written there.
    """
    try:
        path = Path(folder).expanduser()
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except Exception as error:  # a PathLike of a stranger's may raise anything
        message = f"cache = {show(folder)}: must be a folder to write to, or None"
        raise ValueError(f"{message} ({str(error)[:SHOWN]})") from error
    return path


class Cache:
    """The results of one state of the code, in a database of a folder.

    Each call opens the database anew, so threads and processes may share it.

    Args:
        folder: where the database is, or will be.
        fingerprint: of the code and the device.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.path, self.fingerprint = folder / FILE, fingerprint
        self._full = False

    def read(self, keys: Iterable[str]) -> "pd.DataFrame":
        """Return a table with those of these experiments that were kept, in order.

        Warns: UserWarning naming what is damaged: a row, which is removed, or the
            whole database, which is set aside; those runs are trained again.
        """
        import pandas as pd

        keys, found = list(keys), {}
        for experiment, row, digest in self._select(keys):
            found[experiment] = self._values(experiment, row, digest)
        if damaged := [key for key in found if found[key] is None]:
            self._remove(damaged)
        rows = [(key, *found[key]) for key in keys if found.get(key)]
        if not rows:
            return nothing()
        return pd.DataFrame(rows, columns=["experiment", *COLUMNS])

    def write(self, results: "pd.DataFrame") -> None:
        """Keep the results of one ensemble, whole or not at all.

        Warns: RuntimeWarning, once, if the disk does not take them.
        """
        if self._full:
            return
        columns = [results[name].tolist() for name in ("experiment", *COLUMNS)]
        today, rows = int(time.time() // DAY), []
        for experiment, *values in zip(*columns, strict=True):
            row = json.dumps(values)
            digest = self._digest(experiment, row)
            rows.append((self.fingerprint, experiment, row, digest, today))
        insert = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)"
        try:
            self._try(lambda database: database.executemany(insert, rows))
        except (OSError, sqlite3.Error) as error:
            self._full = True
            message = f"the sweep goes on but keeps no more results: {error}"
            message += f" (cache {self.path})"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _select(self, keys):
        """Return the rows of keys as they are on disk; none of a damaged database."""

        def find(database):
            found = []
            for at in range(0, len(keys), AT_ONCE):
                some = keys[at : at + AT_ONCE]
                these = ", ".join("?" * len(some))
                query = f"{select} AND experiment IN ({these})"
                found += database.execute(query, (self.fingerprint, *some))
            return found

        select = "SELECT experiment, row, digest FROM results WHERE code = ?"
        if not self.path.exists():
            return []
        try:
            return self._try(find)
        except (OSError, sqlite3.Error) as error:
            message = f"{self.path}: cannot be read, so all runs are trained ({error})"
            warnings.warn(message, UserWarning, stacklevel=4)
            return []

    def _try(self, act):
        """Act on the database; one that is damaged is set aside, for an empty one."""
        try:
            return _open(self.path, act)
        except sqlite3.OperationalError:
            raise  # full, locked, read-only
        except sqlite3.DatabaseError as error:
            aside = self.path.with_suffix(f".{time.time_ns()}.damaged")
            message = f"{self.path}: set aside, its runs are trained again ({error})"
            warnings.warn(message, UserWarning, stacklevel=5)
            with suppress(FileNotFoundError):  # another process was faster
                os.replace(self.path, aside)
            return _open(self.path, act)

    def _digest(self, experiment, row):
        text = f"{self.fingerprint} {experiment} {row}"
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def _values(self, experiment, row, digest):
        """Return what is in a row, None if it is not as it was written."""
        if not isinstance(row, str) or digest != self._digest(experiment, row):
            return None
        values = json.loads(row)
        return values if len(values) == len(COLUMNS) else None

    def _remove(self, experiments):
        message = (
            f"{self.path}: {len(experiments)} results are damaged and trained again,"
            f" the first of {experiments[0]}"
        )
        warnings.warn(message, UserWarning, stacklevel=3)
        delete = "DELETE FROM results WHERE code = ? AND experiment = ?"
        rows = [(self.fingerprint, experiment) for experiment in experiments]
        with suppress(sqlite3.Error):  # a database that is read-only keeps them
            self._try(lambda database: database.executemany(delete, rows))


def prune(days: int = 0, cache: str | os.PathLike = "default") -> int:
    """Forget results that are older than some days; return how many.

    Args:
        days: whole number ≥ 0; 0 forgets all.
        cache: as for sweep.
    Raises: ValueError for other days, or a folder that cannot be written to.
    """
    check_count("days", days, 0)
    folder = check_folder(default_folder() if cache == "default" else cache)
    store, last = Cache(folder, ""), int(time.time() // DAY) - days
    delete = "DELETE FROM results WHERE day <= ?"
    count = store._try(lambda database: database.execute(delete, (last,)).rowcount)
    with closing(sqlite3.connect(store.path, PATIENCE)) as database:
        database.execute("VACUUM")  # gives the room back
    return count


def _open(path, act):
    """Return what act(database) does in one transaction."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, PATIENCE)) as database, database:
        database.execute(TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1))
        made = database.execute("SELECT sql FROM sqlite_master").fetchall()
        if made != [(TABLE,)]:
            raise sqlite3.DatabaseError("not written by this version of the sweep")
        return act(database)


code()  # as imported, whatever becomes of the files
