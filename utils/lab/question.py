"""What a lab asks of its engine: from settings to members. As web/lab/question.js."""

import itertools
from typing import Any

from utils.arguments import show
from utils.data import own_points
from utils.experiment import Experiment
from utils.settings import with_values

SWEEP_SEEDS = 3  # draws of each cell, in a lab of one
# What describes the situation, not the remedy: a baseline shares these knobs.
SITUATION = {"data", "n_train", "label_noise", "hidden", "width", "depth", "activation"}
SITUATION |= {"init_scale", "epochs", "batch_size", "lr", "seed"}


def scores(experiment: Experiment) -> int:
    """Return how often a run is scored, which takes longer than to train a little."""
    return max(25, -(-experiment.epochs // 20))


def members(lab: Any, now: dict, points: dict | None) -> list[Experiment]:
    """Return the draws of a lab with the settings `now`, then the baseline's.

    Raises: ValueError if one is not a valid experiment.
    """
    pair = [with_values(lab.base, now)]
    if lab.against is not None:
        shared = {name: value for name, value in now.items() if name in SITUATION}
        pair.append(with_values(lab.against, shared))
    return [e for one in pair for e in _draws(one, points, lab.seeds)]


def cells(over: dict[str, list]) -> list[dict]:
    """Return the cells of a sweep, row by row; the first knob is the x axis."""
    names = [*over][::-1] if over else []
    rows = itertools.product(*(over[name] for name in names)) if over else []
    return [dict(zip(names, row, strict=True)) for row in rows]


def sweep(lab: Any, now: dict, points: dict | None, seeds: int = 0) -> list[Experiment]:
    """Return the members of a sweep: the draws of each cell in turn.

    Raises: ValueError if one is not a valid experiment.
    """
    seeds = seeds or (lab.seeds if lab.seeds > 1 else SWEEP_SEEDS)
    each = [with_values(lab.base, now | cell) for cell in cells(lab.over)]
    return [e for one in each for e in _draws(one, points, seeds)]


def plain(points: dict, data: str) -> dict:
    """Return own training points as lists, X flat, once `own_points` accepts them."""
    try:
        X, y = points["X"], points["y"]
    except Exception:  # the methods of a stranger may raise anything
        raise ValueError(f"points = {show(points)}: must have 'X' and 'y'") from None
    own = own_points(data, X, y)
    return {"X": own.X.ravel().tolist(), "y": own.y.tolist()}


def _draws(experiment, points, seeds):
    n_train = experiment.n_train if points is None else len(points["y"])
    return [_draw(experiment, k, n_train) for k in range(seeds)]


def _draw(experiment, k, n_train):
    """A lab's draw k; where there is a split, it goes with the seed."""
    seed = experiment.seed + k
    split = None if experiment.split is None else seed
    return experiment.replace(n_train=n_train, seed=seed, split=split)
