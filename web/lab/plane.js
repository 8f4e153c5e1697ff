// The map of a loss over λ × p: a network for each cell and seed, trained by several
// workers at once, the mean over the seeds so far drawn as it comes.
import { Client } from "./client.js";
import { apply, text } from "./experiment.js";

const SEEDS = 3;
const WORKERS = Math.max(1, Math.min(4, (navigator.hardwareConcurrency ?? 2) - 1));
const DRAW = 150; // ms between two drawings

export class Plane {
  // plane: {figure, x: {name, values}, y: {name, values}}; load(settings) on a choice
  constructor(root, plane, packed, lab, load) {
    Object.assign(this, { plane, packed, lab, load, clients: [], free: [] });
    this.box = root.querySelector(".lab-plane");
    this.canvas = this.box.querySelector("[data-plane]");
    this.button = Object.assign(document.createElement("button"), {
      type: "button", name: "fill", textContent: "Fill the map of λ × p",
    });
    this.box.querySelector(".lab-fill").prepend(this.button, " ");
    this.said = this.box.querySelector("output");
    this.table = this.box.querySelector("table");
    this.button.onclick = () => (this.queue?.length ? this.stop() : this.fill());
  }

  fill() {
    const { x, y, figure } = this.plane;
    const cells = y.values.flatMap((_, row) => x.values.map((_, column) => ({ row, column })));
    const { seed } = this.lab.experiment;
    this.sums = cells.map(() => ({ sum: 0, count: 0 }));
    this.base = { ...this.lab.experiment };
    this.queue = Array.from({ length: SEEDS }, (_, k) => cells.map((c, index) => ({ ...c, index, seed: seed + k }))).flat();
    this.total = this.queue.length;
    this.done = 0;
    this.began = performance.now();
    this.canvas.hidden = false;
    window.bookFigures.add(this.canvas, figure);
    this.button.textContent = "Stop";
    if (!this.clients.length) {
      for (let k = 0; k < WORKERS; k++) this.clients.push(this.client());
    } else this.clients.forEach((client) => this.next(client));
    this.draw();
  }

  client() {
    const client = new Client(this.packed, this.base.data, {
      engine: () => this.next(client),
      cell: (cell) => this.take(client, cell),
      error: (message) => {
        this.said.value = message;
        this.take(client, null);
      },
    });
    return client;
  }

  next(client) {
    const job = this.queue.shift();
    client.job = job;
    if (!job) return;
    const { x, y } = this.plane;
    const settings = { [x.name]: x.values[job.column], [y.name]: y.values[job.row], seed: job.seed };
    client.post({ type: "cell", id: job.index, experiment: apply(this.base, settings) });
  }

  take(client, cell) {
    if (cell && client.job) {
      const { val_loss: loss } = cell.record, at = this.sums[client.job.index];
      at.sum += Number.isFinite(loss) ? loss : NaN;
      at.count += 1;
      this.done += 1;
    }
    this.next(client);
    this.draw();
  }

  stop() {
    this.queue = [];
    this.draw();
  }

  // At most a drawing every DRAW ms, and one at the end
  draw() {
    const over = !this.queue.length && this.clients.every((c) => !c.job);
    if (this.waiting && !over) return;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      this.waiting = null;
      this.paint(over);
    }, over ? 0 : DRAW);
  }

  paint(over) {
    const { figure, x, y } = this.plane, columns = x.values.length;
    const means = this.sums.map(({ sum, count }) => (count ? sum / count : NaN));
    const z = y.values.map((_, row) => means.slice(row * columns, (row + 1) * columns).map((v) => (Number.isFinite(v) ? v : null)));
    figure.data[0].z = z;
    const best = means.reduce((b, v, k) => (v < (means[b] ?? Infinity) || Number.isNaN(means[b]) ? k : b), 0);
    figure.layout.shapes = Number.isFinite(means[best]) ? outline(best % columns, Math.floor(best / columns)) : [];
    window.bookFigures.update(this.canvas, figure);
    const seconds = (performance.now() - this.began) / 1000;
    const left = this.done ? (seconds / this.done) * (this.total - this.done) : 0;
    this.said.value = over
      ? `${this.done} networks in ${seconds.toFixed(1)} s, ${this.clients.length} at a time; ${
        this.done === this.total ? `mean of ${SEEDS} seeds` : "not all were trained"}.`
      : `${this.done} of ${this.total} networks, about ${Math.ceil(left)} s left`;
    if (!over) return this.listen();
    this.button.textContent = "Fill the map again";
    this.list(means);
    this.listen();
  }

  listen() {
    if (this.listening || !this.canvas.on) return;
    this.listening = true;
    this.canvas.on("plotly_click", ({ points: [{ pointIndex: [row, column] }] }) => this.choose(row, column));
  }

  choose(row, column) {
    const { x, y } = this.plane;
    this.load({ [x.name]: x.values[column], [y.name]: y.values[row] });
  }

  // The map as a table of buttons: for the keyboard, and for those who do not see it
  list(means) {
    const { x, y } = this.plane, make = (tag, content) => {
      const made = document.createElement(tag);
      made.append(content);
      return made;
    };
    const head = document.createElement("tr");
    head.append(make("th", ""), ...x.values.map((v) => make("th", text(v))));
    const rows = y.values.map((v, row) => {
      const line = document.createElement("tr");
      line.append(make("th", text(v)), ...x.values.map((_, column) => {
        const mean = means[row * x.values.length + column];
        const button = make("button", Number.isFinite(mean) ? mean.toFixed(3) : "–");
        button.type = "button";
        button.onclick = () => this.choose(row, column);
        return make("td", button);
      }));
      return line;
    });
    this.table.replaceChildren(head, ...rows);
  }
}

const outline = (column, row) =>
  [["black", 5], ["white", 2]].map(([color, width]) => ({
    type: "rect", xref: "x", yref: "y", line: { color, width },
    x0: column - 0.5, x1: column + 0.5, y0: row - 0.5, y1: row + 0.5,
  }));
