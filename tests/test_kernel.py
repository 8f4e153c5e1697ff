"""The kernel's engine speaks the protocol of the page's workers, and trains as fit."""

import json
import math
import threading

import numpy as np
import pytest
import torch

from tests import reference
from utils import Augment, Experiment, fit
from utils.data import load, training_set
from utils.engine import training
from utils.engine.ensemble import Ensemble
from utils.lab import jobs
from utils.lab.jobs import CURVES
from utils.lab.kernel import KernelEngine
from utils.random import Purpose, permutations

BASE = Experiment(n_train=40, hidden=(8,), epochs=6)
DRAWS = BASE.grid(seed=range(3))
LONG = BASE.replace(epochs=100_000)
PATIENT = BASE.replace(n_train=20, label_noise=0.3, epochs=300, patience=3, lr=0.03)
WILD = BASE.replace(optimizer="sgd", lr=1e9, l2=1e9)
SECONDS = 60
GRID = [[-1.0, 0.0, 1.5], [-0.5, 0.5]]


class Front:
    """A front end that keeps what it is told."""

    def __init__(self):
        self.told, self.news = [], threading.Condition()
        self.engine = KernelEngine("cpu", self.tell)

    def tell(self, message, arrays):
        assert threading.current_thread().name == "lab"
        assert all(array.dtype == np.float64 for array in arrays.values())
        with self.news:
            self.told.append((json.loads(json.dumps(message)), arrays))
            self.news.notify_all()

    def ask(self, id, members, kind="run", **options):
        members = members if isinstance(members, list) else [members]
        fields = [json.loads(e.to_json()) for e in members]
        question = {"type": kind, "id": id, "members": fields, "points": None}
        self.engine.ask(question | {"keep": False, "scores": 100_000} | options)

    def say(self, kind, id):
        self.engine.ask({"type": kind, "id": id})

    def settle(self):
        assert self.engine.wait(SECONDS)
        return self

    def wait_for(self, condition):
        with self.news:
            assert self.news.wait_for(condition, SECONDS)

    def of(self, id):
        """The messages and arrays of a question."""
        return [t for t in self.told if id in t[0].get("ids", [t[0].get("id")])]

    def last(self, id):
        return self.of(id)[-1]

    def rows(self, id, member=0):
        """What a member's frames told, {epoch: metrics}: every epoch once, in order."""
        found = {}
        for message, arrays in self.of(id):
            members, epochs = message["members"], message["epochs"]
            assert arrays["metrics"].shape == (len(members), len(epochs), 4)
            if member not in members:
                continue
            for epoch, row in zip(
                epochs, arrays["metrics"][members.index(member)], strict=True
            ):
                if not np.isnan(row).all():
                    assert epoch > max(found, default=0)
                    found[epoch] = row
        return found


@pytest.fixture
def front():
    front = Front()
    yield front
    front.engine.close()


@pytest.fixture
def eager(monkeypatch):
    """Every epoch is worth a frame."""
    monkeypatch.setattr(jobs, "PACE", 0)
    monkeypatch.setattr(jobs, "LATE", 0)


def curve(run, begin=0):
    """{epoch: metrics} of a run of fit."""
    table = np.array([run.history[name] for name in CURVES]).T
    return {epoch: row for epoch, row in enumerate(table, 1) if epoch > begin}


def assert_same(rows, expected):
    assert list(rows) == list(expected)
    for epoch, row in rows.items():
        np.testing.assert_allclose(row, expected[epoch], rtol=1e-12, atol=1e-12)


def scheduled(epochs, scores):
    return sorted({1, *(math.ceil(k * epochs / scores) for k in range(1, scores + 1))})


def watch(*members, **wanted):
    return {"watch": jobs.WATCH | wanted | {"members": [*members]}}


# Runs


def test_a_run_is_told_as_fit_trains_it(front):
    front.ask("a", BASE)
    front.settle()
    assert_same(front.rows("a"), curve(fit(BASE)[0]))
    message, _ = front.last("a")
    told = {k: message[k] for k in ("type", "ids", "fresh", "members", "status")}
    assert told == {
        "type": "frame",
        "ids": ["a"],
        "fresh": True,
        "members": [0],
        "status": ["finished"],
    }
    assert (message["kept"], message["over"], message["views"]) == ([6], True, None)
    assert [m["over"] for m, _ in front.of("a")].count(True) == 1
    assert front.of("a")[0][0]["epochs"][0] == 1


