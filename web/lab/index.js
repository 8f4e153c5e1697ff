// The live labs of a page. Each wakes up when it comes near the viewport, trains the
// book's own run in a worker, and then whatever the reader sets. With the figures and the
// verdicts of claims in one script.
import { Client } from "./client.js";
import { Controls } from "./controls.js";
import { Plane } from "./plane.js";
import { apply, text } from "./experiment.js";
import { link, read as readUrl, restore, write } from "./url.js";
import { Views } from "./views.js";
import "../figures.js";
import "../claims.js";

const MOST_EPOCHS = 5000; // of a run that is continued
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const script = document.currentScript.src;

// What the build left in the page under a name, or null
const read = (root, name) =>
  JSON.parse(root.querySelector(`script.${name}`)?.textContent ?? "null");

// The points of a figure's decision regions, row by row
function grid({ data: [{ x, y }] }) {
  return Float64Array.from(y.flatMap((v) => x.flatMap((u) => [u, v])));
}

class Lab {
  // lab: what Lab.to_dict in utils/lab.py wrote; packed: its data set
  constructor(root, number, { experiment: base, knobs }, packed) {
    const views = read(root, "lab-views"), { figures, inputs, penalty } = views;
    const watch = { ...views.watch, points: views.watch.grid && grid(figures.picture) };
    Object.assign(this, { root, number, base, watch, penalty, records: [], task: packed.task });
    const seed = { label: "seed", min: 0, values: [0, 2 ** 32 - 1], value: base.seed, whole: true };
    this.knobs = Object.fromEntries(Object.keys({ ...inputs, seed }).map(
      (name) => [name, { ...knobs[name], ...(inputs[name] ?? seed) }]));
    this.first = Object.fromEntries(Object.entries(this.knobs).map(([name, k]) => [name, k.value]));
    this.controls = new Controls(number, this.knobs, penalty, {
      change: () => this.change(),
      play: () => this.play(),
      pin: () => this.pin(),
      share: () => this.share(),
      back: () => this.back(),
    });
    root.querySelector(".lab-form").replaceChildren(this.controls.form);
    const canvases = Object.fromEntries(
      [...root.querySelectorAll("[data-view]")].map((c) => [c.dataset.view, c]));
    this.views = new Views(figures, canvases);
    this.message = root.querySelector("output[name=message]");
    this.engineName = root.querySelector("output[name=engine]");
    root.classList.add("live");
    this.client = new Client(packed, base.data, {
      engine: (name) => (this.engineName.value = `Trained here, by ${name}.`),
      frame: (frame) => this.frame(frame),
      error: (message) => this.fail(message),
    });
    this.open();
    const plane = this.client.worker && read(root, "lab-map");
    if (plane) {
      this.plane = new Plane(root, plane, packed, this, (settings) => {
        this.controls.settings = settings;
        this.change();
      });
    }
  }

  open() {
    const given = readUrl(this.number);
    const { settings, said } = restore(given ?? {}, this.knobs);
    this.controls.settings = { ...this.first, ...settings };
    const now = this.controls.settings; // of two penalties one is used
    const left = Object.keys(settings).filter((name) => now[name] !== settings[name]);
    this.said = [...said, ...left.map((name) => `${name} = ${settings[name]}: ${now[name]} is used`)];
    this.train(false);
  }

  change() {
    const changed = this.changed();
    write(this.number, changed);
    this.said = [];
    this.train(this.controls.keep.checked);
  }

  // What differs from the book's own settings
  changed() {
    const now = this.controls.settings;
    return Object.fromEntries(Object.entries(now).filter(([name, v]) => v !== this.first[name]));
  }

  train(keep) {
    if (!this.client.worker) return; // no engine runs here: the book's run stands
    this.experiment = apply(this.base, this.controls.settings);
    this.started = this.client.run(this.experiment, keep, this.watch);
    this.enter("training");
  }

  play() {
    if (this.root.dataset.state === "paused") {
      this.client.send("resume");
      this.enter("training");
    } else if (this.root.dataset.state === "training") {
      this.client.send("pause");
      this.enter("paused");
    } else this.train(this.controls.keep.checked);
  }

  // Not when nobody looks
  rest(hidden) {
    if (this.root.dataset.state === "training") this.client.send(hidden ? "pause" : "resume");
  }

  enter(state) {
    this.root.dataset.state = state;
    this.controls.play.textContent = { training: "Pause", paused: "Go on" }[state] ?? "Train again";
  }

