// Where the arithmetic runs: WebAssembly with SIMD, or plain JavaScript.
import packed from "../build/kernels.deflate";
import { plainKernels } from "./kernels.js";

const PAGE = 65536;
let compiled;

// Returns {name, open(bytes)}; open returns {kernels, buffer, base}.
export async function chooseEngine(wanted = "auto") {
  if (wanted !== "javascript") {
    try {
      compiled ??= await WebAssembly.compile(await unpack());
      return { name: "WebAssembly", open: openWasm };
    } catch (error) {
      if (wanted === "wasm") throw error;
    }
  }
  return { name: "JavaScript", open: openPlain };
}

async function unpack() {
  const { body } = await fetch(packed);
  return new Response(body.pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();
}

function openWasm(bytes) {
  const memory = new WebAssembly.Memory({ initial: Math.ceil((bytes + PAGE) / PAGE) });
  const abort = () => { throw new Error("WebAssembly aborted"); };
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory, abort } });
  return { kernels: exports, buffer: memory.buffer, base: exports.free.value };
}

function openPlain(bytes) {
  const memory = { buffer: new ArrayBuffer(bytes + PAGE) };
  return { kernels: plainKernels(memory), buffer: memory.buffer, base: 0 };
}