@pytest.mark.parametrize(
    "epochs, scores", [(6, 25), (25, 25), (50, 25), (60, 7), (9, 1)]
)
def test_a_run_is_scored_on_a_schedule(front, epochs, scores):
    e = BASE.replace(epochs=epochs)
    front.ask("a", e, scores=scores)
    expected = curve(fit(e)[0])
    rows = front.settle().rows("a")
    assert list(rows) == (
        [*range(1, epochs + 1)] if epochs <= scores else scheduled(epochs, scores)
    )
    assert_same(rows, {epoch: expected[epoch] for epoch in rows})


def test_with_patience_every_epoch_is_scored(front):
    front.ask("a", PATIENT, scores=5)
    run = fit(PATIENT)[0]
    assert_same(front.settle().rows("a"), curve(run))
    message, _ = front.last("a")
    assert (message["status"], message["kept"]) == (["stopped early"], [run.epoch])


def test_draws_and_a_baseline_are_trained_side_by_side(front):
    """Of other structures, and one that ends sooner."""
    others = [e.replace(batch_norm=True, l2=0.01, epochs=4) for e in DRAWS]
    members = [*DRAWS, *others, WILD]
    front.ask("a", members)
    front.settle()
    with pytest.warns(RuntimeWarning, match="diverged"):
        runs = fit(members)
    for i, run in enumerate(runs[:-1]):
        assert_same(front.rows("a", i), curve(run))
    message, arrays = front.last("a")
    assert message["members"] == [*range(7)]
    assert message["status"][:-1] == ["finished"] * 6
    statuses = {m["status"][-1] for m, _ in front.of("a")}
    assert "diverged" in statuses
    if 6 in message["epochs"]:
        at = message["epochs"].index(6)
        assert np.isnan(arrays["metrics"][3:, at]).all()


def test_experiments_and_their_json_are_the_same_question(front):
    question = {"type": "run", "id": "a", "members": [BASE]}
    front.engine.ask(question)
    front.settle()
    front.ask("b", BASE)
    front.settle()
    assert front.last("b")[0]["ids"] == ["a", "b"]


def test_another_run_takes_the_place_of_one_that_goes_on(front):
    front.ask("a", LONG)
    front.wait_for(lambda: len(front.told) > 1)
    front.ask("b", BASE.replace(l2=0.01))
    front.settle()
    kinds = [message["ids"][0] for message, _ in front.told]
    assert kinds == sorted(kinds)
    assert_same(front.rows("b"), curve(fit(BASE.replace(l2=0.01))[0]))


def test_of_many_questions_the_last_run_is_trained(front):
    for k in range(9):
        front.ask(f"{k}", BASE.replace(l2=10.0**-k))
    front.settle()
    assert_same(front.rows("8"), curve(fit(BASE.replace(l2=1e-8))[0]))


# Going on


def test_going_on_counts_on_from_the_last_epoch(front):
    front.ask("a", DRAWS)
    front.settle()
    front.ask("b", DRAWS, keep=True)
    front.settle()
    assert front.last("b")[0]["fresh"] is False
    for i, run in enumerate(fit([e.replace(epochs=12) for e in DRAWS])):
        assert_same(front.rows("b", i), curve(run, begin=6))
    assert front.last("b")[0]["kept"] == [12, 12, 12]


def test_going_on_takes_the_new_knobs(front):
    changed = BASE.replace(l2=0.05, dropout=0.3, lr=0.003, epochs=5)
    for id, e in (("a", BASE), ("b", changed), ("c", BASE)):
        front.ask(id, e, keep=True)
        front.settle()
    ensemble = Ensemble([BASE])
    for e in [BASE] * 6 + [changed] * 5 + [BASE] * 6:
        ensemble.set([e])
        record = ensemble.run_epoch()
    expected = [float(getattr(record, name)[0]) for name in CURVES]
    assert list(front.rows("c"))[-1] == 17
    np.testing.assert_allclose(front.rows("c")[17], expected, rtol=1e-12)


def test_going_on_is_scored_from_where_it_went_on(front):
    e = BASE.replace(epochs=20)
    front.ask("a", e, scores=5)
    front.settle()
    front.ask("b", e, scores=5, keep=True)
    assert list(front.settle().rows("b")) == [20 + k for k in scheduled(20, 5)]


