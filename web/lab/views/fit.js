// A network of one input: the function itself, beside the true one and the points it has learned from;
// of several draws each a thin line, and the mean
import { known, part } from "./parts.js";

export const fit = {
  needs: "points",
  watch: (figure, data, seeds) => ({
    grid: known(figure, data).grid, training: true, members: Array.from({ length: seeds }, (_, k) => k),
  }),
  draw(figure, { seen, experiment }) {
    const { grid: [x], true: y } = known(figure, experiment.data), n = x.length;
    const mean = part(figure, "fit"), each = part(figure, "draws"), draws = seen.points.length / n;
    const sums = new Float64Array(n);
    Object.assign(part(figure, "true"), { x, y });
    Object.assign(each, { x: [], y: [], visible: draws > 1 });
    for (let d = 0; d < draws; d++) {
      const one = seen.points.subarray(d * n, (d + 1) * n);
      one.forEach((v, k) => (sums[k] += v / draws));
      if (draws > 1) each.x.push(...x, null), each.y.push(...one, null);
    }
    Object.assign(mean, { x, y: Array.from(sums) });
    if (seen.training) mark(figure, seen.training);
  },
};

function mark(figure, { X, y, clean }) {
  const moved = Array.from(y, (_, k) => k).filter((k) => y[k] !== clean[k]);
  Object.assign(part(figure, "points"), { x: Array.from(X), y: Array.from(y) });
  Object.assign(part(figure, "replaced"), { x: moved.map((k) => X[k]), y: moved.map((k) => y[k]) });
}
