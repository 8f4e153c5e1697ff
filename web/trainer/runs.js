// The runs that a worker trains for one lab, one after the other: the share of a run's
// members that is its own, side by side, an epoch each in turn.
import { Trainer, checkAll, sameStructure } from "./trainer.js";

const SLICE = 12; // ms of training between two looks at the messages
const FIRST = 4; // ms of it before a run's first frame
const FRAME = 33; // ms between two frames of one run
const PANELS = 300; // ms between two frames that carry more than the curves
const FOLLOW = 250; // ms: a run that will be over by then is not cut short
const AHEAD = 100; // ms of training that a share may be ahead of the slowest

const now = () => performance.now();
const METRICS = ["train_loss", "val_loss", "train_accuracy", "val_accuracy"];

export class Runs {
  shared; send;
  spent = 0;
  paused = false;
  trainers = [];
  rows = []; // [member, record] of whole rounds, not yet sent
  job = null;
  next = null;

  // shared: {engine, data, spare}, what all slots of the worker use; send(message, transfer)
  constructor(shared, send) {
    Object.assign(this, { shared, send });
  }

  get busy() {
    return !this.paused && Boolean(this.next || this.job?.active);
  }

  ask(message) {
    this.next = message;
    this.paused = false;
  }

  // What rests is shown as it is.
  pause() {
    const { job } = this;
    this.paused = true;
    if (!job?.shown || job.over || job.held) return;
    job.finishRound();
    job.seen = -Infinity; // so that views are due
    this.frame();
  }

  resume() {
    this.paused = false;
  }

  // A later run may go on from here, even if nothing could begin yet.
  stop() {
    this.settle();
    if (this.next) this.paused = true;
    if (this.job) this.job.held = true;
  }

  close() {
    this.shared.spare.push(...this.trainers.splice(0));
    this.job = this.next = null;
  }

  drawn(id) {
    if (this.job?.id === id) this.job.drawing = false;
  }

  // How far the slowest share of the run is
  lead(id, { rounds }) {
    if (this.job?.id === id) this.job.lead = rounds;
  }

  // Before a run that may go on with the present weights: stop, and say how many rounds were
  // trained, or that there is nothing to go on with. `members` are those of this share.
  hold(id, { members }) {
    this.settle();
    const { job, trainers } = this, fits = ({ e, network }, k) =>
      sameStructure(e, members[k]) && network.state.every(Number.isFinite);
    const can = Boolean(job) && members.length === trainers.length && trainers.every(fits);
    if (job) job.held = true;
    this.send({ type: "held", id, can, running: Boolean(job && !job.over), rounds: job?.rounds ?? 0 });
  }

  // Begin what waits, and end the round at hand.
  settle() {
    if (this.next && this.shared.engine) {
      while (!this.caughtUp) this.job.step();
      this.begin();
    }
    this.job?.finishRound();
  }

  // Whether the run at hand is where the next is to go on from, if it does
  get caughtUp() {
    const { job, next } = this;
    return !job || !next.keep || job.over || job.rounds >= next.from;
  }

  // Whether the run that waits may begin
  get ready() {
    const { job, next } = this;
    if (next.keep) return this.caughtUp;
    return !job?.active || job.lasts > FOLLOW;
  }

  advance() {
    if (this.next && this.ready) this.begin();
    const { job, next } = this;
    if (!job) return;
    try {
      if (next?.keep) job.work(now() + SLICE, next.from);
      else this.train(job);
    } catch (error) {
      this.fail(job.id, error);
    }
  }

  train(job) {
    job.work(now() + (job.shown ? SLICE : FIRST));
    const due = job.rounds && (!job.shown || now() - job.shown > FRAME);
    if (job.over || (due && !job.drawing && (this.rows.length || job.full))) this.frame();
    if (!job.alone) this.send({ type: "at", id: job.id, rounds: job.rounds, over: job.over });
  }

  fail(id, { message }) {
    Object.assign(this, { job: null, next: null, trainers: [] });
    this.send({ type: "error", id, message });
  }

  begin() {
    const { next } = this;
    this.next = null;
    try {
      this.set(next);
      this.job = new Run(this, next);
    } catch (error) {
      this.fail(next.id, error);
    }
  }

  set({ members, share: [first, end], points: given, keep }) {
    const { engine, data, spare } = this.shared, points = own(given);
    checkAll(members, points, data);
    spare.push(...this.trainers.splice(end - first));
    members.slice(first, end).forEach((e, k) => {
      const trainer = (this.trainers[k] ??= spare.pop() ?? new Trainer(engine, e, data[e.data], points));
      trainer.set(e, points, data[e.data]);
      if (keep) trainer.goOn();
      else trainer.reset();
    });
    if (!keep) this.rows = [];
  }

