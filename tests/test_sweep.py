import threading

import numpy as np
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from utils import Experiment, fit, sweep
from utils.mimetypes import FIGURE
from utils.sweep import live, stream
from utils.sweep.plan import COLUMNS, Plan

BASE = Experiment(n_train=40, hidden=(8,), epochs=3)
SPACE = {"l2": [0.0, 1e-3, 1e-2], "hidden": [(8,), (4, 4)]}
MAP_SPACE = {"l2": np.linspace(0, 0.1, 9), "lr": [1e-3, 1e-2, 1e-1]}
same = pd.testing.assert_frame_equal


def run(folder=None, space=SPACE, **options):
    """A small sweep in this process."""
    return sweep(BASE, space, cache=folder, workers=1, **options)


def test_each_row_is_what_fit_gives():
    frame = run(seeds=[3, 5], folds=2).frame
    knobs = ["l2", "hidden", "seed", "fold"]
    assert list(frame.columns) == [*knobs, *COLUMNS]
    settings = [
        (a, b, s, k)
        for a in SPACE["l2"]
        for b in SPACE["hidden"]
        for s in (3, 5)
        for k in (0, 1)
    ]
    assert list(frame[knobs].itertuples(index=False, name=None)) == settings
    for row, (l2, hidden, seed, k) in zip(frame.itertuples(), settings, strict=True):
        alone = fit(BASE.replace(l2=l2, hidden=hidden, seed=seed, fold=(k, 2)))
        table = alone.summary().iloc[0]
        assert row.status == alone[0].status and row.epoch == table.epoch
        for name in COLUMNS[2:]:
            assert getattr(row, name) == pytest.approx(table[name], rel=1e-9), name


def test_knobs_of_augmentation_and_patience_are_swept_like_others():
    base = Experiment(data="digits", n_train=30, hidden=(4,), epochs=6, patience=1)
    frame = sweep(base, {"rotation": [0, 30]}, [0], cache=None).frame
    for row, angle in zip(frame.itertuples(), (0, 30), strict=True):
        alone = fit(base.replace(augment={"rotation": angle}))[0]
        assert (row.rotation, row.epoch) == (angle, alone.epoch)
        assert row.status == alone.status


def test_ensembles_are_few_equal_and_of_one_seed():
    plan = Plan(BASE.replace(epochs=1), {"l2": np.linspace(0, 1, 32)}, range(90))
    parts = plan.ensembles("cpu")
    sizes = [len(part) for part in parts]
    assert sum(sizes) == 32 * 90 and max(sizes) == 48 and len(parts) == 60
    assert all(len({e.seed for e in part}) <= 2 for part in parts)
    assert max(len(p) for p in plan.ensembles("cuda")) == 72
    left = plan.ensembles("cpu", {e.to_json() for e in [*parts[0], *parts[1][:9]]})
    assert left[:-1] == parts[2:] and left[-1] == parts[1][9:]


def test_a_sweep_again_trains_nothing_and_a_larger_one_what_is_new(tmp_path, trained):
    first = run(tmp_path)
    assert len(trained) == 18
    trained.clear()
    same(run(tmp_path).frame, first.frame)
    assert not trained
    run(tmp_path, SPACE | {"l2": [0.0, 1e-3, 1.0]})
    assert len(trained) == 6 and {e.l2 for e in trained} == {1.0}


class After(threading.Event):
    """An event that is set once it has been asked so often."""

    def __init__(self, asked):
        super().__init__()
        self.left = asked

    def is_set(self):
        self.left -= 1
        return self.left < 0


def test_a_sweep_that_is_stopped_ends_with_the_present_epoch(tmp_path, trained):
    """It is asked before each epoch; what was done before stays."""
    where = {"cache": tmp_path, "workers": 1}
    assert list(stream(BASE, SPACE, stop=After(2), **where)) == []
    first, *rest = list(stream(BASE, SPACE, stop=After(4), **where))
    assert not rest and 0 < len(first) < 18
    started = len(trained)
    assert len(run(tmp_path).frame) == 18
    assert len(trained) - started == 18 - len(first)


