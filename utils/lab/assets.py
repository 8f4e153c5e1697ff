"""What the labs of a kernel share in the browser: Plotly and the data sets."""

import gzip
from collections.abc import Iterable
from pathlib import Path

import plotly
from ipywidgets import Widget
from traitlets import Bytes, Dict

from utils.lab.pack import pack

PLOTLY = Path(__file__).parents[2] / "web/vendor/plotly-cartesian.min.js"
WHOLE_PLOTLY = Path(plotly.__file__).parent / "package_data/plotly.min.js"


class Assets(Widget):
    """A widget without a view. It is state, so a page has it while the kernel is busy.

    `plotly` is the gzipped script, `sets` the data sets by name, as `pack` makes them.
    """

    plotly, sets = Bytes().tag(sync=True), Dict().tag(sync=True)
    _shared = None

    @classmethod
    def share(cls, names: Iterable[str]) -> "Assets":
        """Return the kernel's one, with at least these data sets in it."""
        if cls._shared is None or cls._shared.comm is None:
            path = PLOTLY if PLOTLY.exists() else WHOLE_PLOTLY
            cls._shared = cls(plotly=gzip.compress(path.read_bytes()))
        sets = cls._shared.sets
        cls._shared.sets = sets | {n: pack(n) for n in names if n not in sets}
        return cls._shared
