// The arithmetic of gpu.js in WGSL: one workgroup trains one network in float32, and
// evaluates it. Written for the layers of one Network; offsets are its own.
//
// A member's state: parameters, m and v as network.js lays them out, then what a batch
// leaves behind: its inputs, and of each layer z (after the activation), out (after the
// mask, z itself where there is none) and d (the gradient).

const LANES = 128; // threads of a workgroup
const LEAST = 32; // rows evaluated at once, at least

const ACTIVATION = {
  relu: ["max(z, 0.0)", "select(0.0, 1.0, h > 0.0)"],
  // WGSL's own tanh may be wrong by 1e-5
  tanh: ["sign(z) * (1.0 - exp(-2.0 * abs(z))) / (1.0 + exp(-2.0 * abs(z)))", "1.0 - h * h"],
  selu: [
    "1.0507009873554805 * select(1.6732632423543772 * (exp(min(z, 0.0)) - 1.0), z, z > 0.0)",
    "select(h + 1.7580993408473766, 1.0507009873554805, h > 0.0)",
  ],
};

// [derivative, loss, right] of sample s: `z` is where its logits begin, y its label
const TASK = {
  regression: () => [
    "S[d] = 2.0 * (S[z] - y) / n;",
    "let e = S[z] - y; return vec2f(e * e, 0.0);",
  ],
  binary: () => [
    "S[d] = (1.0 / (1.0 + exp(-S[z])) - y) / n;",
    `let a = S[z];
    let loss = max(a, 0.0) - a * y + log(1.0 + exp(-abs(a)));
    return vec2f(loss, select(0.0, 1.0, (a >= 0.0) == (y == 1.0)));`,
  ],
  multiclass: (O) => {
    const top = `var top = S[z]; var guess = 0u; var sum = 0.0;
    for (var o = 1u; o < ${O}u; o++) { if (S[z + o] > top) { top = S[z + o]; guess = o; } }
    for (var o = 0u; o < ${O}u; o++) { sum += exp(S[z + o] - top); }`;
    return [
      `${top}
    for (var o = 0u; o < ${O}u; o++) {
      S[d + o] = (exp(S[z + o] - top) / sum - select(0.0, 1.0, o == u32(y))) / n;
    }`,
      `${top}
    let loss = top + log(sum) - S[z + u32(y)];
    return vec2f(loss, select(0.0, 1.0, guess == u32(y)));`,
    ];
  },
};

const STEP = {
  sgd: `let v = g + me.momentum * S[k + COUNT];
  S[k + COUNT] = v;
  w -= me.lr * v;`,
  adam: `let m = 0.9 * S[k + COUNT] + 0.1 * g;
  let v = 0.999 * S[k + 2u * COUNT] + 0.001 * g * g;
  S[k + COUNT] = m;
  S[k + 2u * COUNT] = v;
  w -= me.lr * scale.x * m / (sqrt(v) * scale.y + 1e-8);`,
};

// Where a member's numbers lie, in floats; stride is the size of all of them.
export function layout(e, data, { count, layers }) {
  const rows = Math.max(Math.min(e.batch_size, e.n_train), LEAST);
  let stride = 3 * count;
  const take = (width) => (stride += rows * width) - rows * width;
  const x = take(data.features);
  const places = layers.map(({ I, O, Y, w, b }, i) => {
    const last = i === layers.length - 1;
    const masked = !last && (e.dropout_at !== "last" || i === layers.length - 2);
    const z = take(O);
    return { I, O, Y, w, b, i, last, masked, z, out: masked ? take(O) : z, d: take(O) };
  });
  places.forEach((place, i) => (place.x = i ? places[i - 1].out : x));
  return { rows, stride, x, layers: places };
}