def test_a_stream_closed_early_keeps_what_was_done(tmp_path, trained):
    rows = stream(BASE, SPACE, cache=tmp_path, workers=1)
    first = next(rows)
    rows.close()
    assert len(trained) == len(first) < 18
    whole = list(stream(BASE, SPACE, cache=tmp_path, workers=1))
    keys = ["l2", "hidden", "seed"]
    same(whole[0], first.sort_values(keys, ignore_index=True))
    assert sum(map(len, whole)) == len(trained) == 18


def test_results_are_handed_over_and_counted(tmp_path, capsys):
    seen = []
    whole = run(tmp_path, progress=True, on_result=seen.append)
    assert sum(map(len, seen)) == 18 and "18/18" in capsys.readouterr().err
    assert list(seen[0].columns) == list(whole.frame.columns)
    seen.clear()
    run(tmp_path, on_result=seen.append)
    assert [len(part) for part in seen] == [18] and not capsys.readouterr().err


class Display:
    """Stands in for IPython's display and its handle; keeps what they show."""

    def __init__(self):
        self.bundles = []

    def __call__(self, bundle, raw, display_id):
        assert raw and display_id and not self.bundles
        self.bundles.append(bundle)
        return self

    def update(self, bundle, raw):
        assert raw
        if FIGURE in bundle:  # each comes after one without, for JupyterLab
            self.bundles.append(bundle)

    def heatmap(self):
        return self.bundles[-1][FIGURE]["data"][0]

    def cells(self):
        return sum(v is not None for row in self.heatmap()["z"] for v in row)


def test_a_live_map_fills_to_the_sweeps_own(monkeypatch):
    shown = Display()
    monkeypatch.setattr("IPython.display.display", shown)
    monkeypatch.setattr(live, "DRAW_EVERY", 0)
    filled = []
    result = run(
        space=MAP_SPACE,
        folds=2,
        on_result=lambda _: filled.append(shown.cells()),
        live=("l2", "lr"),
    )
    assert filled == sorted(filled) and 0 < filled[0] < 27 == shown.cells()
    assert len(shown.bundles) == 2 + len(filled)  # empty, then each, then at the end
    drawn, expected = shown.heatmap(), result.map("l2", "lr").data[0]
    assert drawn["x"] == list(expected.x) and drawn["y"] == list(expected.y)
    for row, means in zip(drawn["z"], expected.z, strict=True):
        assert row == pytest.approx(means)


def test_a_live_map_is_drawn_twice_a_second_and_at_the_end(monkeypatch):
    shown, seen = Display(), []
    monkeypatch.setattr("IPython.display.display", shown)
    monkeypatch.setattr(live.time, "monotonic", lambda: 10 + 0.2 * len(seen))
    run(space=MAP_SPACE, folds=2, on_result=seen.append, live=("l2", "lr"))
    drawn_at = range(0, len(seen), 3)  # 0.2 s apart: each third
    assert len(shown.bundles) == 1 + len(drawn_at) + 1 and shown.cells() == 27


