"""Hyperparameter search by Optuna: the trials of a batch train as one ensemble."""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import GridSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

import utils.plots  # noqa: F401  the style of Optuna's figures
from utils.arguments import choice, fail, not_too_many, real, several, show, whole
from utils.engine.ensemble import METRICS, choose_device
from utils.engine.training import Training
from utils.experiment import Experiment
from utils.settings import AUGMENT, accept, is_log, others_of, value_of, with_values
from utils.sweep.plan import check_base, check_count, check_space, rounds

SAMPLERS = ("grid", "random", "tpe")
MOST_CHOICES = 1000  # of a knob
APART = ("data", "seed", "fold")  # what a trial is judged on is no knob of it


@dataclass(frozen=True)
class Search:
    """A finished search.

    `study` is Optuna's own record; `optuna.visualization` draws it in the book's style.
    `frame` has a row per trial:
        number, then a column per knob,
        value: mean of the metric over seeds and folds, each run at its kept epoch,
        sem: standard error of that mean, NaN for a single run. Folds of one seed share
            training points, so with them it is too small,
        state: 'complete', or 'pruned' (value: as it was then), 'diverged' (a run's loss
            was no longer finite; value: NaN) or 'refused' (no valid Experiment; NaN),
        epochs: how many its runs trained, all together.
    `experiments` has each trial's Experiment, None for a refused one.
    """

    study: optuna.Study
    frame: pd.DataFrame
    experiments: tuple[Experiment | None, ...]

    @property
    def best(self) -> pd.Series:
        """The row of the best complete trial, the first of equals.

        Raises: ValueError if no trial is complete.
        """
        done = self.frame[self.frame["state"] == "complete"]
        if done.empty:
            states = self.frame["state"].value_counts().to_dict()
            why = self.study.trials[0].user_attrs
            raise ValueError(f"no trial is complete: {states}; the first: {why}")
        least = self.study.direction == optuna.study.StudyDirection.MINIMIZE
        return done.loc[done["value"].idxmin() if least else done["value"].idxmax()]

    @property
    def experiment(self) -> Experiment:
        """The base with the best trial's knobs."""
        return self.experiments[int(self.best["number"])]


def search(
    base: Experiment,
    space: Mapping[str, Iterable],
    trials: int = 48,
    sampler: str = "tpe",
    *,
    seeds: Iterable[int] = range(3),
    folds: int | None = None,
    batch: int = 8,
    prune: bool | optuna.pruners.BasePruner = False,
    metric: str = "val_loss",
    seed: int = 0,
    device: str = "auto",
) -> Search:
    """Search for the knobs with the best mean metric over seeds and folds.

    The same arguments give the same trials.

    Args:
        base: what all trials share.
        space: what each knob may be: any field but data, seed and fold, and rotation,
            shift, scale and flip of `augment`. A tuple or list of two numbers is a
            range (low, high), whole numbers for a count, on a logarithmic scale where
            a Lab's slider has one (lr, init_scale, l1, l2, weight_decay). Anything else
            lists choices; two numbers as such are `np.array([16, 64])`.
        trials: how many. A grid has as many as its axes allow, at most these.
        sampler: 'grid': all combinations, the same number of values on each range as
            far as possible, evenly spaced on its scale; 'random'; or 'tpe', the
            tree-structured Parzen estimator (Bergstra et al. 2011), which takes the
            trials that still train for bad ones.
        seeds: of each trial's runs.
        folds: None, or K for K-fold cross-validation with every seed.
        batch: trials asked for at once and trained as one Training.
        prune: True stops a trial whose best mean so far is worse than the median of the
            complete trials at that epoch (Golovin et al. 2017), once five are complete
            and a quarter of base.epochs is over. Or a pruner of Optuna's.
        metric: one of METRICS; of accuracies the highest is best, else the lowest.
        seed: of the sampler.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
    Raises: ValueError naming what is wrong. A combination that Experiment refuses is
        no error if each of its values is valid beside another: its state says so.
    """
    check_base(base)
    trials, batch = check_count("trials", trials), check_count("batch", batch)
    sampler = choice("sampler", sampler, SAMPLERS)
    metric = choice("metric", metric, METRICS)
    seed = whole("seed", seed, 0, 2**32 - 1)
    choose_device(device, base.dtype)
    runs = rounds(seeds, folds)
    sizes = f"is {show(trials)} trials × {len(runs)} runs"
    not_too_many("search", trials * len(runs), sizes)
    axes = _axes(base.replace(**runs[0]), space)
    sampling, trials = _sampling(sampler, axes, trials, seed)
    pruner = _pruner(prune, base.epochs)
    direction = "maximize" if metric.endswith("accuracy") else "minimize"
    points = []
    with _quiet():
        study = optuna.create_study(
            sampler=sampling, pruner=pruner, direction=direction
        )
        while len(points) < trials:
            count = min(batch, trials - len(points))
            asked = [_ask(study, base, axes, runs) for _ in range(count)]
            _train(study, asked, metric, bool(prune), device)
            points += asked
    return Search(study, _frame(points), tuple(point.experiment for point in points))


