// The arithmetic of a training step, two doubles at a time. Compiled to WebAssembly with
// SIMD by AssemblyScript; kernels.js is the same in plain JavaScript, line by line, and
// says what each function does. Pointers are bytes; every row is padded to four doubles.

// Where memory of one's own may begin
export const free: usize = __heap_base;

// @ts-ignore: decorator
@inline function at(p: usize): v128 { return v128.load(p); }
// @ts-ignore: decorator
@inline function splat(p: usize): v128 { return v128.load64_splat(p); }
// @ts-ignore: decorator
@inline function fma(sum: v128, a: v128, b: v128): v128 {
  return f64x2.add(sum, f64x2.mul(a, b));
}

// @ts-ignore: decorator
@inline function start(b: usize): v128 { return b ? at(b) : f64x2.splat(0); }

// Four rows by four columns of z at once: eight sums, eight products for six loads.
export function product(
  z: usize, x: usize, w: usize, b: usize, rows: i32, terms: i32, R: i32, T: i32, O: i32,
): void {
  const RB: usize = R << 3, TB: usize = T << 3, OB: usize = O << 3;
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    for (let o: usize = 0; o < OB; o += 32) {
      let a0 = start(b ? b + o : 0), b0 = start(b ? b + o + 16 : 0);
      let a1 = a0, a2 = a0, a3 = a0, b1 = b0, b2 = b0, b3 = b0;
      let x0 = x + r * RB, wp = w + o;
      let x1 = x0 + RB, x2 = x1 + RB, x3 = x2 + RB;
      for (let t = 0; t < terms; t++) {
        const u = at(wp), v = at(wp + 16);
        let k = splat(x0);
        a0 = fma(a0, k, u); b0 = fma(b0, k, v);
        k = splat(x1);
        a1 = fma(a1, k, u); b1 = fma(b1, k, v);
        k = splat(x2);
        a2 = fma(a2, k, u); b2 = fma(b2, k, v);
        k = splat(x3);
        a3 = fma(a3, k, u); b3 = fma(b3, k, v);
        x0 += TB; x1 += TB; x2 += TB; x3 += TB; wp += OB;
      }
      let p = z + r * OB + o;
      v128.store(p, a0); v128.store(p + 16, b0); p += OB;
      v128.store(p, a1); v128.store(p + 16, b1); p += OB;
      v128.store(p, a2); v128.store(p + 16, b2); p += OB;
      v128.store(p, a3); v128.store(p + 16, b3);
    }
  }
  for (; r < rows; r++) {
    for (let o: usize = 0; o < OB; o += 16) {
      let a = start(b ? b + o : 0), xp = x + r * RB, wp = w + o;
      for (let t = 0; t < terms; t++) {
        a = fma(a, splat(xp), at(wp));
        xp += TB; wp += OB;
      }
      v128.store(z + r * OB + o, a);
    }
  }
}

// The sums of a's and of b's two halves
// @ts-ignore: decorator
@inline function sums(a: v128, b: v128): v128 {
  return f64x2.add(v128.shuffle<f64>(a, b, 0, 2), v128.shuffle<f64>(a, b, 1, 3));
}

// Two rows by four inputs at once; each product runs along the outputs.
export function inputGradient(
  x: usize, d: usize, w: usize, n: i32, I: i32, X: i32, O: i32,
): void {
  const XB: usize = X << 3, OB: usize = O << 3, zero = f64x2.splat(0);
  for (let s = 0; s < n; s += 2) {
    const d0 = d + s * OB, d1 = s + 1 < n ? d0 + OB : d0;
    const p0 = x + s * XB, p1 = s + 1 < n ? p0 + XB : p0;
    for (let i = 0; i < I; i += 4) {
      const w0 = w + i * OB;
      const w1 = i + 1 < I ? w0 + OB : w0;
      const w2 = i + 2 < I ? w1 + OB : w0;
      const w3 = i + 3 < I ? w2 + OB : w0;
      let a0 = zero, a1 = zero, a2 = zero, a3 = zero;
      let b0 = zero, b1 = zero, b2 = zero, b3 = zero;
      for (let o: usize = 0; o < OB; o += 16) {
        const u = at(d0 + o), v = at(d1 + o);
        let k = at(w0 + o);
        a0 = fma(a0, u, k); b0 = fma(b0, v, k);
        k = at(w1 + o);
        a1 = fma(a1, u, k); b1 = fma(b1, v, k);
        k = at(w2 + o);
        a2 = fma(a2, u, k); b2 = fma(b2, v, k);
        k = at(w3 + o);
        a3 = fma(a3, u, k); b3 = fma(b3, v, k);
      }
      const left = i64x2.splat(I - i); // the padding stays 0
      const first = i64x2.gt_s(left, i64x2(0, 1)), last = i64x2.gt_s(left, i64x2(2, 3));
      const k = i << 3;
      v128.store(p0 + k, v128.and(sums(a0, a1), first));
      v128.store(p0 + k + 16, v128.and(sums(a2, a3), last));
      v128.store(p1 + k, v128.and(sums(b0, b1), first));
      v128.store(p1 + k + 16, v128.and(sums(b2, b3), last));
    }
  }
}

