// For tests and benchmarks: the trainer without its worker, and the page's engine of workers.
export { unpack } from "./data.js";
export { chooseEngine } from "./engines.js";
export { check } from "./experiment.js";
export { GpuTrainer, chooseGpu, fitsGpu } from "./gpu.js";
export { Trainer } from "./trainer.js";
export { PoolEngine } from "../lab/engines/pool.js";
