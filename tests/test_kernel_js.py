"""web/lab/engines/kernel.js alone: what it tells a kernel, what it makes of silence.

The test is the kernel: it hears what the engine sends and answers by hand. The clock is
the test's too. tests/test_jupyterlab.py has the engine with a real kernel.
"""

import json
from pathlib import Path

import pytest

from tests.test_trainer import base_url

__all__ = ["base_url"]  # a fixture

SOURCE = Path(__file__).parents[1] / "web" / "lab" / "engines" / "kernel.js"

# A model and a session as JupyterLab has them; `sent` to the kernel, `told` to the lab.
PLAY = """
  class Signal {
    heard = new Set();
    connect(f) { this.heard.add(f); }
    disconnect(f) { this.heard.delete(f); }
    emit(value) { for (const f of this.heard) f(null, value); }
  }
  const listeners = {}, sent = [], told = [];
  const session = { statusChanged: new Signal(), kernelChanged: new Signal() };
  const model = {
    deaf: false,
    widget_manager: { context: { sessionContext: session } },
    get: (name) => `the kernel's ${name}`,
    on: (name, f) => (listeners[name] ??= new Set()).add(f),
    off: (name, f) => listeners[name].delete(f),
    send(message) {
      if (this.deaf) throw new Error("no kernel");
      sent.push(message);
    },
    say(...all) { listeners["msg:custom"].forEach((f) => f(...all)); },
  };
  const hear = (name) => (...all) => told.push([name, ...all]);
  const names = ["engine", "frame", "cells", "error", "away", "back"];
  const on = Object.fromEntries(names.map((name) => [name, hear(name)]));
  const start = (spare = true) => new m.KernelEngine(model, spare, on);
  const job = (id, count = 2, more = {}) =>
    ({ id, members: Array.from({ length: count }, (_, k) => `member ${k}`), ...more });
  const taken = (id) => model.say({ type: "taken", id });
  const doubles = (...values) => new DataView(Float64Array.from(values).buffer);
  const frame = (id, status) => model.say(
    { type: "frame", id, members: [...status.keys()], status, arrays: ["metrics"] },
    [doubles(1)]);
  const cells = (id, members, over) => model.say(
    { type: "cells", id, members, over, arrays: ["records"] }, [doubles(...members)]);
  const last = () => [sent.at(-1)?.type, sent.at(-1)?.id];
  const named = (name) => told.filter(([one]) => one === name);
  const aways = () => named("away").map(([, why, one]) => [why, one?.id ?? null]);
  const ids = (type) => sent.filter((one) => one.type === type).map(({ id }) => id);
  const all = () => [...Object.values(listeners),
    session.statusChanged.heard, session.kernelChanged.heard].map(({ size }) => size);
"""


@pytest.fixture
def play(page):
    """play(script): runs it, the engine's module being `m`, after PLAY; time stands."""
    page.goto("about:blank")
    page.clock.install(time=0)
    page.clock.pause_at(1)
    text = json.dumps(SOURCE.read_text("utf-8"))
    load = f"""const source = new Blob([{text}], {{ type: "text/javascript" }});
        const m = await import(URL.createObjectURL(source));"""
    page.evaluate(f"async () => {{ {load} {PLAY} window.run = (text) => eval(text); }}")
    return lambda script: page.evaluate(
        "(text) => run(text)", f"(() => {{ {script} }})()"
    )


def test_it_says_hello_and_names_the_device(play):
    assert play("start(); return [sent, told];") == [
        [{"type": "hello"}],
        [["engine", "the kernel's device"]],
    ]


def test_the_first_run_alone_looks_at_what_the_kernel_has(play):
    looks = play(
        """const one = start();
        for (const id of ["a", "b"]) { one.run(job(id)); taken(id); }
        one.sweep(job("s"));
        return sent.slice(1).map(({ type, id, look }) => [type, id, look ?? null]);"""
    )
    assert looks == [["run", "a", True], ["run", "b", False], ["sweep", "s", None]]


def test_what_a_reader_does_is_passed_on(play):
    done = play(
        """const one = start();
        for (const act of ["pause", "resume", "drawn", "stop"]) one[act]("a");
        return sent.slice(1);"""
    )
    kinds = ("pause", "resume", "drawn", "stop")
    assert done == [{"type": kind, "id": "a"} for kind in kinds]