def test_a_notebook_stores_one_live_map_the_whole_one(tmp_path):
    cell = f"""\
from utils import Experiment, sweep
base = Experiment(n_train=40, hidden=(8,), epochs=3)
space = {{"l2": [0, 0.01, 0.1], "lr": [0.001, 0.01]}}
where = {{"cache": {str(tmp_path)!r}, "workers": 1, "progress": False}}
sweep(base, space, live=("l2", "lr"), **where).map("l2", "lr")"""
    notebook = new_notebook(cells=[new_code_cell(cell)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    while_it_ran, result = (o.data[FIGURE] for o in notebook.cells[0].outputs)
    z, expected = (figure["data"][0]["z"] for figure in (while_it_ran, result))
    assert np.isfinite(np.array(expected, float)).all()
    np.testing.assert_allclose(z, expected)


@pytest.mark.parametrize("live", ["l2", ("l2",), ("l2", "lr"), ("l2", "l1", "lr")])
def test_a_live_map_needs_the_two_knobs_of_the_space(trained, live):
    with pytest.raises(ValueError, match=r"live = .*: must be \(x, y\), the knobs"):
        run(space={"l2": [0, 1], "l1": [0, 1]}, live=live)
    assert not trained


def test_the_map_is_the_mean_over_seeds_and_folds():
    space = {"l2": [0.0, 0.1], "lr": [1e-3, 1e-2, 1e-1]}
    result = run(space=space, folds=2)
    means = result.frame.groupby(["lr", "l2"])["val_loss"].mean().unstack()
    np.testing.assert_allclose(result.map("l2", "lr").data[0].z, means, rtol=1e-5)
    with pytest.raises(ValueError, match="more than"):
        run(space=space | {"l1": [0, 1]}).map("l2", "lr")
    with pytest.raises(ValueError, match="'loss': must be one of"):
        result.map("l2", "lr", "loss")


def test_the_best_setting_has_its_mean_and_standard_error():
    result = run(space={"l2": [0.0, 10.0]})
    for metric, order in ("val_loss", 1), ("val_accuracy", -1):
        groups = result.frame.groupby("l2")[metric]
        wanted = (order * groups.mean()).idxmin()
        values, best = groups.get_group(wanted), result.best(metric)
        assert best["l2"] == wanted and best["n"] == 3
        assert best[metric] == pytest.approx(values.mean())
        error = values.std(ddof=1) / np.sqrt(3)
        assert best["standard_error"] == pytest.approx(error)


def test_runs_that_diverge_are_kept_and_never_the_best(tmp_path):
    base = BASE.replace(optimizer="sgd", data="diabetes")
    options = {"space": {"lr": [1e-3, 1e4], "l2": [0, 0.1]}, "cache": tmp_path}
    for _ in range(2):  # trained, then from the cache
        with pytest.warns(RuntimeWarning, match="6 of 12 runs diverged"):
            result = sweep(base, **options)
        diverged = result.frame["status"] == "diverged"
        assert (diverged == (result.frame["lr"] == 1e4)).all()
        assert not np.isfinite(result.frame.loc[diverged, "val_loss"]).any()
        assert result.best()["lr"] == 1e-3
        cells = np.array(result.map("lr", "l2").data[0].z, float)
        assert np.isnan(cells[:, 1]).all() and np.isfinite(cells[:, 0]).all()
    with pytest.warns(RuntimeWarning, match="diverged"):
        nothing = sweep(base, {"lr": [1e4]}, cache=tmp_path)
    with pytest.raises(ValueError, match="every setting"):
        nothing.best()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"base": 3}, "base = 3"),
        ({"space": {}}, "space = {}"),
        ({"space": [1]}, "space = "),
        ({"space": {"l2": []}}, "l2 = .*at least one value"),
        ({"space": {"l2": 0.1}}, "l2 = 0.1"),
        ({"space": {"activation": "relu"}}, "activation = 'relu'"),
        ({"space": {"l3": [1]}}, "'l3': must be one of"),
        ({"space": {"l2": [-1]}}, r"l2 = -1: must be a number in \[0"),
        ({"space": {"l2": [0, 0.0]}}, "once"),
        ({"space": {"seed": [0]}}, "seeds="),
        ({"space": {"rotation": [5]}}, "augment"),
        ({"seeds": []}, "seeds = "),
        ({"seeds": 3}, "seeds = 3"),
        ({"seeds": [0.5]}, "seed = 0.5"),
        ({"seeds": [1, 1]}, "once"),
        ({"folds": 1}, "folds = 1"),
        ({"folds": True}, "folds = True"),
        ({"folds": 2.0}, "folds = 2.0"),
        ({"folds": 41}, "at most n_train = 40"),
        ({"workers": 0}, "workers = 0"),
        ({"client": "localhost"}, "client = 'localhost'"),
        ({"device": "tpu"}, "device = 'tpu'"),
        ({"cache": "/dev/null/cache"}, "cache = '/dev/null/cache'"),
    ],
)
def test_bad_input_is_named_before_anything_is_trained(trained, changes, message):
    arguments = {"base": BASE, "space": SPACE, "cache": None} | changes
    for start in (sweep, stream):
        with pytest.raises(ValueError, match=message):
            start(**arguments)
    assert not trained


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("REGULARIZATION_CACHE", str(tmp_path))
    sweep(BASE, {"l2": [0.0]}, [0])
    assert [file.name for file in tmp_path.iterdir()] == ["results.sqlite"]
