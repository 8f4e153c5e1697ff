"""The data sets as the front end's trainer reads them (web/trainer/data.js)."""

import base64

import numpy as np

from utils.data import ANEW, Split, load

PIXEL = 16  # pixels are multiples of 1/16


def pack(name: str) -> dict:
    """Return a data set as JSON: its pool and validation set, and what splits divide.

    Real data have their test set too, as a split divides all of it anew. A matrix is
    {shape, base64} of little-endian float64, or of bytes to be divided by `scale`.

    Raises: ValueError for a name that is not one of `experiment.DATA`.
    """
    data = load(name)
    scale = PIXEL if data.image else None
    sets = {"pool": data.pool, "validation": data.validation}
    if name not in ANEW:
        sets["test"] = data.test
    about = {
        "name": name,
        "task": data.task,
        "classes": data.classes,
        "image": data.image,
    }
    return about | {key: _set(split, scale) for key, split in sets.items()}


def _set(split: Split, scale):
    return {"X": _matrix(split.X, scale), "y": _matrix(split.y)}


def _matrix(values, scale=None):
    raw = (values * scale).astype("u1") if scale else np.asarray(values, "<f8")
    text = base64.b64encode(raw.tobytes()).decode()
    scaled = {"scale": scale} if scale else {}
    return {"shape": list(values.shape), "base64": text} | scaled
