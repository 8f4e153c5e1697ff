// A lab's settings in the address: #lab=2&l2=0.001&dropout=0.5&seed=3
export function read(number) {
  const found = new URLSearchParams(location.hash.slice(1));
  if (Number(found.get("lab")) !== number) return null;
  found.delete("lab");
  return Object.fromEntries(found);
}

export function link(number, changed) {
  const hash = new URLSearchParams({ lab: number, ...changed });
  return `${location.href.split("#")[0]}#${hash}`;
}

export const write = (number, changed) =>
  history.replaceState(history.state, "", link(number, changed));

// The nearest value the knob can take; between 0 and its least λ there is none
function clamp(value, { min, values, whole }) {
  const low = value > 0 ? min : values[0];
  return Math.min(values.at(-1), Math.max(low, whole ? Math.round(value) : value));
}

// The settings among `given` that make sense, and a sentence for each that does not.
export function restore(given, knobs) {
  const settings = {}, said = [];
  for (const [name, raw] of Object.entries(given)) {
    const knob = knobs[name];
    if (!knob) {
      said.push(`${name} is no knob of this lab: left out`);
    } else if (knob.choices) {
      const found = knob.choices.find((choice) => String(choice) === raw);
      if (found === undefined) said.push(`${name} = ${raw}: must be one of ${knob.choices.join(", ")}`);
      else settings[name] = found;
    } else {
      const value = raw.trim() === "" ? NaN : Number(raw);
      if (!Number.isFinite(value)) {
        said.push(`${name} = ${raw}: must be a number`);
        continue;
      }
      settings[name] = clamp(value, knob);
      if (settings[name] !== value) said.push(`${name} = ${raw}: ${settings[name]} is used`);
    }
  }
  return { settings, said };
}
