// Trains many networks of one structure at once by WebGPU: a workgroup each, in float32.
// Data, batch order and initial weights are those of trainer.js; random numbers too.
import { layout, shader } from "./gpu.wgsl.js";
import { PURPOSE, permutation } from "./random.js";
import { BETA1, BETA2, Trainer, explained } from "./trainer.js";

const SPAN = 32; // steps of one dispatch: long ones stop the screen, or are ended
// What networks trained together have in common
const STRUCTURE = [
  "data", "n_train", "hidden", "activation", "batch_size", "optimizer", "l1_method",
  "penalize_bias", "dropout_at", "epochs",
];
const MEMBER = 12; // words of a Member in gpu.wgsl.js

// Why experiments cannot be trained together here; "" if they can
export function whyNot(experiments) {
  if (!experiments.every(fitsGpu)) return "WebGPU does not know these settings";
  const field = unlike(experiments);
  return field ? `WebGPU cannot train networks together that differ in ${field}` : "";
}

// The first field of STRUCTURE in which experiments differ
const unlike = ([first, ...others]) => STRUCTURE.find(
  (f) => others.some((e) => JSON.stringify(e[f]) !== JSON.stringify(first[f])));

// Whether an experiment uses only what the kernels know
export const fitsGpu = (e) =>
  !e.batch_norm && (e.split ?? null) === null && e.dropout_at !== "before_norm"
  && !["dropconnect", "input_noise", "weight_noise", "activation_noise"].some((f) => e[f])
  && !Object.values(e.augment ?? {}).some(Boolean);

// Returns {device, name}. Throws an Error that says why there is none.
export async function chooseGpu() {
  /** @type {any} */
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("this browser offers no WebGPU here");
  const { info } = adapter;
  if (info.isFallbackAdapter ?? adapter.isFallbackAdapter) throw new Error("WebGPU has no graphics card here");
  const device = await adapter.requestDevice();
  const name = info.description || [info.vendor, info.architecture].filter(Boolean).join(" ");
  return { device, name: `WebGPU on ${name || "an unnamed adapter"}` };
}

// Ends a network's run where trainer.js does; its weights stay on the device.
class Member {
  network = { save() {} };
  kept = { epoch: 0, loss: Infinity };
  status = "running";
  judge = Trainer.prototype.judge;

  constructor(e) {
    this.e = e;
    this.end = e.epochs;
  }

  // record is that of the kept epoch, or the first
  take(record) {
    if (this.status !== "running") return;
    this.judge(record);
    if (!this.record || this.kept.epoch === record.epoch) this.record = record;
  }
}

export class GpuTrainer {
  device; e; data; steps; epoch; sets; error;

  // gpu: what chooseGpu returned; engine: what chooseEngine did; experiments: of one
  // structure. Takes the first `size` of them, as many as the device has memory for.
  // Throws RangeError for what Trainer does, unlike structures, and too little memory.
  constructor({ device }, engine, experiments, data) {
    const [e] = experiments, why = whyNot(experiments);
    if (why) throw new RangeError(why);
    const host = new Trainer(engine, e, data);
    const { stride } = layout(e, data, host.network), { limits } = device;
    const room = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
    const most = Math.min(Math.floor(room / (4 * stride)), limits.maxComputeWorkgroupsPerDimension);
    if (!most) throw new RangeError(`hidden, batch_size: need ${4 * stride} bytes, must be at most ${room}`);
    this.size = Math.min(most, experiments.length);
    Object.assign(this, { device, e, data, steps: host.steps, epoch: 0, sets: [] });
    this.members = experiments.slice(0, this.size).map((one) => new Member(one));
    this.code = shader(e, data, host.network);
    this.allocate(stride);
    this.fill(host, stride);
    this.lost = device.lost.then(({ message }) => {
      throw new Error(`the WebGPU device was lost: ${message}`);
    });
    this.lost.catch(() => {});
    this.listen = ({ error }) => (this.error ??= error);
    device.addEventListener("uncapturederror", this.listen);
  }

  get running() {
    return this.members.some(({ status }) => status === "running");
  }

