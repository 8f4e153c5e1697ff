// The page's engine: a few workers, started when they are needed, that train for all its labs.
import { Run } from "./pool/run.js";
import { Seat } from "./pool/seat.js";
import { Sweep } from "./pool/sweep.js";

const WORKERS = Math.min(4, Math.max(1, (navigator.hardwareConcurrency ?? 2) - 1));

export class PoolEngine {
  handles = new Set();
  opened = 0;
  sets = new Map(); // promises of data sets

  // load(name): a promise of the packed data set of that name
  constructor(load, { workers = WORKERS } = {}) {
    this.load = load;
    this.seats = Array.from({ length: workers }, () => new Seat((name) => this.named(name)));
  }

  // on: {engine(name), frame(frame), cells(cells), error({id, message})}, the answers of the engine
  // protocol to one lab. Returns {run(question), sweep(question), pause(id), resume(id), stop(id),
  // drawn(id), close()}.
  open(on) {
    const handle = new Handle(this, on, this.opened);
    this.opened += 1;
    this.handles.add(handle);
    return handle;
  }

  // One that failed to load is tried again.
  data(name) {
    if (!this.sets.has(name)) {
      const loaded = Promise.resolve(this.load(name));
      loaded.catch(() => this.sets.delete(name));
      this.sets.set(name, loaded);
    }
    return this.sets.get(name);
  }

  named(name) {
    this.name = name;
    for (const handle of this.handles) handle.named();
  }

  close(handle) {
    this.handles.delete(handle);
    if (!this.handles.size) for (const seat of this.seats) seat.end();
  }
}

class Handle {
  pool; on; offset; slots;
  runs = new Map(); // by id: the last one, and any before it that may still be told of
  last = null;
  sweeping = null;
  training = null; // {set, told, seat}: the training set that was last told of

  constructor(pool, on, number) {
    const slots = { run: `${number} run`, sweep: `${number} sweep` };
    Object.assign(this, { pool, on, offset: number, slots });
  }

  run(question) {
    const { last } = this;
    if (last && !last.begun) last.retire();
    this.last = new Run(this, question, (question.keep && last?.resumable) || null);
    if (last) this.tidy(last);
    this.runs.set(question.id, this.last);
    this.begin(this.last);
  }

  sweep(question) {
    this.sweeping?.stop();
    this.sweeping = new Sweep(this, question);
    this.begin(this.sweeping);
  }

  async begin(job) {
    const names = [...new Set(job.question.members.map(({ data }) => data))];
    try {
      const sets = await Promise.all(names.map((name) => this.pool.data(name)));
      if (job.ended) return;
      this.named();
      await job.begin(Object.fromEntries(names.map((name, k) => [name, sets[k]])));
    } catch (error) {
      job.fail(error.message);
    }
  }

  // The run or the sweep at hand, if this is its id
  job = (id) => [this.last, this.sweeping].find((one) => one?.id === id);
  pause = (id) => this.job(id)?.pause(true);
  resume = (id) => this.job(id)?.pause(false);
  stop = (id) => this.job(id)?.stop();
  drawn = (id) => this.runs.get(id)?.drawn();

  close() {
    for (const job of [this.last, this.sweeping]) job?.stop();
    for (const seat of this.pool.seats) {
      for (const slot of Object.values(this.slots)) {
        seat.forget(slot);
        seat.post({ type: "close", slot });
      }
    }
    this.pool.close(this);
  }

  named() {
    const { name } = this.pool;
    if (name && name !== this.engine) this.on.engine(this.engine = name);
  }

  // What runs do with their handle

  isCurrent = (run) => run === this.last;

  tidy(run) {
    if ((run.over || run.ended) && !this.isCurrent(run)) this.runs.delete(run.id);
  }

  deliver(run, frame) {
    this.tidy(run);
    this.on.frame(frame);
  }

  // The training set, where the lab does not have it: it may not look at the frames of earlier runs.
  tell(run) {
    const { training } = this;
    if (!training || training.told) return undefined;
    training.told = this.isCurrent(run);
    return training.set;
  }

  failed({ id }, message) {
    this.on.error({ id, message });
  }
}
