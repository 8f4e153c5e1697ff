"""Epochs marked by labelled vertical lines."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from utils.plots.style import NEUTRAL, reserve_top

_ROW = 17  # pixels; each label has a row of its own, so that none meets another
_LINE = {"color": NEUTRAL, "width": 1, "dash": "dash"}


def add_marks(fig: go.Figure, marks: Mapping[str, float], epochs: pd.Series) -> None:
    """Adds a thin vertical line per mark, its label above the plot.

    Args:
        marks: {label: epoch}.
        epochs: those of the curves, a pandas Series.
    Raises: ValueError if an epoch is not between the first and the last.
    """
    first, last = epochs.min(), epochs.max()
    for text, epoch in marks.items():
        if not first <= epoch <= last:
            raise ValueError(f"mark {text!r} must be in {first}–{last}, got {epoch}")
    middle = (first + last) / 2
    for row, (text, epoch) in enumerate(_stacked(marks, middle)):
        anchor = "left" if epoch <= middle else "right"
        _add_mark(fig, text, epoch, row * _ROW + 10, anchor)
    reserve_top(fig, 14 + _ROW * len(marks))


def _stacked(marks, middle):
    """Orders marks so that no stalk crosses the label of another on its side.

    Labels lean towards the middle; on each side the outermost is the highest.
    """
    return sorted(marks.items(), key=lambda mark: abs(mark[1] - middle))


def _add_mark(fig, text, epoch, rise, anchor):
    fig.add_shape(
        type="line", x0=epoch, x1=epoch, y0=0, y1=1, yref="y domain", line=_LINE
    )
    fig.add_annotation(
        text=text,
        x=epoch,
        y=1,
        yref="y domain",
        ax=0,
        ay=-rise,
        xanchor=anchor,
        yanchor="middle",
        arrowhead=0,
        arrowwidth=1,
        arrowcolor=NEUTRAL,
    )