def test_going_on_in_mid_run_loses_no_epoch(front):
    front.ask("a", LONG)
    front.wait_for(lambda: len(front.told) > 1)
    front.ask("b", BASE, keep=True)
    front.settle()
    first, then = front.rows("a"), front.rows("b")
    end = max(then)
    assert [*first, *then] == [*range(1, end + 1)]
    assert front.last("b")[0]["kept"] == [end]
    assert_same(first | then, curve(fit(BASE.replace(epochs=end))[0]))


def test_after_early_stops_each_goes_on_from_its_own_last_epoch(front):
    """Not from its kept one; patience and what is kept count anew."""
    patient = PATIENT.grid(seed=range(4))
    front.ask("a", patient)
    front.settle()
    ends = [max(front.rows("a", i)) for i in range(4)]
    assert len(set(ends)) > 1
    again = [e.replace(patience=7) for e in patient]
    front.ask("b", again, keep=True)
    front.settle()
    for i, (end, free) in enumerate(
        zip(ends, fit([e.replace(patience=None) for e in patient]), strict=True)
    ):
        rows = front.rows("b", i)
        last = max(rows)
        assert min(rows) == end + 1
        losses = {epoch: row[1] for epoch, row in rows.items()}
        best = min(losses, key=losses.get)
        assert last - best == 7 or last == end + 300
        assert_same(rows, {k: v for k, v in curve(free).items() if end < k <= last})
        kept = [
            m["kept"][m["members"].index(i)]
            for m, _ in front.of("b")
            if i in m["members"]
        ]
        assert kept[-1] == best


@pytest.mark.parametrize(
    "before, after",
    [
        ([BASE], DRAWS),
        ([BASE], [BASE.replace(hidden=(9,))]),
        (DRAWS, [e.replace(n_train=30) for e in DRAWS]),
        ([BASE], [BASE.replace(batch_size=8)]),
        ([WILD], [WILD]),
    ],
    ids=["members", "hidden", "n_train", "batch size", "diverged"],
)
def test_where_it_cannot_go_on_it_starts_again(front, before, after):
    front.ask("a", before)
    front.settle()
    front.ask("b", after, keep=True)
    front.settle()
    assert front.last("b")[0]["fresh"] is True
    assert min(front.rows("b")) == 1


def test_keep_without_a_run_before_starts(front):
    front.ask("a", BASE, keep=True)
    assert front.settle().last("a")[0]["fresh"] is True


# Pause, resume, stop


def test_pause_and_resume(front):
    front.ask("a", LONG, **watch(0, weights=True))
    front.wait_for(lambda: len(front.told) > 1)
    front.say("pause", "a")
    front.settle()
    count = len(front.told)
    message, arrays = front.last("a")
    assert message["over"] is False
    at_rest = max(front.rows("a"))
    expected = fit(BASE.replace(epochs=at_rest))[0]
    assert arrays["weights"] == pytest.approx(expected.weights, rel=1e-9)
    front.say("resume", "a")
    front.wait_for(lambda: len(front.told) > count)
    assert min(k for k in front.rows("a") if k > at_rest) == at_rest + 1


def test_a_paused_run_goes_on_with_other_knobs(front):
    front.ask("a", LONG)
    front.wait_for(lambda: front.told)
    front.say("pause", "a")
    front.settle()
    front.ask("b", BASE, keep=True)
    front.settle()
    assert min(front.rows("b")) == max(front.rows("a")) + 1


def test_stop_ends_a_run(front):
    front.ask("a", LONG)
    front.wait_for(lambda: front.told)
    front.say("stop", "a")
    front.settle()
    count = len(front.told)
    front.say("resume", "a")
    front.settle()
    assert len(front.told) == count


def test_what_is_said_of_another_question_changes_nothing(front):
    front.ask("a", BASE.replace(epochs=200))
    for kind in ("stop", "pause", "drawn"):
        front.say(kind, "z")
    assert max(front.settle().rows("a")) == 200


# Adopting


@pytest.fixture
def epochs_run(monkeypatch):
    """A list that grows with every epoch of any ensemble."""
    run, done = Ensemble.run_epoch, []
    monkeypatch.setattr(
        Ensemble, "run_epoch", lambda e, *args: done.append(1) or run(e, *args)
    )
    return done


