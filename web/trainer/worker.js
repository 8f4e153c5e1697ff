// Trains off the main thread. One run at a time; it takes messages between slices.
//
// In: {type: "start", engine}, {type: "data", name, packed},
//     {type: "run", id, experiment, keep, watch}: train to the end, from the initial
//       weights or, with keep, from the present ones; watch = {points, validation,
//       inputs} asks for predictions at points [n · features], of the first `validation`
//       validation examples, and for that many images of the first step,
//     {type: "cell", id, experiment}: train to the end and send the last record alone,
//     {type: "map", id, experiments}: train all at once by WebGPU; {type: "stop"} ends it,
//     {type: "pause"}, {type: "resume"}, {type: "drawn"}: a frame is on show.
// Out: {type: "engine", name}, {type: "frame", id, records, status, kept, views}, of
//     which no more than one, and a run's last, are on their way,
//     views = null but for the last frame of a run and some on the way,
//     {type: "cell", id, record}, {type: "error", id, message},
//     {type: "cells", id, name, …}: what trainMap in gpu.js tells after an epoch, and the
//     GPU's name. The records of a run come in order, each once.
import { unpack } from "./data.js";
import { chooseEngine } from "./engines.js";
import { chooseGpu, fitsGpu, trainMap } from "./gpu.js";
import { Trainer } from "./trainer.js";

const SLICE = 12; // ms of training between two looks at the messages
const FIRST = 4; // ms of it before a run's first frame
const FRAME = 33; // ms between two frames of one run
const PANELS = 300; // ms between two frames that carry more than the curves
const FOLLOW = 250; // ms: a run that will be over by then is not cut short
const data = {};
let engine, trainer, wanted, sent, running = null, paused = false, awake = false, drawing = false;
let mapping = null; // the id of the map that trains

const now = () => performance.now();
const channel = new MessageChannel();
const turn = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });

// The trainer with an experiment, from its initial weights or, with keep, from its own
function take(experiment, keep) {
  const fits = trainer?.fits(experiment);
  if (fits) trainer.set(experiment);
  else trainer = new Trainer(engine, experiment, data[experiment.data]);
  if (!fits || !keep || trainer.status === "diverged") trainer.reset();
  else if (trainer.status !== "running") trainer.extend();
}

function begin({ id, experiment, keep, watch }) {
  take(experiment, keep);
  running = { id, watch, began: now(), epochs: 0, records: [], shown: 0, full: now() };
}

function frame() {
  const { id, watch, records } = running;
  running.records = [];
  running.shown = now();
  drawing = true;
  const { status, kept } = trainer;
  const full = status !== "running" || now() - running.full > PANELS;
  if (full) running.full = now();
  const seen = full ? views(watch) : null;
  postMessage({ type: "frame", id, records, status, kept: kept.epoch, views: seen });
}

function views({ points, validation, inputs } = {}) {
  const found = { weights: trainer.network.weights() };
  const { features, validation: held } = trainer.data;
  if (points) found.points = trainer.predict(points, points.length / features);
  if (validation) found.validation = trainer.predict(held.X, Math.min(validation, held.n));
  if (points && trainer.train !== sent) {
    const { X, y, clean } = (sent = trainer.train);
    found.training = { X, y, clean };
  }
  if (inputs) found.inputs = trainer.firstInputs(inputs);
  return found;
}

// Whether the run at hand should give way to the one that waits
function yields() {
  const { began, epochs } = running, gone = now() - began;
  return gone * (trainer.e.epochs / Math.max(epochs, 1)) > FOLLOW;
}

function slice() {
  const end = now() + (running.shown ? SLICE : FIRST);
  while (trainer.status === "running" && now() < end) {
    running.records.push(trainer.runEpoch());
    running.epochs += 1;
  }
  const over = trainer.status !== "running";
  const due = running.shown === 0 || now() - running.shown > FRAME;
  if (over || (due && !drawing)) frame();
  if (over) running = null;
}

async function work() {
  if (awake) return;
  awake = true;
  while ((wanted || running) && !paused) {
    try {
      if (wanted && (!running || yields())) {
        const next = wanted;
        wanted = null;
        running = { id: next.id };
        begin(next);
      }
      slice();
    } catch (error) {
      postMessage({ type: "error", id: running?.id, message: error.message });
      running = trainer = null;
    }
    await turn();
  }
  awake = false;
}

const HANDLERS = {
  async start({ engine: name }) {
    engine = await chooseEngine(name);
    postMessage({ type: "engine", name: engine.name });
    work();
  },
  data({ name, packed }) {
    data[name] = unpack(packed);
  },
  run(message) {
    wanted = message;
    paused = false;
    if (engine) work();
  },
  pause() {
    paused = true;
  },
  resume() {
    paused = false;
    work();
  },
  drawn() {
    drawing = false;
  },
  cell({ id, experiment }) {
    take(experiment, false);
    const records = [];
    while (trainer.status === "running") records.push(trainer.runEpoch());
    const record = records[trainer.kept.epoch - 1] ?? records.at(-1);
    postMessage({ type: "cell", id, record });
  },
  async map({ id, experiments }) {
    mapping = id;
    if (!experiments.every(fitsGpu)) throw new Error("WebGPU does not know these settings");
    const gpu = await chooseGpu();
    try {
      engine ??= await chooseEngine();
      await trainMap(gpu, engine, experiments, data[experiments[0].data], (found) => {
        const on = mapping === id;
        if (on) postMessage({ type: "cells", id, name: gpu.name, ...found });
        return on;
      });
    } finally {
      gpu.device.destroy();
    }
  },
  stop() {
    mapping = null;
  },
};

onmessage = async ({ data: message }) => {
  try {
    await HANDLERS[message.type](message);
  } catch (error) {
    postMessage({ type: "error", id: message.id, message: error.message });
  }
};
