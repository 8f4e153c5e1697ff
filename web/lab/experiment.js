// From what the sliders say to an experiment, and back.
export const IMAGE = ["rotation", "shift", "scale", "flip"];
export const LOG = 10; // positions a decade of a logarithmic slider

// The values of a slider, in order; the book's own is always among them
export function steps(knob) {
  const found = new Set([knob.min, knob.max, knob.value]);
  (knob.scale === "log" ? addLog : addLinear)(found, knob);
  return [...found].sort((a, b) => a - b);
}

function addLinear(found, { min, max, whole }) {
  const step = whole ? Math.max(1, tidy((max - min) / 100)) : tidy((max - min) / 100);
  for (let k = Math.ceil(min / step); k * step <= max; k++) {
    found.add(Number((k * step).toPrecision(6)));
  }
}

// 1, 2 or 5 times a power of ten, at least `least`
function tidy(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].find((s) => s * power >= least * (1 - 1e-9)) * power;
}

function addLog(found, { min, max, name }) {
  if (name !== "lr") found.add(0);
  const from = Math.ceil(LOG * Math.log10(min)), to = Math.floor(LOG * Math.log10(max));
  for (let k = from; k <= to; k++) {
    const v = Number((10 ** (k / LOG)).toPrecision(2));
    if (v > min && v < max) found.add(v);
  }
}

export function apply(base, settings) {
  const e = { ...base };
  for (const [name, value] of Object.entries(settings)) {
    if (IMAGE.includes(name)) e.augment = { ...none(e.augment), [name]: value };
    else e[name] = value;
  }
  return e;
}

const none = (augment) => augment ?? { rotation: 0, shift: 0, scale: 0, flip: 0 };

export const text = (value) =>
  typeof value === "number" ? String(Number(value.toPrecision(3))) : String(value);
