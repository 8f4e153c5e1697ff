// A live lab: knobs, an engine that trains what they say, and the views of what came out. The same on
// the page and in JupyterLab; a host tells what differs.
import { rounded } from "./address.js";
import { Controls } from "./controls.js";
import { button, element, fold, output, painted, table, text } from "./dom.js";
import { Editor } from "./points.js";
import { apply, formula, members, scores } from "./question.js";
import { METRICS, Records } from "./records.js";
import { Sweep } from "./sweep.js";
import { VIEWS, watched } from "./views/index.js";
import { Curves } from "./views/curves.js";

const MOST_EPOCHS = 5000; // of a run that goes on
const RECENT = 20; // questions whose answers may still come
const SEED = { label: "seed", min: 0, values: [0, 2 ** 32 - 32], whole: true };
const OF_THE_DATA = ["n_train", "label_noise", "data"]; // knobs that own points overrule
const AWAY = {
  busy: {
    able: "The kernel is busy, so this browser trains meanwhile",
    unable: "The kernel is busy and trains when it is free",
  },
  gone: {
    able: "The kernel is gone, so this browser trains. Run the cell again to train in PyTorch",
    unable: "The kernel is gone. Run the cell again to train",
  },
};
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const session = Math.random().toString(36).slice(2, 8);
let questions = 0;

export class Lab {
  root; spec; host; points; said; recent; shown; spare; seen;

  // root: where to build it; spec: what utils/lab/views.py completed; host:
  // {number, plots, engines: {name: (on) => engine}, engine: a name, open() -> {settings, points, said},
  // note(settings, points, changed), share(changed, points) -> address or null, tell(state) or undefined}
  constructor(root, spec, host) {
    Object.assign(this, { root, spec, host, points: null, said: [], recent: [], shown: null });
    const seed = { ...SEED, value: spec.experiment.seed };
    this.knobs = { ...spec.knobs, seed };
    this.first = Object.fromEntries(Object.entries(this.knobs).map(([name, { value }]) => [name, value]));
    this.runs = spec.views.some((name) => VIEWS[name].needs !== "sweep");
    this.build();
    this.use(host.engine);
    this.restore(host.open());
  }

  // The elements, once

  build() {
    const { spec, host } = this;
    this.controls = new Controls(host.number, this.knobs, spec.seeds, {
      change: (name) => this.change(name),
      play: () => this.play(),
      pin: this.runs && (() => this.pin()),
      share: host.share && (() => this.share()),
      back: () => this.back(),
      engine: host.engines.kernel && host.engines.browser && ((name) => this.switch(name)),
      keep: (goesOn) => host.tell?.({ keep: goesOn }),
    });
    this.numbers = this.buildNumbers();
    this.formula = element("p", { className: "lab-formula" });
    this.message = output("message", { role: "status" });
    this.engineName = output("engine");
    this.canvases = Object.fromEntries(spec.views.map((name) => [name, this.canvas(name)]));
    const { curves, ...rest } = this.canvases, [[first, sole]] = Object.entries(this.canvases);
    const main = curves ?? (this.runs ? null : sole), panels = { ...rest };
    if (!curves && main) delete panels[first];
    if (spec.asked) delete panels.map; // it has a place of its own
    this.views = Object.fromEntries(spec.views.filter((n) => n !== "curves").map((n) => [n, VIEWS[n]]));
    if (curves) this.curves = new Curves(spec, curves, host.plots);
    this.own = fold("Your run as a table", element("div", { className: "plot-table lab-table", tabIndex: 0 }));
    this.own.ontoggle = () => this.table();
    const views = element("div", { className: "lab-views" }, ...(main ? [main] : []),
      element("div", { className: "lab-panels" },
        ...Object.values(panels).map((canvas) => element("div", {}, canvas))));
    this.live = element("div", { className: "lab-live" },
      element("p", { className: "lab-about", textContent: spec.description }),
      element("div", { className: "lab-side" }, this.controls.form, this.numbers, this.formula), views,
      element("p", { className: "lab-status" }, this.message, " ", this.engineName));
    if (Object.keys(spec.over).length) this.buildSweep();
    if (this.runs) this.live.append(this.own);
    const flat = ["regions", "fit"].find((name) => this.canvases[name]);
    if (flat) this.edit(flat);
    this.root.querySelector(".lab-still")?.remove();
    this.root.append(this.live);
    this.root.classList.add("live");
    for (const [name, canvas] of Object.entries(panels)) {
      if (VIEWS[name].needs !== "sweep") host.plots.add(canvas, spec.figures[name]);
    }
  }

