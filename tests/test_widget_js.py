"""web/lab/widget.js with a model that the test plays: a silent kernel.

Whatever the kernel does not answer is trained in the browser, and must be what `fit`
computes. tests/test_jupyterlab.py has the widget in JupyterLab.
"""

import base64
import json

import pytest
from playwright.sync_api import expect

from tests.test_page_lab import (
    EXACT,
    METRICS,
    SMALL,
    assert_numbers,
    base_url,
    ends,
    finished,
    put,
    run_of,
    value_of,
)
from utils import Lab
from utils.lab.widget import BUNDLE

__all__ = ["base_url"]  # a fixture

# A model as JupyterLab has it: `kept` is its state, `saved` what the kernel was sent.
PLAY = """async ([source, kept, shared, absences, patient]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const state = { ...shared, plotly: bytes(shared.plotly) };
  const assets = { get: (name) => state[name] };
  const missing = new Error("not yet");
  window.listeners = {};
  window.sent = [];
  window.saved = [];
  window.ended = 0;
  const RealWorker = Worker;
  window.Worker = class extends RealWorker {
    constructor(...all) { super(...all); ended -= 1; }
    terminate() { super.terminate(); ended += 1; }
  };
  window.define = "the page's own";
  const soon = setTimeout;
  if (patient) window.setTimeout = (f, ms) => (ms >= 300 ? 0 : soon(f, ms));
  let changes = {};
  window.model = {
    kept,
    widget_manager: {
      get_model: async () => { if (absences-- > 0) throw missing; return assets; },
    },
    get: (name) => kept[name],
    set(name, value) {
      if (JSON.stringify(kept[name]) === JSON.stringify(value)) return;
      kept[name] = changes[name] = value;
      listeners[`change:${name}`]?.forEach((f) => f());
    },
    save_changes() { saved.push(changes); changes = {}; },
    on: (name, f) => (listeners[name] ??= new Set()).add(f),
    off: (name, f) => listeners[name].delete(f),
    send: (message) => sent.push(message),
    say: (message) => listeners["msg:custom"].forEach((f) => f(message, [])),
  };
  const file = new Blob([source], { type: "text/javascript" });
  const { default: widget } = await import(URL.createObjectURL(file));
  window.close_it = widget.render({ model, el: document.body });
}"""


@pytest.fixture
def open_widget(page):
    """open_widget(base, state, absences, patient, **options): a lab's widget, its div.

    state: what differs in its model. absences: how often its assets are not there yet.
    patient: it waits for its kernel for ever.
    """
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("about:blank")

    def open_it(base=SMALL, state=None, absences=0, patient=False, **options):
        lab = Lab(base, **options)
        kept = lab.get_state() | (state or {})
        plotly = base64.b64encode(lab.assets.plotly).decode()
        shared = {"plotly": plotly, "sets": lab.assets.sets}
        lab.close()
        source = (BUNDLE / "widget.js").read_text("utf-8")
        del kept["_esm"], kept["_css"]
        given = [source, json.loads(json.dumps(kept)), shared, absences, patient]
        page.evaluate(PLAY, given)
        return page.locator(".lab")

    yield open_it
    assert complaints == []


HERE = {"engine": "browser"}
LAM = {"l2": (1e-5, 0.1)}


def assert_told(page, experiment):
    """The model has what counts of a run."""
    wanted = ends([run_of(experiment)])
    page.wait_for_function("model.kept.state === 'done'")
    found = page.evaluate("model.kept.results")
    for name in (*METRICS, "gap"):
        assert found[name] == pytest.approx(wanted[name], abs=EXACT), name


def test_what_this_browser_trains_is_told(open_widget, page):
    lab = open_widget(state=HERE, **LAM)
    finished(lab)
    assert_numbers(lab, ends([run_of(SMALL)]))
    assert_told(page, SMALL)
    put(lab, "l2", 30)
    lam = value_of(lab, "l2")
    page.wait_for_function("(lam) => model.kept.l2 === lam", arg=lam)
    assert_told(page, SMALL.replace(l2=lam))
    assert page.evaluate("sent") == []
    assert {"l2": lam} in page.evaluate("saved.map(({ l2 }) => ({ l2 }))")


