// What a lab asks of its engine: from the settings of its knobs to experiments.

const IMAGE = ["rotation", "shift", "scale", "flip"];
const NONE = { rotation: 0, shift: 0, scale: 0, flip: 0 };
// Knobs that describe the situation, not the remedy: a baseline shares what the reader sets.
const SITUATION = [
  "data", "n_train", "label_noise", "hidden", "width", "depth", "activation", "init_scale", "epochs",
  "batch_size", "lr", "seed",
];
const SWEEP_SEEDS = 3; // of a lab whose runs are of one seed

// The experiment with these settings; width and depth make `hidden`, turns and shifts `augment`.
export function apply(base, settings) {
  const e = { ...base };
  for (const [name, value] of Object.entries(settings)) {
    if (IMAGE.includes(name)) e.augment = { ...(e.augment ?? NONE), [name]: value };
    else if (name === "width") e.hidden = e.hidden.map(() => value);
    else if (name !== "depth") e[name] = value;
  }
  if ("depth" in settings) e.hidden = Array(settings.depth).fill(e.hidden[0] ?? settings.width);
  return e;
}

// Draw k of a lab; where there is a split, it goes with the seed.
const draw = (e, k) => ({ ...e, seed: e.seed + k, split: (e.split ?? null) === null ? null : e.seed + k });
const draws = (e, seeds) => Array.from({ length: seeds }, (_, k) => draw(e, k));

const on = (e, points) => (points ? { ...e, n_train: points.y.length } : e);

// How often a run is scored: to score both sets takes longer than to train on a small one. A long run
// has more to show.
export const scores = ({ epochs }) => Math.max(25, Math.ceil(epochs / 20));

// The members of a run: the reader's draws, then the baseline's on the same draws.
export function members({ experiment, seeds, against }, settings, points) {
  const mine = on(apply(experiment, settings), points);
  if (!against) return draws(mine, seeds);
  const shared = Object.entries(settings).filter(([name]) => SITUATION.includes(name));
  const other = on(apply(against, Object.fromEntries(shared)), points);
  return [...draws(mine, seeds), ...draws(other, seeds)];
}

// How many draws each cell of a sweep is the mean of
export const sweepSeeds = ({ seeds }) => (seeds > 1 ? seeds : SWEEP_SEEDS);

// The cells of a sweep, row by row: {name: value} each; the first of `over` is the x axis.
export function cells({ over }) {
  const [[x, xs], [y, ys] = []] = Object.entries(over);
  if (!y) return xs.map((u) => ({ [x]: u }));
  return ys.flatMap((v) => xs.map((u) => ({ [x]: u, [y]: v })));
}

// The jobs of a sweep, {cell, draw, experiment}: one draw after the other, of each the coarse
// picture first.
export function jobs(spec, settings, points) {
  const all = cells(spec), [xs, ys = [0]] = Object.values(spec.over), columns = xs.length;
  const level = (k) => Math.max(rank(k % columns), ys.length > 1 ? rank(Math.floor(k / columns)) : 0);
  const order = all.map((_, k) => k).sort((a, b) => level(a) - level(b) || a - b);
  return Array.from({ length: sweepSeeds(spec) }, (_, k) => order.map((cell) => {
    const e = on(apply(spec.experiment, { ...settings, ...all[cell] }), points);
    return { cell, draw: k, experiment: draw(e, k) };
  })).flat();
}

// 0 for every eighth, 1 for every fourth, …
const rank = (k) => [8, 4, 2, 1].findIndex((step) => k % step === 0);

// The objective, or the step, that an experiment's optimizer really follows, as HTML.
export function formula(e) {
  const w = e.penalize_bias ? "weights and biases" : "weights";
  const [l1, l2] = ["λ₁ Σ|w|", "λ₂ Σw²"], decay = e.weight_decay, adam = e.optimizer !== "sgd";
  const proximal = e.l1 > 0 && e.l1_method === "proximal";
  const loss = ["L", e.l2 || !(e.l1 || decay) ? l2 : "", e.l1 && !(adam && proximal) ? l1 : "",
    decay && e.optimizer === "sgd" ? "½ d Σw²" : ""].filter(Boolean).join(" + ");
  const said = [`${e.optimizer === "sgd" ? "SGD" : adam && "Adam"} goes down L<sub>data</sub>${loss.slice(1)}`];
  if (decay && e.optimizer === "adam") said[0] += " + ½ d Σw²";
  if (decay && e.optimizer === "adamw") said.push("and each step first shrinks w by the factor 1 − η d (decoupled decay)");
  if (proximal && adam) said.push("and each step then moves w by η λ₁ towards 0, not past it (proximal L1, so what is minimised is not L + λ₁ Σ|w|)");
  else if (proximal) said.push("(λ₁ by soft thresholding after each step)");
  return `${said.join(", ")}; Σ over the ${w}. The curves show L<sub>data</sub> alone.`;
}
