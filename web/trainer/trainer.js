// Trains one network in the page: utils/engine for one member.
import { onSplit, trainingSet } from "./data.js";
import { Draws } from "./draws.js";
import { check, checkData, checkMemory, checkPoints } from "./experiment.js";
import { Network, memoryNeeded, pad } from "./network.js";
import { PURPOSE, permutation, uniforms } from "./random.js";
import { warp } from "./warp.js";

export const BETA1 = 0.9, BETA2 = 0.999;
// Memory is laid out by these.
const SHAPE = ["data", "n_train", "hidden", "activation", "batch_norm", "batch_size"];
// A run cannot go on with others of these: structure in utils/engine/ensemble.py.
const STRUCTURE = [...SHAPE, "dropout_at", "optimizer", "l1_method", "penalize_bias"];

const alike = (fields, a, b) => fields.every((f) => JSON.stringify(a[f]) === JSON.stringify(b[f]));
export const sameStructure = (a, b) => alike(STRUCTURE, a, b) && !a.augment === !b.augment;

export class Trainer {
  e; source; data; points;

  // experiment: as Experiment.to_json writes it; source: what unpack returned; points:
  // {X: Float64Array [n · features], y: Float64Array, n} to train on in place of data's.
  // Throws RangeError for a field out of range or a network too large for a page.
  constructor(engine, experiment, source, points = null) {
    this.engine = engine;
    this.set(experiment, points, source);
    this.reset();
  }

  // New settings, of every field. Weights, moments and epoch stay, unless memory is laid
  // out anew: then `reset` is due.
  set(experiment, points = null, source = this.source) {
    const old = this.e, e = fitted(experiment, points, source), data = onSplit(source, e.split);
    const laid = old && source === this.source && alike(SHAPE, old, e);
    if (!laid) this.lay(e, data);
    const same = laid && !this.points && data === this.data && alike(["seed", "label_noise"], old, e);
    if (points) this.train = points === this.points ? this.train : { ...points, clean: points.y };
    else if (!same) this.train = trainingSet(e, data);
    this.steps = Math.ceil(e.n_train / e.batch_size);
    Object.assign(this, { e, source, data, points });
  }

  // A network in the memory at hand, as far as that reaches
  lay(e, data) {
    const bytes = memoryNeeded(e, data);
    checkMemory(bytes);
    this.memory = this.engine.open(bytes, this.memory);
    const { kernels, buffer, base } = this.memory;
    this.network = new Network(e, data, base).attach(kernels, buffer);
    this.draws = new Draws(this.network);
  }

  reset() {
    this.network.reset(this.e.seed, this.e.init_scale);
    this.epoch = 0;
    this.begin();
  }

  // Train `e.epochs` more, from where the last trained epoch ended
  goOn() {
    if (this.last) this.network.restore(this.last);
    this.begin();
  }

  begin() {
    this.began = this.epoch;
    this.end = this.epoch + this.e.epochs;
    this.status = "running";
    this.kept = { epoch: this.epoch, loss: Infinity };
    this.last = null; // the last trained epoch's state, where a kept one is on show
  }

  // Whether the coming epoch is one of about `count` to be scored, spread over the run
  due(count) {
    const t = this.epoch - this.began, of = this.end - this.began;
    return t === 0 || Math.floor(((t + 1) * count) / of) > Math.floor((t * count) / of);
  }

  // Train one epoch; returns {epoch, train_loss, train_accuracy, val_loss, val_accuracy},
  // or null where no score is asked for and the run is not over. Patience sees every epoch.
  runEpoch(score = true) {
    this.trainEpoch();
    const { epoch, data: { validation } } = this, full = score || epoch >= this.end;
    if (!full && !this.e.patience) {
      this.kept = { epoch, loss: Infinity };
      return null;
    }
    /** @type {any} */
    let record = { epoch, ...this.scored("val", validation), ...(full && this.scored("train", this.train)) };
    this.judge(record);
    const over = this.status !== "running";
    if (over && !full) record = { ...record, ...this.scored("train", this.train) };
    if (over) this.show();
    return full || over ? record : null;
  }