def test_a_finished_run_is_told_again_not_trained_again(front, epochs_run):
    front.ask("a", DRAWS, **watch(0, grid=GRID, training=True))
    front.settle()
    count = len(epochs_run)
    front.ask("b", DRAWS, **watch(0, grid=GRID, training=True))
    front.settle()
    assert len(epochs_run) == count
    ((message, arrays),) = front.of("b")
    assert (message["ids"], message["fresh"], message["over"]) == (
        ["a", "b"],
        True,
        True,
    )
    assert {"points", "X", "y", "clean"} < arrays.keys()
    for i, run in enumerate(fit(DRAWS)):
        assert_same(front.rows("b", i), curve(run))


def test_a_running_run_is_joined(front):
    front.ask("a", LONG)
    front.wait_for(lambda: len(front.told) > 1)
    front.ask("b", LONG)
    front.wait_for(lambda: len(front.of("b")) > 2)
    rows = front.rows("b")
    assert list(rows) == [*range(1, max(rows) + 1)]
    front.say("stop", "a")
    count = len(front.told)
    front.wait_for(lambda: len(front.told) > count + 2)
    assert front.told[-1][0]["ids"] == ["b"]


def test_joining_a_paused_run_resumes_it(front):
    front.ask("a", LONG)
    front.wait_for(lambda: front.told)
    front.say("pause", "a")
    front.settle()
    count = len(front.told)
    paused = max(front.rows("a"))
    front.ask("b", LONG)
    front.wait_for(lambda: len(front.told) > count + 2)
    assert max(front.rows("b")) > paused


def test_a_stopped_run_that_is_asked_for_again_goes_on(front):
    front.ask("a", LONG)
    front.wait_for(lambda: len(front.told) > 1)
    front.say("stop", "a")
    front.settle()
    stopped = max(front.rows("a"))
    front.ask("b", LONG)
    front.wait_for(lambda: len(front.of("b")) > 1)
    rows = front.rows("b")
    assert front.last("b")[0]["ids"] == ["b"]
    assert list(rows) == [*range(1, max(rows) + 1)] and max(rows) > stopped


@pytest.mark.parametrize("when", ["in training", "over"])
def test_who_looks_on_joins_a_run_that_went_on(front, when):
    """Whether it would keep the present weights or not."""
    front.ask("a", BASE)
    front.settle()
    then = LONG if when == "in training" else BASE.replace(l2=0.1)
    front.ask("b", then, keep=True)
    front.wait_for(lambda: front.of("b"))
    if when == "over":
        front.settle()
    for id, keep in (("c", True), ("d", False)):
        front.ask(id, then, keep=keep, look=True)
        front.wait_for(lambda id=id: front.of(id))
        assert next(iter(front.rows(id))) == 7
        assert front.last(id)[0]["fresh"] is False
    assert front.last("b")[0]["ids"] == ["b", "c", "d"]
    if when == "over":
        assert list(front.rows("d")) == [*range(7, 13)]


@pytest.mark.parametrize("keep", [True, False])
def test_who_watches_a_run_is_told_of_what_follows_it(front, keep):
    """Of these members: it went on, or began again; of others each view asks itself."""
    front.ask("a", BASE)
    front.settle()
    front.ask("b", BASE, keep=True)
    front.settle()
    front.ask("c", BASE, keep=keep)
    front.settle()
    message, _ = front.last("a")
    assert message["ids"] == ["a", "b", "c"] and message["over"]
    assert front.last("b")[0]["epochs"][-1] == (18 if keep else 6)
    front.ask("d", BASE.replace(l2=0.1), keep=True)
    front.settle()
    assert front.last("d")[0]["ids"] == ["d"]


def test_of_those_who_watch_the_last_are_remembered(front):
    for k in range(25):
        front.ask(f"{k}", BASE.replace(epochs=1), keep=True)
    front.settle()
    assert front.last("24")[0]["ids"] == [f"{k}" for k in range(5, 25)]


