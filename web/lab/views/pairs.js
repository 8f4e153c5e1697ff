// A dot per draw: its validation loss minus the baseline's on the same draw; the mean ± its standard error
import { effect } from "../records.js";
import { part } from "./parts.js";

export const pairs = {
  needs: "records",
  draw(figure, { records }) {
    const found = records.pairs();
    if (!found) return;
    const differences = found.map(([mine, other]) => mine - other), { difference, se } = effect(differences);
    Object.assign(part(figure, "draws"), { x: differences });
    Object.assign(part(figure, "mean"), { x: [difference], error_x: { ...part(figure, "mean").error_x, array: [se] } });
  },
};
