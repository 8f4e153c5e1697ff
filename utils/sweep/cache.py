"""Results on disk: a Parquet file per ensemble, a folder per state of the code."""

import hashlib
import os
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from utils.sweep.plan import COLUMNS
from utils.sweep.results import nothing

# What a run's numbers depend on, beside its Experiment and the kind of device.
MODULES = (
    "experiment",
    "random",
    "data",
    "layers",
    "convolution",
    "network",
    "optimizer",
    "engine",
    "training",
    "module",
    "runs",
)
PACKAGES = ("torch", "numpy", "scikit-learn")
VARIABLE = "REGULARIZATION_CACHE"


@cache
def code() -> str:
    """Return a hash of the modules and package versions that determine numbers.

    'torch 2.13.0+cpu' and '+cu130' count as one: the kind of device tells them apart.
    """
    digest = hashlib.sha256()
    for name in MODULES:
        digest.update((Path(__file__).parents[1] / f"{name}.py").read_bytes())
    for package in PACKAGES:
        digest.update(f"{package} {version(package).split('+')[0]}\n".encode())
    return digest.hexdigest()


def fingerprint(kind: str) -> str:
    """Return the hash under which results of this code and kind of device are kept."""
    return hashlib.sha256(f"{code()} {kind}".encode()).hexdigest()


def default_folder() -> Path:
    """Return $REGULARIZATION_CACHE, else a folder in the user's cache directory."""
    import platformdirs

    own = platformdirs.user_cache_path("regularization", appauthor=False)
    return Path(os.environ.get(VARIABLE) or own)


def check_folder(folder) -> Path:
    """Make the folder and return its path.

    Raises: ValueError if no file can be written there.
    """
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        message = f"cache = {str(folder)!r}: must be a folder to write to, or None"
        raise ValueError(f"{message} ({error})") from error
    return path


class Cache:
    """The results of one state of the code, in a folder of its own."""

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = folder / fingerprint[:16], fingerprint
        self._full = False

    def read(self, keys):
        """Return a table with the rows of these experiments that were kept before.

        Warns: UserWarning naming a file that is damaged or not the sweep's; it is
            renamed to end in '.damaged' and its runs are trained again.
        """
        import pandas as pd

        tables = [self._read(path) for path in sorted(self.folder.glob("*.parquet"))]
        tables = [table for table in tables if table is not None]
        if not tables:
            return nothing()
        table = pd.concat(tables).drop_duplicates("experiment")
        return table[table["experiment"].isin(keys)].reset_index(drop=True)

    def write(self, results) -> None:
        """Keep the results of one ensemble, whole or not at all.

        Warns: RuntimeWarning, once, if the disk does not take them.
        """
        if self._full:
            return
        name = hashlib.sha256("\n".join(results["experiment"]).encode()).hexdigest()
        path = self.folder / f"{name[:32]}.parquet"
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_table(_to_arrow(results, self.fingerprint), part)
            os.replace(part, path)
        except OSError as error:
            self._full = True
            with suppress(OSError):
                part.unlink(missing_ok=True)
            message = f"the sweep goes on but keeps no more results: {error}"
            message += f" (cache {self.folder})"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _read(self, path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path, page_checksum_verification=True)
            if not table.schema.equals(_schema(self.fingerprint), check_metadata=True):
                raise pa.ArrowInvalid("not written by this version of the sweep")
            return table.to_pandas()
        except (pa.ArrowException, OSError) as error:
            message = f"{path}: set aside, its runs are trained again ({error})"
            warnings.warn(message, UserWarning, stacklevel=2)
            with suppress(OSError):  # a folder that is read-only keeps it
                os.replace(path, path.with_suffix(".damaged"))
        return None


def _schema(fingerprint):
    import pyarrow as pa

    kinds = {"experiment": pa.string(), "status": pa.string(), "epoch": pa.int64()}
    fields = [
        pa.field(name, kinds.get(name, pa.float64()), nullable=name not in kinds)
        for name in ("experiment", *COLUMNS)
    ]
    return pa.schema(fields, {"fingerprint": fingerprint})


def _to_arrow(results, fingerprint):
    import pyarrow as pa

    schema = _schema(fingerprint)
    columns = [
        pa.array(results[name].tolist(), type=schema.field(name).type)
        for name in schema.names
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _write_table(table, path):
    import pyarrow.parquet as pq

    pq.write_table(table, path, compression="zstd", write_page_checksum=True)
