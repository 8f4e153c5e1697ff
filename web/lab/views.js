// What a lab draws: curves, what the network computes, its weights. The figures come
// from the build (utils/page_lab.py) with the book's style; here they get their numbers.

const MARKED = 100; // training points on show

export class Views {
  // figures: {curves, picture, weights, inputs}; canvases by the same names
  constructor(figures, canvases) {
    this.figures = figures;
    this.canvases = canvases;
    this.pinned = [];
    const { data } = figures.curves;
    this.own = data.filter((trace) => trace.name === "your run"); // training, validation
    this.own.forEach((trace, k) => (trace.uid = `own${k}`)); // for stretch
    this.slots = data.filter((trace) => trace.visible === false); // for pinned runs
    for (const [name, canvas] of Object.entries(canvases)) window.bookFigures.add(canvas, figures[name]);
  }

  // One chart a task: none may hold the page up.
  async show(name) {
    await window.bookFigures.update(this.canvases[name], this.figures[name]);
    await new Promise(requestAnimationFrame);
  }

  // records: of the run at hand, in order; kept: the epoch to mark, if any
  curves(records, kept, over) {
    const [train, val] = this.own;
    const x = records.map((r) => r.epoch);
    Object.assign(train, { x, y: records.map((r) => finite(r.train_loss)), visible: true });
    Object.assign(val, { x, y: records.map((r) => finite(r.val_loss)), visible: true });
    const { layout } = this.figures.curves, marked = layout.shapes?.length;
    layout.shapes = kept ? [line(kept, val.line.color)] : [];
    if (!over && !marked && window.bookFigures.stretch(this.canvases.curves, this.own)) return;
    return this.show("curves");
  }

  pin(records, label) {
    this.pinned = [{ records, label }, ...this.pinned].slice(0, this.slots.length);
    this.slots.forEach((slot, k) => {
      const pin = this.pinned[k];
      slot.visible = Boolean(pin);
      if (!pin) return;
      slot.x = pin.records.map((r) => r.epoch);
      slot.y = pin.records.map((r) => finite(r.val_loss));
      slot.name = pin.label;
    });
    this.show("curves");
  }

  async panels({ weights, points, validation, inputs, training }) {
    await this.histogram(weights);
    const { picture } = this.figures;
    if (training && points) mark(picture, training);
    const seen = points ?? validation;
    if (picture && seen) {
      DRAW[picture.layout.meta.kind](picture, seen);
      await this.show("picture");
    }
    if (inputs) {
      images(this.figures.inputs, inputs);
      await this.show("inputs");
    }
  }

  histogram(weights) {
    const figure = this.figures.weights, { bins } = figure.layout.meta;
    const most = weights.reduce((a, w) => Math.max(a, Math.abs(w)), 0);
    const limit = roundUp(most), counts = new Array(bins).fill(0), width = (2 * limit) / bins;
    let zeros = 0;
    for (const w of weights) {
      if (w === 0) zeros += 1;
      else counts[Math.min(bins - 1, Math.floor((w + limit) / width))] += 1;
    }
    Object.assign(figure.data[0], { x: counts.map((_, k) => -limit + (k + 0.5) * width), y: counts });
    figure.layout.annotations[0].text =
      `weights<br>exactly 0: ${zeros.toLocaleString("en")} of ${weights.length.toLocaleString("en")}`;
    return this.show("weights");
  }
}

const finite = (v) => (Number.isFinite(v) ? v : null);

const line = (x, color) => ({
  type: "line", yref: "paper", y0: 0, y1: 1, x0: x, x1: x,
  line: { color, width: 1.5, dash: "dash" },
});

function roundUp(value) {
  if (!value || !Number.isFinite(value)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 5, 7, 10].find((s) => s * power >= value) * power;
}

const DRAW = {
  regions(figure, p) {
    const [colors, border] = figure.data, columns = colors.x.length;
    border.z = colors.z = Array.from(colors.y, (_, r) => Array.from(p.slice(r * columns, (r + 1) * columns)));
  },
  images(figure, p) {
    const { labels, wrong, right } = figure.layout.meta, classes = p.length / labels.length;
    const guess = labels.map((_, k) => {
      const row = p.slice(k * classes, (k + 1) * classes);
      return row.indexOf(row.reduce((a, b) => Math.max(a, b)));
    });
    const mark = figure.data[1], off = guess.map((g, k) => g !== labels[k]);
    mark.text = guess.map((g, k) => (off[k] ? `<b>${labels[k]}→${g}✗</b>` : `${g}`));
    mark.textfont = { ...mark.textfont, color: off.map((o) => (o ? wrong : right)) };
    figure.layout.annotations[0].text =
      `validation images<br>${off.filter(Boolean).length} of ${labels.length} wrong (✗)`;
  },
  targets(figure, p) {
    figure.data[1].y = Array.from(p);
  },
  shares(figure, p) {
    const { labels } = figure.layout.meta, bins = figure.data[0].x.length;
    for (const k of [0, 1]) {
      const counts = new Array(bins).fill(0);
      labels.forEach((y, i) => {
        if (y === k) counts[Math.min(bins - 1, Math.floor(p[i] * bins))] += 1;
      });
      figure.data[k].y = counts;
    }
  },
};

// The training points, by class, and those whose label is not their own; of many, some:
// each is an element of the page, and every hundred hold it up for some 5 ms.
function mark({ data, layout }, { X, y, clean }) {
  const classes = data.slice(2).map((trace) => Object.assign(trace, { x: [], y: [] }));
  const put = (trace, i) => {
    trace.x.push(X[2 * i]);
    trace.y.push(X[2 * i + 1]);
  };
  const [note] = layout.annotations, some = y.length > MARKED;
  const what = some ? `${MARKED} of ${y.length} training points` : "training points";
  note.text = note.text.replace(/, .*?<br>/, `, ${what}<br>`);
  y.slice(0, MARKED).forEach((label, i) => {
    put(classes[label], i);
    if (label !== clean[i]) put(classes[2], i);
  });
}

// A mosaic of two rows: images as they are, and as the network sees them
function images(figure, { plain, seen }) {
  const { rows, columns } = figure.layout.meta, { z } = figure.data[0];
  for (const line of z) line.fill(null);
  [plain, seen].forEach((pixels, row) => pixels.forEach((value, at) => {
    const k = Math.floor(at / (rows * columns)), i = Math.floor(at / columns) % rows;
    z[row * (rows + 1) + i][k * (columns + 1) + (at % columns)] = value;
  }));
}
