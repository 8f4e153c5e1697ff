"""Imports go one way, and the engine runs on a bare GPU machine."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from utils.sweep.cache import MODULES

UTILS = Path(__file__).parent.parent / "utils"
ORDER = [
    "mimetypes",
    "penalties",
    *MODULES,  # what numbers depend on
    "plots.labels",
    "plots.checks",
    "plots.style",
    "plots.panels",
    "plots.logaxis",
    "plots.marks",
    "plots.series",
    "plots.methods",
    "plots.fields",
    "plots.weights",
    "plots.pictures",
    "plots.grids",
    "plots.landscape",
    "plots",
    "lab_knobs",
    "sweep.plan",
    "sweep.results",
    "sweep.cache",
    "sweep.work",
    "sweep.cluster",
    "sweep",
    "tuning",
    "lab_map",
    "lab_controls",
    "lab_panels",
    "lab_figure",
    "lab_run",
    "lab_layout",
    "lab_fill",
    "lab_sweep",
    "lab",
]
BARE = {"torch", "numpy", "sklearn", "utils"} | sys.stdlib_module_names


def imported(module):
    """The modules a file of utils imports at its top level."""
    path = UTILS / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            whole = node.module == "utils"
            names = [f"utils.{a.name}" for a in node.names] if whole else [node.module]
            yield from names


@pytest.mark.parametrize("module", ORDER)
def test_imports_go_one_way(module):
    allowed = set(ORDER[: ORDER.index(module)]) | {"lab_figure"}
    for name in imported(module):
        if name.startswith("utils."):
            assert name.removeprefix("utils.") in allowed, f"{module} imports {name}"


@pytest.mark.parametrize("module", ORDER[: ORDER.index("runs") + 1])
def test_the_engine_needs_nothing_but_torch_numpy_and_scikit_learn(module):
    assert {name.split(".")[0] for name in imported(module)} <= BARE


def test_only_the_lab_imports_ipywidgets():
    users = [m for m in ORDER if any("ipywidgets" in name for name in imported(m))]
    assert users and all(module.startswith("lab") for module in users)


def test_a_sweep_on_one_machine_loads_no_cluster(tmp_path):
    code = """
import sys
from utils import Experiment, sweep
base = Experiment(epochs=1, hidden=(3,))
sweep(base, {"l2": [0]}, seeds=[0], cache=sys.argv[1], progress=False)
assert "distributed" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


@pytest.mark.parametrize(
    "first", ["import utils.sweep", "from utils.sweep import stream"]
)
def test_sweep_is_the_function_whatever_was_imported_first(first):
    code = f"{first}\nfrom utils import sweep\nassert sweep.__name__ == 'sweep'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_plots_never_train():
    own = [module for module in ORDER if module.split(".")[0] == "plots"]
    assert {f"plots.{path.stem}" for path in (UTILS / "plots").glob("[!_]*.py")} < set(
        own
    )
    names = {name for module in own for name in imported(module)}
    assert not names & {"utils.engine", "utils.training", "utils.runs"}


def test_the_package_imports_without_plotly_jupyter_and_pandas():
    code = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name in ("plotly", "ipywidgets", "IPython", "pandas", "anywidget",
                    "pyarrow", "dask", "distributed", "tqdm", "platformdirs"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from utils import Experiment, fit
print(fit(Experiment(epochs=1, hidden=(3,)))[0].status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "finished\n"
