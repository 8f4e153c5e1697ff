// The map of a loss over λ × p: a network for each cell and seed, trained all at once by
// WebGPU or by several workers, the mean over the seeds so far drawn as it comes.
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
    const { x, y, figure } = this.plane, { experiment, penalty } = this.lab;
    const base = apply(experiment, Object.fromEntries(penalty.map((name) => [name, 0])));
    const cells = y.values.flatMap((v) => x.values.map((u) => ({ [x.name]: u, [y.name]: v })));
    this.jobs = Array.from({ length: SEEDS }, (_, k) => cells.map((cell, index) =>
      ({ cell: index, experiment: apply(base, { ...cell, seed: base.seed + k }) }))).flat();
    this.queue = this.jobs.map((_, at) => at); // what is not yet trained
    this.losses = Array(this.jobs.length);
    Object.assign(this, { base, share: 0, epoch: 0, why: "", began: performance.now() });
    this.canvas.hidden = false;
    window.bookFigures.add(this.canvas, figure);
    this.button.textContent = "Stop";
    this.tryGpu();
    this.draw();
  }

  // All networks at once by WebGPU; where that fails, workers train what is missing.
  tryGpu() {
    this.onGpu = true;
    this.gpu ??= new Client(this.packed, this.base.data, {
      engine: () => {},
      cells: (cells) => cells.id === this.gpu.id && this.evolve(cells),
      error: (message) => this.takeOver(message),
    });
    this.gpu.id += 1;
    const experiments = this.jobs.map(({ experiment }) => experiment);
    this.gpu.post({ type: "map", id: this.gpu.id, experiments });
  }

  // The losses of jobs first, first + 1, … after an epoch
  evolve({ first, epoch, epochs, losses, over, name }) {
    if (!this.onGpu || !this.queue.length) return;
    Object.assign(this, { name, epoch });
    losses.forEach((loss, k) => (this.losses[first + k] = loss));
    this.share = (first + losses.length * (over ? 1 : epoch / epochs)) / this.jobs.length;
    if (over) this.queue = this.queue.filter((at) => at >= first + losses.length);
    this.draw();
  }

  takeOver(why) {
    if (!this.onGpu) return;
    Object.assign(this, { onGpu: false, why: ` (${why})`, name: this.engine });
    for (const at of this.queue) delete this.losses[at];
    if (this.clients.length) return this.clients.forEach((client) => this.next(client));
    for (let k = 0; k < WORKERS; k++) this.clients.push(this.client());
  }

  client() {
    const client = new Client(this.packed, this.base.data, {
      engine: (name) => {
        this.name = this.engine = name;
        this.next(client);
      },
      cell: (cell) => this.take(client, cell),
      error: (message) => {
        this.said.value = message;
        this.take(client, null);
      },
    });
    return client;
  }

  next(client) {
    client.job = this.queue.shift();
    if (client.job === undefined) return;
    const { experiment } = this.jobs[client.job];
    client.post({ type: "cell", id: client.job, experiment });
  }

  take(client, cell) {
    if (cell && client.job !== undefined) {
      this.losses[client.job] = cell.record.val_loss;
      this.share = Object.keys(this.losses).length / this.jobs.length;
    }
    this.next(client);
    this.draw();
  }

  stop() {
    this.queue = [];
    if (this.onGpu) this.gpu.send("stop");
    this.draw();
  }

  // At most a drawing every DRAW ms, and one at the end
  draw() {
    const over = !this.queue.length && this.clients.every((c) => c.job === undefined);
    if (this.waiting && !over) return;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      this.waiting = null;
      this.paint(over);
    }, over ? 0 : DRAW);
  }

  // Of each cell, over the seeds so far; NaN where one diverged or none is trained
  means() {
    const { x, y } = this.plane, sums = Array(x.values.length * y.values.length).fill(NaN);
    const counts = sums.map(() => 0);
    this.losses.forEach((loss, at) => {
      const { cell } = this.jobs[at];
      sums[cell] = (counts[cell]++ ? sums[cell] : 0) + (Number.isFinite(loss) ? loss : NaN);
    });
    return sums.map((sum, k) => sum / counts[k]);
  }

  paint(over) {
    const { figure, x, y } = this.plane, columns = x.values.length, means = this.means();
    const z = y.values.map((_, row) => means.slice(row * columns, (row + 1) * columns).map((v) => (Number.isFinite(v) ? v : null)));
    figure.data[0].z = z;
    const best = means.reduce((b, v, k) => (v < (means[b] ?? Infinity) || Number.isNaN(means[b]) ? k : b), 0);
    figure.layout.shapes = Number.isFinite(means[best]) ? outline(best % columns, Math.floor(best / columns)) : [];
    window.bookFigures.update(this.canvas, figure);
    this.said.value = this.progress(over);
    this.listen();
    if (!over) return;
    this.button.textContent = "Fill the map again";
    this.list(means);
  }

  progress(over) {
    const { share, onGpu, epoch, jobs, name, why } = this;
    const seconds = (performance.now() - this.began) / 1000;
    const trained = Math.round(share * jobs.length);
    const all = share === 1 ? `mean of ${SEEDS} seeds` : "not all were trained";
    const end = onGpu && share < 1
      ? `${jobs.length} networks, stopped after epoch ${epoch}`
      : `${trained} networks in ${seconds.toFixed(1)} s, ${onGpu ? "all" : this.clients.length} at ${onGpu ? "once" : "a time"}`;
    const left = share ? `, about ${Math.ceil((seconds / share) * (1 - share))} s left` : "";
    const way = onGpu ? `Epoch ${epoch} of ${jobs.length} networks` : `${trained} of ${jobs.length} networks`;
    const by = name ? ` Trained here, by ${name}${why}.` : "";
    return (over ? `${end}; ${all}.` : `${way}${left}.`) + by;
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