@dataclass(frozen=True)
class _Axis:
    """A knob's distribution; `meaning` of those labels that are not values."""

    distribution: BaseDistribution
    meaning: dict[str, object] = dataclasses.field(default_factory=dict)

    def values(self, count):
        """At most count values of a range, evenly spaced; every choice."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        space = np.geomspace if d.log else np.linspace
        values = space(d.low, d.high, count).tolist()
        if isinstance(d, IntDistribution):
            return sorted({round(value) for value in values})
        return values

    @property
    def most(self):
        """How many values it can have."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return len(d.choices)
        return d.high - d.low + 1 if isinstance(d, IntDistribution) else math.inf


@dataclass
class _Point:
    """A trial, and how far it has come."""

    trial: Trial
    knobs: dict[str, object]
    experiment: Experiment | None = None
    runs: list[Experiment] = dataclasses.field(default_factory=list)
    state: str = "running"
    values: np.ndarray = dataclasses.field(default_factory=lambda: np.array([math.nan]))
    epochs: int = 0

    def row(self):
        value, sem = math.nan, math.nan
        if self.state not in ("diverged", "refused"):
            value, n = self.values.mean(), len(self.values)
            if n > 1:
                sem = self.values.std(ddof=1) / math.sqrt(n)
        end = {"value": value, "sem": sem, "state": self.state, "epochs": self.epochs}
        return {"number": self.trial.number, **self.knobs, **end}


def _frame(points):
    with np.errstate(over="ignore"):  # near divergence a sem may be infinite
        frame = pd.DataFrame([point.row() for point in points])
    for name in points[0].knobs:  # pandas would make None a NaN
        values = [point.knobs[name] for point in points]
        if None in values:
            frame[name] = pd.Series(values, dtype=object)
    return frame


class _Grid(GridSampler):
    """A grid for ask and tell; Optuna's own would stop an optimize that never ran."""

    def after_trial(self, study, trial, state, values):
        pass


def _axes(base, space):
    """Return an _Axis for each knob.

    Raises: ValueError naming the knob, its values and what they must be.
    """
    fields = [f.name for f in dataclasses.fields(base) if f.name not in APART]
    space, listed, known = check_space(space), {}, [*fields, *AUGMENT]
    for name, values in space.items():
        if name not in known:
            message = f"must be one of {known}"
            raise ValueError(f"knob {show(name)} = {show(values)}: {message}")
        found = several(name, values, "a range or choices", most=MOST_CHOICES)
        listed[name] = values if type(values) in (list, tuple) else found
    if "augment" in space and (twice := set(space) & set(AUGMENT)):
        raise ValueError(f"augment: must not be in the space beside {sorted(twice)}")
    axes = {}
    for name, values in listed.items():
        parse = _range if _is_range(base, name, space[name]) else _choices
        axes[name] = parse(base, name, values, others_of(listed, name))
    return axes


def _is_range(base, name, values):
    if isinstance(value_of(base, name), bool | str | tuple):
        return False
    pair = isinstance(values, list | tuple) and len(values) == 2
    return pair and all(isinstance(v, Real) and type(v) is not bool for v in values)


def _range(base, name, limits, others):
    log = is_log(name)
    if log and real(name, limits[0], -math.inf, math.inf) <= 0:
        raise ValueError(
            f"{name} = {show(limits)}: low must be > 0 on a log scale, which never gets"
            " to 0; make 0 one of a list of choices"
        )
    low, high = (accept(base, name, end, others) for end in limits)
    if not low < high:
        raise ValueError(f"{name} = {show(limits)}: low must be < high")
    distribution = IntDistribution if isinstance(low, int) else FloatDistribution
    return _Axis(distribution(low, high, log=log))


def _choices(base, name, values, others):
    accepted = [accept(base, name, value, others) for value in values]
    labels = [v if _is_plain(v) else repr(v) for v in accepted]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise ValueError(
            f"{name} = {show(values)}: must be a range (low, high) of two numbers, or"
            " at least two choices, all different"
        )
    meaning = dict(zip(labels, accepted, strict=True))
    meaning = {k: v for k, v in meaning.items() if not _is_plain(v)}
    return _Axis(CategoricalDistribution(labels), meaning)


