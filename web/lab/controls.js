// The form of a lab: a labelled input for each knob, and what one can do with a run.
import { text } from "./experiment.js";

const element = (tag, attributes = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
};

// A slider, whose position stands for one of `values`; a value put from outside may lie
// between two, and stays as it is until the slider moves.
class Slider {
  constructor(name, knob, id) {
    this.values = knob.values;
    const ends = { min: 0, max: this.values.length - 1, step: 1 };
    this.input = element("input", { type: "range", name, id, ...ends });
    this.input.addEventListener("input", () => (this.put = undefined));
    this.shown = element("output", { htmlFor: id });
    const label = element("label", { htmlFor: id, textContent: knob.label });
    this.row = element("div", { className: "lab-knob" }, label, this.input, this.shown);
  }

  get value() {
    return this.put ?? this.values[this.input.value];
  }

  set value(value) {
    this.input.value = nearest(this.values, value);
    this.put = value;
    this.show();
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

class Choice {
  constructor(name, knob, id) {
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

  show() {}
}

class Seed {
  constructor(id) {
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

  show() {}
}

export class Controls {
  // on: {change(settings), play(), pin(), share(), back()}
  constructor(number, knobs, on) {
    const id = (name) => `lab-${number}-${name}`;
    this.fields = Object.fromEntries(
      Object.entries(knobs).map(([name, knob]) => {
        if (name === "seed") return [name, new Seed(id(name))];
        return [name, new (knob.choices ? Choice : Slider)(name, knob, id(name))];
      }),
    );
    this.play = this.button("play", "Pause", on.play);
    this.keep = element("input", { type: "checkbox", name: "keep", id: id("keep") });
    const goOn = element("label", { htmlFor: id("keep"), textContent: "go on from here" });
    const rows = Object.values(this.fields).map((field) => field.row);
    const buttons = element("div", { className: "lab-buttons" }, this.play,
      element("span", {}, this.keep, goOn), this.button("pin", "Pin this run", on.pin),
      this.button("share", "Copy link", on.share), this.button("back", "Book's settings", on.back));
    this.form = element("form", { className: "lab-controls" }, ...rows, buttons);
    this.form.setAttribute("aria-label", "Settings of the network");
    this.form.onsubmit = (event) => event.preventDefault();
    this.form.oninput = ({ target }) => {
      if (target === this.keep || !target.validity.valid || target.value === "") return;
      this.fields[target.name]?.show();
      on.change();
    };
  }

  button(name, textContent, onclick) {
    return element("button", { type: "button", name, textContent, onclick });
  }

  get settings() {
    return Object.fromEntries(Object.entries(this.fields).map(([name, f]) => [name, f.value]));
  }

  set settings(values) {
    for (const [name, value] of Object.entries(values)) {
      this.fields[name].value = value;
      this.fields[name].show();
    }
  }
}
