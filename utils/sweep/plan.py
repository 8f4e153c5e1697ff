"""Which runs a sweep has, and which of them train together."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from utils.arguments import entries, fail, not_too_many, several, show, whole
from utils.engine.ensemble import structure
from utils.experiment import Experiment
from utils.settings import AUGMENT, SHAPE, value_of, with_values

if TYPE_CHECKING:
    import pandas as pd

# Where two processes train at once, a member's share of an epoch is least at 48 on a
# CPU, alone at 64 (bench/README.md); a GPU is filled by more, and where memory runs out
# utils.engine.runs halves the ensemble.
LARGEST = {"cpu": 48, "mps": 64, "cuda": 1024}
SMALLEST = 8
SEVERAL = ("seed", "fold")  # which have arguments of their own
PARTS = 40  # a stop loses the ensembles in training: two of 40 are 5 %

KNOBS = [f.name for f in dataclasses.fields(Experiment) if f.name not in SEVERAL]
KNOBS += [*AUGMENT, *SHAPE]
COLUMNS = [
    "epoch",
    "status",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "gap",
    "zeros",
]


class Plan:
    """The runs of a sweep, in their order: settings, then seeds, then folds.

    Args: as for utils.sweep.sweep.
    Raises: ValueError naming what is empty, unknown, double or not allowed.
    """

    def __init__(
        self,
        base: Experiment,
        space: Mapping[str, Iterable],
        seeds: Iterable[int] = range(3),
        folds: int | None = None,
    ):
        check_base(base)
        space = check_space(space)
        for name in space:
            if name not in KNOBS:
                raise ValueError(f"knob {name!r}: must be one of {KNOBS}")
        values = [_several(name, space[name]) for name in space]
        self.names, runs = list(space), rounds(seeds, folds)
        sizes = [len(axis) for axis in (*values, runs)]
        not_too_many("sweep", math.prod(sizes), "is " + " × ".join(map(str, sizes)))
        self.with_folds = folds is not None
        self.members = [
            with_values(base, dict(zip(self.names, setting, strict=True)) | run)
            for setting in itertools.product(*values)
            for run in runs
        ]
        self.keys = [member.to_json() for member in self.members]
        self.dtypes = sorted({member.dtype for member in self.members})
        self._check_unique()

    @property
    def labels(self) -> "pd.DataFrame":
        """A table with a row per run, by its key: knobs, seed and fold."""
        import pandas as pd

        columns = {n: [value_of(e, n) for e in self.members] for n in self.names}
        columns["seed"] = [e.seed for e in self.members]
        if self.with_folds:
            columns["fold"] = [e.fold[0] for e in self.members]
        # Series keep tuples whole, and hold the values as they are.
        series = {n: pd.Series(v, index=self.keys) for n, v in columns.items()}
        return pd.DataFrame(series, index=pd.Index(self.keys, name="experiment"))

    def ensembles(self, kind: str, done: Iterable[str] = ()) -> list[list[Experiment]]:
        """Divide the runs that are not done into ensembles, lists of Experiments.

        They do not depend on who will train them, and an ensemble of which nothing is
        done stays as it is: numbers are the same to the last bit after a stop.

        Args:
            kind: 'cpu', 'cuda' or 'mps'.
            done: keys of runs.
        """
        size = min(LARGEST[kind], max(SMALLEST, len(self.members) // PARTS))
        done, key = set(done), dict(zip(self.members, self.keys, strict=True))
        whole, rest = [], []
        for ensemble in _divide(self.members, size):
            missing = [member for member in ensemble if key[member] not in done]
            if len(missing) == len(ensemble):
                whole.append(ensemble)
            else:
                rest += missing
        return whole + _divide(rest, size)

    def _check_unique(self):
        seen = set()
        for member, key in zip(self.members, self.keys, strict=True):
            if key in seen:
                raise ValueError(f"{member}: must be in the sweep once, got it twice")
            seen.add(key)


def check_count(name: str, value: Any, low: int = 1) -> int:
    """Return value as an int. Raises: ValueError unless that is a number ≥ low."""
    return whole(name, value, low)


def check_base(base: Any) -> None:
    """Raises: ValueError unless base is an Experiment."""
    if not isinstance(base, Experiment):
        fail("base", base, "an Experiment")


def check_space(space: Any) -> dict[str, Any]:
    """Return space as a plain dict.

    Raises: ValueError unless it maps names, none of them seed or fold.
    """
    what = "must map at least one knob to its values"
    given = entries("space", space, what) if isinstance(space, Mapping) else []
    if not given or not all(isinstance(name, str) for name, _ in given):
        raise ValueError(f"space = {show(space)}: {what}")
    space = {str.__str__(name): values for name, values in given}
    for name in SEVERAL:
        if name in space:
            raise ValueError(f"space: {name!r} must be given as {name}s=")
    return space


def rounds(seeds: Iterable[int], folds: int | None) -> list[dict]:
    """Return what the runs of one setting differ in, {field: value} for each.

    Raises: ValueError for no seed, one that is there twice, or folds that are not
        None or a whole number ≥ 2.
    """
    seeds = _several("seeds", seeds)
    seeds = [whole("seed", seed, 0, 2**32 - 1) for seed in seeds]
    if len(set(seeds)) < len(seeds):
        fail("seeds", seeds, "all different, each once")
    if folds is None:
        return [{"seed": seed} for seed in seeds]
    folds = check_count("folds", folds, 2)
    sizes = f"is {len(seeds)} seeds × {show(folds)} folds"
    not_too_many("sweep", len(seeds) * folds, sizes)
    return [{"seed": s, "fold": (k, folds)} for s in seeds for k in range(folds)]


def _several(name, values):
    return several(name, values, "a list of at least one value", least=1)


def _divide(members, size):
    """Cut members of one structure and, where they can, one seed into equal parts.

    Members of one seed share their random numbers, and those of one length end
    together: both cost less.
    """
    groups = {}
    for member in members:
        groups.setdefault(structure(member), []).append(member)
    parts = []
    for group in groups.values():
        group.sort(key=lambda e: (e.epochs, e.seed, e.fold or (0, 1)))
        count = -(-len(group) // size)
        cuts = [len(group) * i // count for i in range(count + 1)]
        parts += [group[a:b] for a, b in itertools.pairwise(cuts)]
    return parts
