"""One figure style for the whole book.

Colour tells methods apart; a solid line is validation, a dotted line training.
Every figure carries a text description in `layout.meta.description`, which the
page, JupyterLab and text-only readers show. Nothing here trains.
"""

from utils.mimetypes import FIGURE as MIME
from utils.plots.fields import regions
from utils.plots.grids import heatmap
from utils.plots.labels import (
    LABELS,
    LOG_KNOBS,
    UNITS,
    count_zeros,
    labels_for,
    verdict,
)
from utils.plots.landscape import geometry
from utils.plots.methods import effects, points
from utils.plots.pictures import images
from utils.plots.series import curves, lines, sweep
from utils.plots.style import (
    NEUTRAL,
    PALETTE,
    TEMPLATE,
    TRAIN_DASH,
    VAL_DASH,
    BookRenderer,
)
from utils.plots.weights import histogram

__all__ = [
    "LABELS",
    "LOG_KNOBS",
    "MIME",
    "NEUTRAL",
    "PALETTE",
    "TEMPLATE",
    "TRAIN_DASH",
    "UNITS",
    "VAL_DASH",
    "BookRenderer",
    "count_zeros",
    "curves",
    "effects",
    "geometry",
    "heatmap",
    "histogram",
    "images",
    "labels_for",
    "lines",
    "points",
    "regions",
    "sweep",
    "verdict",
]