def _is_plain(value):
    """True for what Optuna can store."""
    return value is None or isinstance(value, bool | int | float | str)


def _grid(axes, most):
    """Return each axis's values: ranges as evenly cut as `most` points allow.

    Raises: ValueError if two values on each range are too many.
    """
    ranges = [
        k
        for k, axis in axes.items()
        if not isinstance(axis.distribution, CategoricalDistribution)
    ]
    counts = {k: 2 if k in ranges else axis.most for k, axis in axes.items()}
    if (least := math.prod(counts.values())) > most:
        raise ValueError(f"trials = {most}: must be ≥ {least} for a grid of this space")
    while free := [k for k in ranges if counts[k] < axes[k].most]:
        shortest = min(free, key=counts.get)
        more = counts | {shortest: counts[shortest] + 1}
        if math.prod(more.values()) > most:
            break
        counts = more
    return {k: axis.values(counts[k]) for k, axis in axes.items()}


def _sampling(name, axes, trials, seed):
    """Return the sampler, and how many trials it is good for."""
    if name == "random":
        return RandomSampler(seed), trials
    if name == "tpe":
        return TPESampler(seed=seed, multivariate=True, constant_liar=True), trials
    grid = _grid(axes, trials)
    return _Grid(grid, seed), math.prod(map(len, grid.values()))


def _pruner(prune, epochs):
    if isinstance(prune, optuna.pruners.BasePruner):
        return prune
    if not isinstance(prune, bool):
        fail("prune", prune, "a bool or a pruner of Optuna's")
    if prune:
        return optuna.pruners.MedianPruner(n_warmup_steps=epochs // 4)
    return optuna.pruners.NopPruner()


@contextlib.contextmanager
def _quiet():
    """Keep Optuna from logging every trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _ask(study, base, axes, runs):
    """Ask for a trial; one that Experiment refuses is told so at once."""
    trial = study.ask({name: axis.distribution for name, axis in axes.items()})
    knobs = {k: axes[k].meaning.get(v, v) for k, v in trial.params.items()}
    point = _Point(trial, knobs)
    try:
        experiment = with_values(base, knobs)
        point.runs = [experiment.replace(**fields) for fields in runs]
        point.experiment = experiment
    except ValueError as error:
        trial.set_user_attr("refused", str(error))
        _tell(study, point, "refused", TrialState.FAIL)
    return point


def _tell(study, point, state, optuna_state=TrialState.PRUNED):
    point.state = state
    complete = optuna_state == TrialState.COMPLETE
    value = float(point.values.mean()) if complete else None
    study.tell(point.trial, value, optuna_state)


def _train(study, points, metric, prune, device):
    """Train every run of the trials together, and tell how each trial ends."""
    running = [point for point in points if point.state == "running"]
    if not running:
        return
    runs = [run for point in running for run in point.runs]
    training = Training(runs, device, curves=prune)  # only pruners look on
    width, history = len(running[0].runs), []
    places = [range(k * width, (k + 1) * width) for k in range(len(running))]
    while not training.done:
        record = training.run_epoch()
        history.append(getattr(record, metric).numpy())
        for point, members in zip(running, places, strict=True):
            if point.state == "running":
                point.epochs += int(record.active[list(members)].sum())
                point.values = _values(training, members, history)
                status = [training.status[i] for i in members]
                _judge(study, point, status, record.epoch, prune)
                if point.state != "running":
                    live = [i for i in members if training.status[i] == "running"]
                    training.stop(live)


def _values(training, members, history):
    """Each run's metric at its kept epoch; so far, if it is still running."""
    # Nothing is kept yet, 0, where only the last epoch counts.
    kept = [(training.kept_epoch[i] or len(history), i) for i in members]
    return np.array([history[epoch - 1][i] for epoch, i in kept])


def _judge(study, point, status, epoch, prune):
    """End a trial where a run has diverged, all have ended, or the pruner says so."""
    over = "running" not in status
    infinite = over and not np.isfinite(point.values).all()
    if "diverged" in status or infinite:
        # Pruned, not failed: samplers learn to keep away.
        point.trial.set_user_attr("diverged", epoch)
        point.trial.report(math.nan, epoch)
        _tell(study, point, "diverged")
        return
    if prune:
        point.trial.report(point.values.mean(), epoch)
    if over:
        _tell(study, point, "complete", TrialState.COMPLETE)
    elif prune and point.trial.should_prune():
        _tell(study, point, "pruned")
