"""The settings of an Experiment by name: their values, limits and words for readers.

The amounts of `Augment` are settings of their own names; `width` and `depth` stand for
`hidden`, (width,) * depth.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from utils.arguments import show, whole
from utils.experiment import Augment, Experiment

AUGMENT = tuple(field.name for field in dataclasses.fields(Augment))
SHAPE = {"width": (1, 4096), "depth": (0, 100)}  # whole numbers between
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
    "difference": "validation loss minus the baseline's",
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
NAMES = {
    "activation": "activation",
    "activation_noise": "activation noise (σ)",
    "batch_norm": "batch norm",
    "batch_size": "batch size",
    "data": "data set",
    "depth": "hidden layers",
    "dropconnect": "p (DropConnect)",
    "dropout_at": "dropout acts on",
    "dropout_channels": "p (channel dropout)",
    "epochs": "epochs",
    "flip": "flip (chance)",
    "hidden": "units of the hidden layers",
    "init_scale": "initial scale",
    "input_noise": "input noise (σ)",
    "l1_method": "method for L1",
    "momentum": "momentum",
    "optimizer": "optimizer",
    "patience": "patience (epochs)",
    "penalize_bias": "penalty on biases",
    "rotation": "rotation (degrees)",
    "scale": "size (± share)",
    "shift": "shift (pixels)",
    "weight_noise": "weight noise (σ)",
    "width": "units of a hidden layer",
}
OPTIONS = {
    False: "off",
    True: "on",
    "adam": "Adam",
    "adamw": "AdamW",
    "before_norm": "inputs of each layer's batch norm",
    "hidden": "every hidden layer",
    "last": "the last hidden layer",
    "relu": "ReLU",
    "selu": "SELU",
    "sgd": "SGD",
}


def value_of(experiment: Experiment, name: str) -> Any:
    """Return the setting called name, of the experiment or of its `augment`.

    Raises: ValueError for the width of layers that differ in it.
    """
    if name in AUGMENT:
        return getattr(experiment.augment or Augment(), name)
    if name not in SHAPE:
        return getattr(experiment, name)
    hidden = experiment.hidden
    if len(set(hidden)) > 1:
        raise ValueError(f"hidden = {hidden!r}: must be of one width, to have a {name}")
    return len(hidden) if name == "depth" else next(iter(hidden), None)


def with_values(experiment: Experiment, values: dict) -> Experiment:
    """Return a copy with other settings, by their names.

    Raises: ValueError if the result is not a valid experiment.
    """
    rest = {name: v for name, v in values.items() if name not in {*AUGMENT, *SHAPE}}
    if amounts := {name: values[name] for name in AUGMENT if name in values}:
        own = experiment.augment or Augment()
        rest["augment"] = dataclasses.replace(own, **amounts)
    if shape := {name: values[name] for name in SHAPE if name in values}:
        if "hidden" in values:
            raise ValueError(
                f"{show(shape)}: must be left out beside hidden, which has both"
            )
        rest["hidden"] = _hidden(experiment, shape)
    return experiment.replace(**rest)


def _hidden(experiment, shape):
    shape = {name: whole(name, value, *SHAPE[name]) for name, value in shape.items()}
    width, depth = (
        shape[n] if n in shape else value_of(experiment, n) for n in ("width", "depth")
    )
    if depth and width is None:
        raise ValueError(f"depth = {depth!r}: must be 0 without a width")
    return (width,) * depth


def label(name: str) -> str:
    """Return what readers call a knob."""
    return LABELS.get(name) or NAMES.get(name) or name.replace("_", " ")


def short_label(name: str) -> str:
    """Return the label without what is in brackets, unless only 'p' would be left."""
    short = label(name).split(" (")[0]
    return label(name) if short == "p" and name != "dropout" else short


def setting(experiment: Experiment, name: str) -> str:
    """Return 'λ₂ = 0.001', 'optimizer = SGD'."""
    value = value_of(experiment, name)
    choice = isinstance(value, str | bool | tuple)
    text = option_text(value) if choice else f"{value:g}"
    return f"{short_label(name)} = {text}"


def option_text(value: str | bool | tuple[int, ...]) -> str:
    """Return what readers call a choice."""
    if isinstance(value, tuple):
        return "-".join(map(str, value)) or "none"
    return OPTIONS.get(value) or str(value).replace("_", " ")


def others_of(wanted: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """Every (name, value) that another knob can surely be set to."""
    ranges = {k: v for k, v in wanted.items() if isinstance(v, list | tuple)}
    return [(k, value) for k, values in ranges.items() if k != name for value in values]


def accept(
    base: Experiment, name: str, value: Any, others: Iterable[tuple[str, Any]]
) -> Any:
    """Return the value as Experiment keeps it, alone or beside one other knob's.

    Raises: ValueError, the one for value alone, if none of these are valid.
    """
    refusal = None
    for beside in [{}, *({other: setting} for other, setting in others)]:
        try:
            return value_of(with_values(base, beside | {name: value}), name)
        except ValueError as error:
            refusal = refusal or error
    raise refusal


def is_log(name: str) -> bool:
    """True for a setting whose axis or slider is logarithmic."""
    return name in LOG_KNOBS or name == "init_scale"