  frame() {
    const { job, trainers } = this, { first } = job;
    const rows = Float64Array.from(this.rows.splice(0).flatMap(
      ([m, record]) => [first + m, record.epoch, ...METRICS.map((name) => record[name])]));
    const views = job.over || job.full ? job.views() : null;
    job.shown = now();
    job.drawing = true;
    this.send({
      type: "frame", id: job.id, rows, over: job.over, views,
      status: trainers.map(({ status }) => status), kept: trainers.map(({ kept }) => kept.epoch),
    }, [rows.buffer, ...buffers(views)]);
  }
}

class Run {
  slot; id; first; scores; watch; alone; trainers; grid;
  began = now();
  shown = 0; // when the last frame was sent
  drawing = false;
  held = false;
  seen = now(); // when the views were last made
  rounds = 0;
  turn = 0; // the member that trains next
  round = []; // what this round has told so far
  lead = 0;
  busy = 0; // ms of training

  constructor(slot, { id, share: [first], scores, watch, alone }) {
    Object.assign(this, { slot, id, first, scores, watch, alone, trainers: slot.trainers });
    this.total = Math.max(...this.trainers.map(({ began, end }) => end - began));
    if (watch?.grid) this.grid = product(watch.grid, this.trainers[watch.members[0] - first].data);
    if (watch?.anew) slot.sent = null;
  }

  get over() {
    return this.trainers.every(({ status }) => status !== "running");
  }

  get active() {
    return !this.over && !this.held && !this.stalled;
  }

  // Expected ms from its beginning to its end
  get lasts() {
    return (now() - this.began) * (this.total / Math.max(this.rounds, 1));
  }

  get stalled() {
    const ahead = Math.max(1, Math.ceil((AHEAD * this.rounds) / this.busy));
    return !this.alone && this.rounds > 0 && this.rounds >= this.lead + ahead;
  }

  // Whether views are due
  get full() {
    return Boolean(this.watch) && now() - this.seen > PANELS;
  }

  work(until, most = Infinity) {
    const begin = now();
    while (!this.over && this.rounds < most && now() < until) this.step();
    if (this.over) this.finishRound();
    this.busy += now() - begin;
  }

  // An epoch of one member
  step() {
    const trainer = this.trainers[this.turn];
    if (trainer.status === "running") {
      const record = trainer.runEpoch(Boolean(trainer.e.patience) || trainer.due(this.scores));
      if (record) this.round.push([this.turn, record]);
    }
    this.turn = (this.turn + 1) % this.trainers.length;
    if (this.turn > 0) return;
    this.slot.rows.push(...this.round.splice(0));
    this.rounds += 1;
  }

  finishRound() {
    while (this.turn > 0) this.step();
  }

  views() {
    this.seen = now();
    if (!this.watch) return null;
    const { members, validation, weights, inputs, training } = this.watch, found = {};
    const watched = members.map((m) => this.trainers[m - this.first]), [first] = watched;
    const { data } = first, held = Math.min(validation, data.validation.n);
    const predict = (X, n) => joined(watched.map((trainer) => trainer.predict(X, n)));
    if (this.grid) found.points = predict(this.grid, this.grid.length / data.features);
    if (held) found.validation = predict(data.validation.X, held);
    if (weights) found.weights = first.network.weights();
    if (inputs) found.inputs = first.firstInputs(inputs);
    if (training && first.train !== this.slot.sent) {
      const { X, y, clean } = (this.slot.sent = first.train);
      found.training = { X, y, clean };
    }
    return found;
  }
}

// Points of one's own as the trainer takes them
export const own = (points) =>
  points && { X: Float64Array.from(points.X), y: Float64Array.from(points.y), n: points.y.length };

// The points of a grid [xs] or [xs, ys], row by row
function product(axes, { features }) {
  if (axes.length !== features) {
    throw new RangeError(`watch.grid: must have ${features} axes, has ${axes.length}`);
  }
  const [xs, ys] = axes;
  if (!ys) return Float64Array.from(xs);
  const found = new Float64Array(2 * xs.length * ys.length);
  ys.forEach((y, r) => xs.forEach((x, c) => found.set([x, y], 2 * (r * xs.length + c))));
  return found;
}

function joined(arrays) {
  if (arrays.length === 1) return arrays[0];
  const found = new Float64Array(arrays.reduce((sum, { length }) => sum + length, 0));
  arrays.reduce((at, array) => (found.set(array, at), at + array.length), 0);
  return found;
}

// What may go to the page without a copy: all but the training set, which stays in use
function buffers(views) {
  if (!views) return [];
  const { points, validation, weights, inputs } = views;
  const arrays = [points, validation, weights, inputs?.plain, inputs?.seen];
  return arrays.filter(Boolean).map(({ buffer }) => buffer);
}