def test_of_many_questions_the_first_and_the_last_are_sent(play):
    found = play(
        """const one = start();
        for (const id of "abcd") one.run(job(id));
        one.sweep(job("s"));
        const before = [ids("run"), ids("sweep")];
        taken("a");
        const after = ids("run");
        taken("d");
        one.run(job("e"));
        return [before, after, ids("run"), aways()];"""
    )
    assert found == [[["a"], ["s"]], ["a", "d"], ["a", "d", "e"], []]


def test_a_question_that_was_stopped_is_not_sent_later(play):
    found = play(
        """const one = start();
        one.run(job("a"));
        one.run(job("b"));
        one.stop("b");
        taken("a");
        return [ids("run"), ids("stop")];"""
    )
    assert found == [["a"], ["b"]]


def test_a_silent_kernel_is_asked_again_and_then_busy(play, page):
    """After 300 ms and 1,000 ms; what it takes late is trained here by now."""
    play("window.one = start(); one.run(job('a')); one.sweep(job('s')); return null;")
    counts = []
    for ms in (299, 1, 699, 1):
        page.clock.run_for(ms)
        counts.append(play("return [ids('run').length, aways().length];"))
    assert counts == [[1, 0], [2, 0], [2, 0], [2, 2]]
    assert play("return [ids('sweep'), aways()];") == [
        ["s", "s"],
        [["busy", "a"], ["busy", "s"]],
    ]
    # What is asked meanwhile is handed over at once; the kernel is asked now and then.
    asked = "one.run(job('b')); return [aways().at(-1), ids('run')];"
    assert play(asked) == [["busy", "b"], ["a", "a"]]
    page.clock.run_for(400)
    assert play(asked) == [["busy", "b"], ["a", "a", "a"]]
    found = play(
        """taken("a");
        const first = [ids("stop"), named("back").length, ids("run").at(-1)];
        taken("s");
        one.run(job("c"));
        const { length } = aways();
        return [first, ids("stop"), named("back").length, last(), length];"""
    )
    assert found == [[["a"], 0, "a"], ["a", "s"], 1, ["run", "c"], 4]


def test_a_kernel_that_answers_is_not_busy(play, page):
    play("window.one = start(); one.run(job('a')); return null;")
    page.clock.run_for(250)
    play("taken('a'); return null;")
    page.clock.run_for(5000)
    assert play("return [ids('run'), aways()];") == [["a"], []]
    play("one.run(job('b')); return null;")
    page.clock.run_for(299)
    assert play("return ids('run');") == ["a", "b"]


def test_without_a_spare_engine_a_busy_kernel_trains_when_it_is_free(play, page):
    play("window.one = start(false); one.run(job('a')); return null;")
    page.clock.run_for(1000)
    found = play(
        """one.run(job("b"));
        taken("a");
        const next = last();
        taken("b");
        frame("b", ["running", "running"]);
        return [next, ids("stop"), named("frame").length, named("back").length];"""
    )
    assert found == [["run", "b"], [], 1, 1]


GONE = {
    "restarts": "session.statusChanged.emit('restarting')",
    "restarts of itself": "session.statusChanged.emit('autorestarting')",
    "ends": "session.statusChanged.emit('terminating')",
    "dies": "session.statusChanged.emit('dead')",
    "is another": "session.kernelChanged.emit()",
    "is not live": "listeners['comm_live_update'].forEach((f) => f())",
    "has ended the lab": "model.say({ type: 'ended' })",
    "does not take a message": "model.deaf = true; one.pause('a')",
}


@pytest.mark.parametrize("how", GONE)
def test_a_kernel_that_is_gone_hands_over_what_it_trained(play, page, how):
    found = play(
        f"""window.one = start();
        one.run(job("a"));
        taken("a");
        one.sweep(job("s"));
        session.statusChanged.emit("busy");
        session.statusChanged.emit("idle");
        const before = aways();
        {GONE[how]};
        {GONE[how]};
        const after = aways(), count = sent.length;
        model.deaf = false;
        one.run(job("b"));
        one.stop("a");
        return [before, after, aways().at(-1), sent.length - count];"""
    )
    assert found == [[], [["gone", "a"], ["gone", "s"]], ["gone", "b"], 0]
    page.clock.run_for(5000)
    assert play("return aways().length;") == 3


