// A fully connected network and its passes, on one memory: utils/engine/network.py in the
// page.
import { PURPOSE, tag } from "./random.js";

const CHUNK = 64; // points evaluated at once, so that what layers pass on stays in cache
export const pad = (width) => (width + 3) & ~3;

// Hands out pieces of one memory, 16 bytes aligned.
class Arena {
  constructor(base) {
    this.top = (base + 15) & ~15;
  }

  take(doubles) {
    const at = this.top;
    this.top += 8 * pad(doubles);
    return at;
  }
}

// Bytes a network of this experiment needs.
export const memoryNeeded = (e, data) => new Network(e, data, 0).bytes;

export class Network {
  gradient; m; v;

  constructor(e, data, base) {
    const arena = new Arena(base);
    const sizes = [data.features, ...e.hidden, data.outputs];
    const batch = Math.min(e.batch_size, e.n_train);
    this.activation = e.activation;
    this.norm = e.batch_norm;
    this.features = pad(data.features);
    /** @type {any[]} */
    this.layers = sizes.slice(1).map((O, i) => ({ I: sizes[i], O, X: pad(sizes[i]), Y: pad(O) }));
    this.hidden = this.layers.slice(0, -1);
    this.parameters = this.lay(arena);
    const likewise = () => arena.take(this.count);
    [this.gradient, this.m, this.v] = [likewise(), likewise(), likewise()];
    this.x = arena.take(batch * this.features);
    this.noise = arena.take(Math.max(batch * this.features, ...this.layers.map((l) => l.I * l.Y)));
    for (const layer of this.layers) {
      for (const name of ["z", "d", "out", "mask", "hat"]) layer[name] = arena.take(batch * layer.Y);
      layer.inverse = arena.take(layer.Y);
      layer.mean = arena.take(layer.Y);
      layer.variance = arena.take(layer.Y);
      layer.noisy = arena.take(layer.I * layer.Y);
      layer.connect = arena.take(layer.I * layer.Y);
    }
    const widest = Math.max(this.features, ...this.layers.map((l) => l.Y));
    this.chunk = [arena.take(CHUNK * widest), arena.take(CHUNK * widest)];
    this.bytes = arena.top;
  }

  // Weights first, then biases, γ, β: so a penalty acts on one stretch.
  lay(arena) {
    let count = 0;
    const place = (name, layers, floats) => {
      for (const layer of layers) {
        layer[name] = count;
        count += floats(layer);
      }
    };
    place("w", this.layers, (l) => l.I * l.Y);
    this.weightCount = count;
    place("b", this.layers, (l) => l.Y);
    if (this.norm) {
      place("gamma", this.hidden, (l) => l.Y);
      place("beta", this.hidden, (l) => l.Y);
    }
    this.count = count;
    return arena.take(count);
  }

  attach(kernels, buffer) {
    this.k = kernels;
    this.F = new Float64Array(buffer);
    this.state = this.view(this.parameters, this.count);
    return this;
  }

  view = (pointer, floats) => this.F.subarray(pointer >> 3, (pointer >> 3) + floats);
  p = (offset) => this.parameters + 8 * offset;
  g = (offset) => this.gradient + 8 * offset;

  // U(−1/√fan_in, 1/√fan_in) · scale, as utils/engine/ensemble.py draws it
  reset(seed, scale) {
    for (const pointer of [this.parameters, this.m, this.v]) this.view(pointer, this.count).fill(0);
    this.layers.forEach((layer, i) => {
      const root = Math.sqrt(layer.I);
      this.initial(layer.w, PURPOSE.WEIGHT, i, layer.I, layer, seed, root, scale);
      this.initial(layer.b, PURPOSE.BIAS, i, 1, layer, seed, root, scale);
      this.view(layer.mean, layer.Y).fill(0);
      this.view(layer.variance, layer.Y).fill(1);
      if (layer.gamma !== undefined) this.view(this.p(layer.gamma), layer.O).fill(1);
    });
  }

  initial(offset, purpose, i, rows, { O, Y }, seed, root, scale) {
    const at = this.p(offset);
    this.k.uniforms(at, (rows * Y) >> 2, 0, tag(purpose, i), seed | 0);
    const values = this.view(at, rows * Y);
    for (let k = 0; k < values.length; k++) {
      values[k] = k % Y < O ? ((2 * values[k] - 1) / root) * scale : 0;
    }
  }