@pytest.mark.parametrize("what", ["members", "points"])
def test_other_runs_are_not_joined(front, what):
    own = training_set(BASE.replace(seed=5))
    front.ask("a", BASE)
    front.settle()
    points = {"X": own.X.ravel().tolist(), "y": own.y.tolist()}
    changes = {
        "members": {"members": BASE.replace(l2=0.1)},
        "points": {"members": BASE, "points": points},
    }
    front.ask("b", **changes[what])
    front.settle()
    assert front.last("b")[0]["ids"] == ["b"]
    assert list(front.rows("b")) == [1, 2, 3, 4, 5, 6]


# Errors


def error(front, id):
    (message,) = (m for m, _ in front.of(id) if m["type"] == "error")
    assert set(message) == {"type", "id", "message"}
    return message["message"]


@pytest.mark.parametrize(
    "field, value", [("l2", -1), ("dropout", 1), ("hidden", [0]), ("l3", 1)]
)
def test_a_bad_field_is_named_and_the_run_goes_on(front, field, value):
    front.ask("a", BASE.replace(epochs=300))
    front.wait_for(lambda: front.told)
    members = [json.loads(BASE.to_json()) | {field: value}]
    question = {"type": "run", "id": "b", "members": members, "points": None}
    front.engine.ask(question | {"keep": False, "scores": 25, "watch": jobs.WATCH})
    front.settle()
    assert field in error(front, "b") and "must be" in error(front, "b")
    assert max(front.rows("a")) == 300


def test_no_members_is_an_error(front):
    front.ask("a", [])
    front.settle()
    assert "at least one" in error(front, "a")


def test_where_memory_runs_out_the_last_good_run_stays(front, monkeypatch):
    front.ask("a", BASE)
    front.settle()
    ensemble = training.Ensemble

    def small_machine(experiments, *options):
        if len(experiments) > 2:
            raise torch.OutOfMemoryError("full")
        return ensemble(experiments, *options)

    monkeypatch.setattr(training, "Ensemble", small_machine)
    for kind in ("run", "sweep"):
        front.ask(kind, DRAWS, kind)
    front.settle()
    assert error(front, "run") == error(front, "sweep") == "OutOfMemoryError: full"
    front.ask("b", BASE, keep=True)
    front.settle()
    assert_same(front.rows("b"), curve(fit(BASE.replace(epochs=12))[0], begin=6))


def test_an_error_amid_training_ends_that_run_alone(front, monkeypatch):
    run_epoch = Ensemble.run_epoch

    def breaks(ensemble, *args):
        if ensemble.epoch == 3:
            raise RuntimeError("broken")
        return run_epoch(ensemble, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Ensemble, "run_epoch", breaks)
        front.ask("a", BASE)
        front.settle()
    assert error(front, "a") == "RuntimeError: broken"
    front.ask("b", BASE, keep=True)
    front.settle()
    assert_same(front.rows("b"), curve(fit(BASE)[0]))


# Frames


def test_no_more_than_two_frames_are_under_way(front, monkeypatch):
    monkeypatch.setattr(jobs, "PACE", 0)
    monkeypatch.setattr(jobs, "LATE", math.inf)
    front.ask("a", BASE.replace(epochs=50))
    front.settle()
    told = [m["epochs"] for m, _ in front.of("a")]
    assert told == [[1], [2], [*range(3, 51)]]


def test_what_is_drawn_makes_room(front, monkeypatch):
    monkeypatch.setattr(jobs, "PACE", 0)
    monkeypatch.setattr(jobs, "LATE", math.inf)
    tell = front.engine._tell

    def draws_at_once(message, arrays):
        tell(message, arrays)
        front.say("drawn", message["ids"][0])

    front.engine._tell = draws_at_once
    front.ask("a", BASE.replace(epochs=20))
    front.settle()
    assert [m["epochs"] for m, _ in front.of("a")] == [[k] for k in range(1, 21)]


def test_a_front_end_that_draws_nothing_is_told_late(front, eager):
    front.ask("a", BASE.replace(epochs=20))
    front.settle()
    assert len(front.of("a")) == 20


# Sweeps