def test_of_a_kernel_that_is_gone_only_what_is_open_goes_on_here(play):
    script = """const one = start();
        one.run(job("a", 3));
        taken("a");
        one.sweep(job("s", 3));
        taken("s");
        {};
        model.say({{ type: "ended" }});
        return aways();"""
    ends = {
        'frame("a", ["finished", "diverged", "running"])': ["a", "s"],
        'frame("a", ["finished", "diverged", "stopped early"])': ["s"],
        'cells("s", [0, 1, 2], false)': ["a", "s"],
        'cells("s", [0, 1, 2], true)': ["a"],
        'model.say({ type: "error", id: "a" })': ["s"],
        'one.stop("s")': ["a"],
        'one.run(job("b"))': ["b", "s"],
        'one.run(job("b")); one.run(job("c"))': ["c", "s"],
        'frame("a", Array(3).fill("finished")); cells("s", [0, 1, 2], true)': [None],
    }
    for act, left in ends.items():
        play("for (const f of Object.values(listeners)) f.clear(); told.length = 0;")
        assert play(script.format(act)) == [["gone", one] for one in left], act


def test_a_busy_kernel_that_is_gone_hands_over_nothing_twice(play, page):
    play("window.one = start(); one.run(job('a')); return null;")
    page.clock.run_for(1000)
    assert play("model.say({ type: 'ended' }); return aways();") == [
        ["busy", "a"],
        ["gone", None],
    ]


def test_answers_to_others_are_not_heard(play):
    found = play(
        """const one = start();
        one.run(job("a"));
        frame("a", ["running"]);
        taken("b");
        frame("a", ["running"]);
        taken("a");
        frame("b", ["running"]);
        model.say({ type: "noise", id: "a" });
        const none = named("frame").length;
        frame("a", ["running"]);
        for (const ids of [["x", "a"], ["x", "y"]]) {
          model.say({ type: "frame", ids, members: [0], status: ["running"] }, []);
        }
        return [none, named("frame").length];"""
    )
    assert found == [0, 2]


def test_arrays_come_by_their_names(play):
    found = play(
        """const one = start();
        one.run(job("a"));
        taken("a");
        const whole = new Uint8Array(32), floats = new Float64Array(whole.buffer);
        floats.set([9, 1.5, -2, 9]);
        const part = new DataView(whole.buffer, 8, 16);
        const say = (...arrays) => model.say(
          { type: "frame", id: "a", members: [0], status: ["running"], arrays },
          arrays.map((name) => (name === "metrics" ? part : doubles(name.length))));
        say("metrics");
        say("metrics", "points");
        say("metrics", "validation", "weights");
        say("metrics", "plain", "seen");
        say("metrics", "X", "y", "clean");
        floats[1] = 7; // what was told is the lab's own
        const plain = (v) => v instanceof Float64Array ? Array.from(v)
          : v && Object.fromEntries(Object.entries(v).filter(([, one]) => one)
            .map(([name, one]) => [name, plain(one)]));
        const both = ({ metrics, views }) => [plain(metrics), plain(views)];
        return named("frame").map(([, told]) => both(told));"""
    )
    views = [
        None,
        {"points": [6]},
        {"validation": [10], "weights": [7]},
        {"inputs": {"plain": [5], "seen": [4]}},
        {"training": {"X": [1], "y": [1], "clean": [5]}},
    ]
    assert found == [[[1.5, -2], view] for view in views]


def test_cells_have_records(play):
    found = play(
        """const one = start();
        one.sweep(job("s", 3));
        taken("s");
        cells("s", [2, 1], false);
        const [[, { records, members, over, metrics }]] = named("cells");
        return [Array.from(records), members, over, metrics ?? null];"""
    )
    assert found == [[2, 1], [2, 1], False, None]


def test_a_closed_engine_hears_and_says_no_more(play, page):
    found = play(
        """const one = start();
        one.run(job("a"));
        const before = all();
        one.close();
        return [before, all()];"""
    )
    assert found == [[1, 1, 1, 1], [0, 0, 0, 0]]
    page.clock.run_for(5000)
    assert play("return [ids('run'), aways()];") == [["a"], []]


def test_it_does_without_a_session(play):
    """As outside JupyterLab."""
    assert play("model.widget_manager = undefined; start().close(); return all();") == [
        0,
        0,
        0,
        0,
    ]
