"""Which runs a sweep has, and which of them train together."""

import itertools
from collections.abc import Mapping

from utils.engine import structure
from utils.experiment import Experiment

# Where two processes train at once, a member's share of an epoch is least at 48 on a
# CPU, alone at 64 (bench/README.md); a GPU is filled by more, and where memory runs out
# utils.runs halves the ensemble.
LARGEST = {"cpu": 48, "mps": 64, "cuda": 1024}
SMALLEST = 8
PARTS = 40  # a stop loses the ensembles in training: two of 40 are 5 %

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

    def __init__(self, base, space, seeds=range(3), folds=None):
        if not isinstance(base, Experiment):
            raise ValueError(f"base = {base!r}: must be an Experiment")
        check_space(space)
        values = [_several(name, space[name]) for name in space]
        self.names, runs = list(space), rounds(seeds, folds)
        self.with_folds = folds is not None
        self.members = [
            _member(base, dict(zip(self.names, setting, strict=True)) | run)
            for setting in itertools.product(*values)
            for run in runs
        ]
        self.keys = [member.to_json() for member in self.members]
        self.dtypes = sorted({member.dtype for member in self.members})
        self._check_unique()

    @property
    def labels(self):
        """A table with a row per run, by its key: knobs, seed and fold."""
        import pandas as pd

        from utils.lab_knobs import value_of

        columns = {n: [value_of(e, n) for e in self.members] for n in self.names}
        columns["seed"] = [e.seed for e in self.members]
        if self.with_folds:
            columns["fold"] = [e.fold[0] for e in self.members]
        # Series keep tuples whole, and hold the values as they are.
        series = {n: pd.Series(v, index=self.keys) for n, v in columns.items()}
        return pd.DataFrame(series, index=pd.Index(self.keys, name="experiment"))

    def ensembles(self, kind, done=()):
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


def check_count(name, value, low=1):
    """Raises: ValueError unless value is a whole number ≥ low."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < low:
        raise ValueError(f"{name} = {value!r}: must be a whole number ≥ {low}")


def check_space(space):
    """Raises: ValueError unless space maps knobs, none of them seed or fold."""
    if not isinstance(space, Mapping) or not space:
        raise ValueError(f"space = {space!r}: must map at least one knob to its values")
    for name in ("seed", "fold"):
        if name in space:
            raise ValueError(f"space: {name!r} must be given as {name}s=")


def rounds(seeds, folds):
    """Return what the runs of one setting differ in, {field: value} for each.

    Raises: ValueError for no seed, one that is there twice, or folds that are not
        None or a whole number ≥ 2.
    """
    seeds = _several("seeds", seeds)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds = {seeds!r}: must be all different, each once")
    if folds is None:
        return [{"seed": seed} for seed in seeds]
    check_count("folds", folds, 2)
    return [{"seed": s, "fold": (k, int(folds))} for s in seeds for k in range(folds)]


def _several(name, values):
    try:
        several = [] if isinstance(values, str | Mapping) else list(values)
    except TypeError:
        several = []
    if not several:
        raise ValueError(f"{name} = {values!r}: must be a list of at least one value")
    return several


def _member(base, values):
    from utils.lab_knobs import with_values  # imports Plotly, so not before it is used

    return with_values(base, values)


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
