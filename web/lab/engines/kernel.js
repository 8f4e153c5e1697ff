// The lab's engine in JupyterLab: PyTorch in the kernel, by custom messages of the widget's model.
// What an array is called stands in the message, the numbers in its buffers.

const PATIENCE = 1000; // ms without an answer, after which a kernel counts as busy
const AGAIN = 300; // ms without an answer, after which it is asked again
const ENDS = ["restarting", "autorestarting", "terminating", "dead"];

export class KernelEngine {
  model; spare; on; gone; late; timer;

  // on: {engine(name), frame(frame), cells(cells), error(error), away(why, job), back()}
  // away: the kernel is "busy" or "gone"; a job, where there is one, is to be trained elsewhere.
  // spare: whether it can be
  constructor(model, spare, on) {
    Object.assign(this, { model, spare, on, gone: false, late: false, timer: null });
    // asked: a job without an answer; next: what was asked since; open: {job, left: members that run}
    this.lanes = { run: {}, sweep: {} };
    this.listen = (message, buffers) => this.take(message, buffers);
    this.lost = () => this.away("gone");
    this.status = (_, status) => ENDS.includes(status) && this.lost();
    model.on("msg:custom", this.listen);
    // A model tells only of some ends of its kernel, JupyterLab's session of all.
    model.on("comm_live_update", this.lost);
    this.session = model.widget_manager?.context?.sessionContext;
    this.session?.statusChanged.connect(this.status);
    this.session?.kernelChanged.connect(this.lost);
    on.engine(model.get("device"));
    this.send({ type: "hello" });
  }

  // A view that opens, or follows another, shows what the kernel has, though it went on from other settings.
  run(job) {
    this.ask({ ...job, type: "run", look: job.look || !this.looked });
    this.looked = true;
  }

  sweep = (job) => this.ask({ ...job, type: "sweep" });
  pause = (id) => this.send({ type: "pause", id });
  resume = (id) => this.send({ type: "resume", id });
  drawn = (id) => this.send({ type: "drawn", id });

  close() {
    this.model.off("msg:custom", this.listen);
    this.model.off("comm_live_update", this.lost);
    this.session?.statusChanged.disconnect(this.status);
    this.session?.kernelChanged.disconnect(this.lost);
    clearTimeout(this.timer);
  }

  send(message) {
    if (this.gone) return;
    try {
      this.model.send(message);
    } catch {
      this.away("gone");
    }
  }

  stop(id) {
    for (const lane of Object.values(this.lanes)) {
      if (lane.next?.id === id) lane.next = null;
      if (lane.open?.job.id === id) lane.open = null;
    }
    this.send({ type: "stop", id });
  }

  // While a question has no answer no other is sent but the last: a busy kernel would get them all
  // at once.
  ask(job) {
    if (this.gone) return this.on.away("gone", job);
    const lane = this.lanes[job.type];
    if (lane.asked) lane.next = job;
    else Object.assign(lane, { asked: job, open: null });
    if (lane.asked === job) this.send(job);
    if (this.late) {
      this.on.away("busy", job);
      if (performance.now() - this.again > PATIENCE) this.askAgain();
    }
    return this.watch();
  }

  // What a page sends before JupyterLab has a subshell for it waits for the end of a running cell, what
  // it sends later does not. The kernel takes a question once.
  askAgain() {
    this.again = performance.now();
    for (const { asked } of Object.values(this.lanes)) if (asked) this.send(asked);
  }

  watch() {
    if (this.late || !Object.values(this.lanes).some(({ asked }) => asked)) return;
    this.timer ??= setTimeout(() => {
      this.askAgain();
      this.timer = setTimeout(() => this.away("busy"), PATIENCE - AGAIN);
    }, AGAIN);
  }

  // Hand over what is to be trained; a busy kernel's was.
  away(why) {
    if (this.gone) return;
    clearTimeout(this.timer);
    const jobs = Object.values(this.lanes).map(({ asked, next, open }) =>
      next ?? asked ?? (open?.left.size ? open.job : null));
    const theirs = this.late && this.spare ? [] : jobs.filter(Boolean);
    Object.assign(this, { timer: null, gone: why === "gone", late: why === "busy" });
    for (const job of theirs.length ? theirs : [null]) this.on.away(why, job);
  }

  // A job that a busy kernel takes at last is trained elsewhere by now.
  taken(id) {
    const lane = Object.values(this.lanes).find(({ asked }) => asked?.id === id);
    if (!lane) return;
    const { asked, next } = lane, given = this.late && this.spare;
    Object.assign(lane, { asked: null, next: null, open: given ? null : { job: asked, left: new Set(asked.members.keys()) } });
    clearTimeout(this.timer);
    this.timer = null;
    if (this.late && !Object.values(this.lanes).some((other) => other.asked)) {
      this.late = false;
      this.on.back();
    }
    if (given) this.stop(id);
    else if (next) this.ask(next);
    this.watch();
  }

  take(message, buffers) {
    const { type } = message;
    if (type === "taken") this.taken(message.id);
    else if (type === "ended") this.away("gone"); // its cell was run again
    else if (["frame", "cells", "error"].includes(type)) this.answer(message, buffers);
  }

  // Of all that a lab's views are told, what answers this one's question
  answer(message, buffers) {
    const { type, id, ids = [id], members = [], status, over } = message;
    const open = Object.values(this.lanes).map((lane) => lane.open).find((one) => one && ids.includes(one.job.id));
    if (!open) return;
    const ended = type === "frame" ? (k) => status[k] !== "running" : () => over;
    members.forEach((member, k) => ended(k) && open.left.delete(member));
    if (type === "error") open.left.clear();
    this.on[type]({ ...message, ...unpack(message.arrays ?? [], buffers) });
  }
}

// {metrics, views: {…}} from the names of a message's arrays
function unpack(names, buffers) {
  const found = Object.fromEntries(names.map((name, k) => [name, doubles(buffers[k])]));
  const { metrics, records, points, validation, weights, plain, seen, X, y, clean } = found;
  if (records) return { records };
  const views = { points, validation, weights };
  if (plain) views.inputs = { plain, seen };
  if (X) views.training = { X, y, clean };
  return { metrics, views: Object.values(views).some(Boolean) ? views : null };
}

const doubles = ({ buffer, byteOffset, byteLength }) =>
  new Float64Array(buffer.slice(byteOffset, byteOffset + byteLength));
