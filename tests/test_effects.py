"""Effects over draws: numbers against plain NumPy, pairs, and what is refused."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from utils import Experiment, Runs, compare, fit
from utils.book.effects import METRICS, WHEN, Effect, Effects, value_of
from utils.data import load

BASE = Experiment(n_train=40, hidden=(8,), epochs=25)


@pytest.fixture(scope="module")
def runs():
    return fit({"none": BASE.draws(5), "L2": BASE.replace(l2=0.01).draws(5)})


def test_an_effect_says_mean_error_median_and_signs():
    d = (-0.4, 0.1, -0.3, 0.0, -0.1)
    effect = Effect("L2", "none", "val_loss", d)
    assert effect.mean == pytest.approx(-0.14)
    assert effect.se == pytest.approx(np.std(d, ddof=1) / math.sqrt(5))
    assert effect.ratio == pytest.approx(effect.mean / effect.se)
    found = (effect.median, effect.lower, effect.higher, effect.n)
    assert found == (-0.1, 3, 1, 5)
    assert Effect("L2", "none", "gap", (0.0, 0.0)).ratio == 0
    assert Effect("L2", "none", "gap", (-1.0, -1.0)).ratio == -math.inf
    assert str(effect) == "-0.14 ± 0.093, lower on 3 of 5 draws"


@pytest.mark.parametrize("wrong", [(), (1.0,), (1.0, math.nan), (1.0, math.inf)])
def test_an_effect_needs_two_finite_numbers(wrong):
    with pytest.raises(ValueError, match="at least two finite numbers"):
        Effect("L2", "none", "val_loss", wrong)


def test_effects_are_paired_by_draw(runs):
    effects = compare(runs, "none")
    assert [e.name for e in effects] == ["L2"]
    both = [
        [run.history["val_loss"][-1] for run in runs[name]] for name in ("L2", "none")
    ]
    assert effects["L2"].differences == pytest.approx(np.subtract(*both))
    shuffled = Runs([*[*runs["L2"]][::-1], *runs["none"]])
    again = compare(shuffled, "none")[0]
    assert sorted(again.differences) == sorted(effects[0].differences)


def test_when_a_run_is_judged():
    run = fit(BASE.replace(patience=3, lr=0.05, epochs=60))[0]
    losses = run.history["val_loss"]
    assert run.status == "stopped early"
    assert value_of(run, "val_loss", "kept") == losses[run.epoch - 1]
    assert value_of(run, "val_loss", "last") == losses[-1]
    assert value_of(run, "val_loss", "best") == min(losses)
    assert value_of(run, "val_loss", "late") == pytest.approx(np.mean(losses[-10:]))
    at = int(np.argmin(losses))
    train = run.history["train_loss"]
    gap = losses[at] - train[at]
    assert value_of(run, "gap", "best") == pytest.approx(gap)
    accuracy = run.history["val_accuracy"]
    assert value_of(run, "val_accuracy", "best") == accuracy[at]


@pytest.mark.parametrize("data", ["moons", "digits"])
def test_a_loss_is_calibrated_on_one_half_and_judged_on_the_other(data):
    e = Experiment(data=data, n_train=60, hidden=(8,), epochs=80, split=3)
    run = fit(e)[0]
    held = load(data, 3).validation
    with torch.no_grad():
        z = run.module(torch.tensor(held.X))
    if z.shape[1] == 1:
        z = torch.cat([0 * z, z], 1)
    y, half = torch.tensor(held.y), len(held.y) // 2
    hot = np.geomspace(0.05, 100, 4000)
    fitted = [F.cross_entropy(z[:half] / t, y[:half]).item() for t in hot]
    best = hot[int(np.argmin(fitted))]
    wanted = F.cross_entropy(z[half:] / best, y[half:]).item()
    assert value_of(run, "calibrated_loss") == pytest.approx(wanted, abs=1e-4)
    assert wanted < F.cross_entropy(z[half:], y[half:]).item()


def test_a_table_and_a_picture(runs):
    effects = compare(runs, "none", "val_accuracy", "late")
    frame = effects.frame()
    assert frame.index.name == "validation accuracy, minus none"
    row = frame.loc["L2"]
    assert row["mean"] == effects[0].mean and row["n"] == 5
    assert f"{effects[0].mean:.4f}" in repr(effects)
    assert f"{effects[0].mean:.4f}" in effects._repr_html_()
    fig = effects.plot(description="A picture.")
    dots, mean = [trace for trace in fig.data if trace.showlegend is False][:2]
    assert list(dots.x) == pytest.approx(effects[0].differences, rel=1e-5)
    assert mean.error_x.array[0] == pytest.approx(2 * effects[0].se, rel=1e-5)


def test_effects_by_name_number_and_slice(runs):
    more = Effects([*compare(runs, "none"), *compare(runs, "L2")])
    assert more["none"] is more[1] and len(more[:1]) == 1
    with pytest.raises(KeyError, match="must be one of"):
        more["L3"]


def test_what_is_refused(runs):
    none, l2 = [*runs["none"]], [*runs["L2"]]
    wrong = {
        "metric = 'loss'": (runs, "none", "loss"),
        "at = 'end'": (runs, "none", "val_loss", "end"),
        "against = 'L1'": (runs, "L1"),
        "must be Runs": (none, "none"),
        "two names": (runs["none"], "none"),
        "must be the same": (Runs([*none, *l2[1:]]), "none"),
        "twice": (Runs([*none, none[0], *l2]), "none"),
        "for calibrated_loss": (runs, "none", "calibrated_loss", "best"),
    }
    for message, given in wrong.items():
        with pytest.raises(ValueError, match=message):
            compare(*given)
    table = Experiment(data="diabetes", n_train=40, hidden=(4,), epochs=2)
    with pytest.raises(ValueError, match="regression"):
        value_of(fit(table)[0], "calibrated_loss")


def test_a_run_that_diverged_is_named():
    wild = BASE.replace(optimizer="sgd", lr=1e9, l2=1e9)
    with pytest.warns(RuntimeWarning, match="diverged"):
        runs = fit({"none": BASE.draws(2), "wild": wild.draws(2)})
    with pytest.raises(ValueError, match="'wild' diverged"):
        compare(runs, "none")


def test_each_metric_has_a_value_whenever_it_can(runs):
    for metric in METRICS:
        for at in WHEN:
            if metric == "calibrated_loss" and at not in ("kept", "last"):
                continue
            assert math.isfinite(value_of(runs[0], metric, at))
