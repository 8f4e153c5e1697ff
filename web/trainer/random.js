// Random numbers as a pure function of (seed, purpose, step, layer, unit), the same
// bits as utils/random.py. The generator itself, pcg4d, is the kernel `uniforms`.

export const PURPOSE = {
  SUBSET: 1, LABEL: 2, LABEL_VALUE: 3, WEIGHT: 4, BIAS: 5, ORDER: 6, DROPOUT: 7,
  INPUT_NOISE: 8, WEIGHT_NOISE: 9, ACTIVATION_NOISE: 10, AUGMENT: 11, DROPCONNECT: 12,
};

export const tag = (purpose, layer) => ((purpose << 16) + layer) | 0;

// The 24 bits of each uniform leave ties that all 32 would break, and an order needs
// all 32: so orders are drawn here.
export function words(seed, purpose, step, layer, count) {
  const { imul } = Math;
  const scramble = (v) => (imul(v, 1664525) + 1013904223) | 0;
  const y0 = scramble(step), z0 = scramble(tag(purpose, layer)), w0 = scramble(seed | 0);
  const found = new Int32Array((count + 3) & ~3);
  for (let b = 0; 4 * b < count; b++) {
    let x = scramble(b), y = y0, z = z0, w = w0;
    for (let turn = 0; turn < 2; turn++) {
      x = (x + imul(y, w)) | 0; y = (y + imul(z, x)) | 0;
      z = (z + imul(x, y)) | 0; w = (w + imul(y, z)) | 0;
      if (turn) break;
      x ^= x >>> 16; y ^= y >>> 16; z ^= z >>> 16; w ^= w >>> 16;
    }
    found.set([x, y, z, w], 4 * b);
  }
  return found.subarray(0, count);
}

// Uniforms in [0, 1) of one row
export const uniforms = (seed, purpose, step, layer, count) =>
  Float64Array.from(words(seed, purpose, step, layer, count), (v) => (v >>> 8) / 2 ** 24);

// A random order of 0 … n − 1, n ≤ 2²⁰; equal words keep their order
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