export function biasGradient(g: usize, d: usize, n: i32, O: i32): void {
  const OB: usize = O << 3;
  for (let o: usize = 0; o < OB; o += 16) {
    let a = f64x2.splat(0), dp = d + o;
    for (let s = 0; s < n; s++) {
      a = f64x2.add(a, at(dp));
      dp += OB;
    }
    v128.store(g + o, a);
  }
}

export function relu(z: usize, count: i32): void {
  const zero = f64x2.splat(0);
  for (let p = z, end = z + (count << 3); p < end; p += 16) {
    v128.store(p, f64x2.max(at(p), zero));
  }
}

export function reluGate(d: usize, h: usize, count: i32): void {
  const zero = f64x2.splat(0);
  for (let k: usize = 0; k < <usize>(count << 3); k += 16) {
    v128.store(d + k, v128.and(at(d + k), f64x2.gt(at(h + k), zero)));
  }
}

export function tanh(z: usize, count: i32): void {
  for (let p = z, end = z + (count << 3); p < end; p += 8) {
    store<f64>(p, NativeMath.tanh(load<f64>(p)));
  }
}

export function tanhGate(d: usize, h: usize, count: i32): void {
  const one = f64x2.splat(1);
  for (let k: usize = 0; k < <usize>(count << 3); k += 16) {
    const a = at(h + k);
    v128.store(d + k, f64x2.mul(at(d + k), f64x2.sub(one, f64x2.mul(a, a))));
  }
}

const ALPHA: f64 = 1.6732632423543772, SCALE: f64 = 1.0507009873554805;

export function selu(z: usize, count: i32): void {
  for (let p = z, end = z + (count << 3); p < end; p += 8) {
    const v: f64 = load<f64>(p);
    store<f64>(p, v > 0 ? SCALE * v : SCALE * ALPHA * NativeMath.expm1(v));
  }
}

export function seluGate(d: usize, h: usize, count: i32): void {
  for (let k: usize = 0; k < <usize>(count << 3); k += 8) {
    const a = load<f64>(h + k), g = load<f64>(d + k);
    store<f64>(d + k, g * (a > 0 ? SCALE : a + SCALE * ALPHA));
  }
}

export function multiply(out: usize, a: usize, b: usize, count: i32): void {
  for (let k: usize = 0; k < <usize>(count << 3); k += 16) {
    v128.store(out + k, f64x2.mul(at(a + k), at(b + k)));
  }
}

export function addScaled(out: usize, a: usize, b: usize, f: f64, count: i32): void {
  const many = f64x2.splat(f);
  for (let k: usize = 0; k < <usize>(count << 3); k += 16) {
    v128.store(out + k, fma(at(a + k), many, at(b + k)));
  }
}

export function scale(p: usize, f: f64, count: i32): void {
  const many = f64x2.splat(f);
  for (let k: usize = 0; k < <usize>(count << 3); k += 16) {
    v128.store(p + k, f64x2.mul(at(p + k), many));
  }
}

