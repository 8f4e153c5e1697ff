// A run of a lab, its members shared out to workers; their frames become one.

const METRICS = 4;

export class Run {
  handle; question; former; successor; id; sets;
  fresh = true;
  rows = []; // [member, epoch, …] that came from workers, not yet delivered
  shares = [];
  touched = new Set(); // shares that have told something since the last frame
  undrawn = null; // shares of the frame that is being drawn
  begun = false;
  ended = false; // replaced, stopped or failed
  paused = false;
  lead = 0;

  // question: as run in the engine protocol; former: the run that this one may go on from
  constructor(handle, question, former = null) {
    Object.assign(this, { handle, question, former, id: question.id });
    const { members } = question;
    this.status = members.map(() => "running");
    this.kept = members.map(() => 0);
    this.reached = members.map(() => 0); // the last epoch that was told
    if (former) former.successor = this;
  }

  get over() {
    return this.begun && this.shares.every(({ over }) => over);
  }

  // What a later run may go on from: this one, or what it was to go on from and has not yet
  get resumable() {
    return this.begun ? this : this.former;
  }

  // sets: packed data sets by name
  async begin(sets) {
    const { former, question } = this;
    const held = former ? await former.hold(question) : { can: false };
    if (this.ended) return;
    Object.assign(this, { sets, former: null, begun: true });
    if (held.can) {
      const { rows, reached, kept } = former;
      Object.assign(this, { fresh: false, rows, reached, kept });
    }
    former?.retire();
    this.share(held);
  }

  share({ can: keep, from = 0 }) {
    const { handle: { pool, offset, slots }, question: { members } } = this;
    const count = Math.min(pool.seats.length, members.length);
    const at = (k) => Math.floor((k * members.length) / count);
    this.shares = Array.from({ length: count }, (_, k) =>
      new Share(this, pool.seats[(offset + k) % pool.seats.length], at(k), at(k + 1)));
    for (const seat of pool.seats) {
      if (this.shares.every((share) => share.seat !== seat)) seat.stop(slots.run);
    }
    for (const share of this.shares) share.ask({ keep, from });
    if (this.paused) this.post("pause");
  }

  // Stop, so that these members may go on from here: from the round that the fastest share has
  // reached, as soon as the others have it too. Not from a beginning that nobody saw.
  async hold({ members, points }) {
    if (members.length !== this.question.members.length) return { can: false };
    const fitted = points ? members.map((e) => ({ ...e, n_train: points.y.length })) : members;
    const held = await Promise.all(this.shares.map((share) => share.hold(fitted)));
    const most = (some) => Math.max(0, ...some.map(({ rounds }) => rounds));
    const can = held.every((one) => one.can) && !(this.fresh && most(held) === 0);
    return { can, from: most(held.filter(({ running }) => running)) };
  }

  post(type) {
    for (const { seat, slot } of this.shares) seat.post({ type, slot });
  }

  pause(paused) {
    this.paused = paused;
    if (this.begun && !this.ended) this.post(paused ? "pause" : "resume");
  }

  // Its answers do not count any more; what has come stays for a run that goes on.
  retire() {
    this.ended = true;
    for (const { seat, id } of this.shares) seat.tasks.delete(id);
    this.handle.tidy(this);
  }

  // What is under way is still taken: a later run may go on from here.
  stop() {
    const { pool, slots, runs } = this.handle;
    this.ended = true;
    for (const run of runs.values()) if (run !== this) run.retire();
    for (const seat of pool.seats) seat.post({ type: "stop", slot: slots.run });
  }

  fail(message) {
    if (this.ended) return;
    if (!this.handle.isCurrent(this)) {
      this.retire();
      return;
    }
    this.stop();
    this.handle.failed(this, message);
  }

  // A worker died, and with it the weights of its share.
  again(share) {
    if (this.ended || !this.handle.isCurrent(this)) return;
    this.lead = 0;
    if (this.fresh) {
      share.ask({ keep: false });
      if (this.paused) share.seat.post({ type: "pause", slot: share.slot });
      return;
    }
    for (const { seat, id } of this.shares) seat.tasks.delete(id);
    Object.assign(this, { fresh: true, rows: [], reached: this.reached.map(() => 0), undrawn: null });
    this.touched.clear();
    this.share({ can: false });
  }

  // Where the slowest share is; one that is over holds nobody up.
  at() {
    const slowest = Math.min(...this.shares.filter(({ over }) => !over).map(({ rounds }) => rounds));
    if (slowest <= this.lead || slowest === Infinity) return;
    this.lead = slowest;
    for (const { seat, slot, id, over } of this.shares) {
      if (!over) seat.post({ type: "lead", slot, id, rounds: slowest });
    }
  }

  take(share, { rows, status, kept, views }) {
    status.forEach((one, k) => {
      this.status[share.first + k] = one;
      this.kept[share.first + k] = kept[k];
    });
    for (let at = 0; at < rows.length; at += 2 + METRICS) {
      const row = rows.subarray(at, at + 2 + METRICS), [member, epoch] = row;
      if (epoch <= this.reached[member]) continue; // told before its worker died
      this.reached[member] = epoch;
      this.rows.push(row);
    }
    if (views?.training) this.handle.training = { set: views.training, told: false, seat: share.seat };
    if (views) Object.assign(share, { views, seen: true });
    this.touched.add(share);
    this.offer();
  }