def test_a_sweep_tells_what_fit_tells(front):
    members = [
        *BASE.grid(l2=[0, 1e-3, 0.1], epochs=[5, 40], seed=range(2)),
        PATIENT,
        WILD,
    ]
    front.ask("a", members, kind="sweep")
    front.settle()
    message, arrays = front.last("a")
    with pytest.warns(RuntimeWarning, match="diverged"):
        expected = fit(members).summary()[list(CURVES)].to_numpy()
    count = len(members)
    told = {k: message[k] for k in ("type", "id", "done", "total", "over", "name")}
    assert told == {
        "type": "cells",
        "id": "a",
        "done": count,
        "total": count,
        "over": True,
        "name": "PyTorch on CPU",
    }
    assert message["members"] == [*range(count)]
    np.testing.assert_allclose(
        arrays["records"][:-1], expected[:-1], rtol=1e-12, atol=1e-12
    )
    assert np.isnan(arrays["records"][-1]).all()
    assert [m["over"] for m, _ in front.of("a")].count(True) == 1


def test_a_sweep_tells_present_numbers_on_the_way(front, eager):
    members = [e.replace(epochs=20) for e in DRAWS]
    front.ask("a", members, kind="sweep")
    front.settle()
    expected = [curve(run) for run in fit(members)]
    epochs = scheduled(20, jobs.SWEEP_SCORES)
    assert len(front.of("a")) == len(epochs)
    for epoch, (message, arrays) in zip(epochs, front.of("a"), strict=True):
        assert message["over"] == (epoch == 20)
        for row, own in zip(arrays["records"], expected, strict=True):
            np.testing.assert_allclose(row, own[epoch], rtol=1e-12)


def test_a_run_goes_before_a_sweep(front, eager):
    front.ask("a", [e.replace(epochs=300) for e in DRAWS], kind="sweep")
    front.wait_for(lambda: front.told)
    front.ask("b", BASE.replace(epochs=200))
    front.settle()
    order = [(m.get("ids", [m.get("id")])[0], m["over"]) for m, _ in front.told]
    assert order.index(("b", True)) < order.index(("a", True))
    first = order.index(("b", False))
    assert {id for id, _ in order[first : order.index(("b", True))]} == {"b"}


def test_a_sweep_goes_on_while_a_run_rests(front):
    front.ask("b", LONG)
    front.wait_for(lambda: front.told)
    front.ask("a", DRAWS, kind="sweep")
    front.say("pause", "b")
    front.settle()
    assert front.last("a")[0]["over"]


def test_a_sweep_is_stopped_or_replaced(front):
    front.ask("a", [LONG, LONG.replace(seed=1)], kind="sweep")
    front.wait_for(lambda: front.told)
    front.ask("b", [LONG, LONG.replace(seed=2)], kind="sweep")
    front.wait_for(lambda: front.of("b"))
    count = len(front.of("a"))
    front.say("stop", "b")
    front.settle()
    assert len(front.of("a")) == count
    assert not front.last("b")[0]["over"]


# What the watched compute


def on_grid(*axes):
    """Row by row: the last axis is the outer loop."""
    xs, ys = [*axes, [None]][:2]
    return np.array([[x] if y is None else [x, y] for y in ys for x in xs])


@pytest.mark.parametrize("changes", [{}, {"batch_norm": True, "dropout": 0.3}])
def test_the_grid_is_told_row_by_row(front, changes):
    members = [e.replace(**changes) for e in DRAWS]
    front.ask("a", members, **watch(2, 0, grid=GRID, weights=True))
    front.settle()
    message, arrays = front.last("a")
    runs = fit(members)
    assert message["views"] == [2, 0]
    expected = [runs[i].predict(on_grid(*GRID)) for i in (2, 0)]
    np.testing.assert_allclose(arrays["points"], expected, rtol=1e-12)
    np.testing.assert_allclose(arrays["weights"], runs[2].weights, rtol=1e-12)


@pytest.mark.parametrize(
    "wanted, names",
    [({}, set()), ({"weights": True}, {"weights"}), ({"validation": 3}, {"validation"}),
     ({"training": True}, {"X", "y", "clean"})],
)  # fmt: skip
def test_what_was_not_asked_for_is_not_told(front, wanted, names):
    front.ask("a", BASE, watch={"members": [0]} | wanted)
    told = [set(arrays) for _, arrays in front.settle().of("a")]
    assert set().union(*told) == {"metrics"} | names


@pytest.mark.parametrize("data", ["digits", "diabetes", "breast_cancer", "wave"])
def test_validation_points_are_predicted(front, data):
    e = BASE.replace(data=data, label_noise=0)
    front.ask("a", e, **watch(0, validation=7))
    _, arrays = front.settle().last("a")
    expected = fit(e)[0].predict(load(data).validation.X[:7])
    np.testing.assert_allclose(arrays["validation"], expected[None], rtol=1e-12)