  trainEpoch() {
    const { e, network } = this;
    const order = permutation(e.seed, PURPOSE.ORDER, this.epoch, e.n_train);
    const noisy = e.augment && Object.values(e.augment).some(Boolean);
    for (let s = 0; s < this.steps; s++) {
      const rows = order.subarray(s * e.batch_size, (s + 1) * e.batch_size);
      this.draws.at(e, this.epoch * this.steps + s);
      this.gather(rows, noisy);
      this.draws.inputs(rows.length, this.data.features);
      this.slope(network.forward(rows.length, this.draws), rows);
      network.backward(rows.length);
      this.update(this.epoch * this.steps + s + 1);
    }
    this.epoch += 1;
  }

  // The batch into the network's input rows, changed where augmentation is on
  gather(rows, noisy) {
    const { e, network, data, train } = this, { features } = data, X = network.features;
    const view = network.view(network.x, rows.length * X);
    rows.forEach((row, s) => {
      const x = train.X.subarray(row * features, (row + 1) * features);
      view.fill(0, s * X + features, (s + 1) * X);
      if (noisy) warp(x, data.image, e.augment, this.changes(s), view.subarray(s * X));
      else view.set(x, s * X);
    });
  }

  // Images of the first step, [count, features], twice: as they are, and as the first
  // layer sees them: utils/lab's first_inputs.
  firstInputs(count) {
    const { e, network, draws } = this, { features } = this.data, X = network.features;
    const order = permutation(e.seed, PURPOSE.ORDER, 0, e.n_train);
    const rows = order.subarray(0, Math.min(count, e.batch_size));
    const read = () => {
      const images = new Float64Array(rows.length * features);
      const view = network.view(network.x, rows.length * X);
      rows.forEach((_, s) => images.set(view.subarray(s * X, s * X + features), s * features));
      return images;
    };
    draws.at(e, 0);
    this.gather(rows, false);
    const plain = read();
    this.gather(rows, e.augment);
    draws.inputs(rows.length, features);
    return { plain, seen: read() };
  }

  // Row s of the step's five uniforms per image; a row takes two blocks of four.
  changes(s) {
    const { e, draws } = this;
    if (s === 0) {
      this.drawn = uniforms(e.seed, PURPOSE.AUGMENT, draws.step, 0, 8 * e.batch_size);
    }
    return this.drawn.subarray(8 * s, 8 * s + 5);
  }

  // The derivative of the mean data loss by the logits, into the last layer's d
  slope(logits, rows) {
    const { network, train, data } = this, { O, Y, d } = network.layers.at(-1);
    const n = rows.length, z = network.view(logits, n * Y), out = network.view(d, n * Y);
    for (let s = 0; s < n; s++) {
      const y = train.y[rows[s]], at = s * Y;
      if (data.task === "multiclass") softmaxSlope(z, out, at, O, y, n);
      else if (data.task === "regression") out[at] = (2 * (z[at] - y)) / n;
      else out[at] = (1 / (1 + Math.exp(-z[at])) - y) / n;
    }
  }

  update(t) {
    const { e, network } = this, { k, parameters: w, gradient: g, m, v } = network;
    const all = network.count, some = e.penalize_bias ? all : network.weightCount;
    const coupled = e.optimizer === "adamw" ? 0 : e.weight_decay;
    const proximal = e.l1_method === "proximal";
    if (e.l1 && !proximal) k.addSigns(g, w, e.l1, some);
    if (e.l2 || coupled) k.addScaled(g, g, w, 2 * e.l2 + coupled, some);
    if (e.optimizer === "adamw" && e.weight_decay) k.scale(w, 1 - e.lr * e.weight_decay, some);
    if (e.optimizer === "sgd") {
      if (e.momentum) k.addScaled(m, g, m, e.momentum, all);
      k.addScaled(w, w, e.momentum ? m : g, -e.lr, all);
    } else {
      const rate = e.lr / (1 - BETA1 ** t), second = 1 / Math.sqrt(1 - BETA2 ** t);
      k.adam(w, g, m, v, rate, second, all);
    }
    if (e.l1 && proximal) k.shrink(w, (e.lr * e.l1) / (1 - e.momentum), some);
  }

  // Of the weights as they are
  scores() {
    return { ...this.scored("train", this.train), ...this.scored("val", this.data.validation) };
  }

  scored(name, { X, y, n }) {
    const [loss, accuracy] = this.score(X, y, n);
    return { [`${name}_loss`]: loss, [`${name}_accuracy`]: accuracy };
  }

