"""What the chapters import. Parts that need Plotly or Jupyter load on first use."""

from importlib import import_module

from utils.book.claims import claim
from utils.engine.runs import Runs, fit
from utils.engine.training import train
from utils.experiment import Augment, Experiment
from utils.sweep import Sweep, sweep  # at once, so that the name is not the package

_LAZY = {
    "Lab": "utils.lab",
    "compare": "utils.book.effects",
    "plots": "utils.plots",
    "search": "utils.sweep.search",
}

__all__ = [
    "Augment",
    "Experiment",
    "Lab",
    "Runs",
    "Sweep",
    "claim",
    "compare",
    "fit",
    "plots",
    "search",
    "sweep",
    "train",
]


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'utils' has no attribute {name!r}")
    module = import_module(_LAZY[name])
    return module if name == "plots" else getattr(module, name)
