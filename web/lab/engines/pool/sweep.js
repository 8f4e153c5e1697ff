// A sweep of a lab: by WebGPU all at once, else its members handed out to workers as they come
// to need some.

const WORK = 30; // ms of work that a worker is given at a time
const FIRST = 2; // members at first, when nobody knows how long one takes

export class Sweep {
  handle; question; id; total;
  done = new Set();
  ended = false; // replaced, stopped, failed or over
  paused = false;
  why = ""; // WebGPU does not train it

  // question: as sweep in the engine protocol
  constructor(handle, question) {
    Object.assign(this, { handle, question, id: question.id, total: question.members.length });
    const { pool: { seats }, offset } = handle;
    this.desks = seats.map((_, k) => new Desk(this, seats[(offset + k) % seats.length]));
  }

  begin(sets) {
    this.sets = sets;
    if (this.question.points) this.fill("WebGPU trains on the book's points alone");
    else this.desks[0].map();
    if (this.paused) this.post("pause");
  }

  fill(why) {
    const { question: { members }, done } = this;
    this.why = why;
    this.queue = members.map((_, k) => k).filter((k) => !done.has(k));
    for (const desk of this.desks) desk.ask(FIRST);
  }

  post(type) {
    for (const { seat, slot } of this.desks) seat.post({ type, slot });
  }

  pause(paused) {
    this.paused = paused;
    if (!this.ended) this.post(paused ? "pause" : "resume");
  }

  stop() {
    this.ended = true;
    for (const { seat, slot } of this.desks) seat.stop(slot);
  }

  fail(message) {
    if (this.ended) return;
    this.stop();
    this.handle.failed(this, message);
  }

  tell(members, records, name, ended = 0) {
    const { id, total } = this, done = this.done.size + ended, over = this.done.size === total;
    if (over) this.stop();
    this.handle.on.cells({ id, members, records, done, total, over, name });
  }
}

// What a worker has of a sweep
class Desk {
  sweep; seat; slot;
  held = new Set(); // members it was given and has not told of
  id = null;

  constructor(sweep, seat) {
    Object.assign(this, { sweep, seat, slot: sweep.handle.slots.sweep });
  }

  map() {
    const { slot, sweep: { question: { members: experiments }, sets } } = this;
    this.id = this.seat.ask({ type: "map", slot, experiments }, this, sets);
  }

  // The next `count` members, if so many are left
  ask(count) {
    const { seat, slot, held, sweep: { queue, question, sets } } = this;
    const members = queue.splice(0, count), experiments = members.map((k) => question.members[k]);
    if (!members.length) return;
    members.forEach((k) => held.add(k));
    const message = { type: "sweep", slot, members, experiments };
    if (this.open) seat.post({ ...message, id: this.id });
    else this.id = seat.ask({ ...message, points: question.points }, this, sets);
    this.open = true;
  }

  take(message) {
    if (message.type === "error") this.sweep.fail(message.message);
    else this[message.type](message);
  }

  cells({ members, records, left, ms }) {
    const { sweep, seat, held } = this, { why } = sweep;
    for (const member of members) {
      held.delete(member);
      sweep.done.add(member);
    }
    const batch = Math.max(1, Math.round((members.length * WORK) / Math.max(ms, 1)));
    if (left <= batch) this.ask(batch);
    sweep.tell(members, records, why ? `${seat.name} (${why})` : seat.name);
  }

  evolved({ members, records, ended, over, name }) {
    const { sweep } = this;
    if (over) members.forEach((member) => sweep.done.add(member));
    sweep.tell(members, records, name, over ? 0 : ended);
  }

  refused({ why }) {
    this.seat.tasks.delete(this.id);
    this.sweep.fill(why);
  }

  // The worker died: another has what it had.
  died = () => {
    const { sweep, held } = this;
    if (!this.open) {
      sweep.fill("WebGPU ended the worker");
      return;
    }
    sweep.queue.unshift(...held);
    held.clear();
    this.open = false;
    this.ask(FIRST);
    if (sweep.paused) this.seat.post({ type: "pause", slot: this.slot });
  };

  failed = (why) => this.sweep.fail(why);
}
