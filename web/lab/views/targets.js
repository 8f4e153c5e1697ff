// Predictions of a regression against the true targets, validation points
import { known, part } from "./parts.js";

export const targets = {
  needs: "validation",
  watch: (figure, data) => ({ validation: known(figure, data).true.length }),
  draw(figure, { seen, experiment }) {
    const { true: x } = known(figure, experiment.data);
    Object.assign(part(figure, "points"), { x, y: Array.from(seen.validation) });
  },
};
