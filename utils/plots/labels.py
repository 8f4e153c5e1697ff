"""The words of a figure: what columns, knobs and values are called."""

from collections.abc import Sequence
from math import floor, isnan, log10
from numbers import Real
from typing import Any

import numpy as np

from utils.settings import LABELS, LOG_KNOBS

NATS = "nats per example"
UNITS = {"binary": NATS, "multiclass": NATS, "regression": "mean squared error"}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def labels_for(task: str) -> dict[str, str]:
    """LABELS in the words of a task: in regression a loss is a mean squared error.

    Args:
        task: 'binary', 'multiclass' or 'regression', as in `utils.data`.
    Returns: {column: label}.
    Raises: ValueError for another task.
    """
    if task not in UNITS:
        raise ValueError(f"task must be one of {tuple(UNITS)}, got {task!r}")
    if task != "regression":
        return dict(LABELS)
    words = {" loss": " mean squared error", " accuracy": " R²"}
    return {column: _replace(text, words) for column, text in LABELS.items()}


def _replace(text, words):
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def label(column: str) -> str:
    """What a column is called: 'val_loss' → 'validation loss'."""
    return LABELS.get(column, column.replace("_", " "))


def role(value: str) -> str:
    """Whose result it is: 'val_loss' → 'validation'."""
    return label(value).rsplit(" ", 1)[0]


def name(by: str, key: Any) -> str:
    """What a method is called that has `key` in the column `by`."""
    if is_missing(key):
        return f"{label(by)}: none"
    return f"{label(by)} = {key:g}" if isinstance(key, Real) else str(key)


def is_missing(key: Any) -> bool:
    """True for None and NaN: a knob that is off."""
    return key is None or (isinstance(key, Real) and isnan(key))


def category(knob: str, key: Any) -> str:
    """A knob's value on an axis of categories: '0', '10⁻³', '3·10⁻⁴', '0.5', 'adam'."""
    if is_missing(key):
        return "none"
    if not isinstance(key, Real):
        return str(key)
    return scientific(key) if knob in LOG_KNOBS else f"{key:g}"


def scientific(number: float | Real) -> str:
    """Return '10⁻³' for 0.001, '3·10⁻⁴' for 0.0003, '0' for 0."""
    if number <= 0:
        return f"{number:g}"
    exponent = floor(log10(number) + 1e-9)
    mantissa = f"{number / 10.0**exponent:.3g}"
    return power(exponent) if mantissa == "1" else f"{mantissa}·{power(exponent)}"


def power(exponent: int) -> str:
    """Return '10⁻³' for −3."""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def axis_title(values: Sequence[str], unit: str = NATS) -> str:
    """The title of the axis that shows these columns; a loss with its unit."""
    kinds = {value.rsplit("_", 1)[-1] for value in values}
    kind = label(values[0]).rsplit(" ", 1)[-1] if len(kinds) == 1 else ""
    text = label(values[0]) if len(values) == 1 else kind
    return f"{text} ({unit})" if kinds <= {"loss"} or kinds <= {"gap"} else text


def tick_format(values: Sequence[str]) -> str | None:
    """Per cent for shares, Plotly's own choice for everything else."""
    shares = all(value.endswith(("accuracy", "zeros")) for value in values)
    return ".0%" if shares else None


def count_zeros(weights: np.ndarray) -> str:
    """Return 'k of n' for the weights that are exactly 0."""
    return f"{int((weights == 0).sum()):,} of {weights.size:,}"


def verdict(label: Any, predicted: Any) -> str:
    """Return a class, or `true → predicted ✗` in bold where the two differ."""
    return f"{label}" if label == predicted else f"<b>{label} → {predicted} ✗</b>"