  // A step's forward pass on n rows at this.x; `draw` fills the step's random tensors.
  forward(n, draw) {
    const { k } = this;
    let h = this.x;
    this.layers.forEach((layer, i) => {
      const { I, X, Y, z, out } = layer, count = n * Y;
      layer.input = h;
      layer.weight = draw.weights(layer, i, this.p(layer.w));
      k.product(z, h, layer.weight, this.p(layer.b), n, I, X, 1, Y);
      if (layer === this.layers.at(-1)) return;
      layer.before = draw.maskBefore(layer, i + 1, n);
      if (layer.before) k.multiply(z, z, layer.mask, count);
      if (this.norm) {
        k.normalize(z, layer.hat, layer.inverse, layer.mean, layer.variance,
          this.p(layer.gamma), this.p(layer.beta), n, Y);
      }
      k[this.activation](z, count);
      h = draw.activation(layer, i + 1, n) ? out : z;
      layer.masked = draw.mask(layer, i + 1, n);
      if (layer.masked) {
        k.multiply(out, h, layer.mask, count);
        h = out;
      }
    });
    return this.layers.at(-1).z;
  }

  // The way back from the slope that lies in the last layer's d
  backward(n) {
    const { k } = this;
    for (let i = this.layers.length - 1; i >= 0; i--) {
      const layer = this.layers[i], { I, X, Y, d } = layer;
      if (i < this.layers.length - 1) {
        if (layer.masked) k.multiply(d, d, layer.mask, n * Y);
        k[`${this.activation}Gate`](d, layer.z, n * Y);
        if (this.norm) {
          k.unnormalize(d, layer.hat, layer.inverse, this.p(layer.gamma),
            this.g(layer.gamma), this.g(layer.beta), n, Y);
        }
        if (layer.before) k.multiply(d, d, layer.mask, n * Y);
      }
      k.product(this.g(layer.w), layer.input, d, 0, I, n, 1, X, Y);
      if (layer.connected) {
        k.multiply(this.g(layer.w), this.g(layer.w), layer.connect, I * Y);
      }
      // Batch norm cancels the bias in front of it: summed, its gradient is rounding.
      const cancelled = this.norm && i < this.layers.length - 1 && !layer.before;
      if (cancelled) this.view(this.g(layer.b), Y).fill(0);
      else k.biasGradient(this.g(layer.b), d, n, Y);
      if (i) k.inputGradient(this.layers[i - 1].d, d, layer.weight, n, I, X, Y);
    }
  }

  // Logits of X [n, features] with all noise off, into out [n, outputs]
  evaluate(X, features, n, out) {
    const { k } = this, outputs = this.layers.at(-1).O;
    for (let begin = 0; begin < n; begin += CHUNK) {
      const rows = Math.min(CHUNK, n - begin);
      let [from, to] = this.chunk;
      this.load(from, X, features, begin, rows);
      for (const layer of this.layers) {
        const { w, b, I, X, Y } = layer;
        k.product(to, from, this.p(w), this.p(b), rows, I, X, 1, Y);
        if (layer !== this.layers.at(-1)) {
          if (this.norm) {
            k.normalizeBy(to, layer.mean, layer.variance, this.p(layer.gamma),
              this.p(layer.beta), rows, layer.Y);
          }
          k[this.activation](to, rows * layer.Y);
        }
        [from, to] = [to, from];
      }
      const z = this.view(from, rows * pad(outputs));
      for (let s = 0; s < rows; s++) {
        for (let o = 0; o < outputs; o++) {
          out[(begin + s) * outputs + o] = z[s * pad(outputs) + o];
        }
      }
    }
    return out;
  }

  load(pointer, X, features, begin, rows) {
    const width = this.features, at = pointer >> 3;
    for (let s = 0; s < rows; s++) {
      for (let i = 0; i < features; i++) {
        this.F[at + s * width + i] = X[(begin + s) * features + i];
      }
    }
  }

  // Every weight without the padding, and no biases
  weights() {
    const found = [];
    for (const { w, I, O, Y } of this.layers) {
      for (let i = 0; i < I; i++) found.push(...this.view(this.p(w + i * Y), O));
    }
    return Float64Array.from(found);
  }

  // Everything that a step changes for the next: parameters, moments, running statistics
  save() {
    return this.tensors().map((tensor) => tensor.slice());
  }

  restore(saved) {
    this.tensors().forEach((tensor, k) => tensor.set(saved[k]));
  }

  tensors() {
    const own = [this.parameters, this.m, this.v].map((pointer) => this.view(pointer, this.count));
    return [...own, ...this.hidden.flatMap((l) => [this.view(l.mean, l.Y), this.view(l.variance, l.Y)])];
  }
}
