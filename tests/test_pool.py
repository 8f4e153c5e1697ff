"""The engine protocol, and the page's pool of workers that speaks it, in Chromium.

A test is a list of steps, and what is asserted of the answers: whatever can take the
steps can be held against the same. Numbers are PyTorch's.
"""

import functools
import math
import warnings
from collections import defaultdict

import numpy as np
import pytest

from tests.test_trainer import BUILD, LIMIT, base_url, sent
from utils import Experiment, fit
from utils.book.page_data import pack
from utils.data import load, own_points, training_set
from utils.engine.ensemble import Ensemble

__all__ = ["base_url"]  # a fixture

RECORD = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
EVERY = 100_000  # scores: of every epoch
WHOLE = 30_000  # ms to wait for an answer, at most

# Workers that can be counted and killed, that fail when they waste memory, and whose
# clock may run slowly: then all that they do seems to be done in no time.
PATCH = """
  window.workers = [];
  const RealWorker = Worker, RealBlob = Blob;
  window.Worker = class extends RealWorker {
    constructor(...all) { super(...all); workers.push(this); }
  };
  window.Blob = function ([source], options) {
    return new RealBlob([`
      addEventListener("message", (event) => {
        if (event.data.type !== "die") return;
        event.stopImmediatePropagation();
        setTimeout(() => { throw new Error("dead"); });
      });
      const now = performance.now.bind(performance);
      performance.now = () => ${window.clock} * now();
      let memories = 0;
      const RealMemory = WebAssembly.Memory;
      WebAssembly.Memory = class extends RealMemory {
        constructor(...all) {
          if (++memories > ${window.mostMemories}) throw new Error("many memories");
          super(...all);
        }
      };
      `, source], options);
  };"""

DRIVE = """async ([steps, packed, { workers: count, draw, most }]) => {
  const answers = [], labs = {}, waiting = [];
  const plain = (v) => {
    if (ArrayBuffer.isView(v)) return Array.from(v);
    if (v === null || typeof v !== "object" || Array.isArray(v)) return v;
    return Object.fromEntries(Object.entries(v).map(([k, one]) => [k, plain(one)]));
  };
  const note = (lab, type, message) => {
    answers.push({ lab, type, ...plain(message) });
    for (const look of [...waiting]) look();
  };
  const pool = new trainer.PoolEngine(async (name) => {
    if (!packed[name]) throw new Error(`${name} did not load`);
    return packed[name];
  }, { workers: count });
  const lab = (name) => (labs[name] ??= pool.open({
    engine: (engine) => note(name, "engine", { name: engine }),
    frame(frame) {
      note(name, "frame", frame);
      if (draw !== null) setTimeout(() => labs[name].drawn(frame.id), draw);
    },
    cells: (cells) => note(name, "cells", cells),
    error: (error) => note(name, "error", error),
  }));
  const met = ({ lab: name, id, type, epoch, done, over, views, from }) => {
    const mine = (a) => a.lab === name && a.id === id && (!type || a.type === type);
    const own = answers.filter(mine);
    const status = {};
    for (const { members, status: found } of own) {
      found?.forEach((one, k) => (status[members[k]] = one));
    }
    if (own.some((a) => a.type === "error")) return true;
    if (epoch) return own.some((a) => a.epochs?.some((e) => e >= epoch));
    if (done) return own.some((a) => a.done >= done);
    if (from) return own.some((a) => answers.indexOf(a) >= from);
    if (views) return own.some((a) => a.views);
    if (over === "cells") return own.some((a) => a.type === "cells" && a.over);
    if (over) return Object.keys(status).length === over
      && Object.values(status).every((s) => s !== "running");
    return own.length > 0;
  };
  const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const kill = (k) => workers.at(k).postMessage({ type: "die" });
  const until = (wanted) => new Promise((resolve, reject) => {
    const fail = () => reject(new Error(`no answer: ${JSON.stringify(wanted)}`));
    const end = setTimeout(fail, most);
    const look = () => {
      if (!met(wanted)) return;
      clearTimeout(end);
      waiting.splice(waiting.indexOf(look), 1);
      resolve();
    };
    waiting.push(look);
    look();
  });
  for (const step of steps) {
    if (step.ms !== undefined) await rest(step.ms);
    else if (step.until) await until(step.until);
    else if (step.more) await until({ ...step.more, from: answers.length });
    else if (step.kill !== undefined) kill(step.kill);
    else if (step.mark) answers.push({ type: "mark", mark: step.mark });
    else lab(step.lab)[step.do](step.with);
  }
  for (const one of Object.values(labs)) one.close();
  return answers;
}"""


