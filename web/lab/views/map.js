// The validation loss over two knobs: in each cell the mean over the draws so far. A frame marks the
// lowest; the sliders' cell is where the two lines cross.
import { part } from "./parts.js";

export const map = {
  needs: "sweep",
  draw(figure, sweep) {
    const [xs, ys] = Object.values(sweep.spec.over), columns = xs.length;
    const means = sweep.cells.map((_, k) => sweep.cell(k).val_loss);
    part(figure, "cells").z = ys.map((_, row) =>
      means.slice(row * columns, (row + 1) * columns).map((v) => (Number.isFinite(v) ? v : null)));
    const best = means.reduce((b, v, k) => (Number.isFinite(v) && !(means[b] <= v) ? k : b), -1);
    const { x, y } = sweep.nearest(sweep.settings);
    figure.layout.shapes = [
      ...(best < 0 ? [] : [["black", 5], ["white", 2]].map(([color, width]) =>
        frame(best % columns, Math.floor(best / columns), color, width))),
      ...[["white", 3], ["black", 1]].flatMap(([color, width]) => [
        line({ x0: x, x1: x, y0: -0.5, y1: ys.length - 0.5 }, color, width),
        line({ x0: -0.5, x1: columns - 0.5, y0: y, y1: y }, color, width),
      ]),
    ];
  },
};

const frame = (x, y, color, width) => ({
  type: "rect", xref: "x", yref: "y", x0: x - 0.5, x1: x + 0.5, y0: y - 0.5, y1: y + 0.5, line: { color, width },
});

const line = (ends, color, width) => ({ type: "line", xref: "x", yref: "y", ...ends, line: { color, width } });
