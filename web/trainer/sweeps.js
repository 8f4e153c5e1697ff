// The sweeps that a worker trains for one lab: of each member only the record of its kept
// epoch counts, so members are trained one after the other, and hardly ever scored.
import { chooseGpu, trainMap, whyNot } from "./gpu.js";
import { own } from "./runs.js";
import { Trainer } from "./trainer.js";

const SLICE = 12; // ms of training between two looks at the messages
const CELLS = 30; // ms of work between two messages
const REST = 20; // ms between two looks whether a map by WebGPU is still paused

const now = () => performance.now();
const NOTHING = [NaN, NaN, NaN, NaN];
const numbers = (r) => [r.train_loss, r.val_loss, r.train_accuracy, r.val_accuracy];
let gpu; // the promise of a device, for all sweeps

export class Sweeps {
  shared; send; trainer; id; points;
  spent = 0;
  paused = false;
  queue = []; // [member, experiment]
  at = null; // the one that trains
  ended = []; // [member, numbers] not yet sent
  ms = 0; // of work since something was sent

  constructor(shared, send) {
    Object.assign(this, { shared, send });
  }

  get busy() {
    return !this.paused && (this.at !== null || this.queue.length > 0);
  }

  pause() {
    this.paused = true;
    if (this.ended.length) this.tell();
  }

  resume() {
    this.paused = false;
  }

  // More members of the sweep at hand, or the first of another
  ask({ id, members, experiments, points }) {
    if (id !== this.id) {
      this.stop();
      Object.assign(this, { id, paused: false, points: own(points) });
    }
    members.forEach((member, k) => this.queue.push([member, experiments[k]]));
  }

  stop() {
    Object.assign(this, { id: null, queue: [], at: null, ended: [], ms: 0 });
  }

  close() {
    this.stop();
    if (this.trainer) this.shared.spare.push(this.trainer);
    this.trainer = null;
  }

  advance() {
    const begin = now();
    try {
      while (this.busy && now() < begin + SLICE) this.step();
      this.ms += now() - begin;
      if (!this.busy || (this.ended.length && this.ms > CELLS)) this.tell();
    } catch (error) {
      const { id } = this;
      this.stop();
      this.send({ type: "error", id, message: error.message });
    }
  }

  // An epoch
  step() {
    if (this.at === null) this.start(this.queue.shift());
    const { trainer } = this, record = trainer.runEpoch(false);
    if (trainer.status === "running") return;
    const { patience } = trainer.e, final = patience ? trainer.scores() : record;
    this.ended.push([this.at, trainer.status === "diverged" ? NOTHING : numbers(final)]);
    this.at = null;
  }

  start([member, e]) {
    const { engine, data, spare } = this.shared;
    this.trainer ??= spare.pop() ?? new Trainer(engine, e, data[e.data], this.points);
    this.trainer.set(e, this.points, data[e.data]);
    this.trainer.reset();
    this.at = member;
  }

  tell() {
    const { id, ms } = this, ended = this.ended.splice(0), left = this.queue.length + Number(this.at !== null);
    const members = ended.map(([member]) => member);
    this.ms = 0;
    const records = Float64Array.from(ended.flatMap(([, values]) => values));
    this.send({ type: "cells", id, members, records, left, ms }, [records.buffer]);
  }

  // All of a sweep at once by WebGPU; says why where that cannot be.
  async map({ id, experiments }) {
    this.stop();
    Object.assign(this, { id, paused: false });
    const { data } = this.shared;
    try {
      const engine = await this.shared.engineReady, why = whyNot(experiments);
      if (why) throw new Error(why);
      gpu ??= chooseGpu();
      const chosen = await gpu;
      chosen.device.lost.then(() => (gpu = undefined));
      await trainMap(chosen, engine, experiments, data[experiments[0].data], async (group) => {
        while (this.paused && this.id === id) await new Promise((resolve) => setTimeout(resolve, REST));
        if (this.id !== id) return false;
        this.tellGroup(id, chosen.name, group);
        return true;
      });
    } catch (error) {
      if (this.id === id) this.send({ type: "refused", id, why: error.message });
    }
  }

  tellGroup(id, name, { first, group, over }) {
    const records = Float64Array.from(group.flatMap(({ status, record }) =>
      (status === "diverged" ? NOTHING : numbers(record))));
    const members = group.map((_, k) => first + k);
    const ended = group.filter(({ status }) => status !== "running").length;
    this.send({ type: "evolved", id, members, records, ended, over, name }, [records.buffer]);
  }
}