  canvas(name) {
    const { layout } = this.spec.figures[name];
    const canvas = element("div", { className: "plot-canvas", role: "img", data: { view: name } });
    canvas.setAttribute("aria-label", layout.meta.description);
    canvas.style.minHeight = `${layout.height}px`;
    return canvas;
  }

  buildNumbers() {
    const { spec } = this, rows = [...METRICS.filter((name) => name !== "train_accuracy"), "gap"];
    if (spec.against) rows.push("difference");
    this.books = results(spec.reference, spec.experiment.patience);
    const labels = { ...spec.labels, difference: "yours − the baseline’s, paired (± standard error)" };
    const row = (name) => element("div", { className: name === "difference" ? "lab-difference" : "" },
      element("dt", { textContent: labels[name] }),
      element("dd", {}, output(name, { value: this.books[name] === undefined ? "–" : this.format(name, this.books[name]) })));
    const epoch = output("epoch", { value: this.books.epoch });
    const draws = spec.seeds > 1 ? `, means of ${spec.seeds} draws` : "";
    return element("div", { className: "lab-results" }, element("p", {}, "After epoch ", epoch, `${draws}:`),
      element("dl", {}, ...rows.map(row)));
  }

  buildSweep() {
    const { spec } = this, name = Object.keys(spec.over).length === 2 ? "map" : "path";
    if (!this.canvases[name]) this.canvases[name] = this.canvas(name);
    this.sweep = new Sweep(spec, this.canvases[name], this.host.plots, {
      ask: (job) => {
        this.engine.sweep(job);
        if (this.hidden) this.engine.pause(job.id);
      },
      stop: (id) => [this.engine, this.spare].forEach((engine) => engine?.stop(id)),
      drawn: (id) => this.engine.drawn(id),
      id: () => this.newId(),
      choose: (settings) => this.put(settings),
      settled: () => this.settle(),
    });
    this.live.append(this.sweep.box);
  }

  edit(name) {
    const { spec, host } = this;
    this.editor = new Editor(this.canvases[name], spec, host.plots, {
      points: () => this.points ?? this.drawn(),
      own: () => Boolean(this.points),
      change: (points) => this.move(points),
    });
    this.canvases[name].parentElement.append(this.editor.tools);
  }

  // The training points in force as the engine told them
  drawn() {
    const { training } = this.seen ?? {};
    return training && { X: Array.from(training.X, rounded), y: Array.from(training.y, rounded) };
  }

  // Engines

  use(name) {
    this.engine?.close();
    this.engineAt = name;
    this.engine = this.host.engines[name]({
      engine: (said) => this.called({ engine: said }),
      frame: (frame) => this.frame(frame),
      cells: (found) => this.sweep?.take(found),
      error: (error) => this.wrong(error),
      away: (why, job) => this.away(why, job),
      back: () => this.kernelBack(),
    });
    if (this.controls.engine) this.controls.engine.value = name;
  }

  switch(name) {
    this.said = [];
    this.use(name);
    this.host.chosen?.(name);
    this.ask(false);
  }

  // Say who trains what was asked last
  called(names = {}) {
    this.trainers = { ...this.trainers, ...names };
    const spare = this.spare && this.trainer === this.spare, by = this.trainers[spare ? "spare" : "engine"];
    this.engineName.value = by ? `Trained ${spare ? "in this browser" : "here"}, by ${by}.` : "";
  }