export function addSigns(g: usize, w: usize, f: f64, count: i32): void {
  const f4 = f64x2.splat(f), zero = f64x2.splat(0);
  for (let k: usize = 0; k < <usize>(count << 3); k += 16) {
    const v = at(w + k);
    const sign = f64x2.sub(v128.and(f4, f64x2.gt(v, zero)), v128.and(f4, f64x2.lt(v, zero)));
    v128.store(g + k, f64x2.add(at(g + k), sign));
  }
}

export function shrink(w: usize, limit: f64, count: i32): void {
  const most = f64x2.splat(limit), least = f64x2.splat(-limit);
  for (let p = w, end = w + (count << 3); p < end; p += 16) {
    const v = at(p);
    v128.store(p, f64x2.sub(v, f64x2.max(f64x2.min(v, most), least)));
  }
}

export function adam(
  w: usize, g: usize, m: usize, v: usize, rate: f64, second: f64, count: i32,
): void {
  const b1 = f64x2.splat(0.9), c1 = f64x2.splat(0.1), b2 = f64x2.splat(0.999);
  const c2 = f64x2.splat(0.001), eps = f64x2.splat(1e-8);
  const lr = f64x2.splat(rate), root = f64x2.splat(second);
  for (let k: usize = 0; k < <usize>(count << 3); k += 16) {
    const slope = at(g + k);
    const mean = f64x2.add(f64x2.mul(b1, at(m + k)), f64x2.mul(c1, slope));
    const size = f64x2.mul(c2, f64x2.mul(slope, slope));
    const square = f64x2.add(f64x2.mul(b2, at(v + k)), size);
    v128.store(m + k, mean);
    v128.store(v + k, square);
    const below = f64x2.add(f64x2.mul(f64x2.sqrt(square), root), eps);
    v128.store(w + k, f64x2.sub(at(w + k), f64x2.div(f64x2.mul(lr, mean), below)));
  }
}

// Means are taken about the first row, so that a constant unit comes out as exactly 0.
export function normalize(
  z: usize, hat: usize, inverse: usize, mean: usize, variance: usize,
  gamma: usize, beta: usize, n: i32, O: i32,
): void {
  const OB: usize = O << 3, eps = f64x2.splat(1e-5), zero = f64x2.splat(0);
  const one = f64x2.splat(1), lerp = f64x2.splat(0.1), share = f64x2.splat(1 / <f64>n);
  const unbiased = f64x2.splat(<f64>n / <f64>max(n - 1, 1));
  for (let o: usize = 0; o < OB; o += 16) {
    const first = at(z + o);
    let sum = zero, squares = zero;
    for (let s = 0; s < n; s++) sum = f64x2.add(sum, f64x2.sub(at(z + s * OB + o), first));
    const centre = f64x2.add(first, f64x2.mul(sum, share));
    for (let s = 0; s < n; s++) {
      const a = f64x2.sub(at(z + s * OB + o), centre);
      squares = fma(squares, a, a);
    }
    const spread = f64x2.mul(squares, share);
    const old = at(mean + o), was = at(variance + o);
    v128.store(mean + o, fma(old, lerp, f64x2.sub(centre, old)));
    v128.store(
      variance + o, fma(was, lerp, f64x2.sub(f64x2.mul(spread, unbiased), was)),
    );
    const inv = f64x2.div(one, f64x2.sqrt(f64x2.add(spread, eps)));
    v128.store(inverse + o, inv);
    for (let s = 0; s < n; s++) {
      const p = s * OB + o;
      const a = f64x2.mul(f64x2.sub(at(z + p), centre), inv);
      v128.store(hat + p, a);
      v128.store(z + p, fma(at(beta + o), a, at(gamma + o)));
    }
  }
}

export function unnormalize(
  d: usize, hat: usize, inverse: usize, gamma: usize, dGamma: usize, dBeta: usize,
  n: i32, O: i32,
): void {
  const OB: usize = O << 3, zero = f64x2.splat(0), share = f64x2.splat(1 / <f64>n);
  for (let o: usize = 0; o < OB; o += 16) {
    let sum = zero, along = zero;
    for (let s = 0; s < n; s++) {
      const a = at(d + s * OB + o);
      sum = f64x2.add(sum, a);
      along = fma(along, a, at(hat + s * OB + o));
    }
    v128.store(dBeta + o, sum);
    v128.store(dGamma + o, along);
    const mean = f64x2.mul(sum, share), tilt = f64x2.mul(along, share);
    const slope = f64x2.mul(at(gamma + o), at(inverse + o));
    for (let s = 0; s < n; s++) {
      const p = s * OB + o;
      const a = f64x2.sub(f64x2.sub(at(d + p), mean), f64x2.mul(at(hat + p), tilt));
      v128.store(d + p, f64x2.mul(a, slope));
    }
  }
}

