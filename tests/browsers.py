"""Firefox and WebKit for the page tests, driven by the W3C's WebDriver commands.

Playwright drives only browsers of its own making; those of the system are spoken to
directly: Firefox by Marionette, which takes the commands as JSON on a socket, WebKitGTK
(the engine of Safari) by its driver, which takes them over HTTP.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

PATIENCE = 90  # seconds, for a browser to start and for a page to get where it should
LOCAL = "127.0.0.1"

# Firefox lifts its limit on addresses written by a page when it is driven, and its
# readers have one: here that of WebKit, so many in 10 seconds.
PREFERENCES = {
    "marionette.port": 0,  # a free one
    "dom.navigation.navigationRateLimit.count": 100,
}
MARIONETTE = {
    "session": "WebDriver:NewSession",
    "url": "WebDriver:Navigate",
    "execute/async": "WebDriver:ExecuteAsyncScript",
    "actions": "WebDriver:PerformActions",
}

EVALUATE = """const tell = arguments[arguments.length - 1];
const fail = (error) => tell({ error: String(error) });
(async () => (%s))().then((value) => tell({ value }), fail);"""


class Browser:
    """A browser's one page, and its keyboard.

    Args:
        send: performs a WebDriver command, (its path, its parameters), returns a value.
    """

    def __init__(self, send):
        self.send = send

    def goto(self, url):
        self.send("url", {"url": url})

    def evaluate(self, expression):
        """The value of a JavaScript expression; of a promise, what it resolves to."""
        script = {"script": EVALUATE % expression, "args": []}
        told = self.send("execute/async", script)
        if "error" in told:
            raise RuntimeError(f"{told['error']}, in {expression}")
        return told.get("value")

    def wait_for(self, expression):
        """Until an expression is true, which it then returns."""
        return _until(lambda: self.evaluate(expression), expression)

    def press(self, *keys):
        """Press keys as a hand does, on what has the focus."""
        steps = [{"type": t, "value": k} for k in keys for t in ("keyDown", "keyUp")]
        hand = {"type": "key", "id": "keyboard", "actions": steps}
        self.send("actions", {"actions": [hand]})


@contextmanager
def open_firefox():
    """Firefox without a window. Skips the test where there is none."""
    firefox = _find("firefox-esr", "firefox")
    with ExitStack() as stack:
        profile = stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
        lines = [f'user_pref("{name}", {n});\n' for name, n in PREFERENCES.items()]
        Path(profile, "user.js").write_text("".join(lines))
        command = [firefox, "--headless", "--no-remote", "--marionette"]
        stack.enter_context(_process([*command, "--profile", profile]))
        told = Path(profile, "MarionetteActivePort")
        port = _until(lambda: int(told.read_text() or 0), firefox)
        wire = stack.enter_context(socket.create_connection((LOCAL, port), PATIENCE))
        answers, ids = stack.enter_context(wire.makefile("rb")), count(1)

        def receive():
            size = b"".join(iter(lambda: answers.read(1), b":"))
            return json.loads(answers.read(int(size)))

        def send(path, parameters):
            question = json.dumps([0, next(ids), MARIONETTE[path], parameters]).encode()
            wire.sendall(b"%d:%s" % (len(question), question))
            *_, error, value = receive()
            if error:
                raise RuntimeError(f"{path}: {error['error']}: {error['message']}")
            return value.get("value", value)

        receive()  # who it is
        send("session", {})
        yield Browser(send)


@contextmanager
def open_webkit():
    """WebKitGTK's MiniBrowser on a screen of its own. Skips where there is none."""
    driver, screen = _find("WebKitWebDriver"), _find("Xvfb")
    with ExitStack() as stack:
        told, tell = os.pipe()
        with open(told) as number:
            command = [screen, "-displayfd", str(tell)]
            stack.enter_context(_process(command, pass_fds=[tell]))
            os.close(tell)
            display = f":{number.readline().strip()}"
        with socket.create_server((LOCAL, 0)) as free:
            port = free.getsockname()[1]
        here = os.environ | {"DISPLAY": display, "GDK_BACKEND": "x11"}
        stack.enter_context(_process([driver, f"--port={port}"], env=here))
        server = HTTPConnection(LOCAL, port, timeout=PATIENCE)
        stack.callback(server.close)
        _until(lambda: server.connect() or True, driver)

        def send(path, parameters):
            server.request("POST", path, json.dumps(parameters))
            value = json.load(server.getresponse())["value"]
            if value and "error" in value and "message" in value:
                raise RuntimeError(f"{path}: {value['error']}: {value['message']}")
            return value

        session = f"/session/{send('/session', {'capabilities': {}})['sessionId']}"
        yield Browser(lambda path, parameters: send(f"{session}/{path}", parameters))


def _find(*names):
    """The first of these programs that there is."""
    path = next(filter(None, map(shutil.which, names)), None)
    return path or pytest.skip(f"{names[0]} is not on PATH")


@contextmanager
def _process(command, **options):
    """A program, ended afterwards with all that it started."""
    options |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _until(attempt, what):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(OSError):
            if found := attempt():
                return found
        time.sleep(0.05)
    raise TimeoutError(f"{PATIENCE} s are over: {what}")
