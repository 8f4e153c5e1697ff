// Data sets as the build wrote them (utils/book/page_data.py), and the training set that an
// experiment takes from them: utils/data.py's training_set.
import { PURPOSE, permutation, uniforms } from "./random.js";

// packed: {task, classes, image, pool: {X, y}, validation: {X, y}}; a matrix is
// {shape, base64} of little-endian float64, or of bytes to be divided by `scale`.
export function unpack(packed) {
  const set = ({ X, y }) => ({ X: numbers(X), y: numbers(y), n: X.shape[0] });
  const { task, classes, image } = packed;
  return {
    task, classes, image,
    features: packed.pool.X.shape[1],
    outputs: task === "multiclass" ? classes : 1,
    pool: set(packed.pool),
    validation: set(packed.validation),
  };
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