export function shader(e, data, network) {
  const { rows, stride, x, layers } = layout(e, data, network), last = layers.at(-1);
  const { count, weightCount } = network, { features: F } = data;
  const [act, gate] = ACTIVATION[e.activation];
  const [slope, loss] = TASK[data.task](last.O);
  const penalized = e.penalize_bias ? count : weightCount;
  const proximal = e.l1_method === "proximal";

  const forward = ({ I, O, Y, w, b, i, last: end, masked, x: from, z, out }) => `
  for (var q = lane; q < n * ${O}u; q += LANES) {
    let s = q / ${O}u; let o = q % ${O}u;
    var z = S[base + ${b}u + o];
    for (var i = 0u; i < ${I}u; i++) {
      z += S[base + ${from}u + s * ${I}u + i] * S[base + ${w}u + i * ${Y}u + o];
    }
    ${end ? `S[base + ${z}u + q] = z;` : `let h = ${act};
    S[base + ${z}u + q] = h;`}
    ${masked ? `S[base + ${out}u + q] = h * mask(${i + 1}u, s * ${Y}u + o, me.least, me.kept);` : ""}
  }
  storageBarrier();`;

  // d of the layer below, through this layer's weights
  const backward = ({ I, O, Y, w, d }, below) => `
  for (var q = lane; q < n * ${I}u; q += LANES) {
    let s = q / ${I}u; let i = q % ${I}u;
    var g = 0.0;
    for (var o = 0u; o < ${O}u; o++) {
      g += S[base + ${d}u + s * ${O}u + o] * S[base + ${w}u + i * ${Y}u + o];
    }
    ${below.masked ? `g *= mask(${below.i + 1}u, s * ${below.Y}u + i, me.least, me.kept);` : ""}
    let h = S[base + ${below.z}u + q];
    S[base + ${below.d}u + q] = g * (${gate});
  }
  storageBarrier();`;

  const update = ({ I, O, Y, w, b, x: from, d }) => `
  for (var q = lane; q < ${I * O}u; q += LANES) {
    let i = q / ${O}u; let o = q % ${O}u;
    var g = 0.0;
    for (var s = 0u; s < n; s++) {
      g += S[base + ${from}u + s * ${I}u + i] * S[base + ${d}u + s * ${O}u + o];
    }
    change(${w}u + i * ${Y}u + o, g, scale);
  }
  for (var o = lane; o < ${O}u; o += LANES) {
    var g = 0.0;
    for (var s = 0u; s < n; s++) { g += S[base + ${d}u + s * ${O}u + o]; }
    change(${b}u + o, g, scale);
  }`;

  return `
struct Member {
  seed: u32, first: u32, least: u32, least_in: u32,
  kept: f32, kept_in: f32, lr: f32, momentum: f32,
  l1: f32, l2: f32, decay: f32, limit: f32,
}
struct Span { step: u32, first: u32, count: u32, held: u32 }
@group(0) @binding(0) var<storage, read_write> S: array<f32>;
@group(0) @binding(1) var<storage, read_write> scores: array<vec4f>;
@group(0) @binding(2) var<storage, read> members: array<Member>;
@group(0) @binding(3) var<storage, read> X: array<f32>; // training sets, validation set
@group(0) @binding(4) var<storage, read> labels: array<f32>; // likewise
@group(0) @binding(5) var<storage, read> order: array<u32>; // [sets, n_train]
@group(0) @binding(6) var<storage, read> scales: array<vec2f>; // Adam's, a step each
@group(0) @binding(7) var<uniform> span: Span;
const LANES = ${LANES}u; const COUNT = ${count}u; const N = ${e.n_train}u;
const HELD = ${data.validation.n}u; const ROWS = ${rows}u; const BATCH = ${e.batch_size}u;
var<workgroup> sums: array<vec2f, LANES>;
var<private> me: Member; var<private> base: u32; var<private> lane: u32;
var<private> step: u32;

fn pcg4d(address: vec4u) -> vec4u {
  var v = address * 1664525u + 1013904223u;
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  v ^= v >> vec4u(16u);
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  return v;
}
fn mask(layer: u32, word: u32, least: u32, kept: f32) -> f32 {
  if (least == 0u) { return 1.0; }
  let words = pcg4d(vec4u(word >> 2u, step, (7u << 16u) + layer, me.seed));
  return select(0.0, kept, (words[word & 3u] >> 8u) >= least);
}
fn enter(member: u32, index: u32) {
  me = members[member]; base = member * ${stride}u; lane = index;
}
fn load(at: u32, row: u32) {
  let s = at / ${F}u; let i = at % ${F}u;
  S[base + ${x}u + at] = X[row * ${F}u + i] * mask(0u, s * ${(F + 3) & ~3}u + i, me.least_in, me.kept_in);
}
fn forward(n: u32) {${layers.map(forward).join("")}
}
fn backward(n: u32) {${layers.slice(1).map((l, i) => backward(l, layers[i])).reverse().join("")}
}
fn change(at: u32, slope: f32, scale: vec2f) {
  let k = base + at;
  var w = S[k];
  var g = slope;
  if (at < ${penalized}u) {
    ${proximal ? "" : "g += me.l1 * sign(w);"}
    g += me.l2 * w;
    w *= me.decay;
  }
  ${STEP[e.optimizer === "sgd" ? "sgd" : "adam"]}
  ${proximal ? `if (at < ${penalized}u) { w -= clamp(w, -me.limit, me.limit); }` : ""}
  S[k] = w;
}
fn update(n: u32, scale: vec2f) {${layers.map(update).join("")}
  storageBarrier();
}
fn slope(s: u32, y: f32, n: f32) {
  let z = base + ${last.z}u + s * ${last.O}u; let d = base + ${last.d}u + s * ${last.O}u;
  ${slope}
}
fn loss(s: u32, y: f32) -> vec2f {
  let z = base + ${last.z}u + s * ${last.O}u;
  ${loss}
}
@compute @workgroup_size(LANES)
fn train(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  enter(group.x, index);
  let row = me.first;
  for (var t = 0u; t < span.count; t++) {
    step = span.step + t;
    let begin = (span.first + t) * BATCH;
    let n = min(BATCH, N - begin);
    for (var q = lane; q < n * ${F}u; q += LANES) {
      load(q, row + order[row + begin + q / ${F}u]);
    }
    storageBarrier();
    forward(n);
    for (var s = lane; s < n; s += LANES) {
      slope(s, labels[row + order[row + begin + s]], f32(n));
    }
    storageBarrier();
    backward(n);
    update(n, scales[span.first + t]);
  }
}
fn score(row: u32, n: u32) -> vec2f {
  var sum = vec2f();
  for (var begin = 0u; begin < n; begin += ROWS) {
    let rows = min(ROWS, n - begin);
    for (var q = lane; q < rows * ${F}u; q += LANES) { load(q, row + begin + q / ${F}u); }
    storageBarrier();
    forward(rows);
    for (var s = lane; s < rows; s += LANES) { sum += loss(s, labels[row + begin + s]); }
    storageBarrier();
  }
  sums[lane] = sum;
  workgroupBarrier();
  var total = vec2f();
  for (var k = 0u; k < LANES; k++) { total += sums[k]; }
  workgroupBarrier();
  return total / f32(n);
}
@compute @workgroup_size(LANES)
fn evaluate(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  enter(group.x, index);
  me.least = 0u; me.least_in = 0u;
  let train = score(me.first, N);
  let held = score(span.held, HELD);
  if (lane == 0u) { scores[group.x] = vec4f(train, held); }
}`;
}
