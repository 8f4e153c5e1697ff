// Data sets as the build wrote them (utils/book/page_data.py), their splits, and the training set
// that an experiment takes from them: utils/data.py's load and training_set.
import { PURPOSE, permutation, toNormals, uniforms } from "./random.js";

const SPLITS = 64; // that are kept of a data set
const STANDARDISED = { breast_cancer: ["X"], diabetes: ["X", "y"] }; // by their pool

// packed: {name, task, classes, image, pool: {X, y}, validation: {X, y}}, of real data `test` too; a
// matrix is {shape, base64} of little-endian float64, or of bytes to be divided by `scale`.
export function unpack(packed) {
  const set = ({ X, y }) => ({ X: numbers(X), y: numbers(y), n: X.shape[0] });
  const { name, task, classes, image } = packed;
  return {
    name, task, classes, image,
    features: packed.pool.X.shape[1],
    outputs: task === "multiclass" ? classes : 1,
    pool: set(packed.pool),
    validation: set(packed.validation),
    test: packed.test && set(packed.test),
    splits: new Map(),
  };
}

// The data set on another split: generated, or divided, anew. null is the book's own.
export function onSplit(data, split) {
  if (split === null || split === undefined) return data;
  const { name, pool, validation, features, splits } = data, n = pool.n + validation.n;
  if (!splits.has(split)) {
    if (splits.size === SPLITS) splits.delete(splits.keys().next().value);
    const all = ANEW[name]?.(split, n) ?? dividedAnew(data, split);
    for (const part of STANDARDISED[name] ?? []) standardise(all[part], part === "X" ? features : 1, pool.n);
    const part = (from, to) => ({
      X: all.X.subarray(from * features, to * features), y: all.y.subarray(from, to), n: to - from,
    });
    splits.set(split, { ...data, pool: part(0, pool.n), validation: part(pool.n, n) });
  }
  return splits.get(split);
}

const ANEW = {
  ring(split, n) {
    const X = points(split, n).map((u) => 4 * u - 2);
    return { X, y: rows(n, (i) => Number(X[2 * i] * X[2 * i] + X[2 * i + 1] * X[2 * i + 1] > 5)) };
  },
  moons(split, n) {
    const u = points(split, n), z = noise(split, n), y = rows(n, (i) => Number(u[2 * i + 1] >= 0.5));
    const X = new Float64Array(2 * n);
    for (let i = 0; i < n; i++) {
      const angle = Math.PI * u[2 * i], side = 1 - 2 * y[i];
      X[2 * i] = side * Math.cos(angle) + y[i] + 0.3 * z[2 * i];
      X[2 * i + 1] = side * Math.sin(angle) + y[i] / 2 + 0.3 * z[2 * i + 1];
    }
    return { X, y };
  },
  wave(split, n) {
    const u = points(split, n), z = noise(split, n), X = rows(n, (i) => 6 * u[2 * i] - 3);
    return { X, y: rows(n, (i) => Math.sin(1.5 * X[i]) + 0.4 * z[2 * i]) };
  },
};

const rows = (n, value) => Float64Array.from({ length: n }, (_, i) => value(i));

// Two numbers for each point; its row of four begins a block of its own.
function points(split, n, purpose = PURPOSE.POINT) {
  const drawn = uniforms(split, purpose, 0, 0, 4 * n);
  return drawn.filter((_, k) => k % 4 < 2);
}

function noise(split, n) {
  const z = points(split, n, PURPOSE.POINT_NOISE);
  toNormals(z);
  return z;
}

function dividedAnew({ pool, validation, test, features }, split) {
  const sets = [pool, validation, test], total = sets.reduce((sum, { n }) => sum + n, 0);
  const order = permutation(split, PURPOSE.SPLIT, 0, total);
  const whole = (part) => {
    const all = new Float64Array(sets.reduce((sum, set) => sum + set[part].length, 0));
    sets.reduce((at, set) => (all.set(set[part], at), at + set[part].length), 0);
    return all;
  };
  const from = whole("X"), labels = whole("y"), X = new Float64Array(from.length);
  order.forEach((k, i) => X.set(from.subarray(k * features, (k + 1) * features), i * features));
  return { X, y: Float64Array.from(order, (k) => labels[k]) };
}

// Scale so that the first n rows have mean 0 and standard deviation 1, in place
function standardise(values, columns, n) {
  for (let c = 0; c < columns; c++) {
    let mean = 0, square = 0;
    for (let i = 0; i < n; i++) mean += values[i * columns + c] / n;
    for (let i = 0; i < n; i++) square += (values[i * columns + c] - mean) ** 2 / n;
    for (let k = c; k < values.length; k += columns) values[k] = (values[k] - mean) / Math.sqrt(square);
  }
}

function numbers({ scale, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return scale
    ? Float64Array.from(bytes, (b) => b / scale)
    : new Float64Array(bytes.buffer);
}

export function trainingSet(e, data) {
  const { pool, features, classes } = data;
  const whole = e.n_train === pool.n;
  const chosen = whole ? null : permutation(e.seed, PURPOSE.SUBSET, 0, pool.n);
  const X = new Float64Array(e.n_train * features), y = new Float64Array(e.n_train);
  for (let i = 0; i < e.n_train; i++) {
    const k = whole ? i : chosen[i];
    X.set(pool.X.subarray(k * features, (k + 1) * features), i * features);
    y[i] = pool.y[k];
  }
  const clean = y.slice();
  if (e.label_noise) {
    const chance = uniforms(e.seed, PURPOSE.LABEL, 0, 0, e.n_train);
    const other = uniforms(e.seed, PURPOSE.LABEL_VALUE, 0, 0, e.n_train);
    for (let i = 0; i < e.n_train; i++) {
      if (chance[i] >= e.label_noise) continue;
      y[i] = classes ? Math.floor(other[i] * classes) : pool.y[Math.floor(other[i] * pool.n)];
    }
  }
  return { X, y, clean, n: e.n_train };
}
