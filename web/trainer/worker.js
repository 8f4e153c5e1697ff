// Trains off the main thread, for several labs at once. A *slot* is one lab's runs, or its
// sweeps; slots take turns, a slice each, and between slices messages are taken.
// web/lab/engines/pool.js is who asks; `id` names one question to one worker.
//
// In:  {type: "start", engine}, {type: "data", name, packed},
//      {type: "run", slot, id, members, share: [first, end], points, keep, from, scores, watch, alone}:
//        members first … end − 1 of a run, in place of the slot's run at hand. With keep they go on
//        with the weights they have, once they have trained `from` rounds of the run at hand;
//        alone: there is no other share. watch names members of this share, or is null; watch.anew:
//        the training set is to be sent, even if it was,
//      {type: "hold", slot, id, members}: the members a share would go on with; runs.js,
//      {type: "lead", slot, id, rounds}: the rounds of the slowest share,
//      {type: "sweep", slot, id, members: [index…], experiments, points}: to be trained, after
//        those that have come with the same id,
//      {type: "map", slot, id, experiments}: all of a sweep by WebGPU,
//      {type: "pause" | "resume" | "stop" | "close", slot}, {type: "drawn", slot, id}.
// Out: {type: "engine", name}, and with the id of the question
//      {type: "frame", id, rows, status, kept, over, views}: rows of [member, epoch, train_loss,
//        val_loss, train_accuracy, val_accuracy], in order and each once, also over the runs that go
//        on; one, and a run's last, are under way undrawn at most,
//      {type: "at", id, rounds, over}: how far a share is, {type: "held", id, can, running, rounds},
//      {type: "cells", id, members, records, left, ms}: `left` members are waiting here,
//      {type: "evolved", id, members, records, ended, over, name}: the members that WebGPU trains at
//        once, so many of them ended; {type: "refused", id, why}: by WebGPU,
//      {type: "error", id, message}.
import { unpack } from "./data.js";
import { chooseEngine } from "./engines.js";
import { Runs } from "./runs.js";
import { Sweeps } from "./sweeps.js";

// spare: trainers that no slot uses
const shared = { engine: null, engineReady: null, data: {}, spare: [] };
const slots = new Map();
let awake = false;

const channel = new MessageChannel();
const turn = () =>
  new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });

const send = (message, transfer = []) => /** @type {any} */ (globalThis).postMessage(message, transfer);
const busy = () => [...slots.values()].filter((slot) => slot.busy);

function slotOf(name, Kind) {
  if (!slots.has(name)) slots.set(name, new Kind(shared, send));
  return slots.get(name);
}

async function work() {
  if (awake || !shared.engine) return;
  awake = true;
  for (let all; (all = busy()).length; await turn()) {
    const slot = all.reduce((a, b) => (b.spent < a.spent ? b : a)), begin = performance.now();
    slot.advance();
    slot.spent += performance.now() - begin;
  }
  awake = false;
}

// A slot that has rested has no claim to the time that others have used.
function ask(slot, message) {
  const others = busy().filter((other) => other !== slot).map(({ spent }) => spent);
  if (!slot.busy && others.length) slot.spent = Math.max(slot.spent, Math.min(...others));
  slot.ask(message);
}

const HANDLERS = {
  async start({ engine }) {
    shared.engineReady = chooseEngine(engine);
    shared.engine = await shared.engineReady;
    send({ type: "engine", name: shared.engine.name });
  },
  data: ({ name, packed }) => (shared.data[name] = unpack(packed)),
  run: (message) => ask(slotOf(message.slot, Runs), message),
  sweep: (message) => ask(slotOf(message.slot, Sweeps), message),
  map: (message) => void slotOf(message.slot, Sweeps).map(message),
  async hold(message) {
    await shared.engineReady;
    slotOf(message.slot, Runs).hold(message.id, message);
  },
  lead: ({ slot, id, rounds }) => slots.get(slot)?.lead(id, { rounds }),
  drawn: ({ slot, id }) => slots.get(slot)?.drawn(id),
  stop: ({ slot }) => slots.get(slot)?.stop(),
  pause: ({ slot }) => slots.get(slot)?.pause(),
  resume: ({ slot }) => slots.get(slot)?.resume(),
  close({ slot }) {
    slots.get(slot)?.close();
    slots.delete(slot);
  },
};

globalThis.onmessage = async ({ data: message }) => {
  try {
    await HANDLERS[message.type](message);
  } catch (error) {
    send({ type: "error", id: message.id, message: error.message });
  }
  work();
};
