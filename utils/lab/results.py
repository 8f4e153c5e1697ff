"""What a lab has to say of its runs: means over draws, mean curves, a table."""

from collections.abc import Sequence

import numpy as np

from utils import plots
from utils.data import load
from utils.engine.runs import Run
from utils.experiment import Experiment
from utils.lab.jobs import CURVES

VAL = CURVES.index("val_loss")
TABLE_ROWS = 10


class Records:
    """What the frames of a run have told so far, by member.

    Args:
        id: that of the question; `ids` has also those of others that ask the same.
        count: members: the reader's draws, then the baseline's.
        seeds: draws of each.
    """

    def __init__(self, id: str, count: int, seeds: int):
        self.id, self.ids, self.seeds, self.weights = id, {id}, seeds, None
        self.curves: list[dict] = [{} for _ in range(count)]  # of each, epoch: record
        self.status, self.kept = ["running"] * count, [0] * count

    def take(self, message: dict, arrays: dict) -> bool:
        """Add a frame; return whether the whole run is over."""
        self.ids.update(message["ids"])
        told = zip(message["status"], message["kept"], arrays["metrics"], strict=True)
        for member, (status, kept, rows) in zip(message["members"], told, strict=True):
            self.status[member], self.kept[member] = status, kept
            new = zip(message["epochs"], rows, strict=True)
            self.curves[member] |= {e: row for e, row in new if not np.isnan(row[VAL])}
        self.weights = arrays.get("weights", self.weights)
        return "running" not in self.status

    def results(self) -> dict:
        """Return what counts: of each draw the kept epoch, else the last."""
        ends = []
        told = zip(self.curves, self.kept, self.status, strict=True)
        for curve, kept, status in told:
            epoch = kept if kept in curve else max(curve, default=0)
            lost = status == "diverged" or not curve
            ends.append((epoch, np.full(len(CURVES), np.nan) if lost else curve[epoch]))
        return means(ends, self.seeds, self.weights)

    def ending(self) -> tuple[str, str]:
        """Return the state in which the run leaves the lab, and a sentence."""
        own = self.status[: self.seeds]
        lost, early = own.count("diverged"), "stopped early" in own
        if lost == self.seeds:
            hint = "Try a smaller learning rate or λ."
            return "error", f"diverged: the loss is no longer a number. {hint}"
        last = max(max(curve, default=0) for curve in self.curves[: self.seeds])
        said = f"stopped early, after {last} epochs" if early else f"{last} epochs"
        said += f", epoch {self.kept[0]} is kept" if early and self.seeds == 1 else ""
        said += f"; {lost} of {self.seeds} runs diverged" if lost else ""
        return "done", said


def means(ends: list[tuple], seeds: int, weights: np.ndarray | None = None) -> dict:
    """Return the means over the reader's draws, and the paired difference.

    Args:
        ends: of each member the epoch and the record that count; after the reader's
            draws come the baseline's, if there is one.
        seeds: draws of each.
        weights: those of the first network.
    Returns: None for what is no number.
    """
    rows = np.array([row for _, row in ends])
    found = dict(zip(CURVES, rows[:seeds].mean(axis=0).tolist(), strict=True))
    found["gap"] = found["val_loss"] - found["train_loss"]
    found["epoch"] = sum(epoch for epoch, _ in ends[:seeds]) / seeds
    if len(rows) > seeds:
        apart = rows[:seeds, VAL] - rows[seeds:, VAL]
        found["difference"] = float(apart.mean())
        found["se"] = float(apart.std(ddof=1)) / seeds**0.5 if seeds > 1 else np.nan
        found |= {"better": int((apart < 0).sum()), "draws": seeds}
    zeros = {} if weights is None else {"zeros": plots.count_zeros(weights)}
    return {name: _known(value) for name, value in found.items()} | zeros


def sweep_means(cells: list[dict], records: np.ndarray) -> list[dict]:
    """Return the cells of a sweep, each with its means; records are [members, 4]."""
    found = records.reshape(len(cells), -1, len(CURVES)).mean(axis=1).tolist()
    named = [dict(zip(CURVES, map(_known, row), strict=True)) for row in found]
    return [cell | row for cell, row in zip(cells, named, strict=True)]


def reference(runs: Sequence[Run]) -> dict:
    """Return the mean curves of runs; one that has stopped counts with what it kept."""
    length = max(len(run.history["val_loss"]) for run in runs)
    curves: dict[str, list] = {"epoch": list(range(1, length + 1))}
    for name in CURVES:
        ends = [(run.history[name], run.at_kept_epoch()[name]) for run in runs]
        rows = [own + [end] * (length - len(own)) for own, end in ends]
        curves[name] = [float(f"{v:.7g}") for v in np.mean(rows, axis=0)]
    return curves


def describe(base: Experiment, labels: list[str]) -> str:
    """Return two sentences on what is trained, and what can be changed."""
    data = load(base.data)
    maps = [f"{count} maps" for count in base.channels]
    net = "-".join(map(str, (data.features, *maps, *base.hidden, data.outputs)))
    kind = "targets" if data.task == "regression" else "labels"
    what = f"A {net} network learns {base.data} from {base.n_train} examples"
    what += f", {base.label_noise:.0%} of the {kind} redrawn" * (base.label_noise > 0)
    turn = " and ".join(labels) or "the seed"
    return f"{what}, in {base.epochs} epochs of {base.optimizer}. Change {turn}."


def table(spec: dict) -> str:
    """Return the book's own run as text."""
    curves, seeds = spec["reference"], spec["seeds"]
    task = load(spec["experiment"]["data"]).task
    share = ".4f" if task == "regression" else ".1%"
    forms = {"train_loss": ".4f", "val_loss": ".4f", "val_accuracy": share}
    heads = [plots.labels_for(task)[n].replace("training", "train") for n in forms]
    count = len(curves["epoch"])
    every = max(1, round(count / TABLE_ROWS))
    whose = "The book's own run" if seeds == 1 else f"Mean of the book's {seeds} runs"
    lines = [f"Lab. {spec['description']}", f"{whose}:", "  ".join(["epoch", *heads])]
    for epoch in sorted({1, count, *range(every, count + 1, every)}):
        texts = [f"{curves[name][epoch - 1]:{form}}" for name, form in forms.items()]
        wide = [f"{t:>{len(h)}}" for t, h in zip(texts, heads, strict=True)]
        lines.append("  ".join([f"{epoch:>5}", *wide]))
    return "\n".join(lines)


def _known(value):
    return value if np.isfinite(value) else None
