// Two histograms of P(class 1) over validation points, one for each true class
import { known, part } from "./parts.js";

export const shares = {
  needs: "validation",
  watch: (figure, data) => ({ validation: known(figure, data).labels.length }),
  draw(figure, { seen: { validation: p }, experiment }) {
    const { labels } = known(figure, experiment.data);
    for (const k of [0, 1]) {
      const trace = part(figure, `class_${k}`), bins = trace.x.length, counts = new Array(bins).fill(0);
      labels.forEach((y, i) => {
        if (y === k) counts[Math.min(bins - 1, Math.floor(p[i] * bins))] += 1;
      });
      trace.y = counts;
    }
  },
};
