"""What figures ask of their data."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd


def need_columns(frame: pd.DataFrame, columns: Iterable[str]) -> None:
    """Raises: ValueError naming the columns that a frame lacks."""
    if missing := [column for column in columns if column not in frame]:
        raise ValueError(f"columns {missing} are missing from {list(frame.columns)}")


def need_paired(runs: pd.DataFrame, columns: Iterable[str], by: Any) -> None:
    """Raises: ValueError if a seed has more than one row at the same `columns`."""
    if runs.duplicated([*columns, "seed"]).any():
        raise ValueError(
            f"runs differ in more than {by!r} and the seed: select some of them"
        )


def need_shape(what: str, values: Any, axes: Mapping[str, int]) -> None:
    """Raises: ValueError if `values` is not of the shape {name of axis: length}."""
    shape = tuple(axes.values())
    if np.shape(values) != shape:
        raise ValueError(
            f"{what} must be [{', '.join(axes)}] = {list(shape)}, "
            f"got {list(np.shape(values))}"
        )
