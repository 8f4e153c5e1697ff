"""Runs pytest in forks of a process that has the large packages imported already.

    python -m tests.mutants.warm

says where it would find utils, then reads lines of JSON, {"options", "log", "limit"},
and answers each with pytest's exit status, or null for one that took more than `limit`
seconds. Nothing of utils is imported here: each fork imports it as it is then.
"""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

LARGE = (
    "torch", "numpy", "scipy.stats", "pandas", "sklearn.datasets", "sklearn.metrics",
    "plotly.graph_objects", "nbformat", "IPython", "ipywidgets", "anywidget",
    "playwright.sync_api",
)  # fmt: skip


def run_in_fork(options: list[str], log: str, limit: float) -> int | None:
    """Return pytest's exit status, once all that it started has ended."""
    child = os.fork()
    if child == 0:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for old, new in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (out, 2)):
            os.dup2(old, new)
        sys.argv = ["pytest", *options]
        sys.exit(int(import_module("pytest").main(options)))
    end = time.monotonic() + limit
    status = _status(child, end)
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child, kind)
            if status is None:
                _status(child, time.monotonic() + 10)
    return status


def _status(child, end):
    """A child's exit status, None if it is still running at `end`."""
    while time.monotonic() < end:
        with suppress(ChildProcessError):  # it has been told before
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    return None


def main() -> None:
    """Answer until there are no more questions."""
    print(find_spec("utils").origin, flush=True)
    for name in LARGE:
        import_module(name)
    for line in sys.stdin:
        print(json.dumps(run_in_fork(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
