// The lab's sweep over one knob or two: a network for each cell and draw, the mean over the draws so
// far drawn as they come, as a path or a map on which the sliders stand.
import { button, element, fold, output, table, text } from "./dom.js";
import { METRICS, effect } from "./records.js";
import { apply, cells, jobs, sweepSeeds } from "./question.js";
import { VIEWS } from "./views/index.js";

const DRAW = 150; // ms between two drawings
const VAL = METRICS.indexOf("val_loss");

export class Sweep {
  spec; canvas; plots; on; seeds; jobs; settings; points;
  id; done; total; began; by; failed;

  // on: {ask(job), stop(id), drawn(id), id() -> a new one, choose(settings), settled()}
  constructor(spec, canvas, plots, on) {
    Object.assign(this, { spec, canvas, plots, on, seeds: sweepSeeds(spec), jobs: [] });
    this.names = Object.keys(spec.over);
    this.name = this.names.length === 2 ? "map" : "path";
    this.view = VIEWS[this.name];
    this.figure = spec.figures[this.name];
    this.cells = cells(spec);
    this.byCell = this.cells.map(() => []);
    this.said = output("map", { role: "status" });
    this.list = element("div", { className: "plot-table lab-cells", tabIndex: 0 });
    this.table = fold(this.name === "map" ? "The map as a table" : "The curve as a table", this.list);
    this.button = button("fill", this.called(), () => (this.over ? this.start() : this.stop()));
    this.over = true;
    canvas.hidden = spec.asked;
    const fill = element("p", { className: "lab-fill" }, ...(spec.asked ? [this.button, " "] : []), this.said);
    this.box = element("div", { className: "lab-sweep" }, fill, ...(spec.asked ? [canvas] : []), this.table);
    if (!spec.asked) plots.add(canvas, this.figure);
  }

  called = (again = "") => `Fill the ${this.name === "map" ? "map" : "curve"} over ${
    this.names.map((name) => this.spec.knobs[name]?.label.split(" (")[0] ?? name).join(" × ")}${again}`;

  // The settings have changed: what the sweep shows may be of others now.
  follow(settings, points) {
    const own = Object.entries(settings).filter(([name]) => !this.names.includes(name));
    const key = JSON.stringify([own, points]);
    Object.assign(this, { settings, points });
    const stale = this.stale = key !== this.key;
    if (!this.spec.asked && stale) {
      this.wanted = key;
      this.start();
    } else if (this.jobs.length) {
      this.canvas.classList.toggle("lab-stale", stale);
      if (stale && this.over) this.button.textContent = this.called(" again");
      this.draw();
    }
  }

  start() {
    const own = Object.entries(this.settings).filter(([name]) => !this.names.includes(name));
    this.key = JSON.stringify([own, this.points]);
    this.jobs = jobs(this.spec, this.settings, this.points);
    this.byCell = this.cells.map(() => []);
    this.place = new Map(); // job -> where among its cell's records
    Object.assign(this, { over: false, failed: false, stale: false });
    Object.assign(this, { id: this.on.id(), done: 0, total: this.jobs.length, began: performance.now() });
    if (this.canvas.hidden) {
      this.canvas.hidden = false;
      this.plots.add(this.canvas, this.figure);
    }
    this.canvas.classList.add("lab-stale");
    this.button.textContent = "Stop";
    const members = this.jobs.map(({ experiment }) => experiment);
    clearTimeout(this.waiting); // what is drawn stays, dimmed, until there is something new
    this.waiting = null;
    this.said.value = this.progress();
    this.on.ask({ id: this.id, members, points: this.points });
  }

  stop() {
    this.on.stop(this.id);
    this.finish();
  }

  // It cannot be trained; the next move tries again.
  fail() {
    Object.assign(this, { over: true, failed: true, key: null });
    clearTimeout(this.waiting);
    this.waiting = null;
    this.said.value = this.progress();
    this.button.textContent = this.called(" again");
  }

  // An answer to another question is none.
  take({ id, ids = [id], members, records, done, total, over, name }) {
    if (!ids.includes(this.id) || this.over) return;
    members.forEach((at, k) => {
      const rows = this.byCell[this.jobs[at].cell];
      if (!this.place.has(at)) this.place.set(at, rows.length);
      rows[this.place.get(at)] = records.slice(4 * k, 4 * k + 4);
    });
    Object.assign(this, { done, total, by: name });
    this.canvas.classList.toggle("lab-stale", this.stale);
    if (over) this.finish();
    else this.draw();
  }