  // The kernel does not answer: this browser trains meanwhile, the same networks, where it can
  away(why, job) {
    const gone = why === "gone", { browser } = this.host.engines, { state } = this.root.dataset;
    this.remark = AWAY[why][browser ? "able" : "unable"];
    if (gone) this.controls.engine?.closest("label").remove();
    if (!browser) {
      if (gone && (job || state !== "done")) this.enter("error");
      return this.say();
    }
    this.spare ??= browser({
      engine: (said) => this.called({ spare: said }),
      frame: (frame) => this.frame(frame),
      cells: (found) => this.sweep?.take(found),
      error: (error) => this.wrong(error),
    });
    if (gone) this.engine = this.spare;
    if (job) {
      this.spare[job.type]({ ...job, keep: false }); // it has not the kernel's weights
      if (job.type === "run") Object.assign(this, { trainer: this.spare, shown: null });
      if (state === "paused") this.spare.pause(job.id);
    }
    this.called();
    return this.say();
  }

  kernelBack() {
    this.remark = "";
    this.say();
  }

  close() {
    this.engine?.close();
    this.spare?.close();
    for (const canvas of Object.values(this.canvases)) this.host.plots.drop(canvas);
  }

  newId = () => `${session}-${(questions += 1)}`;
  answers = (id, ids = [id]) => id === undefined || ids.includes(this.asked?.id);

  // What the reader does

  change(name) {
    const { over } = this.spec;
    if (this.runs || !Object.hasOwn(over, name)) return this.moved();
    this.said = [];
    this.note();
    return this.sweep.mark(this.controls.settings);
  }

  move(points, look) {
    this.points = points;
    this.moved(look);
  }

  // Settings from outside: the address, a cell of the map; to look at is what another view may have begun
  put(settings, points = this.points, look = false) {
    this.controls.settings = settings;
    this.move(points, look);
  }

  moved(look = false) {
    this.said = [];
    this.ask(this.controls.keep.checked, look); // first, for a kernel has it sooner
    this.note();
  }

  restore({ settings, points, said }) {
    this.controls.settings = { ...this.first, ...settings };
    this.points = points;
    this.said = said;
    this.ask(false);
  }

  // What differs from the book's own settings
  changed() {
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
    return Object.fromEntries(Object.entries(this.controls.settings)
      .filter(([name, value]) => !same(value, this.first[name])));
  }

  note() {
    this.host.note(this.controls.settings, this.points, this.changed());
  }

  play() {
    const { state } = this.root.dataset;
    if (state === "training") {
      this.trainer.pause(this.asked.id);
      this.enter("paused");
    } else if (state === "paused") {
      this.trainer.resume(this.asked.id);
      this.enter("training");
    } else this.ask(this.controls.keep.checked);
  }

  // Not when nobody looks
  rest(hidden) {
    this.hidden = hidden;
    const act = hidden ? "pause" : "resume";
    if (this.sweep && !this.sweep.over) this.engine[act](this.sweep.id);
    if (this.root.dataset.state === "training" && this.asked) this.trainer[act](this.asked.id);
  }

  pin() {
    if (!this.curves || !this.records || this.records.empty) return;
    const label = Object.entries(this.changed()).map(([name, value]) =>
      `${this.knobs[name].label.split(" (")[0]} = ${this.named(name, value)}`).join(", ");
    this.curves.pin(this.records, (this.points ? "own points, " : "") + (label || "as in the book"));
  }

  named(name, value) {
    const { choices, texts } = this.knobs[name];
    const at = choices?.findIndex((choice) => JSON.stringify(choice) === JSON.stringify(value));
    return choices ? texts[at] : text(value);
  }

  async share() {
    const address = this.host.share(this.changed(), this.points);
    try {
      await navigator.clipboard.writeText(address);
      this.say("The link to this setting is on the clipboard.");
    } catch {
      this.say("The address of this page now leads to this setting.");
    }
  }

  back() {
    this.put(this.first, null);
  }

  // Questions