def test_a_function_of_one_input(front):
    e = BASE.replace(data="wave", label_noise=0, n_train=15)
    front.ask("a", e.grid(seed=range(2)), **watch(0, 1, grid=GRID[:1]))
    _, arrays = front.settle().last("a")
    runs = fit(e.grid(seed=range(2)))
    expected = [run.predict(on_grid(GRID[0])) for run in runs]
    np.testing.assert_allclose(arrays["points"], expected, rtol=1e-12)


def test_at_the_end_of_a_patient_run_the_kept_weights_are_shown(front):
    front.ask("a", PATIENT, **watch(0, weights=True))
    message, arrays = front.settle().last("a")
    run = fit(PATIENT)[0]
    assert message["kept"] == [run.epoch]
    assert arrays["weights"] == pytest.approx(run.weights, rel=1e-12)


def test_on_the_way_the_present_weights_are_shown(front, eager, monkeypatch):
    monkeypatch.setattr(jobs, "VIEWS_PACE", 0)
    front.ask("a", PATIENT.replace(epochs=4), **watch(0, weights=True))
    front.settle()
    told = [(m["epochs"], a.get("weights")) for m, a in front.of("a")]
    assert [epochs for epochs, _ in told] == [[1], [2], [3], [4]]
    assert [weights is None for _, weights in told] == [True, False, False, False]
    for (epoch,), weights in told[1:-1]:
        run = fit(PATIENT.replace(epochs=epoch, patience=None))[0]
        assert weights == pytest.approx(run.weights, rel=1e-12)


def test_training_points_are_told_once_a_run_with_their_clean_labels(
    front, eager, monkeypatch
):
    monkeypatch.setattr(jobs, "VIEWS_PACE", 0)
    e = BASE.replace(label_noise=0.5)
    for id, seed in (("a", 0), ("b", 3)):
        front.ask(id, e.replace(seed=seed), **watch(0, training=True))
        front.settle()
        own = e.replace(seed=seed)
        arrays = [a for _, a in front.of(id) if "X" in a]
        assert len(arrays) == 1
        np.testing.assert_array_equal(arrays[0]["X"], training_set(own).X)
        np.testing.assert_array_equal(arrays[0]["y"], training_set(own).y)
        clean = training_set(own.replace(label_noise=0)).y
        np.testing.assert_array_equal(arrays[0]["clean"], clean)


DIGITS = BASE.replace(data="digits", label_noise=0, epochs=2)
NOISY = {
    "augment": {"augment": Augment(rotation=40, shift=2, scale=0.3, flip=0.5)},
    "noise": {"input_noise": 0.3, "channels": (4,), "batch_norm": True},
    "input dropout": {"dropout_input": 0.4, "dropout": 0.5},
    "all": {"augment": Augment(shift=3), "input_noise": 0.1, "dropout_input": 0.2},
    "small batches": {"augment": Augment(flip=0.5), "batch_size": 4, "seed": 5},
}


@pytest.mark.parametrize("changes", NOISY.values(), ids=NOISY)
def test_the_images_shown_are_those_of_the_first_step(front, changes, monkeypatch):
    e = DIGITS.replace(**changes)
    front.ask("a", e, **watch(0, inputs=10))
    _, arrays = front.settle().last("a")
    plain, seen = arrays["plain"], arrays["seen"]
    order = permutations(e.seed, Purpose.ORDER, [0], e.n_train)[0].numpy()
    assert np.array_equal(plain, training_set(e).X[order][: min(10, e.batch_size)])
    bare = e.replace(hidden=(), channels=(), batch_norm=False)
    network = reference.Network(bare)
    monkeypatch.setattr(reference.F, "linear", lambda x, *_: x)
    batch = network(torch.as_tensor(training_set(e).X[order][: e.batch_size]), 0)
    assert np.abs(seen - plain).max() > 0.1
    assert seen == pytest.approx(batch[: len(seen)].numpy(), abs=1e-12)


# Own points


def flat(split):
    return {"X": split.X.ravel().tolist(), "y": split.y.tolist()}


