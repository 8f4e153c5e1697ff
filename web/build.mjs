// Makes one script of the pages' code, after the kernels are compiled: `npm run build`.
import { readFile, writeFile } from "node:fs/promises";
import { deflateRawSync } from "node:zlib";
import { build } from "esbuild";

const OUT = "web/build";

const bundle = (entry, outfile, options = {}) => build({
  entryPoints: [entry], outfile: `${OUT}/${outfile}`, bundle: true, minify: true,
  format: "iife", target: "es2022", logLevel: "warning",
  loader: { ".deflate": "dataurl", ".txt": "text" }, ...options,
});

const kernels = await readFile(`${OUT}/kernels.wasm`);
await writeFile(`${OUT}/kernels.deflate`, deflateRawSync(kernels, { level: 9 }));
await bundle("web/trainer/worker.js", "worker.txt");
await bundle("web/trainer/index.js", "trainer.js", { globalName: "trainer" });
await bundle("web/lab/index.js", "page/lab.js"); // holds worker.txt
