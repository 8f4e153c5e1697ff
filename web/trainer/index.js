// For tests and benchmarks: the trainer without its worker.
export { unpack } from "./data.js";
export { chooseEngine } from "./engines.js";
export { check } from "./experiment.js";
export { GpuTrainer, chooseGpu, fitsGpu } from "./gpu.js";
export { Trainer } from "./trainer.js";