  ask(keep, look = false) {
    const { spec, points } = this, { settings } = this.controls;
    this.experiment = apply(spec.experiment, settings);
    this.formula.innerHTML = formula(this.experiment);
    this.controls.disable(points ? OF_THE_DATA : []);
    this.controls.refuse("");
    this.editor?.refresh();
    if (this.sweep) this.sweep.follow(settings, points);
    if (!this.runs) return this.enter(this.sweep.over ? "done" : "training");
    const watch = watched(this.views, spec, this.experiment);
    const question = {
      id: this.newId(), members: members(spec, settings, points), points, keep, scores: scores(this.experiment), watch,
    };
    this.asked = { ...question, experiment: this.experiment };
    this.recent = [...this.recent, this.asked].slice(-RECENT);
    if (this.records && !this.records.empty && this.records.over) this.curves?.ghost(this.records);
    this.stale(true, true);
    const same = this.trainer === this.engine; // who has the weights to go on with
    this.trainer = this.engine;
    this.called();
    this.enter("training");
    this.engine.run({ ...question, keep: keep && same, look });
    if (this.hidden) this.trainer.pause(this.asked.id);
    return undefined;
  }

  // Old numbers and pictures are dimmed until the new ones come.
  stale(numbers, pictures) {
    this.numbers.classList.toggle("lab-stale", numbers);
    for (const [name, { needs }] of Object.entries(this.views)) {
      if (needs === "sweep") continue;
      this.canvases[name].classList.toggle("lab-stale", needs === "records" ? numbers : pictures);
    }
  }

  enter(state) {
    this.root.dataset.state = state;
    this.controls.play.textContent = { training: "Pause", paused: "Go on" }[state] ?? "Train again";
    this.host.tell?.({ state });
  }

  // Answers

  // A frame belongs to a question; while knobs move fast, to one that is not the last. What is older
  // than what is on show is dropped.
  frame(frame) {
    const { id, ids = [id], fresh, epochs, members: told } = frame;
    const at = this.recent.findLastIndex((question) => ids.includes(question.id));
    if (at < 0 || at < this.recent.indexOf(this.shown)) return;
    if (this.recent[at] !== this.shown) this.begin(frame, this.recent[at]);
    const again = fresh && told.some((member) => this.records.last[member] >= epochs[0]); // a worker has died
    if (again || this.records.epochs.length > MOST_EPOCHS) this.records.clear();
    this.records.take(frame);
    const { state } = this.root.dataset;
    if (state === "done" && this.shown === this.asked && !this.records.over) this.enter("training"); // by another view
    if (frame.views) {
      const told = Object.entries(frame.views).filter(([, values]) => values);
      this.seen = { ...this.seen, ...Object.fromEntries(told) };
      this.newViews = true;
    }
    this.drawSoon();
  }

  begin({ fresh }, question) {
    const { members: all, keep, experiment: { patience, data } } = question;
    if (fresh || !this.records || this.records.count !== all.length) {
      this.records = new Records(all.length, this.spec.seeds, patience);
      if (keep && this.trained) this.said.push("Started again: these settings cannot go on from other weights");
    } else this.records.status.fill("running");
    this.records.patience = patience;
    if (data !== this.trained) this.seen = {};
    this.trained = data;
    this.shown = question;
  }

  async drawSoon() {
    if (this.drawing) {
      this.again = true;
      return;
    }
    this.drawing = true;
    try {
      do {
        this.again = false;
        const { shown } = this;
        if (!shown) continue;
        const { over } = this.records;
        if (over || !calm.matches) await this.draw(over);
        this.trainer.drawn(shown.id);
        if (over && shown === this.asked) this.end();
      } while (this.again);
    } finally {
      this.drawing = false;
    }
  }

  async draw(over) {
    const { records } = this;
    if (!records || records.empty) return;
    const found = records.results();
    if (found) this.show(found);
    await this.curves?.draw(records, over, this.shown.experiment);
    if (found && this.shown === this.asked) this.numbers.classList.remove("lab-stale");
    if (!this.newViews && !over) return;
    await painted(); // the curves first
    await this.panels();
  }