@pytest.mark.parametrize("data", ["moons", "diabetes", "wave"])
def test_own_points_are_trained_on(front, data):
    """Those of seed 7, handed in: as if the pool had given them, whatever the noise."""
    e = BASE.replace(data=data, n_train=25, label_noise=0)
    own = training_set(e.replace(seed=7, n_train=9))
    twins = [e.replace(seed=s, label_noise=n) for s, n in ((0, 0.5), (1, 0))]
    front.ask("a", twins, points=flat(own), **watch(0, training=True))
    front.settle()
    for i, twin in enumerate(twins):
        ensemble = Ensemble([twin.replace(n_train=9)], "cpu", own)
        record = [ensemble.run_epoch() for _ in range(6)][-1]
        expected = [float(getattr(record, name)[0]) for name in CURVES]
        np.testing.assert_allclose(front.rows("a", i)[6], expected, rtol=1e-12)
    arrays = next(a for _, a in front.of("a") if "X" in a)
    np.testing.assert_array_equal(arrays["X"], own.X)
    np.testing.assert_array_equal(arrays["clean"], own.y)


def test_going_on_with_other_points(front):
    points = training_set(BASE.replace(seed=4))
    front.ask("a", BASE)
    front.settle()
    front.ask("b", BASE, points=flat(points), keep=True)
    front.settle()
    ensemble = Ensemble([BASE])
    for own in [None] * 6 + [points] * 6:
        ensemble.set([BASE], own)
        record = ensemble.run_epoch()
    loss = float(record.val_loss[0])
    assert front.rows("b")[12][1] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize(
    "points, message",
    [
        ({"X": [], "y": []}, "points: X has 0 numbers, y 0"),
        ({"X": [0, 1, 2], "y": [0, 1]}, "points: X has 3 numbers"),
        ({"X": [0, 1], "y": [2]}, r"points: y has \[2.0\]: must be whole"),
        ({"X": [0, None], "y": [1]}, "points: must be finite"),
        ({"X": [0, 1] * 1001, "y": [1] * 1001}, "n_train = 1001"),
    ],
)
def test_bad_points_are_named(front, points, message):
    front.ask("a", BASE, points=points)
    front.settle()
    with pytest.raises(ValueError, match=message):
        raise ValueError(error(front, "a"))


def test_own_points_have_no_folds_and_one_data_set(front):
    points = flat(training_set(BASE))
    front.ask("a", BASE.replace(fold=(0, 4)), points=points)
    front.ask("b", [BASE, BASE.replace(data="ring")], points=points)
    front.settle()
    assert "fold = None" in error(front, "a")
    assert "['moons', 'ring']" in error(front, "b")


# The thread


def labs():
    return [thread for thread in threading.enumerate() if thread.name == "lab"]


def test_no_thread_before_the_first_question(front):
    assert front.engine.wait(0) and not labs()
    front.ask("a", BASE)
    assert len(labs()) == 1 and labs()[0].daemon
    front.settle()
    assert len(labs()) == 1


def test_close_ends_the_thread_amid_a_run(front):
    front.ask("a", LONG)
    front.wait_for(lambda: front.told)
    assert not front.engine.wait(0)
    front.engine.close()
    assert not labs() and front.engine.wait(0)
    count = len(front.told)
    front.ask("b", BASE)
    assert not labs() and len(front.told) == count


def test_a_front_end_may_close_when_it_is_told(front):
    tell = front.engine._tell

    def closes(*news):
        tell(*news)
        front.engine.close()

    front.engine._tell = closes
    front.ask("a", LONG)
    front.settle()
    labs_before = labs()
    for thread in labs_before:
        thread.join(SECONDS)
    assert not labs() and len(front.told) == 1


def test_questions_come_from_any_thread(front):
    asking = [
        threading.Thread(target=front.ask, args=(f"{k}", BASE.replace(seed=k)))
        for k in range(8)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    front.settle()
    assert front.told[-1][0]["over"]


def test_the_device_is_named_and_checked():
    assert KernelEngine("cpu", print).name == "PyTorch on CPU"
    with pytest.raises(ValueError, match="device = 'tpu'"):
        KernelEngine("tpu", print)


def test_what_is_no_question_is_an_error(front):
    front.engine.ask({"type": "pause"})
    front.engine.ask({"type": "run", "id": "a"})
    front.settle()
    assert error(front, "a") == "KeyError: 'members'"
    front.ask("b", BASE)
    assert front.settle().last("b")[0]["over"]
