"""Imports go one way, from wing to wing, and the engine runs on a bare GPU machine."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UTILS = ROOT / "utils"
# Each imports what stands before it, and itself.
WINGS = [
    "mimetypes",
    "arguments",
    "experiment",
    "random",
    "settings",
    "data",
    "engine",
    "plots",
    "sweep",
    "lab",
    "book",
]
BARE = {"torch", "numpy", "sklearn", "utils"} | sys.stdlib_module_names


def _name(path):
    parts = path.relative_to(UTILS.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_name(path): path for path in sorted(UTILS.rglob("*.py"))}
MODULES = [module for module in FILES if module != "utils"]  # which chapters import


def wing(module):
    return f"{module}.".split(".")[1]


def imported(module, nodes=ast.walk):
    """The modules a file of utils imports: anywhere, or in the nodes of its tree."""
    path = FILES[module]
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in nodes(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{source}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else source for name in names)


def own(module):
    """The modules of utils among them."""
    return {name for name in imported(module) if name.split(".")[0] == "utils"}


def test_every_module_has_its_wing():
    assert {wing(module) for module in MODULES} == set(WINGS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module):
    allowed = WINGS[: WINGS.index(wing(module)) + 1]
    wrong = {n for n in own(module) if n not in FILES or wing(n) not in allowed}
    assert not wrong, f"{module} imports {wrong}"


def test_imports_make_no_circle():
    graph = TopologicalSorter({module: own(module) for module in MODULES})
    order = list(graph.static_order())  # raises CycleError
    assert {*order} >= {*MODULES}


@pytest.mark.parametrize(
    "module", [m for m in MODULES if wing(m) in WINGS[: WINGS.index("plots")]]
)
def test_the_engine_needs_nothing_but_torch_numpy_and_scikit_learn(module):
    at_once = imported(module, nodes=ast.iter_child_nodes)
    assert {name.split(".")[0] for name in at_once} <= BARE
    on_demand = BARE | {"pandas"}  # where a caller asks for a table
    assert {name.split(".")[0] for name in imported(module)} <= on_demand


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
    names = set().union(*(own(m) for m in MODULES if wing(m) == "plots"))
    assert not {wing(name) for name in names} & {"data", "engine"}


def test_the_package_imports_without_plotly_jupyter_and_pandas():
    code = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name in ("plotly", "ipywidgets", "IPython", "pandas", "anywidget",
                    "pyarrow", "dask", "distributed", "tqdm", "platformdirs"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from utils import Experiment, fit, settings
print(fit(Experiment(epochs=1, hidden=(3,)))[0].status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "finished\n"


SETTINGS = """
import torch
names = ["get_num_threads", "get_num_interop_threads", "get_default_dtype",
         "is_grad_enabled", "are_deterministic_algorithms_enabled", "initial_seed"]
def settings():
    return [getattr(torch, name)() for name in names]
torch.set_num_threads(2)
torch.manual_seed(3)
before = settings()
import utils
import utils.plots, utils.sweep.search
from utils import Experiment, Lab, fit
assert settings() == before
fit(Experiment(n_train=20, epochs=2, hidden=(4,)))
try:
    fit(Experiment(n_train=20, epochs=1), device="tpu")
except ValueError:
    pass
assert settings() == before
"""


def test_no_setting_of_the_process_is_changed():
    subprocess.run([sys.executable, "-c", SETTINGS], check=True, cwd=ROOT)