  async panels() {
    this.newViews = false;
    const { seen, spec, records, shown, shown: { points, experiment } } = this;
    for (const [name, view] of Object.entries(this.views)) {
      const { needs } = view, canvas = this.canvases[name];
      if (needs === "records" ? !records.results() : !seen?.[needs]) continue;
      view.draw(spec.figures[name], { seen, spec, records, points, experiment });
      await this.host.plots.update(canvas, spec.figures[name]);
      if (shown === this.asked) canvas.classList.remove("lab-stale");
      await painted(); // one chart a task: none may hold the page up
    }
    this.editor?.refresh();
  }

  format(name, value) {
    const share = name.endsWith("accuracy") && this.spec.task !== "regression";
    return share ? `${(100 * value).toFixed(1)}%` : value.toFixed(4);
  }

  show(found) {
    const put = (name, value) => {
      const place = this.numbers.querySelector(`output[name=${name}]`);
      if (place) place.value = value;
    };
    put("epoch", text(Number(found.epoch.toFixed(1))));
    for (const name of [...METRICS, "gap"]) put(name, this.format(name, found[name]));
    if (found.draws) put("difference", difference(found));
    this.results = found;
  }

  end() {
    const { records, experiment } = this;
    if (records.diverged) return this.fail("The loss is no longer a number: this run diverged.");
    this.good = { settings: this.controls.settings, points: this.points };
    this.stale(false, false);
    this.table();
    this.enter("done");
    const { epoch, train_loss: t, val_loss: v } = this.results;
    const early = records.status.includes("stopped early");
    const kept = experiment.patience && early ? `stopped early, epoch ${text(Number(epoch.toFixed(1)))} is kept. ` : "";
    const last = Math.max(...records.last), many = this.spec.seeds > 1 ? `, mean of ${this.spec.seeds} draws` : "";
    this.say(`${kept}After epoch ${last}${many}: training loss ${t.toFixed(4)}, validation loss ${v.toFixed(4)}`
      + (this.results.draws ? `; ${difference(this.results)}.` : "."));
    this.host.tell?.({ results: this.results });
    return undefined;
  }

  say(what = this.news ?? "") {
    this.news = what;
    this.message.value = [...this.said, this.remark, what].filter(Boolean).join(". ");
    this.host.tell?.({ message: this.message.value });
  }

  wrong({ id, message }) {
    const { sweep } = this, over = Boolean(sweep) && id === sweep.id;
    if (over) sweep.fail();
    if (over || this.answers(id)) this.fail(message);
  }

  // The last good state stays, with a way back to it
  fail(message) {
    this.controls.refuse(message);
    this.enter("error");
    this.say(message);
    this.host.tell?.({ error: message });
    if (!this.good) return;
    const { settings, points } = this.good;
    this.message.append(" ", button("good", "Back to the last good settings", () => this.put(settings, points)));
  }

  settle() {
    if (this.sweep.failed) return;
    if (!this.runs) {
      this.enter(this.sweep.over ? "done" : "training");
      const found = this.sweep.standing();
      if (found) this.show(found);
    }
    this.host.tell?.({ over: this.sweep.results() });
  }

  table() {
    if (!this.own.open || !this.records || this.records.empty) return;
    const { epochs, mean } = this.records.curve(), { labels } = this.spec;
    const rows = epochs.map((epoch, k) => [epoch, ...METRICS.map((name, m) => this.format(name, mean[m][k]))]);
    this.own.lastChild.replaceChildren(table([["epoch", ...METRICS.map((name) => labels[name])], ...rows]));
  }
}

const difference = ({ difference: d, se, better, draws }) =>
  `${d < 0 ? "−" : "+"}${Math.abs(d).toFixed(4)} ± ${se.toFixed(4)}, lower on ${better} of ${draws} draws`;

// The numbers of the book's own run at the epoch that counts
function results(reference, patience) {
  const losses = reference.val_loss;
  const at = patience ? losses.indexOf(Math.min(...losses)) : losses.length - 1;
  const found = Object.fromEntries(METRICS.map((name) => [name, reference[name][at]]));
  return { ...found, gap: found.val_loss - found.train_loss, epoch: reference.epoch[at] };
}
