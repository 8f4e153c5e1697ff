// Random numbers as a pure function of (seed, purpose, step, layer, unit), the same
// bits as utils/random.py. The kernel `uniforms` is the same for many, in WebAssembly.

export const PURPOSE = {
  SUBSET: 1, LABEL: 2, LABEL_VALUE: 3, WEIGHT: 4, BIAS: 5, ORDER: 6, DROPOUT: 7,
  INPUT_NOISE: 8, WEIGHT_NOISE: 9, ACTIVATION_NOISE: 10, AUGMENT: 11, DROPCONNECT: 12,
  SPLIT: 14, POINT: 15, POINT_NOISE: 16,
};

export const tag = (purpose, layer) => ((purpose << 16) + layer) | 0;

// Fill `found` with blocks 0 … blocks − 1, four words to a block.
export function pcg4d(found, blocks, step, word, seed) {
  const { imul } = Math;
  const scramble = (v) => (imul(v, 1664525) + 1013904223) | 0;
  const y0 = scramble(step), z0 = scramble(word), w0 = scramble(seed);
  for (let b = 0, k = 0; b < blocks; b++, k += 4) {
    let x = scramble(b), y = y0, z = z0, w = w0;
    x = (x + imul(y, w)) | 0; y = (y + imul(z, x)) | 0;
    z = (z + imul(x, y)) | 0; w = (w + imul(y, z)) | 0;
    x ^= x >>> 16; y ^= y >>> 16; z ^= z >>> 16; w ^= w >>> 16;
    x = (x + imul(y, w)) | 0; y = (y + imul(z, x)) | 0;
    z = (z + imul(x, y)) | 0; w = (w + imul(y, z)) | 0;
    found[k] = x; found[k + 1] = y; found[k + 2] = z; found[k + 3] = w;
  }
  return found;
}

// The uniform in [0, 1) that a word stands for
export const unit = (word) => (word >>> 8) / 2 ** 24;

function words(seed, purpose, step, layer, count) {
  const blocks = Math.ceil(count / 4), found = new Int32Array(4 * blocks);
  return pcg4d(found, blocks, step, tag(purpose, layer), seed | 0).subarray(0, count);
}

// Uniforms in [0, 1) of one row
export const uniforms = (...address) => Float64Array.from(words(...address), unit);

// A random order of 0 … n − 1, n ≤ 2²⁰, by whole words: 24 bits would leave ties, as
// utils/random.py's do not. Equal words keep their order.
export function permutation(seed, purpose, step, n) {
  const drawn = words(seed, purpose, step, 0, n);
  const keys = Float64Array.from(drawn, (v, i) => (v + 2 ** 31) * 2 ** 20 + i);
  return Uint32Array.from(keys.sort(), (key) => key % 2 ** 20);
}

// Turn pairs of uniforms into pairs of standard normals, in place (Box & Muller 1958)
export function toNormals(u) {
  for (let k = 0; k < u.length; k += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - u[k])), angle = 2 * Math.PI * u[k + 1];
    u[k] = radius * Math.cos(angle);
    u[k + 1] = radius * Math.sin(angle);
  }
}