@pytest.fixture
def drive(page):
    """drive(*steps, workers, draw, memories, clock) takes steps, returns the answers.

    draw: ms until a frame is drawn, None: never. memories: most that a worker may have.
    clock: the speed of its clock.
    """
    if not BUILD.exists():
        pytest.fail(f"{BUILD} is missing: run `make book` first")
    page.add_script_tag(path=BUILD)

    def run(*steps, workers=2, draw=0, memories=100, clock=1):
        settings = f"window.mostMemories = {memories}; window.clock = {clock};"
        page.evaluate(f"() => {{ {settings} {PATCH} }}")
        packed = {name: pack(name) for name in ("moons", "digits", "wave")}
        options = {"workers": workers, "draw": draw, "most": WHOLE}
        return page.evaluate(DRIVE, [flat(steps), packed, options])

    return run


# Steps


def flat(steps):
    """Steps in lists of them, in one list."""
    nested = isinstance(steps, list | tuple)
    return [one for s in steps for one in flat(s)] if nested else [steps]


def run(id, members, lab="A", **more):
    question = {"id": id, "members": [sent(e) for e in members], "points": None}
    question |= {"keep": False, "scores": EVERY, "watch": None} | more
    return {"lab": lab, "do": "run", "with": question}


def sweep(id, members, lab="A", points=None):
    question = {"id": id, "members": [sent(e) for e in members], "points": points}
    return {"lab": lab, "do": "sweep", "with": question}


def do(what, id, lab="A"):
    return {"lab": lab, "do": what, "with": id}


def until(id, lab="A", **what):
    return {"until": {"lab": lab, "id": id} | what}


def until_more(id, lab="A"):
    return {"more": {"lab": lab, "id": id}}


# Answers


def own(answers, id, kind, lab="A"):
    """The answers of a kind to one question; `kind` None: of all kinds."""
    mine = [a for a in answers if a.get("lab") == lab and a.get("id") == id]
    return [a for a in mine if kind is None or a["type"] == kind]


def curves(frames):
    """{member: {epoch: record}}, and that every epoch comes once and in order."""
    found = defaultdict(dict)
    for frame in frames:
        members, epochs = frame["members"], frame["epochs"]
        assert sorted(set(epochs)) == epochs
        assert len(set(members)) == len(members)
        assert len(frame["status"]) == len(frame["kept"]) == len(members)
        assert frame["over"] == ("running" not in frame["status"])
        metrics = np.reshape(frame["metrics"], (len(members), len(epochs), 4))
        for member, rows in zip(members, metrics, strict=True):
            for epoch, record in zip(epochs, rows, strict=True):
                if not np.isnan(record).all():
                    assert epoch > max(found[member], default=0)
                    found[member][epoch] = record
    return dict(found)


def status(frames):
    """{member: (status, kept epoch)} as told last."""
    found = {}
    for frame in frames:
        told = zip(frame["status"], frame["kept"], strict=True)
        found |= dict(zip(frame["members"], told, strict=True))
    return found


def assert_torchs(frames, members, epochs=None, only=None):
    """The curves of `fit`, at the epochs given, for the members given (default all)."""
    found, told = curves(frames), status(frames)
    assert set(told) == set(range(len(members)))
    for m in range(len(members)) if only is None else only:
        one = torchs(members[m])
        last = len(one.history["val_loss"])
        expected = [e for e in epochs or range(1, last + 1) if e <= last]
        assert list(found[m]) == expected
        assert told[m] == (one.status, one.epoch)
        for k, name in enumerate(RECORD):
            values = [record[k] for record in found[m].values()]
            wanted = [one.history[name][e - 1] for e in expected]
            assert values == pytest.approx(wanted, rel=0, abs=LIMIT), (m, name)


def assert_cells(cells, members):
    """Every member's final record, once, as `fit` has it; NaN where it diverged."""
    found = {}
    for message in cells:
        records = np.reshape(message["records"], (-1, 4))
        for member, record in zip(message["members"], records, strict=True):
            assert member not in found
            found[member] = record
        assert message["done"] == len(found)
        assert message["total"] == len(members)
        assert message["over"] == (len(found) == len(members))
    assert set(found) == set(range(len(members)))
    for m, e in enumerate(members):
        one = torchs(e)
        wanted = [one.history[name][one.epoch - 1] for name in RECORD]
        if one.status == "diverged":
            assert np.isnan(found[m]).all()
        else:
            assert found[m] == pytest.approx(wanted, rel=0, abs=LIMIT), m


