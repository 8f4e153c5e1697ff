// The labs' settings in the address: #lab=1&l2=0.001&seed=3;lab=2&dropout=0.5
// Each lab has a part of its own, so that one does not wipe out another's.

const REST = 400; // ms without a change, after which the address is written
const POINT = /^(-?[0-9a-z]{1,5})\.(-?[0-9a-z]{1,5})$/;
const SCALE = 100; // points are kept to two decimals
const FAR = 1000;

const parts = new Map(); // lab number -> "lab=1&l2=0.001"
let timer;

// Read the address; returns the numbers of the labs in it, in order. What it does not name stays.
export function load(hash = location.hash) {
  const found = new Map();
  for (const part of hash.slice(1).split(";")) {
    const number = Number(new URLSearchParams(part).get("lab"));
    if (Number.isInteger(number) && number > 0) found.set(number, part);
  }
  found.forEach((part, number) => parts.set(number, part));
  return [...found.keys()];
}

// What the address says of a lab, {name: text}, or null
export function read(number) {
  if (!parts.has(number)) return null;
  const found = new URLSearchParams(parts.get(number));
  found.delete("lab");
  return Object.fromEntries(found);
}

const part = (number, settings, points) =>
  new URLSearchParams({ lab: number, ...settings, ...(points && { points: encode(points) }) }).toString();

// The address that leads to a lab with these settings
export const link = (number, settings, points) =>
  `${location.href.split("#")[0]}#${part(number, settings, points)}`;

// Keep a lab's settings, and write them once the sliders rest: browsers refuse an address
// that changes too often, and no lab may stop for that.
export function write(number, settings, points) {
  if (Object.keys(settings).length || points) parts.set(number, part(number, settings, points));
  else parts.delete(number);
  clearTimeout(timer);
  timer = setTimeout(() => {
    const hash = [...parts.values()].join(";");
    try {
      history.replaceState(history.state, "", hash ? `#${hash}` : location.href.split("#")[0]);
    } catch {
      // too often: the next change writes it
    }
  }, REST);
}

// A choice's text in the address: "50-50" for [50, 50]
const written = (choice) => (Array.isArray(choice) ? choice.join("-") : String(choice));
export const forAddress = (settings) =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, written(value)]));

// The settings among `given` that make sense, {settings, points, said}: said has a sentence
// for each that does not.
export function restore(given, knobs, limits) {
  const settings = {}, said = [];
  let points = null;
  for (const [name, raw] of Object.entries(given)) {
    const knob = Object.hasOwn(knobs, name) ? knobs[name] : null, short = raw.slice(0, 20);
    if (name === "points") {
      points = decode(raw, limits);
      if (!points) said.push("the points in the address cannot be read: the book's are used");
    } else if (!knob) {
      said.push(`${name.slice(0, 20)} is no knob of this lab: left out`);
    } else if (knob.choices) {
      const found = knob.choices.find((choice) => written(choice) === raw);
      if (found === undefined) said.push(`${name} = ${short}: must be one of ${knob.choices.map(written).join(", ")}`);
      else settings[name] = found;
    } else {
      const value = parse(raw);
      if (!Number.isFinite(value)) {
        said.push(`${name} = ${short}: must be a number`);
        continue;
      }
      settings[name] = clamp(value, knob);
      if (settings[name] !== value) said.push(`${name} = ${short}: ${settings[name]} is used`);
    }
  }
  return { settings, points, said };
}

// A number as people type it, with a decimal point or a comma; NaN if it is none
export function parse(raw) {
  const trimmed = raw.trim().replace(",", ".").replace("−", "-");
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(trimmed) ? Number(trimmed) : NaN;
}

export const clamp = (value, { values, whole }) =>
  Math.min(values.at(-1), Math.max(values[0], whole ? Math.round(value) : value));

export const rounded = (value) => Math.round(value * SCALE) / SCALE;

// Own points as text: the coordinates of each in hundredths, base 36; its class by the sign
// between. In the fit of one input the second coordinate is the target.
function encode({ X, y }) {
  const features = X.length / y.length, whole = (v) => Math.round(v * SCALE).toString(36);
  return y.map((v, k) => (features === 1 ? `${whole(X[k])}.${whole(v)}`
    : `${whole(X[2 * k])}.${whole(X[2 * k + 1])}${v ? "!" : "~"}`)).join("_");
}

function decode(raw, { features, most }) {
  const X = [], y = [], texts = raw.split("_");
  if (features > 2 || texts.length > most) return null;
  for (const one of texts) {
    const mark = features === 2 ? one.at(-1) : "", found = POINT.exec(mark ? one.slice(0, -1) : one);
    if (!found || (mark && !"!~".includes(mark))) return null;
    const [a, b] = [1, 2].map((k) => parseInt(found[k], 36) / SCALE);
    if (!(Math.abs(a) <= FAR && Math.abs(b) <= FAR)) return null;
    X.push(a, ...(mark ? [b] : []));
    y.push(mark ? Number(mark === "!") : b);
  }
  return { X, y };
}
