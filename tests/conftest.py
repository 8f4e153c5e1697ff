"""The browser of the page tests, a server of the built book, a cache for sweeps."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SITE = Path(__file__).parents[1] / "_build" / "html"
SYSTEM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session", autouse=True)
def empty_cache(tmp_path_factory):
    """Sweeps of tests, and of the kernels they start, train anew: nothing is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REGULARIZATION_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def trained(monkeypatch):
    """The experiments that sweeps train in this process."""
    from utils.sweep import work

    members, train_rows = [], work.train_rows

    def count(ensemble, *options):
        members.extend(ensemble)
        return train_rows(ensemble, *options)

    monkeypatch.setattr(work, "train_rows", count)
    return members


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """The system's Chromium, else the one that Playwright installed."""
    options = dict(browser_type_launch_args)
    if path := next(filter(None, map(shutil.which, SYSTEM)), None):
        options["executable_path"] = path
    if os.geteuid() == 0:
        options["args"] = ["--no-sandbox"]
    return options


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def base_url():
    """The built book over http; replaces pytest-playwright's fixture of that name."""
    if not SITE.is_dir():
        pytest.fail(f"{SITE} is missing: run `make book` first")
    handler = partial(QuietHandler, directory=str(SITE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
