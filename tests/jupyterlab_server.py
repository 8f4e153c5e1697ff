"""A JupyterLab of its own for browser tests and benchmarks: private and temporary."""

import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat

from utils.mimetypes import LAB

START_SECONDS = 90
STOP_SECONDS = 20
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
THEME = "@jupyterlab/apputils-extension/themes"
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
    },
    # JupyterLab 4.6 throws in _markdownOverlapsToolbar when a long chapter is run.
    "@jupyterlab/cell-toolbar-extension/plugin": {"showToolbar": False},
}
LAB_CELL = """\
from utils import Experiment, Lab

base = Experiment(data="moons", n_train=100, label_noise=0.1,
                  hidden=(50, 50), epochs=50, batch_size=32,
                  optimizer="adam", lr=1e-2, seed=0)
lab = Lab(base, l2=(1e-6, 1e0), dropout=(0, .9), epochs=(50, 100_000))
lab
"""


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)
    return path


@contextmanager
def setting(folder: Path, name: str, value: dict):
    """A setting of JupyterLab for pages that are opened meanwhile."""
    file = _write_setting(folder / ".jupyter" / "lab", name, value)
    yield
    file.unlink()


@contextmanager
def jupyterlab(folder: Path, theme: str = "JupyterLab Light"):
    """Serve folder to this machine alone; yields the address, ends all kernels after.

    The address has the token without which the server, a shell to all who reach it,
    answers nobody: other users of this machine, say.

    Settings, workspaces and run-time files live in folder/.jupyter. Nothing is asked
    of another host.

    Raises: RuntimeError with the server's log if it does not start.
    """
    home = folder / ".jupyter"
    home.mkdir()
    _write_settings(home / "lab", theme)
    log = home / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            _command(folder), env=_environment(home), stdout=output, stderr=output
        )
    try:
        yield _wait_for_address(server, home, log)
    finally:
        server.terminate()
        server.wait(STOP_SECONDS)


def _command(folder):
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": "0",
        "ServerApp.root_dir": folder,
        "ServerApp.allow_root": True,
        "LabApp.expose_app_in_browser": True,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.news_url": "",
        "LabApp.extension_manager": "readonly",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "jupyterlab", "--no-browser", *flags]


def _environment(home):
    private = {
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "lab",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_TOKEN": secrets.token_hex(),
    }
    return os.environ | {name: str(path) for name, path in private.items()}


def _write_settings(folder, theme):
    for name, value in (SETTINGS | {THEME: {"theme": theme}}).items():
        _write_setting(folder, name, value)


def _write_setting(folder, name, value):
    file = folder / f"{name}.jupyterlab-settings"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))
    return file


def _wait_for_address(server, home, log):
    """The server writes its address into a file once it listens."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        for file in (home / "runtime").glob("jpserver-*.json"):
            if text := file.read_text():
                known = json.loads(text)
                return f"{known['url']}?token={known['token']}"
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")


def open_notebook(page, address: str, name: str) -> None:
    """Open a notebook in a Playwright page and wait for its kernel."""
    server, token = address.split("?")
    page.goto(f"{server}lab/tree/{name}?reset&{token}")
    page.wait_for_function(
        f"{_WIDGET}?.sessionContext?.session?.kernel?.status === 'idle'"
    )


def start_all(page) -> None:
    """Run all cells, without waiting for any."""
    page.evaluate(f"void ({_CELLS}.forEach(cell => cell.model.clearExecution()))")
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")


def run_all(page) -> None:
    """Run all cells, wait for the last, and scroll to the first lab."""
    start_all(page)
    page.wait_for_function(f"({_CELLS}).every({_DONE}) || ({_CELLS}).some({_FAILED})")
    if page.evaluate(f"({_CELLS}).some({_FAILED})"):
        raise RuntimeError(
            f"a cell failed:\n{page.locator('.jp-RenderedText').all_inner_texts()}"
        )
    page.evaluate(_SHOW_LAB)
    page.locator(".lab [data-view] >> nth=0").wait_for()


def lab_data(page) -> dict:
    """Return what the first lab stores for the page."""
    return page.evaluate(f"({_CELLS}).flatMap({_LABS})[0]")


def run_code(page, code: str) -> str:
    """Run code in a new last cell, and return what it prints."""
    page.evaluate(_APPEND_CELL, code)
    page.evaluate("void jupyterapp.commands.execute('notebook:run-cell')")
    last = f"({_CELLS}).at(-1)"
    page.wait_for_function(f"({_DONE})({last})")
    return page.evaluate(f"{last}.model.outputs.toJSON().map({_TEXT}).join('')")


def slider(page, knob: str):
    """Return the slider of the first lab, which the arrow keys move."""
    return page.locator(f".lab input[type=range][name={knob}]").first


CURVES = ".lab [data-view=curves] >> nth=0"
_WIDGET = "window.jupyterapp?.shell.currentWidget"
_CELLS = f"{_WIDGET}.content.widgets.filter(cell => cell.model.type === 'code')"
_DONE = "({model}) => model.executionCount && model.executionState === 'idle'"
_FAILED = "cell => cell.model.outputs.toJSON().some(o => o.output_type === 'error')"
_TEXT = "output => output.text ?? `${output.ename}: ${output.evalue}`"
_APPEND_CELL = """async code => {
  const content = jupyterapp.shell.currentWidget.content;
  content.activeCellIndex = content.widgets.length - 1;
  await jupyterapp.commands.execute("notebook:insert-cell-below");
  content.activeCell.model.sharedModel.setSource(code);
}"""
_LABS = f"""cell => cell.model.outputs.toJSON()
  .flatMap(output => output.data?.["{LAB}"] ?? [])"""
_SHOW_LAB = f"""async () => {{
  const content = jupyterapp.shell.currentWidget.content;
  const first = ({_CELLS}).find(cell => ({_LABS})(cell).length);
  content.activeCellIndex = content.widgets.indexOf(first);
  await content.scrollToItem(content.activeCellIndex, "start");
}}"""
