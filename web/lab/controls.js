// The form of a lab: a labelled input for each knob, and what one can do with a run.
import { text } from "./experiment.js";

const element = (tag, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
};

// What a row of the form stands for: one setting, or several.
class Field {
  get settings() {
    return { [this.input.name]: this.value };
  }

  take(values) {
    const { name } = this.input;
    if (name in values) this.value = values[name];
    this.show();
  }

  show() {}
}

// A slider, whose position stands for one of `values`; a value put from outside may lie
// between two, and stays as it is until the slider moves.
class Slider extends Field {
  constructor(name, knob, id) {
    super();
    this.values = knob.values;
    const ends = { min: 0, max: this.values.length - 1, step: 1 };
    this.input = element("input", { type: "range", name, id, ...ends });
    this.input.addEventListener("input", () => (this.put = undefined));
    this.shown = element("output", { htmlFor: id });
    this.label = element("label", { htmlFor: id, textContent: knob.label });
    this.row = element("div", { className: "lab-knob" }, this.label, this.input, this.shown);
  }

  get value() {
    return this.put ?? this.values[this.input.value];
  }

  set value(value) {
    this.input.value = nearest(this.values, value);
    this.put = value;
  }

  show() {
    this.shown.value = text(this.value);
    this.input.setAttribute("aria-valuetext", text(this.value));
  }
}

function nearest(values, value) {
  const far = (v) => Math.abs(v - value);
  return values.reduce((best, v, k) => (far(v) < far(values[best]) ? k : best), 0);
}

class Choice extends Field {
  constructor(name, knob, id) {
    super();
    const options = knob.choices.map((v, k) =>
      element("option", { value: String(v), textContent: knob.texts[k] }));
    this.choices = knob.choices;
    this.input = element("select", { name, id }, ...options);
    const label = element("label", { htmlFor: id, textContent: knob.label });
    this.row = element("div", { className: "lab-knob" }, label, this.input, element("span"));
  }

  get value() {
    return this.choices.find((v) => String(v) === this.input.value);
  }

  set value(value) {
    this.input.value = String(value);
  }
}

class Seed extends Field {
  constructor(id) {
    super();
    const ends = { min: 0, max: 2 ** 32 - 1, step: 1 };
    this.input = element("input", { type: "number", name: "seed", id, ...ends });
    const label = element("label", { htmlFor: id, textContent: "seed" });
    this.row = element("div", { className: "lab-knob" }, label, this.input, element("span"));
  }

  get value() {
    return this.input.valueAsNumber;
  }

  set value(value) {
    this.input.value = value;
  }
}

// One slider for λ₁ or λ₂, and which of them it is; the other is 0.
class Penalty {
  constructor(names, knobs, id) {
    Object.assign(this, { names, knobs });
    const choices = [...names].sort(), texts = choices.map((name) => name.toUpperCase());
    this.kind = new Choice("penalty", { label: "penalty", choices, texts }, id("penalty"));
    [this.kind.value] = names;
    this.slider = new Slider(names[0], knobs[names[0]], id("strength"));
    this.rows = [this.kind.row, this.slider.row];
  }

  get settings() {
    const { kind, slider, names } = this;
    return Object.fromEntries(names.map((name) => [name, name === kind.value ? slider.value : 0]));
  }

  take(values) {
    const given = this.names.filter((name) => name in values);
    const used = given.find((name) => values[name]) ?? (given[1] ? this.kind.value : given[0]);
    if (used) {
      this.kind.value = used;
      this.slider.value = values[used];
    }
    this.show();
  }

  show() {
    const { kind, slider, knobs } = this;
    slider.input.name = kind.value;
    slider.label.textContent = knobs[kind.value].label;
    slider.show();
  }
}

export class Controls {
  // penalty: the knobs that share a slider, the one in use first, or none;
  // on: {change(settings), play(), pin(), share(), back()}
  constructor(number, knobs, penalty, on) {
    const id = (name) => `lab-${number}-${name}`;
    const own = Object.entries(knobs).filter(([name]) => !penalty.includes(name));
    this.fields = own.map(([name, knob]) =>
      name === "seed" ? new Seed(id(name)) : new (knob.choices ? Choice : Slider)(name, knob, id(name)));
    if (penalty.length) this.fields.unshift(new Penalty(penalty, knobs, id));
    this.play = this.button("play", "Pause", on.play);
    this.keep = element("input", { type: "checkbox", name: "keep", id: id("keep") });
    const goOn = element("label", { htmlFor: id("keep"), textContent: "go on from here" });
    const rows = this.fields.flatMap((field) => field.rows ?? field.row);
    const buttons = element("div", { className: "lab-buttons" }, this.play,
      element("span", {}, this.keep, goOn), this.button("pin", "Pin this run", on.pin),
      this.button("share", "Copy link", on.share), this.button("back", "Book's settings", on.back));
    this.form = element("form", { className: "lab-controls" }, ...rows, buttons);
    this.form.setAttribute("aria-label", "Settings of the network");
    this.form.onsubmit = (event) => event.preventDefault();
    this.form.oninput = ({ target }) => {
      if (target === this.keep || !target.validity.valid || target.value === "") return;
      this.fields.forEach((field) => field.show());
      on.change();
    };
  }

  button(name, textContent, onclick) {
    return element("button", { type: "button", name, textContent, onclick });
  }

  get settings() {
    return Object.assign({}, ...this.fields.map((field) => field.settings));
  }

  set settings(values) {
    this.fields.forEach((field) => field.take(values));
  }
}
