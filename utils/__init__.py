"""What the chapters import. Parts that need Plotly or Jupyter load on first use."""

from importlib import import_module

from utils.claims import claim
from utils.experiment import Augment, Experiment
from utils.runs import Runs, fit
from utils.training import train

_LAZY = {"Lab": "utils.lab", "plots": "utils.plots"}

__all__ = ["Augment", "Experiment", "Lab", "Runs", "claim", "fit", "plots", "train"]


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'utils' has no attribute {name!r}")
    module = import_module(_LAZY[name])
    return module if name == "plots" else getattr(module, name)