  allocate(stride) {
    const { e, data, steps, size } = this, { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const make = (words, usage) => this.device.createBuffer({ size: 4 * words, usage: usage | COPY_DST });
    const sets = new Set(this.members.map(({ e: one }) => setOf(one))).size;
    const points = sets * e.n_train + data.validation.n;
    this.buffers = [
      make(size * stride, STORAGE), make(4 * size, STORAGE | COPY_SRC), make(MEMBER * size, STORAGE),
      make(points * data.features, STORAGE), make(points, STORAGE),
      make(sets * e.n_train, STORAGE), make(2 * steps, STORAGE), make(4, UNIFORM),
    ];
    this.result = make(4 * size, MAP_READ);
  }

  // Initial weights, knobs, training sets and the validation set
  fill(host, stride) {
    const [state, , knobs, X, y] = this.buffers, { features, validation } = this.data;
    const n = this.e.n_train;
    const put = (at, set) => {
      this.write(X, Float32Array.from(set.X), at * features);
      this.write(y, Float32Array.from(set.y), at);
    };
    this.members.forEach(({ e }, k) => {
      host.set(e);
      host.reset();
      this.write(state, Float32Array.from(host.network.state), k * stride);
      let set = this.sets.findIndex(({ key }) => key === setOf(e));
      if (set < 0) {
        set = this.sets.push({ key: setOf(e), seed: e.seed, y: host.train.y }) - 1;
        put(set * n, host.train);
      }
      this.write(knobs, words(e, set * n), k * MEMBER);
    });
    put(this.sets.length * n, validation);
  }

  write(buffer, values, at = 0) {
    this.device.queue.writeBuffer(buffer, 4 * at, values);
  }

  async compile() {
    const { device, code } = this, module = device.createShaderModule({ code });
    const kinds = ["storage", "storage", ...Array(5).fill("read-only-storage"), "uniform"];
    const entries = kinds.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }));
    const form = device.createBindGroupLayout({ entries });
    this.group = device.createBindGroup({
      layout: form,
      entries: this.buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    const all = device.createPipelineLayout({ bindGroupLayouts: [form] });
    const pipeline = (entryPoint) =>
      device.createComputePipelineAsync({ layout: all, compute: { module, entryPoint } });
    this.pipelines = await Promise.all([pipeline("train"), pipeline("evaluate")]);
  }

  // Train one epoch; returns each member's record, as Trainer.runEpoch has it.
  runEpoch = () => Promise.race([this.lost, this.advance()]);

  async advance() {
    if (!this.pipelines) await this.compile();
    const { e, steps, sets, epoch } = this, span = this.buffers.at(-1);
    this.prepare();
    for (let first = 0; first < steps; first += SPAN) {
      const count = Math.min(SPAN, steps - first);
      this.write(span, Uint32Array.of(epoch * steps + first, first, count, sets.length * e.n_train));
      this.dispatch(this.pipelines[0]);
    }
    this.dispatch(this.pipelines[1], true);
    this.epoch += 1;
    await this.result.mapAsync(GPUMapMode.READ);
    const scores = new Float32Array(this.result.getMappedRange().slice());
    this.result.unmap();
    if (this.error) throw new Error(`WebGPU: ${this.error.message}`);
    return this.members.map((member, k) => {
      const record = this.record(member, scores.subarray(4 * k, 4 * k + 4));
      member.take(record);
      return record;
    });
  }

  // The coming epoch's batches, and Adam's corrections: in float32 they would cost 5e-2.
  prepare() {
    const { e, steps, epoch, sets } = this, [, , , , , order, scales] = this.buffers;
    sets.forEach(({ seed }, k) =>
      this.write(order, permutation(seed, PURPOSE.ORDER, epoch, e.n_train), k * e.n_train));
    const pairs = Array.from({ length: steps }, (_, s) => epoch * steps + s + 1)
      .flatMap((t) => [1 / (1 - BETA1 ** t), 1 / Math.sqrt(1 - BETA2 ** t)]);
    this.write(scales, Float32Array.from(pairs));
  }

  dispatch(pipeline, read) {
    const encoder = this.device.createCommandEncoder(), pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.group);
    pass.dispatchWorkgroups(this.size);
    pass.end();
    if (read) encoder.copyBufferToBuffer(this.buffers[1], 0, this.result, 0, 16 * this.size);
    this.device.queue.submit([encoder.finish()]);
  }

  /** @type {(member: any, found: any) => any} */
  record({ e }, [train_loss, train_right, val_loss, val_right]) {
    const { task, validation } = this.data;
    const part = (loss, right, { y }) => (task === "regression" ? explained(loss, y, y.length) : right);
    return {
      epoch: this.epoch, train_loss, val_loss,
      train_accuracy: part(train_loss, train_right, this.sets.find(({ key }) => key === setOf(e))),
      val_accuracy: part(val_loss, val_right, validation),
    };
  }

  close() {
    this.device.removeEventListener("uncapturederror", this.listen);
    for (const buffer of [...this.buffers, this.result]) buffer.destroy();
  }
}

// Train all to the end, a group after another. tell({first, group: [{status, record}], over})
// after each epoch of the group that begins with experiments[first]: each member's record of
// its kept epoch; it returns, or promises, whether to go on.
export async function trainMap(gpu, engine, experiments, data, tell) {
  for (let first = 0, go = true; go && first < experiments.length;) {
    const trainer = new GpuTrainer(gpu, engine, experiments.slice(first), data);
    try {
      while (go && trainer.running) {
        await trainer.runEpoch();
        go = await tell({ first, group: trainer.members, over: !trainer.running });
      }
    } finally {
      trainer.close();
    }
    first += trainer.size;
  }
}

// Networks of one key share a training set.
const setOf = ({ seed, label_noise }) => `${seed} ${label_noise}`;

// A Member of gpu.wgsl.js; a uniform is kept where its 24 bits are not below `least`.
function words(e, row) {
  const memory = new ArrayBuffer(4 * MEMBER), least = (p) => Math.ceil(p * 2 ** 24);
  const coupled = e.optimizer === "adamw" ? 0 : e.weight_decay;
  const decay = e.optimizer === "adamw" ? 1 - e.lr * e.weight_decay : 1;
  new Uint32Array(memory).set([e.seed, row, least(e.dropout), least(e.dropout_input)]);
  new Float32Array(memory, 16).set([
    1 / (1 - e.dropout), 1 / (1 - e.dropout_input), e.lr, e.momentum,
    e.l1, 2 * e.l2 + coupled, decay, (e.lr * e.l1) / (1 - e.momentum),
  ]);
  return memory;
}
