// Where the arithmetic runs: WebAssembly with SIMD, or plain JavaScript.
import packed from "../build/kernels.deflate";
import { plainKernels } from "./kernels.js";

const PAGE = 65536;
const ALIGNED = 16; // bytes, of what network.js lays out
const ROOMY = 2 ** 24; // bytes: of a larger memory most should be in use
let compiled;

// Returns {name, open(bytes, old)}; open returns {kernels, buffer, base, memory}: zeros,
// in the memory of `old` where that serves.
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

// Not by `fetch`, which a page's security policy may forbid, nor by a Blob's stream, which WebKit
// does not read in a worker of a page from disk.
function unpack() {
  const bytes = Uint8Array.from(atob(packed.split(",")[1]), (c) => c.charCodeAt(0));
  const body = new Response(bytes).body.pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(body).arrayBuffer();
}

function openWasm(bytes, old) {
  const pages = Math.ceil(bytes / PAGE) + 1;
  if (old && !wasteful(old, bytes)) {
    const { memory, base, kernels } = old, lack = pages - memory.buffer.byteLength / PAGE;
    if (lack > 0) memory.grow(lack);
    new Uint8Array(memory.buffer, base, bytes + ALIGNED).fill(0);
    return { memory, kernels, base, buffer: memory.buffer };
  }
  const memory = new WebAssembly.Memory({ initial: pages });
  const abort = () => { throw new Error("WebAssembly aborted"); };
  /** @type {any} */
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory, abort } });
  return { memory, kernels: exports, base: exports.free.value, buffer: memory.buffer };
}

function openPlain(bytes, old) {
  if (old && old.buffer.byteLength >= bytes && !wasteful(old, bytes)) {
    new Uint8Array(old.buffer, 0, bytes).fill(0);
    return old;
  }
  const buffer = new ArrayBuffer(bytes);
  return { kernels: plainKernels({ buffer }), base: 0, buffer };
}

const wasteful = ({ buffer }, bytes) => buffer.byteLength > ROOMY && buffer.byteLength > 4 * bytes;
