// A mosaic of two rows: training images as they are, and as the network sees them in its first step
import { part } from "./parts.js";

export const inputs = {
  needs: "inputs",
  watch: (figure) => ({ inputs: figure.layout.meta.images }),
  draw(figure, { seen: { inputs: found } }) {
    const { rows, columns } = figure.layout.meta, { z } = part(figure, "pixels");
    const width = found.plain.length / (rows * columns) * (columns + 1);
    for (let k = 0; k < 2 * (rows + 1); k++) z[k] = Array(width).fill(null);
    [found.plain, found.seen].forEach((pixels, row) => pixels.forEach((value, at) => {
      const k = Math.floor(at / (rows * columns)), i = Math.floor(at / columns) % rows;
      z[row * (rows + 1) + i][k * (columns + 1) + (at % columns)] = value;
    }));
  },
};