export function normalizeBy(
  z: usize, mean: usize, variance: usize, gamma: usize, beta: usize, n: i32, O: i32,
): void {
  const OB: usize = O << 3, eps = f64x2.splat(1e-5), one = f64x2.splat(1);
  for (let o: usize = 0; o < OB; o += 16) {
    const inv = f64x2.div(one, f64x2.sqrt(f64x2.add(at(variance + o), eps)));
    const slope = f64x2.mul(at(gamma + o), inv), shift = at(beta + o), centre = at(mean + o);
    for (let s = 0; s < n; s++) {
      const p = z + s * OB + o;
      v128.store(p, fma(shift, f64x2.sub(at(p), centre), slope));
    }
  }
}

// @ts-ignore: decorator
@inline function scramble(v: v128): v128 {
  return i32x4.add(i32x4.mul(v, i32x4.splat(1664525)), i32x4.splat(1013904223));
}
// @ts-ignore: decorator
@inline function fold(v: v128): v128 { return v128.xor(v, i32x4.shr_u(v, 16)); }
// @ts-ignore: decorator
@inline function mad(a: v128, b: v128, c: v128): v128 { return i32x4.add(a, i32x4.mul(b, c)); }
// @ts-ignore: decorator
@inline function put(out: usize, words: v128): void {
  const bits = i32x4.shr_u(words, 8), unit = f64x2.splat(1.0 / 16777216.0);
  v128.store(out, f64x2.mul(f64x2.convert_low_i32x4_u(bits), unit));
  const high = v128.shuffle<i32>(bits, bits, 2, 3, 0, 1);
  v128.store(out + 16, f64x2.mul(f64x2.convert_low_i32x4_u(high), unit));
}

// Four blocks of pcg4d at once, turned so that a block's four words lie side by side.
export function uniforms(out: usize, blocks: i32, step: i32, tag: i32, seed: i32): void {
  const lanes = i32x4(0, 1, 2, 3);
  const y0 = scramble(i32x4.splat(step)), z0 = scramble(i32x4.splat(tag));
  const w0 = scramble(i32x4.splat(seed));
  for (let b = 0; b < blocks; b += 4) {
    let x = scramble(i32x4.add(i32x4.splat(b), lanes)), y = y0, z = z0, w = w0;
    x = mad(x, y, w); y = mad(y, z, x); z = mad(z, x, y); w = mad(w, y, z);
    x = fold(x); y = fold(y); z = fold(z); w = fold(w);
    x = mad(x, y, w); y = mad(y, z, x); z = mad(z, x, y); w = mad(w, y, z);
    const xy0 = v128.shuffle<i32>(x, y, 0, 4, 1, 5), xy1 = v128.shuffle<i32>(x, y, 2, 6, 3, 7);
    const zw0 = v128.shuffle<i32>(z, w, 0, 4, 1, 5), zw1 = v128.shuffle<i32>(z, w, 2, 6, 3, 7);
    const p = out + (b << 5);
    put(p, v128.shuffle<i32>(xy0, zw0, 0, 1, 4, 5));
    if (b + 1 < blocks) put(p + 32, v128.shuffle<i32>(xy0, zw0, 2, 3, 6, 7));
    if (b + 2 < blocks) put(p + 64, v128.shuffle<i32>(xy1, zw1, 0, 1, 4, 5));
    if (b + 3 < blocks) put(p + 96, v128.shuffle<i32>(xy1, zw1, 2, 3, 6, 7));
  }
}

export function keep(u: usize, p: f64, kept: f64, count: i32): void {
  const p4 = f64x2.splat(p), many = f64x2.splat(kept);
  for (let k: usize = 0; k < <usize>(count << 3); k += 16) {
    v128.store(u + k, v128.and(many, f64x2.ge(at(u + k), p4)));
  }
}