  // The last frame does not wait for the one before it to be drawn.
  offer() {
    if (this.ended || this.successor || !this.touched.size || (this.undrawn && !this.over)) return;
    this.undrawn = [...this.touched].filter(({ over }) => !over);
    const frame = this.frame();
    this.touched.clear();
    this.handle.deliver(this, frame);
  }

  drawn() {
    for (const { seat, slot, id } of this.undrawn ?? []) seat.post({ type: "drawn", slot, id });
    this.undrawn = null;
    this.offer();
  }

  frame() {
    const rows = this.rows.splice(0), told = new Set(rows.map(([, epoch]) => epoch));
    const epochs = [...told].sort((a, b) => a - b);
    const touched = this.shares.filter((share) => this.touched.has(share));
    const members = touched.flatMap(({ first, end }) => range(first, end));
    for (const [member] of rows) if (!members.includes(member)) members.push(member); // of the run before
    const place = new Map(members.map((member, m) => [member, m * epochs.length]));
    const column = new Map(epochs.map((epoch, k) => [epoch, k]));
    const metrics = new Float64Array(members.length * epochs.length * METRICS).fill(NaN);
    for (const row of rows) metrics.set(row.subarray(2), METRICS * (place.get(row[0]) + column.get(row[1])));
    const status = members.map((m) => this.status[m]), over = status.every((one) => one !== "running");
    const kept = members.map((m) => this.kept[m]), { id, fresh } = this;
    return { id, fresh, members, epochs, metrics, status, kept, over, views: this.views() };
  }

  // Of all watched members, once every share of them has told of its own; and in the last frame
  views() {
    const { watch } = this.question, watched = this.shares.filter(({ watch: own }) => own);
    if (!watched.length) return null;
    const ready = watched.every(({ seen, over, views }) => seen || (over && views));
    if (!ready || !(this.over || watched.some(({ seen }) => seen))) return null;
    for (const share of watched) share.seen = false;
    const parts = watch.members.map((member) => {
      const { views, watch: own } = watched.find(({ watch: one }) => one.members.includes(member));
      return { views, at: own.members.indexOf(member), of: own.members.length };
    });
    const joined = (name) => parts[0].views[name] && joinedParts(parts, name);
    const { weights, inputs } = parts[0].views;
    const found = { points: joined("points"), validation: joined("validation"), weights, inputs };
    if (watch.training) found.training = this.handle.tell(this);
    return Object.fromEntries(Object.entries(found).filter(([, value]) => value));
  }
}

// What one worker trains of a run
class Share {
  run; seat; first; end; slot; views;
  over = false;
  rounds = 0;
  seen = false; // whether its views have not been passed on

  constructor(run, seat, first, end) {
    const { watch } = run.question;
    Object.assign(this, { run, seat, first, end, slot: run.handle.slots.run });
    const members = watch?.members.filter((m) => m >= first && m < end) ?? [];
    const mine = members.length && members.includes(watch.members[0]);
    const other = { weights: false, inputs: 0, training: false }; // that is told of the first
    const own = mine ? { anew: seat !== run.handle.training?.seat } : other;
    this.watch = members.length ? { ...watch, members, ...own } : null;
  }

  ask({ keep, from = 0 }) {
    const { first, end, slot, run: { question: { members, points, scores }, shares, sets } } = this;
    Object.assign(this, { rounds: 0, over: false, views: null, seen: false });
    this.id = this.seat.ask({
      type: "run", slot, members, share: [first, end], points, keep, from, scores, watch: this.watch,
      alone: shares.length === 1,
    }, this, sets);
  }

  hold(members) {
    return new Promise((resolve) => {
      const no = () => resolve({ can: false, rounds: 0 });
      const { seat, slot } = this, own = members.slice(this.first, this.end);
      const id = seat.ask({ type: "hold", slot, members: own }, {
        slot, died: no, failed: no,
        take(message) {
          seat.tasks.delete(id);
          if (message.type === "held") resolve(message);
          else no();
        },
      });
    });
  }

  take(message) {
    const { run, seat } = this, { type } = message;
    if (type === "error") {
      run.fail(message.message);
      return;
    }
    Object.assign(this, { over: message.over, rounds: message.rounds ?? this.rounds });
    if (this.over) seat.tasks.delete(this.id);
    if (type === "at" || this.over) run.at();
    if (type !== "frame") return;
    seat.forget(this.slot, this.id);
    run.take(this, message);
  }

  // The worker trains a later run of this lab.
  forgotten() {
    this.over = true;
    this.run.handle.tidy(this.run);
  }

  died = () => this.run.again(this);
  failed = (why) => this.run.fail(why);
}

const range = (first, end) => Array.from({ length: end - first }, (_, k) => first + k);

function joinedParts(parts, name) {
  if (parts.length === 1) return parts[0].views[name];
  const pieces = parts.map(({ views, at, of }) => {
    const size = views[name].length / of;
    return views[name].subarray(at * size, (at + 1) * size);
  });
  const found = new Float64Array(pieces.reduce((sum, { length }) => sum + length, 0));
  pieces.reduce((at, piece) => (found.set(piece, at), at + piece.length), 0);
  return found;
}