@functools.cache
def torchs(experiment):
    """Its run, trained once for all tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it diverged
        return fit(experiment)[0]


def draws(e, count):
    return [e.replace(seed=e.seed + k) for k in range(count)]


BASE = Experiment(n_train=40, hidden=(12, 9), epochs=20, batch_size=16)
FIVE = draws(BASE.replace(dropout=0.2), 5)
LONG = draws(BASE.replace(epochs=20_000), 3)
EARLY = BASE.replace(label_noise=0.4, lr=0.05, patience=3, epochs=200)


# Runs


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_draws_are_trained_side_by_side(drive, workers):
    answers = drive(run("a", FIVE), until("a", over=5), workers=workers)
    frames = own(answers, "a", "frame")
    assert {a.get("id", "a") for a in answers} == {"a"}
    assert all(frame["fresh"] for frame in frames)
    assert all(frame["views"] is None for frame in frames)
    assert frames[0]["epochs"][0] == 1
    assert_torchs(frames, FIVE)
    assert [a["name"] for a in answers if a["type"] == "engine"] == ["WebAssembly"]


def test_members_of_other_structures_each_to_their_own_end(drive):
    members = [BASE, BASE.replace(hidden=(5,), epochs=7), EARLY]
    members.append(Experiment(data="digits", n_train=50, epochs=3))
    members.append(Experiment(data="wave", n_train=30, label_noise=0, epochs=4))
    answers = drive(run("a", members), until("a", over=5))
    assert_torchs(own(answers, "a", "frame"), members)


@pytest.mark.parametrize("epochs, scores", [(20, 7), (20, 1), (6, 25)])
def test_a_run_is_scored_so_often(drive, epochs, scores):
    members = draws(BASE.replace(epochs=epochs), 2)
    answers = drive(run("a", members, scores=scores), until("a", over=2))
    due = {1} | {math.ceil(k * epochs / scores) for k in range(1, scores + 1)}
    assert_torchs(own(answers, "a", "frame"), members, sorted(due))


def test_a_member_that_diverges_ends_alone(drive):
    members = [BASE, BASE.replace(optimizer="sgd", lr=1e200)]
    answers = drive(run("a", members), until("a", over=2))
    frames = own(answers, "a", "frame")
    assert status(frames)[1] == ("diverged", 1)
    assert_torchs(frames, members, only=[0])


def test_points_of_ones_own_replace_every_members(drive):
    points = {"X": [0.1, -0.4, 1.2, 0.3, -0.9, 0.6, 1.5, -0.2], "y": [1, 0, 0, 1]}
    members = draws(BASE.replace(n_train=4, label_noise=0.5, epochs=5), 2)
    watch = {"members": [1], "grid": None, "validation": 0, "weights": False}
    watch |= {"inputs": 0, "training": True}
    answers = drive(run("a", members, points=points, watch=watch), until("a", over=2))
    frames = own(answers, "a", "frame")
    ensemble = Ensemble(members, points=own_points("moons", **points))
    found = curves(frames)
    for epoch in range(1, 6):
        record = ensemble.run_epoch()
        for m in (0, 1):
            wanted = [float(getattr(record, name)[m]) for name in RECORD]
            assert found[m][epoch] == pytest.approx(wanted, rel=0, abs=LIMIT)
    told = [f["views"]["training"] for f in frames if f["views"]]
    assert told == [points | {"clean": points["y"]}]


# One run after another


def test_a_short_run_is_not_cut_short(drive):
    members = draws(BASE.replace(epochs=300), 2)
    answers = drive(run("a", members), until("a"), run("b", LONG), until("a", over=2),
                    until("b", epoch=3), workers=1, clock=0.05)  # fmt: skip
    assert_torchs(own(answers, "a", "frame"), members)
    assert list(curves(own(answers, "b", "frame"))[0])[:3] == [1, 2, 3]


def test_a_long_run_gives_way(drive):
    answers = drive(run("a", LONG), until("a", epoch=200), {"ms": 300},
                    run("b", LONG), {"ms": 20}, run("c", FIVE), until("c", over=5),
                    {"mark": "end"}, {"ms": 200})  # fmt: skip
    assert_torchs(own(answers, "c", "frame"), FIVE)
    assert answers[-1].get("mark") == "end"  # nothing of the others comes after
    assert not any(f["over"] for id in "ab" for f in own(answers, id, "frame"))


def test_many_moves_end_with_the_last(drive):
    moves = [[run(f"m{k}", draws(BASE.replace(l2=k / 100), 2)), {"ms": 5}]
             for k in range(20)]  # fmt: skip
    answers = drive(*moves, until("m19", over=2))
    assert_torchs(own(answers, "m19", "frame"), draws(BASE.replace(l2=0.19), 2))
    for k in range(20):  # whatever comes of the others is right
        frames = own(answers, f"m{k}", "frame")
        if frames and set(status(frames)) == {0, 1} and all(
            s == "finished" for s, _ in status(frames).values()
        ):  # fmt: skip
            assert_torchs(frames, draws(BASE.replace(l2=k / 100), 2))


def assert_legs(answers, legs, count):
    """Runs that go on from one another: all epochs once, numbers of such an Ensemble.

    legs: [(id, experiment of the first member)]. Returns where each leg began.
    """
    parts = [own(answers, id, "frame") for id, _ in legs]
    found, starts = curves([f for part in parts for f in part]), []
    for k, ((id, e), frames) in enumerate(zip(legs, parts, strict=True)):
        assert {f["fresh"] for f in frames} == {k == 0}, id
        told = curves(frames)
        if k == 0:
            starts.append([0] * count)
        elif e.patience is None:  # what was told late of the leg before comes with it
            starts.append([max(told[m]) - e.epochs for m in range(count)])
        else:
            starts.append([min(told[m]) - 1 for m in range(count)])
    for m in range(count):
        assert list(found[m]) == list(range(1, max(found[m]) + 1))
        members = [e.replace(seed=e.seed + m) for _, e in legs]
        ends = [start[m] for start in starts[1:]] + [max(found[m])]
        ensemble = Ensemble(members[:1])
        for e, end, frames in zip(members, ends, parts, strict=True):
            ensemble.set([e])
            start, losses = ensemble.epoch, []
            while ensemble.epoch < end:
                record = ensemble.run_epoch()
                wanted = [float(getattr(record, name)[0]) for name in RECORD]
                at = found[m][ensemble.epoch]
                assert at == pytest.approx(wanted, rel=0, abs=LIMIT), (m, e)
                losses.append(wanted[1])
            if e.patience is not None:
                kept = start + 1 + int(np.argmin(losses))
                early = end - kept >= e.patience
                wanted = ("stopped early" if early else "finished", kept)
                assert status(frames)[m] == wanted
                assert early or end == start + e.epochs
    return starts


MORE = BASE.replace(epochs=15, l2=0.01)
GO_ON = [MORE.replace(seed=k) for k in range(3)]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize(
    "draw", [0, 70, None], ids=["drawn", "slowly drawn", "undrawn"]
)
def test_going_on_in_mid_run_loses_nothing(drive, workers, draw):
    answers = drive(run("a", LONG), until("a", type="frame"), {"ms": 60},
                    run("b", GO_ON, keep=True), until("b", over=3),
                    workers=workers, draw=draw)  # fmt: skip
    _, start = assert_legs(answers, [("a", LONG[0]), ("b", MORE)], 3)
    assert len(set(start)) == 1  # all members changed their settings after one epoch
    assert start[0] > 0


def test_going_on_while_going_on(drive):
    answers = drive(run("a", LONG), until("a", epoch=10), {"ms": 40},
                    run("b", LONG, keep=True), run("c", LONG, keep=True), {"ms": 40},
                    run("d", GO_ON, keep=True), until("d", over=3))  # fmt: skip
    ids = [id for id in "abcd" if own(answers, id, "frame")]
    found = curves([a for a in answers if a["type"] == "frame"])
    ends = {max(rows) for rows in found.values()}
    assert len(ends) == 1
    ensemble = Ensemble(LONG)
    for epoch in range(1, ends.pop() + 1):
        if epoch == max(found[0]) - MORE.epochs + 1:
            ensemble.set(GO_ON)
        record = ensemble.run_epoch()
        for m in range(3):
            wanted = [float(getattr(record, name)[m]) for name in RECORD]
            assert found[m][epoch] == pytest.approx(wanted, rel=0, abs=LIMIT)
    assert ids[-1] == "d"
    assert {f["fresh"] for f in own(answers, "d", "frame")} == {False}


LEGS = {
    "end, end": [MORE, MORE, BASE],
    "early stop twice": [EARLY, EARLY, EARLY],
    "early stop, end": [EARLY, MORE.replace(label_noise=0.4, lr=0.05)],
}


@pytest.mark.parametrize("legs", LEGS)
def test_going_on_after_an_end(drive, legs):
    asked = list(zip("abc", LEGS[legs], strict=False))
    steps = [[run(id, draws(e, 2), keep=id != "a"), until(id, over=2)]
             for id, e in asked]  # fmt: skip
    assert_legs(drive(*steps), asked, 2)


@pytest.mark.parametrize(
    "change",
    [{"hidden": (7,)}, {"optimizer": "sgd"}, {"n_train": 30}, {"batch_norm": True},
     {"l1_method": "subgradient"}, {"dropout_at": "last"}, {"data": "wave",
                                                             "label_noise": 0}],
    ids=str,
)  # fmt: skip
def test_where_going_on_cannot_be_it_starts_anew(drive, change):
    before, after = draws(BASE, 2), draws(BASE.replace(**change), 2)
    answers = drive(run("a", before), until("a", over=2),
                    run("b", after, keep=True), until("b", over=2))  # fmt: skip
    assert {f["fresh"] for f in own(answers, "b", "frame")} == {True}
    assert_torchs(own(answers, "b", "frame"), after)


def test_after_divergence_all_start_anew(drive):
    before = [BASE, BASE.replace(optimizer="sgd", lr=1e200)]
    after = [BASE, BASE.replace(optimizer="sgd", lr=0.1)]
    answers = drive(run("a", before), until("a", over=2),
                    run("b", after, keep=True), until("b", over=2))  # fmt: skip
    assert {f["fresh"] for f in own(answers, "b", "frame")} == {True}
    assert_torchs(own(answers, "b", "frame"), after)


def test_with_another_number_of_members_it_starts_anew(drive):
    answers = drive(run("a", FIVE), until("a", over=5),
                    run("b", FIVE[:3], keep=True), until("b", over=3),
                    run("c", FIVE, keep=True), until("c", over=5))  # fmt: skip
    assert_torchs(own(answers, "b", "frame"), FIVE[:3])
    assert_torchs(own(answers, "c", "frame"), FIVE)


def test_the_first_run_may_be_asked_to_go_on(drive):
    answers = drive(run("a", FIVE, keep=True), until("a", over=5))
    assert {f["fresh"] for f in own(answers, "a", "frame")} == {True}
    assert_torchs(own(answers, "a", "frame"), FIVE)


def test_going_on_from_a_run_that_never_began_is_beginning(drive):
    """It waits while the short one before it is trained to its end."""
    answers = drive(run("a", FIVE), until("a", type="frame"), run("b", FIVE),
                    run("c", FIVE, keep=True), until("c", over=5))  # fmt: skip
    frames = own(answers, "c", "frame")
    if own(answers, "b", "frame"):
        assert not frames[0]["fresh"]
    else:
        assert_torchs(frames, FIVE)


# Stop, pause, resume


def test_a_stopped_run_is_silent_and_can_go_on(drive):
    answers = drive(run("a", LONG), until("a", epoch=5), do("stop", "a"),
                    {"mark": "stopped"}, {"ms": 150}, {"mark": "later"},
                    run("b", GO_ON, keep=True), until("b", over=3))  # fmt: skip
    marks = [k for k, a in enumerate(answers) if a["type"] == "mark"]
    assert marks[1] == marks[0] + 1
    assert_legs(answers, [("a", LONG[0]), ("b", MORE)], 3)


def test_a_paused_run_waits(drive):
    members = draws(BASE.replace(epochs=1000), 2)
    answers = drive(run("a", members), until("a", epoch=3), do("pause", "a"),
                    {"ms": 150}, {"mark": "quiet"}, {"ms": 150}, {"mark": "still"},
                    do("resume", "a"), until("a", over=2))  # fmt: skip
    marks = [k for k, a in enumerate(answers) if a["type"] == "mark"]
    assert marks[1] == marks[0] + 1
    found = curves(own(answers, "a", "frame"))
    assert [list(found[m]) for m in (0, 1)] == [list(range(1, 1001))] * 2


def test_a_paused_run_shows_what_it_is(drive):
    """Views are made every 300 ms, and when there is time to look."""
    watch = WATCH | {"grid": AXES, "members": [2, 0]}
    answers = drive(run("w", FIVE), until("w", over=5), run("a", LONG, watch=watch),
                    until("a", epoch=1), do("pause", "a"), until("a", views=True),
                    clock=0.1)  # fmt: skip
    last = own(answers, "a", "frame")[-1]
    assert len(last["views"]["points"]) == 24
    assert not last["over"]


def test_a_run_paused_at_once_waits(drive):
    answers = drive(run("a", FIVE), do("pause", "a"), {"ms": 200}, {"mark": "quiet"},
                    do("resume", "a"), until("a", over=5))  # fmt: skip
    before = answers[: answers.index({"type": "mark", "mark": "quiet"})]
    assert not own(before, "a", "frame")
    assert_torchs(own(answers, "a", "frame"), FIVE)


def test_other_ids_stop_and_pause_nothing(drive):
    others = [do(what, "z") for what in ("stop", "pause", "resume", "drawn")]
    answers = drive(run("a", FIVE), others, until("a", over=5))
    assert_torchs(own(answers, "a", "frame"), FIVE)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_more_than_one_frame_is_under_way(drive, workers):
    members = draws(BASE.replace(epochs=1000), 2)
    answers = drive(run("a", members), until("a", over=2), draw=None, workers=workers)
    first, last = own(answers, "a", "frame")
    assert not first["over"]
    found = curves([first, last])
    assert [list(found[m]) for m in (0, 1)] == [list(range(1, 1001))] * 2


# What is watched


WATCH = {"grid": None, "validation": 0, "weights": False, "inputs": 0}
WATCH |= {"training": False, "members": [0]}
AXES = [np.linspace(-1, 2, 4).tolist(), np.linspace(-1, 1, 3).tolist()]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("patience", [None, 3])
def test_views_are_the_networks_own(drive, workers, patience):
    members = draws(EARLY.replace(patience=patience, epochs=25, hidden=(9, 5)), 4)
    watch = WATCH | {"members": [3, 0], "grid": AXES, "validation": 7, "weights": True}
    answers = drive(run("a", members, watch=watch | {"training": True}),
                    until("a", over=4), workers=workers)  # fmt: skip
    frames = own(answers, "a", "frame")
    views = frames[-1]["views"]
    grid = np.stack(np.meshgrid(*AXES), axis=-1).reshape(-1, 2)
    held = load("moons").validation.X[:7]
    for part, m in enumerate((3, 0)):
        one = torchs(members[m])
        shown = {"points": one.predict(grid), "validation": one.predict(held)}
        for name, wanted in shown.items():
            found = np.reshape(views[name], (2, -1))[part]
            assert found == pytest.approx(np.ravel(wanted), abs=1e-7), (name, m)
    wanted = torchs(members[3]).weights
    assert views["weights"] == pytest.approx(np.ravel(wanted).tolist(), abs=1e-6)
    (training,) = [
        f["views"]["training"] for f in frames if "training" in (f["views"] or {})
    ]
    points = training_set(members[3])
    assert training["X"] == pytest.approx(points.X.ravel().tolist())
    assert training["y"] == points.y.tolist()
    clean = training_set(members[3].replace(label_noise=0))
    assert training["clean"] == clean.y.tolist()


def test_a_line_of_points_and_images(drive):
    wave = Experiment(data="wave", n_train=20, label_noise=0, epochs=3)
    digits = Experiment(data="digits", n_train=30, epochs=2, input_noise=0.3)
    line = WATCH | {"grid": AXES[:1]}
    pictures = WATCH | {"validation": 1000, "inputs": 4}
    answers = drive(run("a", [wave], watch=line), until("a", over=1),
                    run("b", [digits], watch=pictures), until("b", over=1))  # fmt: skip
    views = own(answers, "a", "frame")[-1]["views"]
    wanted = torchs(wave).predict(np.reshape(AXES[0], (-1, 1)))
    assert views == {"points": pytest.approx(np.ravel(wanted).tolist(), abs=1e-7)}
    views = own(answers, "b", "frame")[-1]["views"]
    held = load("digits").validation.X
    assert np.reshape(views["validation"], (len(held), 10)) == pytest.approx(
        torchs(digits).predict(held), abs=1e-7
    )
    plain, seen = (np.reshape(views["inputs"][k], (4, 64)) for k in ("plain", "seen"))
    assert {row.tobytes() for row in plain} <= {
        row.tobytes() for row in training_set(digits).X
    }
    assert 0.2 < np.std(seen - plain) < 0.4


def test_a_training_set_is_told_when_it_changes(drive):
    watch = WATCH | {"training": True}
    noisy = [BASE.replace(label_noise=0.5)]
    steps = [("a", [BASE]), ("b", [BASE.replace(l2=0.1)]), ("c", noisy), ("d", noisy)]
    answers = drive(*[[run(id, members, watch=watch), until(id, over=1)]
                      for id, members in steps])  # fmt: skip
    told = [any("training" in (f["views"] or {}) for f in own(answers, id, "frame"))
            for id, _ in steps]  # fmt: skip
    assert told == [True, False, True, False]


def test_a_training_set_told_with_an_earlier_run_is_told_again(drive):
    """A lab may look at the answers to its last question alone."""
    watch, long = WATCH | {"training": True}, [BASE.replace(epochs=500)]
    short = [[run(id, [BASE], watch=watch), until(id, over=1)] for id in "bc"]
    answers = drive(run("a", long, watch=watch), until("a"), short, workers=1,
                    clock=0.05)  # fmt: skip
    last = [own(answers, id, "frame")[-1]["views"] for id in "abc"]
    assert ["training" in views for views in last] == [True, True, False]


def test_long_runs_show_views_on_the_way(drive):
    watch = WATCH | {"grid": AXES, "members": [0, 1, 2]}
    answers = drive(run("a", LONG, watch=watch), until("a", views=True))
    frames = own(answers, "a", "frame")
    assert len(frames[-1]["views"]["points"]) == 36
    assert not frames[-1]["over"]
    assert not any(f["views"] for f in frames[:-1])
    assert len(frames) > 1


# Errors


@pytest.mark.parametrize(
    "field, value", [("lr", -1), ("hidden", [0]), ("n_train", 1001), ("epochs", 0),
                     ("hidden", [4096] * 2)]
)  # fmt: skip
@pytest.mark.parametrize("job", [run, sweep])
def test_an_error_names_the_field_and_leaves_the_lab_alive(drive, job, field, value):
    bad = job("a", [BASE] * 3)
    bad["with"]["members"][1][field] = value
    answers = drive(bad, until("a"), run("b", FIVE), until("b", over=5))
    (error,) = own(answers, "a", "error")
    assert field in error["message"]
    assert "must be" in error["message"]
    assert not own(answers, "a", "frame")
    assert_torchs(own(answers, "b", "frame"), FIVE)


def test_memory_is_counted_over_all_members(drive):
    wide = BASE.replace(hidden=(1500, 1500), epochs=1)
    answers = drive(run("a", draws(wide, 5)), until("a"))
    (error,) = own(answers, "a", "error")
    assert "hidden, batch_size: need" in error["message"]
    assert "for 5 networks" in error["message"]


@pytest.mark.parametrize("points", [{"X": [1], "y": [0]}, {"X": [1, 2], "y": [5]}])
@pytest.mark.parametrize("job", [run, sweep])
def test_points_that_do_not_fit_are_refused(drive, job, points):
    answers = drive(job("a", [BASE], points=points), until("a", type="error"))
    assert own(answers, "a", "error")[0]["message"].startswith("points: ")


def test_a_data_set_that_does_not_load_is_an_error(drive):
    bad = run("a", [BASE])
    bad["with"]["members"][0]["data"] = "nowhere"
    answers = drive(bad, until("a"), run("b", FIVE), until("b", over=5))
    assert own(answers, "a", "error") == [
        {"lab": "A", "type": "error", "id": "a", "message": "nowhere did not load"}
    ]
    assert_torchs(own(answers, "b", "frame"), FIVE)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("which", [0, -1])
def test_a_worker_that_dies_is_replaced(drive, workers, which):
    members = draws(BASE.replace(epochs=600, dropout=0.1), 3)
    answers = drive(run("a", members), until("a", epoch=20), {"kill": which},
                    until("a", over=3), workers=workers)  # fmt: skip
    assert_torchs(own(answers, "a", "frame"), members)
    assert "JavaScript" in [a["name"] for a in answers if a["type"] == "engine"]


def test_a_run_that_went_on_starts_anew_when_its_worker_dies(drive):
    more = draws(BASE.replace(epochs=500), 3)
    answers = drive(run("a", FIVE[:3]), until("a", over=3),
                    run("b", more, keep=True), until("b", epoch=30), {"kill": 0},
                    until("b", over=3))  # fmt: skip
    frames = own(answers, "b", "frame")
    first = next(k for k, f in enumerate(frames) if f["fresh"])
    assert all(f["fresh"] for f in frames[first:])
    assert_torchs(frames[first:], more)


def test_a_worker_that_dies_twice_is_given_up(drive):
    answers = drive(run("a", LONG), until("a", epoch=5), {"kill": -1},
                    until("a", epoch=6), {"ms": 100}, {"kill": -1},
                    until("a", type="error"),
                    run("b", FIVE), until("b", over=5), workers=1)  # fmt: skip
    (error,) = own(answers, "a", "error")
    assert error["message"] == "no engine runs in this browser"
    assert_torchs(
        own(answers, "b", "frame"), FIVE
    )  # the next question is a new attempt


@pytest.mark.parametrize("job", [run, sweep])
def test_without_workers_it_says_so(drive, page, job):
    page.evaluate("() => { window.Worker = class { constructor() {"
                  " throw new Error('not here'); } }; }")  # fmt: skip
    answers = drive(job("a", [BASE]), until("a"))
    (error,) = own(answers, "a", "error")
    assert error["message"] == "this browser starts no worker: not here"


def test_a_policy_against_workers_is_named(drive, page):
    page.set_content(
        """<meta http-equiv="Content-Security-Policy" content="worker-src 'none'">"""
    )
    answers = drive(run("a", [BASE]), until("a"))
    (error,) = own(answers, "a", "error")
    assert "content security policy" in error["message"]
    assert "worker-src" in error["message"]


# Sweeps


LAMS = tuple(float(v) for v in np.logspace(-5, -1, 25))
SHORT = Experiment(n_train=40, hidden=(12, 9), epochs=5)
CELLS = [SHORT.replace(l2=v, seed=k) for k in range(3) for v in LAMS]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_sweep_is_as_many_runs(drive, workers):
    answers = drive(sweep("s", CELLS), until("s", over="cells"), workers=workers)
    cells = own(answers, "s", "cells")
    assert_cells(cells, CELLS)
    assert all(c["name"].startswith("WebAssembly (") for c in cells)
    assert not own(answers, "s", "error")


def test_members_of_a_sweep_may_differ_in_everything(drive):
    members = [EARLY, BASE.replace(hidden=(4,)), BASE.replace(n_train=7),
               BASE.replace(optimizer="sgd", lr=1e200), BASE.replace(batch_norm=True),
               Experiment(data="digits", n_train=30, epochs=2),
               EARLY.replace(seed=4, epochs=4)]  # fmt: skip
    answers = drive(sweep("s", members), until("s", over="cells"))
    assert_cells(own(answers, "s", "cells"), members)


def test_a_sweep_takes_few_memories(drive):
    widths = [SHORT.replace(hidden=(4 + k % 50,), epochs=1, seed=k) for k in range(150)]
    answers = drive(sweep("s", widths), until("s", over="cells"), memories=1)
    assert_cells(own(answers, "s", "cells"), widths)


def test_a_sweep_with_points_of_ones_own(drive):
    points = {"X": [0.1, -0.4, 1.2, 0.3, -0.9, 0.6, 1.5, -0.2], "y": [1, 0, 0, 1]}
    members = [SHORT.replace(n_train=4, l2=v) for v in LAMS[:6]]
    answers = drive(sweep("s", members, points=points), until("s", over="cells"))
    cells = own(answers, "s", "cells")
    assert "the book's points alone" in cells[0]["name"]
    ensemble = Ensemble(members, points=own_points("moons", **points))
    for _ in range(SHORT.epochs):
        record = ensemble.run_epoch()
    found = {m: r for c in cells for m, r in zip(
        c["members"], np.reshape(c["records"], (-1, 4)), strict=True)}  # fmt: skip
    for m in range(6):
        wanted = [float(getattr(record, name)[m]) for name in RECORD]
        assert found[m] == pytest.approx(wanted, rel=0, abs=LIMIT)


def test_a_sweep_stopped_and_at_once_asked_again_has_the_right_cells(drive):
    others = [e.replace(lr=0.05) for e in CELLS]
    answers = drive(sweep("s", others), until("s", done=5), do("stop", "s"),
                    sweep("t", CELLS), until("t", over="cells"))  # fmt: skip
    assert_cells(own(answers, "t", "cells"), CELLS)


@pytest.mark.parametrize("pause", [0, 10, 60])
def test_a_sweep_replaced_in_mid_cell_has_the_right_cells(drive, pause):
    slow = [BASE.replace(epochs=400, seed=k) for k in range(9)]
    answers = drive(sweep("s", slow), {"ms": pause}, sweep("t", CELLS), {"ms": pause},
                    sweep("u", slow[:3]), until("u", over="cells"))  # fmt: skip
    assert_cells(own(answers, "u", "cells"), slow[:3])
    marks = [k for k, a in enumerate(answers) if a.get("id") == "u"]
    assert {a.get("id") for a in answers[marks[0] :]} <= {"u", None}


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_of_a_sweep_goes_on_in_its_successor(drive, workers):
    """Replaced in mid-cell, by members of the same numbers."""
    slow = [BASE.replace(epochs=1000, seed=k) for k in range(3)]
    others = [e.replace(epochs=300, lr=0.05) for e in slow]
    answers = drive(sweep("s", slow), until("s", done=1), sweep("t", others),
                    until("t", over="cells"), workers=workers)  # fmt: skip
    assert_cells(own(answers, "t", "cells"), others)


def test_a_sweep_pauses_and_goes_on(drive):
    answers = drive(sweep("s", CELLS), until("s", done=3), do("pause", "s"),
                    {"ms": 100}, {"mark": "quiet"}, {"ms": 150}, {"mark": "still"},
                    do("resume", "s"), until("s", over="cells"))  # fmt: skip
    marks = [k for k, a in enumerate(answers) if a["type"] == "mark"]
    assert marks[1] == marks[0] + 1
    assert_cells(own(answers, "s", "cells"), CELLS)


def test_a_sweep_outlives_its_worker(drive):
    answers = drive(sweep("s", CELLS), until("s", done=10), {"kill": 0},
                    until("s", over="cells"))  # fmt: skip
    assert_cells(own(answers, "s", "cells"), CELLS)


# Several at once


def test_a_run_and_a_sweep_of_one_lab(drive):
    answers = drive(sweep("s", CELLS), run("a", FIVE), until("a", over=5),
                    until("s", over="cells"), workers=1)  # fmt: skip
    assert_torchs(own(answers, "a", "frame"), FIVE)
    assert_cells(own(answers, "s", "cells"), CELLS)


@pytest.mark.parametrize("workers", [1, 2])
def test_two_labs_get_their_own_answers(drive, workers):
    """To questions of the same name."""
    others = draws(BASE.replace(l2=0.1, epochs=30), 2)
    answers = drive(run("a", FIVE), run("a", others, lab="B"), until("a", over=5),
                    until("a", lab="B", over=2), sweep("s", CELLS, lab="B"),
                    sweep("s", CELLS[::-1]), until("s", over="cells"),
                    until("s", lab="B", over="cells"), workers=workers)  # fmt: skip
    assert_torchs(own(answers, "a", "frame"), FIVE)
    assert_torchs(own(answers, "a", "frame", "B"), others)
    assert_cells(own(answers, "s", "cells"), CELLS[::-1])
    assert_cells(own(answers, "s", "cells", "B"), CELLS)


def test_labs_take_turns(drive):
    """A short run beside a long one; neither waits for the other's end."""
    answers = drive(run("a", LONG), until("a", epoch=5), run("b", FIVE, lab="B"),
                    until("b", lab="B", over=5), {"mark": "end"},
                    until_more("a"), workers=1)  # fmt: skip
    frames = own(answers, "a", "frame")
    assert not any(f["over"] for f in frames)
    end = next(k for k, a in enumerate(answers) if a["type"] == "mark")
    assert own(answers[:end], "a", "frame")
    assert own(answers[end:], "a", "frame")


def test_a_closed_lab_is_silent_and_the_other_goes_on(drive):
    members, close = draws(BASE.replace(epochs=300), 2), {"lab": "A", "do": "close"}
    answers = drive(run("a", LONG), sweep("s", CELLS * 5), until("a", epoch=3),
                    run("b", members, lab="B"), until("b", lab="B"), close,
                    {"mark": "closed"}, until("b", lab="B", over=2), close)  # fmt: skip
    end = next(k for k, a in enumerate(answers) if a["type"] == "mark")
    assert {a["lab"] for a in answers[end + 1 :]} == {"B"}
    assert_torchs(own(answers, "b", "frame", "B"), members)


def test_workers_end_with_the_last_lab_and_start_again(drive, page):
    answers = drive(
        run("a", LONG),
        until("a", epoch=3),
        {"lab": "A", "do": "close"},
        {"ms": 50},
        run("b", FIVE, lab="B"),
        until("b", lab="B", over=5),
    )
    assert_torchs(own(answers, "b", "frame", "B"), FIVE)
    assert page.evaluate("workers.length") == 4
