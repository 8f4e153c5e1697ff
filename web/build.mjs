// Makes the scripts of pages and JupyterLab, after the kernels are compiled: `npm run build`.
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
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
await bundle("web/lab/page.js", "page/lab.js"); // holds worker.txt
await bundle("web/lab/widget.js", "lab/widget.js", { format: "esm" }); // this too
for (const [from, to] of [["lab/lab.css", "page/lab.css"], ["lab/lab.css", "lab/widget.css"], ["book/book.css", "page/book.css"]]) {
  await mkdir(`${OUT}/${to.split("/")[0]}`, { recursive: true });
  await copyFile(`web/${from}`, `${OUT}/${to}`);
}
