// Histogram of the weights that are not 0; the note counts those that are
import { ofDraw, part, roundUp } from "./parts.js";

export const weights = {
  needs: "weights",
  watch: () => ({ weights: true }),
  draw(figure, { seen: { weights: all }, spec }) {
    const { bins } = figure.layout.meta;
    const limit = roundUp(all.reduce((a, w) => Math.max(a, Math.abs(w)), 0));
    const counts = new Array(bins).fill(0), width = (2 * limit) / bins;
    let zeros = 0;
    for (const w of all) {
      if (w === 0) zeros += 1;
      else counts[Math.min(bins - 1, Math.floor((w + limit) / width))] += 1;
    }
    Object.assign(part(figure, "weights"), { x: counts.map((_, k) => -limit + (k + 0.5) * width), y: counts });
    figure.layout.annotations[0].text = `weights${ofDraw(spec.seeds)}<br>exactly 0: ${
      zeros.toLocaleString("en")} of ${all.length.toLocaleString("en")}`;
  },
};
