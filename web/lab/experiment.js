// From what the sliders say to an experiment, and back.
const IMAGE = ["rotation", "shift", "scale", "flip"];

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
