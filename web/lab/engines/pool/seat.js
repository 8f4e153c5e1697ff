// A place for a worker: starts it when something is asked, and another on plain JavaScript when
// it dies.
import source from "../../../build/worker.txt";

const ENGINES = ["auto", "javascript"];
const FORBIDDEN = "the content security policy of this page forbids the worker that trains: "
  + "worker-src must allow blob:";
let url, forbidden = false;
let count = 0; // of the questions to all workers

export class Seat {
  tasks = new Map(); // id → who takes the answers: {slot, take(message), died(), failed(why)}
  engines = [...ENGINES];
  has = new Set(); // names of the data sets that the worker has

  // named(name): which engine runs
  constructor(named) {
    this.named = named;
  }

  // sets: packed data sets by name, of which the worker needs to have those
  ask(message, task, sets = {}) {
    const id = (count += 1);
    this.tasks.set(id, task);
    if (!this.worker) this.start();
    for (const [name, packed] of Object.entries(sets)) {
      if (!this.has.has(name)) this.post({ type: "data", name, packed });
      this.has.add(name);
    }
    this.post({ ...message, id });
    return id;
  }

  post(message) {
    this.worker?.postMessage(message);
  }

  // No answer to these questions counts any more: those of a slot, before a certain one
  forget(slot, before = Infinity) {
    for (const [id, task] of this.tasks) {
      if (task.slot !== slot || id >= before) continue;
      this.tasks.delete(id);
      task.forgotten?.();
    }
  }

  stop(slot) {
    this.forget(slot);
    this.post({ type: "stop", slot });
  }

  start() {
    listen();
    this.has.clear();
    try {
      url ??= URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      this.worker = new Worker(url);
    } catch (error) {
      this.giveUp(forbidden ? FORBIDDEN : `this browser starts no worker: ${error.message}`);
      return;
    }
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.die();
    };
    this.worker.onmessage = ({ data }) => {
      if (data.type === "engine") this.named(this.name = data.name);
      else this.tasks.get(data.id)?.take(data);
    };
    this.post({ type: "start", engine: this.engines.shift() });
  }

  die() {
    this.worker.terminate();
    this.worker = null;
    if (!this.engines.length) {
      this.giveUp(forbidden ? FORBIDDEN : "no engine runs in this browser");
      return;
    }
    const tasks = [...this.tasks.values()];
    this.tasks.clear();
    for (const task of tasks) task.died();
  }

  // Later, for who asks is not ready for an answer yet; and the next question is a new attempt
  giveUp(why) {
    this.engines = [...ENGINES];
    queueMicrotask(() => {
      const tasks = [...this.tasks.values()];
      this.tasks.clear();
      for (const task of tasks) task.failed(why);
    });
  }

  end() {
    this.worker?.terminate();
    Object.assign(this, { worker: null, engines: [...ENGINES] });
    this.tasks.clear();
  }
}

// A browser says so, or only ends the worker.
function listen() {
  if (url) return;
  document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) => {
    if (effectiveDirective === "worker-src" && blockedURI.startsWith("blob")) forbidden = true;
  });
}
