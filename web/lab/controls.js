// The form of a lab: a labelled input for each knob, and what one can do with a run.
import { clamp, parse } from "./address.js";
import { button, element, output, text } from "./dom.js";

const SLIP = 8; // pixels a finger moves before it is clear where it wants to go

// A knob: its value, the inputs that set it, and what it has to say of a refused one.
class Field {
  name; knob; field; row; input;

  constructor(name, knob, id) {
    Object.assign(this, { name, knob });
    this.error = output(`${name}-error`, { className: "lab-refused", id: `${id}-error` });
    this.label = element("label", { htmlFor: id, textContent: knob.label });
  }

  set value(value) {
    this.held = value;
    this.refuse("");
    this.show();
  }

  get value() {
    return this.held;
  }

  show() {} // the value, in the inputs

  refuse(why) {
    this.error.value = why;
    this.field?.setAttribute("aria-invalid", Boolean(why));
  }

  // What is typed, taken when it is a value of the knob
  typed(change) {
    const why = this.problem(parse(this.field.value));
    if (why) return this.refuse(`${this.field.value.trim().slice(0, 20) || "empty"}: ${why}`);
    const old = this.value;
    this.value = parse(this.field.value);
    if (this.value !== old) change();
    return undefined;
  }

  problem(value) {
    const { values, whole } = this.knob, [low, high] = [values[0], values.at(-1)];
    if (!Number.isFinite(value) || (whole && !Number.isInteger(value)) || value < low || value > high) {
      return `must be a ${whole ? "whole " : ""}number from ${text(low)} to ${text(high)}`;
    }
    return "";
  }

  makeField(id, change) {
    const properties = { type: "text", inputMode: "decimal", name: `${this.name}-value`, autocomplete: "off" };
    this.field = element("input", { ...properties, id, "aria-describedby": this.error.id });
    this.field.addEventListener("change", () => this.typed(change));
    // JupyterLab keeps Enter from becoming a change.
    this.field.addEventListener("keydown", ({ key }) => key === "Enter" && this.typed(change));
    return this.field;
  }
}

// A slider, whose position stands for one of the knob's values; what is typed may lie between two.
class Slider extends Field {
  constructor(name, knob, id, change) {
    super(name, knob, id);
    const ends = { min: 0, max: knob.values.length - 1, step: 1 };
    this.input = element("input", { type: "range", name, id, ...ends });
    const field = this.makeField(`${id}-value`, change);
    field.setAttribute("aria-label", `${knob.label}, exactly`);
    this.row = element("div", { className: "lab-knob" }, this.label, this.input, field, this.error);
    this.input.addEventListener("input", () => {
      if (!this.finger || this.finger.sure) this.slid(change);
    });
    this.touch(change);
  }

  slid(change) {
    this.value = this.knob.values[this.input.value];
    change();
  }

  // A finger that scrolls the page must not turn a knob: until it has moved along the slider, or
  // left it, nothing changes.
  touch(change) {
    const { input } = this;
    input.addEventListener("pointerdown", ({ pointerType, clientX }) => {
      this.finger = pointerType === "mouse" ? null : { clientX, value: this.value, sure: false };
    });
    input.addEventListener("pointermove", ({ clientX }) => {
      if (!this.finger || this.finger.sure || Math.abs(clientX - this.finger.clientX) < SLIP) return;
      this.finger.sure = true;
      this.slid(change);
    });
    input.addEventListener("pointerup", () => {
      const { finger } = this;
      this.finger = null;
      if (finger && !finger.sure) this.slid(change);
    });
    input.addEventListener("pointercancel", () => {
      const { finger } = this;
      this.finger = null;
      if (!finger) return;
      const moved = this.value !== finger.value;
      this.value = finger.value;
      if (moved) change();
    });
  }

  show() {
    const { values } = this.knob, shown = text(this.value);
    this.input.value = nearest(values, this.value);
    this.input.setAttribute("aria-valuetext", shown);
    this.field.value = shown;
  }
}

function nearest(values, value) {
  const far = (v) => Math.abs(v - value);
  return values.reduce((best, v, k) => (far(v) < far(values[best]) ? k : best), 0);
}

