"""The words of a figure: what columns, knobs and values are called."""

from math import floor, isnan, log10
from numbers import Real

NATS = "nats per example"
UNITS = {"binary": NATS, "multiclass": NATS, "regression": "mean squared error"}
LABELS = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "test_loss": "test loss",
    "train_accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
    "train_r2": "training R²",
    "val_r2": "validation R²",
    "test_r2": "test R²",
    "gap": "generalization gap",
    "zeros": "weights that are exactly 0",
    "l1": "λ₁ (L1)",
    "l2": "λ₂ (L2)",
    "weight_decay": "weight decay",
    "dropout": "p (dropout)",
    "dropout_input": "p (input dropout)",
    "lr": "learning rate",
    "n_train": "training examples",
    "label_noise": "label noise (chance of a random label)",
}
LOG_KNOBS = {"l1", "l2", "weight_decay", "lr"}

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def labels_for(task):
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


def label(column):
    """What a column is called: 'val_loss' → 'validation loss'."""
    return LABELS.get(column, column.replace("_", " "))


def role(value):
    """Whose result it is: 'val_loss' → 'validation'."""
    return label(value).rsplit(" ", 1)[0]


def name(by, key):
    """What a method is called that has `key` in the column `by`."""
    if is_missing(key):
        return f"{label(by)}: none"
    return f"{label(by)} = {key:g}" if isinstance(key, Real) else str(key)


def is_missing(key):
    """True for None and NaN: a knob that is off."""
    return key is None or (isinstance(key, Real) and isnan(key))


def category(knob, key):
    """A knob's value on an axis of categories: '0', '10⁻³', '3·10⁻⁴', '0.5', 'adam'."""
    if is_missing(key):
        return "none"
    if not isinstance(key, Real):
        return str(key)
    return scientific(key) if knob in LOG_KNOBS else f"{key:g}"


def scientific(number):
    """Return '10⁻³' for 0.001, '3·10⁻⁴' for 0.0003, '0' for 0."""
    if number <= 0:
        return f"{number:g}"
    exponent = floor(log10(number) + 1e-9)
    mantissa = f"{number / 10.0**exponent:.3g}"
    return power(exponent) if mantissa == "1" else f"{mantissa}·{power(exponent)}"


def power(exponent):
    """Return '10⁻³' for −3."""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def axis_title(values, unit=NATS):
    """The title of the axis that shows these columns; a loss with its unit."""
    kinds = {value.rsplit("_", 1)[-1] for value in values}
    kind = label(values[0]).rsplit(" ", 1)[-1] if len(kinds) == 1 else ""
    text = label(values[0]) if len(values) == 1 else kind
    return f"{text} ({unit})" if kinds <= {"loss"} or kinds <= {"gap"} else text


def tick_format(values):
    """Per cent for shares, Plotly's own choice for everything else."""
    shares = all(value.endswith(("accuracy", "zeros")) for value in values)
    return ".0%" if shares else None


def count_zeros(weights):
    """Return 'k of n' for the weights that are exactly 0."""
    return f"{int((weights == 0).sum()):,} of {weights.size:,}"


def verdict(label, predicted):
    """Return a class, or `true → predicted ✗` in bold where the two differ."""
    return f"{label}" if label == predicted else f"<b>{label} → {predicted} ✗</b>"