def test_the_lab_follows_its_model(open_widget, page):
    """Several traits that change at once are one change."""
    lab = open_widget(data=("moons", "ring"), patient=True, **LAM)
    count = "sent.filter(({ type }) => type === 'run').length"
    page.evaluate("model.say({ type: 'taken', id: sent.at(-1).id })")
    before = page.evaluate(count)
    page.evaluate("model.set('l2', 0.01); model.set('data_set', 'ring')")
    page.wait_for_function("sent.filter(({ type }) => type === 'run').length > 1")
    page.evaluate("model.say({ type: 'taken', id: sent.at(-1).id })")
    assert page.evaluate(count) == before + 1
    member = page.evaluate("sent.findLast(({ type }) => type === 'run').members[0]")
    assert (member["l2"], member["data"]) == (0.01, "ring")
    assert value_of(lab, "l2") == 0.01
    page.evaluate("model.set('l2', 0.01); model.set('message', 'nothing')")
    page.evaluate("model.set('keep', true)")
    expect(lab.locator("input[name=keep]")).to_be_checked()
    assert page.evaluate(count) == before + 1
    page.evaluate("model.set('points', { X: [0, 1, 1, 0], y: [0, 1] })")
    page.wait_for_function("sent.at(-1).points?.y.length === 2")
    assert page.evaluate("sent.at(-1).keep") is True
    assert page.evaluate("sent.at(-1).look") is True  # what another view may have begun


def test_a_value_that_the_kernel_puts_back_is_explained(open_widget, page):
    lab = open_widget(state=HERE, **LAM)
    finished(lab)
    why = "not possible, so nothing has changed: l2 is refused"
    page.evaluate("(why) => { model.set('message', why); model.set('l2', 0.02); }", why)
    expect(lab.locator("output[name=message]")).to_contain_text("l2 is refused")


def test_what_the_reader_chooses_is_in_the_model(open_widget, page):
    lab = open_widget(state=HERE, patient=True, **LAM)
    finished(lab)
    lab.locator("input[name=keep]").check()
    assert page.evaluate("model.kept.keep") is True
    assert page.evaluate("saved.at(-1)") == {"keep": True}
    lab.locator("select[name=engine]").select_option("kernel")
    assert page.evaluate("[model.kept.engine, saved.at(-1).engine]") == 2 * ["kernel"]
    page.wait_for_function("sent.some(({ type }) => type === 'run')")
    page.evaluate("model.set('engine', 'browser')")
    finished(lab)
    expect(lab.locator("select[name=engine]")).to_have_value("browser")


def test_another_view_pauses_the_run_that_both_show(open_widget, page):
    lab = open_widget(state={"state": "training"}, patient=True, **LAM)
    page.evaluate("model.say({ type: 'taken', id: sent.at(-1).id })")
    for state in ("paused", "training", "paused"):
        page.evaluate("(state) => model.set('state', state)", state)
        expect(lab).to_have_attribute("data-state", state)
    page.evaluate("model.set('state', 'done')")  # its own frames will say so
    expect(lab).to_have_attribute("data-state", "paused")


def test_a_pause_elsewhere_is_not_that_of_this_browser(open_widget, page):
    large = SMALL.replace(hidden=(50, 50), n_train=1000)
    lab = open_widget(large, state=HERE | {"epochs": 5000}, epochs=(1, 5000))
    expect(lab).to_have_attribute("data-state", "training")
    page.evaluate("model.set('state', 'paused')")
    expect(lab).to_have_attribute("data-state", "training")


def test_assets_may_come_late(open_widget, page):
    lab = open_widget(state=HERE, absences=3, **LAM)
    finished(lab)
    page.wait_for_function("document.querySelector('[data-view=curves]').data")
    assert page.evaluate("define") == "the page's own"
    assert page.evaluate("regularizationLabs.count") == 1


def test_the_keys_of_what_has_the_focus_are_its_own(open_widget, page):
    """JupyterLab leaves them to an element that says so."""
    lab = open_widget(state=HERE, **LAM)
    field = lab.locator("input[name=l2-value]")
    field.focus()
    expect(field).to_have_attribute("data-lm-suppress-shortcuts", "true")


@pytest.mark.parametrize("engine", ["kernel", "browser"])
def test_a_view_that_closes_leaves_nothing_behind(open_widget, page, engine):
    """Also the workers of a browser that trains for a silent kernel."""
    lab = open_widget(state={"engine": engine}, **LAM)
    finished(lab)
    assert page.evaluate("ended") < 0
    page.evaluate("close_it()")
    assert page.evaluate("Object.values(listeners).map(({ size }) => size)") == [
        0 for _ in page.evaluate("Object.keys(listeners)")
    ]
    assert page.evaluate("ended") == 0


def test_convolutions_are_left_to_the_kernel(open_widget, page):
    base = SMALL.replace(data="digits", channels=(3,))
    lab = open_widget(base, state=HERE, **LAM)
    page.wait_for_function("sent.some(({ type }) => type === 'run')")
    expect(lab.locator("select[name=engine]")).to_have_count(0)
    assert page.evaluate("sent.at(-1).members[0].channels") == [3]
