// What an experiment may be in the page, and what it must not: utils/experiment.py's
// ranges, less what only PyTorch can run.

const MOST_BYTES = 256 * 2 ** 20;
const number = (low, high, open) => (v) =>
  typeof v === "number" && v >= low && (open ? v < high : v <= high);
const whole = (low, high) => (v) => Number.isInteger(v) && v >= low && v <= high;
const oneOf = (...options) => (v) => options.includes(v);
const amount = number(0, Infinity, true), chance = number(0, 1, true);
const widths = (v) => Array.isArray(v) && v.every(whole(1, 4096));
const augment = (v) =>
  v === null || (number(0, 180)(v.rotation) && number(0, 8)(v.shift)
    && number(0, 0.9)(v.scale) && number(0, 1)(v.flip));

/** @type {Record<string, [(v: any) => boolean, string]>} */
const FIELDS = {
  data: [(v) => typeof v === "string", "a name"],
  n_train: [whole(1, 100000), "a whole number ≥ 1"],
  label_noise: [number(0, 1), "in [0, 1]"],
  hidden: [widths, "a list of whole numbers in [1, 4096]"],
  channels: [(v) => Array.isArray(v) && v.length === 0, "empty: convolutions run in JupyterLab"],
  activation: [oneOf("relu", "tanh", "selu"), "relu, tanh or selu"],
  init_scale: [(v) => amount(v) && v > 0, "> 0"],
  batch_norm: [oneOf(true, false), "true or false"],
  dropout: [chance, "in [0, 1)"],
  dropout_input: [chance, "in [0, 1)"],
  dropout_at: [oneOf("hidden", "last", "before_norm"), "hidden, last or before_norm"],
  dropconnect: [chance, "in [0, 1)"],
  input_noise: [amount, "≥ 0"],
  weight_noise: [amount, "≥ 0"],
  activation_noise: [amount, "≥ 0"],
  augment: [augment, "null, or rotation, shift, scale and flip in range"],
  optimizer: [oneOf("sgd", "adam", "adamw"), "sgd, adam or adamw"],
  momentum: [chance, "in [0, 1)"],
  lr: [(v) => amount(v) && v > 0, "> 0"],
  epochs: [whole(1, 100000), "a whole number ≥ 1"],
  batch_size: [whole(1, 100000), "a whole number ≥ 1"],
  l1: [amount, "≥ 0"],
  l1_method: [oneOf("proximal", "subgradient"), "proximal or subgradient"],
  l2: [amount, "≥ 0"],
  weight_decay: [amount, "≥ 0"],
  penalize_bias: [oneOf(true, false), "true or false"],
  patience: [(v) => v === null || whole(1, 100000)(v), "null or a whole number ≥ 1"],
  seed: [whole(0, 2 ** 32 - 1), "a whole number in [0, 2³²)"],
  split: [(v) => v == null || whole(0, 2 ** 32 - 1)(v), "null or a whole number in [0, 2³²)"],
  fold: [(v) => v == null, "null: cross-validation runs in JupyterLab"],
};

// Throws a RangeError that names the field, its value and what it must be.
export function check(e) {
  for (const [field, [fits, must]] of Object.entries(FIELDS)) {
    if (!fits(e[field])) throw new RangeError(`${field} = ${JSON.stringify(e[field])}: must be ${must}`);
  }
  if (e.momentum && e.optimizer !== "sgd") {
    throw new RangeError(`momentum = ${e.momentum}: must be 0 for ${e.optimizer}`);
  }
  if (e.batch_norm && (e.batch_size === 1 || e.n_train % e.batch_size === 1)) {
    const { n_train: n, batch_size: size } = e;
    throw new RangeError(
      `batch_norm = true: must be false for n_train = ${n} and batch_size = ${size}`);
  }
  return e;
}

// Throws if an experiment does not fit a data set: more training points than it has, or
// changes to images where there are none.
export function checkData({ n_train, augment, data }, { pool, image }, points) {
  if (!points && n_train > pool.n) {
    throw new RangeError(`n_train = ${n_train}: must be at most ${pool.n}`);
  }
  if (!image && Object.values(augment ?? {}).some(Boolean)) {
    const given = JSON.stringify(augment);
    throw new RangeError(`augment = ${given}: must be null for ${data}, which has no images`);
  }
}

// Throws if points {X: [n · features], y: [n]} cannot be a training set beside a data set.
export function checkPoints({ X, y }, { features, classes }) {
  const fail = (must) => {
    throw new RangeError(`points: ${must}`);
  };
  if (!(y.length && X.length === y.length * features)) {
    fail(`X has ${X.length} numbers, y ${y.length}: must be ${features} for each, ≥ 1`);
  }
  if (!(X.every(Number.isFinite) && y.every(Number.isFinite))) fail("must be finite numbers");
  const label = whole(0, classes - 1), wrong = classes ? y.find((one) => !label(one)) : undefined;
  if (wrong !== undefined) fail(`y has ${wrong}: must be whole numbers in [0, ${classes - 1}]`);
}

// Throws if `networks` together want more memory than a page should take.
export function checkMemory(bytes, networks = 1) {
  if (bytes <= MOST_BYTES) return;
  const [needs, most] = [bytes, MOST_BYTES].map((b) => Math.round(b / 2 ** 20));
  const of = networks > 1 ? ` for ${networks} networks` : "";
  throw new RangeError(`hidden, batch_size: need ${needs} MiB${of}, must be at most ${most}`);
}
