// A step's random tensors, at the addresses of utils/engine/ensemble.py.
import { PURPOSE, tag, toNormals } from "./random.js";

export class Draws {
  constructor(network) {
    this.network = network;
    this.k = network.k;
  }

  // Which step they are for
  at(e, step) {
    this.e = e;
    this.step = step;
  }

  // 0 where u < p, else 1/(1 − p), for `rows` padded rows of width Y
  masks(pointer, p, purpose, layer, rows, Y) {
    this.k.uniforms(pointer, (rows * Y) >> 2, this.step, tag(purpose, layer), this.e.seed | 0);
    this.k.keep(pointer, p, 1 / (1 - p), rows * Y);
  }

  // N(0, 1) into padded rows; the padding stays 0
  normals(pointer, purpose, layer, rows, width, Y) {
    this.k.uniforms(pointer, (rows * Y) >> 2, this.step, tag(purpose, layer), this.e.seed | 0);
    const values = this.network.view(pointer, rows * Y);
    toNormals(values);
    for (let r = 0; width < Y && r < rows; r++) values.fill(0, r * Y + width, (r + 1) * Y);
  }

  inputs(n, features) {
    const { e, network, k } = this, X = network.features, { x, noise } = network;
    if (e.input_noise) {
      this.normals(noise, PURPOSE.INPUT_NOISE, 0, n, features, X);
      k.addScaled(x, x, noise, e.input_noise, n * X);
    }
    if (e.dropout_input) {
      this.masks(noise, e.dropout_input, PURPOSE.DROPOUT, 0, n, X);
      k.multiply(x, x, noise, n * X);
    }
  }

  weights(layer, i, pointer) {
    const { e, k } = this, { I, O, Y, noisy } = layer;
    layer.connected = e.dropconnect > 0;
    let seen = pointer;
    if (layer.connected) {
      this.masks(layer.connect, e.dropconnect, PURPOSE.DROPCONNECT, i, I, Y);
      k.multiply(noisy, seen, layer.connect, I * Y);
      seen = noisy;
    }
    if (e.weight_noise) {
      const { noise } = this.network;
      this.normals(noise, PURPOSE.WEIGHT_NOISE, i, I, O, Y);
      k.addScaled(noisy, seen, noise, e.weight_noise, I * Y);
      seen = noisy;
    }
    return seen;
  }

  activation(layer, i, n) {
    const { e, k } = this, { O, Y, d } = layer; // d is free on the way forward
    if (!e.activation_noise) return false;
    this.normals(d, PURPOSE.ACTIVATION_NOISE, i, n, O, Y);
    k.addScaled(layer.out, layer.z, d, e.activation_noise, n * Y);
    return true;
  }

  maskBefore(layer, i, n) {
    return this.e.dropout_at === "before_norm" && this.dropped(layer, i, n);
  }

  mask(layer, i, n) {
    const { dropout_at: where, hidden } = this.e;
    if (where === "before_norm" || (where === "last" && i < hidden.length)) return false;
    return this.dropped(layer, i, n);
  }

  dropped(layer, i, n) {
    if (!this.e.dropout) return false;
    this.masks(layer.mask, this.e.dropout, PURPOSE.DROPOUT, i, n, layer.Y);
    return true;
  }
}