  finish() {
    this.over = true;
    this.seconds = (performance.now() - this.began) / 1000;
    this.button.textContent = this.called(" again");
    this.draw(true);
  }

  // At most a drawing every DRAW ms, and one at the end
  draw(now = false) {
    if (now) clearTimeout(this.waiting);
    else if (this.waiting) return;
    this.waiting = setTimeout(() => {
      this.waiting = null;
      this.paint();
    }, now ? 0 : DRAW);
  }

  async paint() {
    if (this.canvas.hidden) return;
    this.view.draw(this.figure, this);
    await this.plots.update(this.canvas, this.figure);
    this.on.drawn(this.id);
    this.said.value = this.progress();
    this.listen();
    if (this.over) this.fill();
    this.on.settled();
  }

  // Means of a cell over its draws so far, `se` the standard error of val_loss; NaN where one diverged,
  // or none is trained
  /** @returns {any} */
  cell(k) {
    const rows = this.byCell[k];
    const found = Object.fromEntries(METRICS.map((name, m) =>
      [name, rows.reduce((sum, row) => sum + row[m], 0) / rows.length]));
    return { ...found, se: effect(rows.map((row) => row[VAL])).se, draws: rows.length };
  }

  results() {
    return this.cells.map((settings, k) => ({ ...settings, ...this.cell(k) }));
  }

  // The cell nearest to the sliders
  nearest(settings) {
    const value = (name) => settings[name] ?? this.spec.experiment[name];
    const places = this.names.map((name) => {
      const values = this.spec.over[name], wanted = value(name);
      return values.reduce((best, v, k) => (Math.abs(v - wanted) < Math.abs(values[best] - wanted) ? k : best), 0);
    });
    const [x, y = 0] = places;
    return { x, y, cell: y * this.spec.over[this.names[0]].length + x };
  }

  // Move the mark to the sliders
  mark(settings) {
    this.settings = settings;
    this.draw(true);
  }

  // The numbers where the sliders stand; undefined before there are any
  standing() {
    const found = this.cell(this.nearest(this.settings).cell);
    if (!found.draws) return undefined;
    const { epochs: epoch } = apply(this.spec.experiment, this.settings);
    return { ...found, gap: found.val_loss - found.train_loss, epoch, draws: 0 };
  }

  progress() {
    const { done, total, over, by, seeds } = this, made = by ? ` Trained here, by ${by}.` : "";
    if (this.failed) return "";
    if (!over) {
      const gone = (performance.now() - this.began) / 1000;
      const left = done ? `, about ${Math.ceil((gone / done) * (total - done))} s left` : "";
      return `${done} of ${total} networks${left}.${made}`;
    }
    const what = done === total ? `mean of ${seeds} seeds` : "not all were trained";
    return `${done} networks in ${this.seconds.toFixed(1)} s; ${what}.${made}`;
  }

  listen() {
    if (this.listening || !this.canvas.on) return;
    this.listening = true;
    this.canvas.on("plotly_click", ({ points: [{ pointIndex, pointNumber }] }) => {
      const [row, column] = Array.isArray(pointIndex) ? pointIndex : [0, pointNumber];
      this.pick(row * this.spec.over[this.names[0]].length + column);
    });
  }

  pick(cell) {
    const known = Object.entries(this.cells[cell]).filter(([name]) => this.spec.knobs[name]);
    this.on.choose(Object.fromEntries(known));
  }

  // As a table of buttons: for the keyboard, and for those who do not see the picture
  fill() {
    const [xs, ys] = this.names.map((name) => this.spec.over[name]);
    const [x, y] = this.names.map((name) => this.spec.labels[name]), corner = y ? `${y} ↓, ${x} →` : x;
    const one = (k) => {
      const { val_loss: mean } = this.cell(k);
      return button("", Number.isFinite(mean) ? mean.toFixed(3) : "–", () => this.pick(k));
    };
    const rows = (ys ?? [""]).map((v, row) =>
      [ys ? text(v) : "validation loss", ...xs.map((_, column) => one(row * xs.length + column))]);
    this.list.replaceChildren(table([[corner, ...xs.map(text)], ...rows]));
  }
}
