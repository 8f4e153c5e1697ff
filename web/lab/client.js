// A worker that trains, and another engine when it dies.
import source from "../build/worker.txt";

const ENGINES = ["auto", "javascript"];
let url;

export class Client {
  // on: {engine(name), frame(frame), cell(cell), cells(cells), error(message)}
  constructor(packed, name, on) {
    this.packed = packed;
    this.name = name;
    this.on = on;
    this.engines = [...ENGINES];
    this.id = 0;
    this.start();
  }

  start() {
    url ??= URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const engine = this.engines.shift();
    if (!engine) return this.on.error("no engine runs in this browser");
    try {
      this.worker = new Worker(url);
    } catch (error) {
      return this.on.error(`this browser starts no worker: ${error.message}`);
    }
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.worker.terminate();
      this.start();
      if (this.last) this.worker.postMessage(this.last);
    };
    this.worker.onmessage = ({ data }) => {
      if (data.type === "engine") this.on.engine(data.name);
      else if (data.type === "error") this.on.error(data.message);
      else this.on[data.type](data);
    };
    this.worker.postMessage({ type: "data", name: this.name, packed: this.packed });
    this.worker.postMessage({ type: "start", engine });
  }

  run(experiment, keep, watch) {
    this.id += 1;
    this.post({ type: "run", id: this.id, experiment, keep, watch });
    return this.id;
  }

  // What is asked last is asked again of the next engine, should this one die.
  post(message) {
    this.last = message;
    this.worker?.postMessage(message);
  }

  send = (type) => this.worker?.postMessage({ type });
}