  // Mean loss and accuracy of a set with all noise off; R² in regression
  score(X, y, n) {
    const { outputs, task } = this.data, z = this.logits(X, n);
    let loss = 0, right = 0;
    for (let s = 0; s < n; s++) {
      if (task === "regression") loss += (z[s] - y[s]) ** 2;
      else if (outputs === 1) {
        loss += Math.max(z[s], 0) - z[s] * y[s] + Math.log1p(Math.exp(-Math.abs(z[s])));
        right += Number(z[s] >= 0 === (y[s] === 1));
      } else {
        const row = z.subarray(s * outputs, (s + 1) * outputs), top = row.reduce((a, b) => Math.max(a, b));
        let sum = 0;
        for (const v of row) sum += Math.exp(v - top);
        loss += top + Math.log(sum) - row[y[s]];
        right += Number(row.indexOf(top) === y[s]);
      }
    }
    loss /= n;
    return [loss, task === "regression" ? explained(loss, y, n) : right / n];
  }

  logits(X, n) {
    const size = n * this.data.outputs;
    if (this.room === undefined || this.room.length < size) this.room = new Float64Array(size);
    return this.network.evaluate(X, this.data.features, n, this.room.subarray(0, size));
  }

  // Probabilities [n, classes] or [n] with the weights as they are; targets in regression
  predict(X, n) {
    const z = Float64Array.from(this.logits(X, n)), { outputs, task } = this.data;
    if (task === "regression") return z;
    if (outputs === 1) return z.map((v) => 1 / (1 + Math.exp(-v)));
    for (let s = 0; s < n; s++) {
      const row = z.subarray(s * outputs, (s + 1) * outputs), top = row.reduce((a, b) => Math.max(a, b));
      const sum = row.reduce((a, v) => a + Math.exp(v - top), 0);
      row.forEach((v, o) => (row[o] = Math.exp(v - top) / sum));
    }
    return z;
  }

  // Ends the run where it is due, and keeps the best weights where patience says so. A
  // training loss that was not computed does not count.
  judge({ epoch, train_loss = 0, val_loss }) {
    const { patience } = this.e, { kept } = this;
    const finite = Number.isFinite(train_loss) && Number.isFinite(val_loss);
    const better = finite && val_loss < kept.loss;
    if (!finite) this.status = "diverged";
    else if (patience && epoch - kept.epoch >= patience && !better) this.status = "stopped early";
    else if (epoch >= this.end) this.status = "finished";
    if (!patience || (!finite && !kept.state)) this.kept = { epoch, loss: val_loss };
    else if (better) this.kept = { epoch, loss: val_loss, state: this.network.save() };
  }

  // Of a run that is over: the kept weights, if it has any
  show() {
    if (!this.kept.state) return;
    this.last = this.network.save();
    this.network.restore(this.kept.state);
  }
}

// The experiment as it will be trained; throws what is wrong with it.
function fitted(experiment, points, data) {
  if (points) checkPoints(points, data);
  const e = check(points ? { ...experiment, n_train: points.n } : experiment);
  checkData(e, data, points);
  return e;
}

// Throws if experiments have a field out of range, or are too large for a page together.
export function checkAll(experiments, points, data) {
  const bytes = experiments.map((e) => memoryNeeded(fitted(e, points, data[e.data]), data[e.data]));
  checkMemory(bytes.reduce((a, b) => a + b, 0), experiments.length);
}

function softmaxSlope(z, out, at, outputs, y, n) {
  let top = -Infinity, sum = 0;
  for (let o = 0; o < outputs; o++) top = Math.max(top, z[at + o]);
  for (let o = 0; o < outputs; o++) sum += out[at + o] = Math.exp(z[at + o] - top);
  for (let o = 0; o < outputs; o++) {
    out[at + o] = (out[at + o] / sum - Number(o === y)) / n;
  }
  out.fill(0, at + outputs, at + pad(outputs));
}

export function explained(loss, y, n) {
  let mean = 0, variance = 0;
  for (let s = 0; s < n; s++) mean += y[s] / n;
  for (let s = 0; s < n; s++) variance += (y[s] - mean) ** 2 / n;
  return variance > 0 ? 1 - loss / variance : 0;
}