  async frame(frame) {
    const [next] = frame.records, last = this.records.at(-1)?.epoch ?? 0;
    const other = next && next.epoch !== last + 1; // it began anew
    if (other || this.records.length > MOST_EPOCHS) this.records = [];
    this.records.push(...frame.records);
    const over = frame.status !== "running";
    if (over || !calm.matches) await this.draw(frame, over);
    this.client.send("drawn");
    if (over && frame.id === this.started) this.end(frame.status, frame.kept);
  }

  async draw({ views, kept }, over) {
    const { patience } = this.experiment;
    await this.views.curves(this.records, over && patience && kept, over);
    if (views) await this.views.panels(views);
    const at = patience && this.records.find((r) => r.epoch === kept);
    this.numbers(at || this.records.at(-1));
  }

  numbers(record) {
    if (!record) return;
    const put = (name, value) => (this.root.querySelector(`output[name=${name}]`).value = value);
    const share = (v) => (this.task === "regression" ? v.toFixed(4) : `${(100 * v).toFixed(1)}%`);
    put("epoch", record.epoch);
    for (const name of ["train_loss", "val_loss"]) put(name, record[name].toFixed(4));
    put("gap", (record.val_loss - record.train_loss).toFixed(4));
    put("val_accuracy", share(record.val_accuracy));
  }

  end(status, kept) {
    if (status === "diverged") return this.diverged();
    this.good = this.controls.settings;
    const { epoch, train_loss: t, val_loss: v } = this.records.at(-1);
    const numbers = `training loss ${t.toFixed(4)}, validation loss ${v.toFixed(4)}`;
    const stopped = status === "stopped early" ? `stopped early, epoch ${kept} is kept. ` : "";
    this.message.value = [...this.said, `${stopped}After epoch ${epoch}: ${numbers}.`].join(". ");
    this.table();
    this.enter("done");
  }

  diverged() {
    this.enter("error");
    this.message.value = "The loss is no longer a number: this run diverged.";
    if (!this.good) return;
    const { good } = this, button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: "Back to the last good settings" });
    button.onclick = () => {
      this.controls.settings = good;
      this.change();
    };
    this.message.append(" ", button);
  }

  fail(message) {
    this.enter("error");
    this.message.value = message;
  }

  pin() {
    const changed = Object.entries(this.changed()).map(([name, v]) => `${this.knobs[name].label} = ${text(v)}`);
    this.views.pin(this.records.slice(), changed.join(", ") || "the book's settings");
  }

  async share() {
    const address = link(this.number, this.changed());
    write(this.number, this.changed());
    try {
      await navigator.clipboard.writeText(address);
      this.message.value = "The link is copied: it leads to these settings.";
    } catch {
      this.message.value = "The address of this page now leads to these settings.";
    }
  }

  back() {
    this.controls.settings = this.first;
    this.controls.keep.checked = false;
    this.change();
  }

  // The curves as a table, for those who do not see them
  table() {
    const body = this.root.querySelector(".lab-table tbody");
    const kept = this.records.filter((r, k) => r.epoch % 10 === 0 || k === this.records.length - 1);
    body.replaceChildren(...kept.map((r) => {
      const row = document.createElement("tr");
      for (const v of [r.epoch, r.train_loss.toFixed(4), r.val_loss.toFixed(4)]) {
        row.append(Object.assign(document.createElement("td"), { textContent: v }));
      }
      return row;
    }));
  }
}

// Data sets come as scripts, which load from disk as well: they call back by name.
const sets = {};
window.bookData = (name, packed) => sets[name].resolve(packed);

function load(name) {
  sets[name] ??= {};
  sets[name].promise ??= new Promise((resolve, reject) => {
    sets[name].resolve = resolve;
    const tag = document.createElement("script");
    tag.src = new URL(`data/${name}.js`, script).href;
    tag.onerror = () => reject(new Error(`${tag.src} did not load`));
    document.head.append(tag);
  });
  return sets[name].promise;
}

async function wake(root, number) {
  const lab = read(root, "lab-data");
  if (lab.experiment.channels.length) return; // convolutions run in JupyterLab
  try {
    return new Lab(root, number, lab, await load(lab.experiment.data));
  } catch (error) {
    root.dataset.state = "error";
    root.querySelector("output[name=message]").value = error.message;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const roots = [...document.querySelectorAll(".lab")], labs = new Map();
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (labs.has(target)) labs.get(target).then((lab) => lab?.rest(!isIntersecting));
      else if (isIntersecting) labs.set(target, wake(target, roots.indexOf(target) + 1));
    }
  }, { rootMargin: "200px" });
  roots.forEach((root) => seen.observe(root));
  document.addEventListener("visibilitychange", () => {
    for (const lab of labs.values()) lab.then((one) => one?.rest(document.hidden));
  });
  const asked = Number(new URLSearchParams(location.hash.slice(1)).get("lab"));
  roots[asked - 1]?.scrollIntoView();
});
