// The entry of JupyterLab: an anywidget whose model holds the lab's state, and whose kernel trains.
import { KernelEngine } from "./engines/kernel.js";
import { PoolEngine } from "./engines/pool.js";
import { element } from "./dom.js";
import { Lab } from "./lab.js";
import { Plots } from "./plots.js";

const FETCHING = 20_000; // ms

// What all labs of a page share: each widget has this module for itself.
const page = (window.regularizationLabs ??= { count: 0, sets: {} });
const plots = new Plots(() => page.plotly);

// Plotly, from its packed source
async function start(packed) {
  if (window.Plotly) return window.Plotly;
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = element("script", { textContent: await new Response(stream).text() });
  const amd = window.define; // Plotly would hand itself to a module loader, where one is
  window.define = undefined;
  document.head.append(script);
  window.define = amd;
  return window.Plotly;
}

// A page that has just been opened may still be fetching the models of its kernel.
async function find(manager, id) {
  for (const end = performance.now() + FETCHING; ;) {
    try {
      return await manager.get_model(id);
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

// What labs need beside their own state is in a model of its own, one for all labs of a kernel: as
// state, for a kernel that is busy would not answer.
function share(model) {
  const assets = find(model.widget_manager, model.get("assets").replace("IPY_MODEL_", ""));
  const { experiment, against, knobs } = model.get("spec");
  page.plotly ??= assets.then((found) => start(found.get("plotly"))).catch((error) => {
    page.plotly = null; // the next lab may have better luck
    throw error;
  });
  page.pool ??= new PoolEngine((name) => page.sets[name]());
  for (const name of [experiment.data, against?.data, ...(knobs.data?.choices ?? [])]) {
    page.sets[name] = async () => (await assets).get("sets")[name];
  }
}

const REFUSED = "not possible"; // so begins what the kernel says when it puts a knob back
const PAUSES = ["training", "paused"];
const trait = (name) => (name === "data" ? "data_set" : name);

function render({ model, el }) {
  const root = element("div", { className: "lab", data: { state: "ready" } });
  // JupyterLab takes the keys of what has the focus for itself, unless that says no.
  root.addEventListener("focusin", ({ target }) => (target.dataset.lmSuppressShortcuts = "true"));
  el.append(root);
  share(model);
  const spec = model.get("spec"), names = [...Object.keys(spec.knobs), "seed"];
  const settings = () => Object.fromEntries(names.map((name) => [name, model.get(trait(name))]));
  const differs = (a, b) => JSON.stringify(a ?? null) !== JSON.stringify(b ?? null);
  const put = (values) => {
    const changed = Object.entries(values).filter(([name, value]) => differs(model.get(name), value));
    if (!changed.length) return;
    changed.forEach(([name, value]) => model.set(name, value));
    model.save_changes();
  };
  const more = (results) => ({ results: { ...model.get("results"), ...results } });
  const spare = !spec.experiment.channels.length; // whether this browser can train it too
  const engines = { kernel: (on) => new KernelEngine(model, spare, on) };
  if (spare) engines.browser = (on) => page.pool.open(on);
  let lab;
  const inKernel = () => (lab.trainer ?? lab.engine) instanceof KernelEngine;
  lab = new Lab(root, spec, {
    number: (page.count += 1), plots, engines, share: null,
    engine: spare ? model.get("engine") : "kernel",
    open: () => ({ settings: settings(), points: model.get("points"), said: [] }),
    note: (values, points) =>
      put({ ...Object.fromEntries(Object.entries(values).map(([name, v]) => [trait(name), v])), points }),
    chosen: (name) => put({ engine: name }),
    // The kernel knows what it has trained; of what this browser trains it is told.
    tell: ({ keep, over, results, ...state }) => {
      if (keep !== undefined) put({ keep });
      else if (over) {
        if (lab.sweep.over) put(more({ over }));
      } else if (lab && !inKernel()) put(results ? more(results) : state);
    },
  });
  // Python, or a widget linked to this one, has changed a knob: not what this view did itself.
  const follow = () => {
    const now = settings(), points = model.get("points");
    lab.controls.keep.checked = model.get("keep");
    if (lab.engineAt !== model.get("engine") && spare) lab.switch(model.get("engine"));
    if (!differs(now, lab.controls.settings) && !differs(points, lab.points)) return;
    lab.put(now, points, true);
    const message = model.get("message");
    if (message.startsWith(REFUSED)) lab.said.push(message);
  };
  let waiting = false; // several traits that change at once are one change
  const soon = () => {
    if (waiting) return;
    waiting = true;
    queueMicrotask(() => {
      waiting = false;
      follow();
    });
  };
  // Another view has paused the run that this one shows too, or let it go on.
  const pause = () => {
    const states = [root.dataset.state, model.get("state")];
    if (!states.every((state) => PAUSES.includes(state)) || !inKernel()) return;
    if (states[0] !== states[1]) lab.enter(states[1]);
  };
  follow();
  const heard = Object.fromEntries([...names.map(trait), "points", "keep", "engine"].map((name) => [name, soon]));
  heard.state = pause;
  for (const [name, listen] of Object.entries(heard)) model.on(`change:${name}`, listen);
  return () => {
    for (const [name, listen] of Object.entries(heard)) model.off(`change:${name}`, listen);
    lab.close();
  };
}

export default { render };
