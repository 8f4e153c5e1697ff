// Trains one network in the page: utils/engine.py and utils/training.py for one member.
import { trainingSet } from "./data.js";
import { Draws } from "./draws.js";
import { check, checkMemory, checkSize } from "./experiment.js";
import { Network, memoryNeeded, pad } from "./network.js";
import { PURPOSE, permutation, uniforms } from "./random.js";
import { warp } from "./warp.js";

export const BETA1 = 0.9, BETA2 = 0.999;
// What `set` cannot change: memory is laid out by it.
const SHAPE = ["data", "n_train", "hidden", "activation", "batch_norm", "batch_size"];

export class Trainer {
  // experiment: as Experiment.to_json writes it; data: what unpack returned.
  // Throws RangeError for a field out of range or a network too large for a page.
  constructor(engine, experiment, data) {
    checkSize(check(experiment), data);
    const bytes = memoryNeeded(experiment, data);
    checkMemory(bytes);
    const { kernels, buffer, base } = engine.open(bytes);
    this.data = data;
    this.network = new Network(experiment, data, base).attach(kernels, buffer);
    this.draws = new Draws(this.network);
    this.set(experiment);
    this.reset();
  }

  // True if `set` can take the experiment without a new Trainer.
  fits = (experiment) =>
    SHAPE.every((f) => JSON.stringify(experiment[f]) === JSON.stringify(this.e[f]));

  // New knobs; weights, moments and epoch stay.
  set(experiment) {
    const old = this.e;
    this.e = check(experiment);
    this.steps = Math.ceil(experiment.n_train / experiment.batch_size);
    const same = old && ["seed", "label_noise", "n_train"].every((f) => old[f] === experiment[f]);
    if (!same) this.train = trainingSet(experiment, this.data);
  }

  reset() {
    this.network.reset(this.e.seed, this.e.init_scale);
    this.epoch = 0;
    this.status = "running";
    this.kept = { epoch: 0, loss: Infinity };
  }

  // Train on after the end, for as many epochs again
  extend() {
    this.e = { ...this.e, epochs: this.epoch + this.e.epochs };
    this.status = "running";
  }

  // Train one epoch; returns {epoch, train_loss, train_accuracy, val_loss, val_accuracy}.
  runEpoch() {
    this.trainEpoch();
    const record = { epoch: this.epoch, ...this.scores() };
    this.judge(record);
    return record;
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
  // layer sees them: utils/lab_panels.py's first_inputs.
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

  scores() {
    const { data, train } = this, { validation } = data;
    const [train_loss, train_accuracy] = this.score(train.X, train.y, train.n);
    const [val_loss, val_accuracy] = this.score(validation.X, validation.y, validation.n);
    return { train_loss, train_accuracy, val_loss, val_accuracy };
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

  // Ends the run where it is due, and keeps the best weights where patience says so.
  judge({ epoch, train_loss, val_loss }) {
    const { e, kept } = this;
    const finite = Number.isFinite(train_loss) && Number.isFinite(val_loss);
    const better = val_loss < kept.loss;
    if (!finite) this.status = "diverged";
    else if (e.patience && epoch - kept.epoch >= e.patience && !better) this.status = "stopped early";
    else if (epoch >= e.epochs) this.status = "finished";
    if (e.patience && finite && better) {
      this.kept = { epoch, loss: val_loss, state: this.network.save() };
    } else if (!e.patience) this.kept = { epoch, loss: val_loss };
    if (this.status !== "running" && this.kept.state) this.network.restore(this.kept.state);
  }
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