class Choice extends Field {
  constructor(name, knob, id, change) {
    super(name, knob, id);
    const options = knob.choices.map((_, k) =>
      element("option", { value: String(k), textContent: knob.texts[k] }));
    this.input = element("select", { name, id }, ...options);
    this.input.addEventListener("change", () => {
      this.value = knob.choices[this.input.value];
      change();
    });
    this.row = element("div", { className: "lab-knob lab-choice" }, this.label, this.input, this.error);
  }

  show() {
    const wanted = JSON.stringify(this.value);
    this.input.value = this.knob.choices.findIndex((choice) => JSON.stringify(choice) === wanted);
  }
}

// The first of the draws, and a button for others
class Seed extends Field {
  constructor(knob, id, seeds, change) {
    super("seed", knob, id);
    this.makeField(id, change).name = "seed";
    const next = button("draw", "New data", () => {
      this.value = clamp(this.value + seeds, knob) === this.value ? 0 : this.value + seeds;
      change();
    }, { title: "other points, labels, initial weights and batches" });
    const both = element("div", { className: "lab-seed" }, this.field, next);
    this.row = element("div", { className: "lab-knob lab-choice" }, this.label, both, this.error);
  }

  show() {
    this.field.value = text(this.value);
  }
}

export class Controls {
  // number: of the lab on its page; knobs: {name: knob}, seed among them; on: {change(name), play(),
  // pin() or null: nothing runs, share() or null, back(), engine(name) or null, keep(whether changes go on)}
  constructor(number, knobs, seeds, on) {
    const id = (name) => `lab-${number}-${name}`;
    this.fields = Object.entries(knobs).map(([name, knob]) => {
      const change = () => on.change(name);
      if (name === "seed") return new Seed(knob, id(name), seeds, change);
      return new (knob.choices ? Choice : Slider)(name, knob, id(name), change);
    });
    this.play = button("play", "Train again", on.play);
    this.keep = element("input", { type: "checkbox", name: "keep", id: id("keep") });
    this.keep.onchange = () => on.keep(this.keep.checked);
    const goOn = element("label", { htmlFor: id("keep") }, this.keep, " go on from here");
    goOn.title = "a change keeps the weights, and trains them on";
    const buttons = on.pin ? [this.play, goOn, button("pin", "Pin this run", on.pin)] : [];
    if (on.share) buttons.push(button("share", "Copy link", on.share));
    buttons.push(button("back", "Book's settings", on.back));
    if (on.engine) buttons.push(this.chooser(id("engine"), on.engine));
    this.form = element("form", { className: "lab-controls", onsubmit: (event) => event.preventDefault() },
      element("div", { className: "lab-knobs" }, ...this.fields.map(({ row }) => row)),
      element("div", { className: "lab-buttons" }, ...buttons));
    this.form.setAttribute("aria-label", "Settings of the network");
  }

  // Where a lab of JupyterLab trains
  chooser(id, change) {
    const options = [["kernel", "the kernel"], ["browser", "this browser"]].map(([value, textContent]) =>
      element("option", { value, textContent }));
    this.engine = element("select", { name: "engine", id }, ...options);
    this.engine.onchange = () => change(this.engine.value);
    return element("label", { htmlFor: id }, "trained by ", this.engine);
  }

  get settings() {
    return Object.fromEntries(this.fields.map(({ name, value }) => [name, value]));
  }

  set settings(values) {
    for (const field of this.fields) if (Object.hasOwn(values, field.name)) field.value = values[field.name];
  }

  // Knobs that do nothing at present, as those of the data beside the reader's own points
  disable(names) {
    for (const { name, row } of this.fields) {
      const off = names.includes(name);
      row.querySelectorAll("input, select, button").forEach((input) => (input.disabled = off));
    }
  }

  // Say beside the knob what the engine refused; "": nothing any more
  refuse(message) {
    const { refused } = this;
    if (refused?.error.value.startsWith(`${refused.name} = `)) refused.refuse("");
    this.refused = this.fields.find(({ name }) => message.startsWith(`${name} = `));
    this.refused?.refuse(message);
  }
}
