// The arithmetic of a training step in plain JavaScript, for browsers without
// WebAssembly SIMD; simd.ts is the same, four doubles at a time.
//
// Pointers are bytes into one memory of float64. A matrix lies row by row, each row
// padded to a multiple of four doubles: X and O below are padded widths, I is not.

import { pcg4d, unit } from "./random.js";

const ALPHA = 1.6732632423543772;
const SCALE = 1.0507009873554805;

export function plainKernels(memory) {
  const F = new Float64Array(memory.buffer);
  let words = new Int32Array(0);
  const each = (pointer, count, change) => {
    for (let k = pointer >> 3, end = k + count; k < end; k++) F[k] = change(F[k]);
  };

  // z = b + x·w, or x·w for b = 0: z [rows, O], w [terms, O], b [O]. Rows of x lie R
  // apart, terms of a row T: so x may be transposed.
  function product(z, x, w, b, rows, terms, R, T, O) {
    for (let r = 0; r < rows; r++) {
      const zr = (z >> 3) + r * O;
      if (b) F.copyWithin(zr, b >> 3, (b >> 3) + O);
      else F.fill(0, zr, zr + O);
      for (let t = 0; t < terms; t++) {
        const a = F[(x >> 3) + r * R + t * T];
        if (a === 0) continue;
        const wt = (w >> 3) + t * O;
        for (let o = 0; o < O; o++) F[zr + o] += a * F[wt + o];
      }
    }
  }

  // x = d·wᵀ: x [n, I], d [n, O], w [I, O]
  function inputGradient(x, d, w, n, I, X, O) {
    for (let s = 0; s < n; s++) {
      const ds = (d >> 3) + s * O;
      for (let i = 0; i < I; i++) {
        const wi = (w >> 3) + i * O;
        let sum = 0;
        for (let o = 0; o < O; o++) sum += F[ds + o] * F[wi + o];
        F[(x >> 3) + s * X + i] = sum;
      }
    }
  }

  // g = Σ rows of d
  function biasGradient(g, d, n, O) {
    for (let o = 0; o < O; o++) {
      let sum = 0;
      for (let s = 0; s < n; s++) sum += F[(d >> 3) + s * O + o];
      F[(g >> 3) + o] = sum;
    }
  }

  const gate = (d, h, count, slope) => {
    for (let k = 0; k < count; k++) F[(d >> 3) + k] *= slope(F[(h >> 3) + k]);
  };

  // Batch normalization while training, in place; hat and inverse are for the way back.
  // Means are taken about the first row, so that a constant unit comes out as exactly 0.
  function normalize(z, hat, inverse, mean, variance, gamma, beta, n, O) {
    for (let o = 0; o < O; o++) {
      const at = (z >> 3) + o, first = F[at];
      let sum = 0, squares = 0;
      for (let s = 0; s < n; s++) sum += F[at + s * O] - first;
      const centre = (first + sum / n);
      for (let s = 0; s < n; s++) squares += (F[at + s * O] - centre) ** 2;
      const spread = squares / n, inv = (1 / Math.sqrt(spread + 1e-5));
      const unbiased = (spread * n) / Math.max(n - 1, 1);
      F[(mean >> 3) + o] += 0.1 * (centre - F[(mean >> 3) + o]);
      F[(variance >> 3) + o] += 0.1 * (unbiased - F[(variance >> 3) + o]);
      F[(inverse >> 3) + o] = inv;
      for (let s = 0; s < n; s++) {
        const a = ((F[at + s * O] - centre) * inv);
        F[(hat >> 3) + s * O + o] = a;
        F[at + s * O] = F[(beta >> 3) + o] + a * F[(gamma >> 3) + o];
      }
    }
  }

  // The way back: gradients of γ and β, and d in place
  function unnormalize(d, hat, inverse, gamma, dGamma, dBeta, n, O) {
    for (let o = 0; o < O; o++) {
      const at = (d >> 3) + o, h = (hat >> 3) + o;
      let sum = 0, along = 0;
      for (let s = 0; s < n; s++) {
        sum += F[at + s * O];
        along += F[at + s * O] * F[h + s * O];
      }
      F[(dBeta >> 3) + o] = sum;
      F[(dGamma >> 3) + o] = along;
      const slope = F[(gamma >> 3) + o] * F[(inverse >> 3) + o];
      for (let s = 0; s < n; s++) {
        const k = at + s * O;
        F[k] = (F[k] - sum / n - (F[h + s * O] * along) / n) * slope;
      }
    }
  }

  // Batch normalization by running statistics, in place
  function normalizeBy(z, mean, variance, gamma, beta, n, O) {
    for (let o = 0; o < O; o++) {
      const slope = F[(gamma >> 3) + o] / Math.sqrt(F[(variance >> 3) + o] + 1e-5);
      const centre = F[(mean >> 3) + o], shift = F[(beta >> 3) + o];
      for (let s = 0; s < n; s++) {
        const k = (z >> 3) + s * O + o;
        F[k] = shift + (F[k] - centre) * slope;
      }
    }
  }

  function adam(w, g, m, v, rate, second, count) {
    for (let k = 0; k < count; k++) {
      const slope = F[(g >> 3) + k];
      const mean = 0.9 * F[(m >> 3) + k] + 0.1 * slope;
      const square = 0.999 * F[(v >> 3) + k] + 0.001 * slope * slope;
      F[(m >> 3) + k] = mean;
      F[(v >> 3) + k] = square;
      F[(w >> 3) + k] -= (rate * mean) / (Math.sqrt(square) * second + 1e-8);
    }
  }

  // Uniforms in [0, 1) from `blocks` blocks of pcg4d, four to a block
  function uniforms(out, blocks, step, tag, seed) {
    if (words.length < 4 * blocks) words = new Int32Array(4 * blocks);
    pcg4d(words, blocks, step, tag, seed);
    for (let k = 0; k < 4 * blocks; k++) F[(out >> 3) + k] = unit(words[k]);
  }

  return {
    product, inputGradient, biasGradient,
    normalize, unnormalize, normalizeBy, adam, uniforms,
    relu: (z, count) => each(z, count, (v) => Math.max(v, 0)), // NaN stays NaN
    tanh: (z, count) => each(z, count, Math.tanh),
    selu: (z, count) =>
      each(z, count, (v) => SCALE * (v > 0 ? v : ALPHA * Math.expm1(v))),
    reluGate: (d, h, count) => gate(d, h, count, (a) => (a > 0 ? 1 : 0)),
    tanhGate: (d, h, count) => gate(d, h, count, (a) => 1 - a * a),
    seluGate: (d, h, count) =>
      gate(d, h, count, (a) => (a > 0 ? SCALE : a + SCALE * ALPHA)),
    // out = a · b
    multiply(out, a, b, count) {
      for (let k = 0; k < count; k++) {
        F[(out >> 3) + k] = F[(a >> 3) + k] * F[(b >> 3) + k];
      }
    },
    // out = a + f · b
    addScaled(out, a, b, f, count) {
      for (let k = 0; k < count; k++) {
        F[(out >> 3) + k] = F[(a >> 3) + k] + f * F[(b >> 3) + k];
      }
    },
    scale: (p, f, count) => each(p, count, (v) => f * v),
    // g += f · sign(w)
    addSigns(g, w, f, count) {
      for (let k = 0; k < count; k++) F[(g >> 3) + k] += f * Math.sign(F[(w >> 3) + k]);
    },
    // soft thresholding
    shrink: (w, limit, count) =>
      each(w, count, (v) => v - Math.max(Math.min(v, limit), -limit)),
    // a mask from uniforms: 0 where u < p, else `kept`
    keep: (u, p, kept, count) => each(u, count, (v) => (v >= p ? kept : 0)),
  };
}
