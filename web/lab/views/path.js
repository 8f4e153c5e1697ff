// The losses over a knob: means over the draws so far, with the standard error of the validation loss; the
// upright line is where the slider stands
import { part, upright } from "./parts.js";

export const path = {
  needs: "sweep",
  draw(figure, sweep) {
    const places = figure.layout.meta.x, found = sweep.cells.map((_, k) => sweep.cell(k));
    const known = places.map((_, k) => k).filter((k) => Number.isFinite(found[k].val_loss));
    const x = known.map((k) => places[k]);
    const put = (role, y) => Object.assign(part(figure, role), { x, y: known.map((k) => y(found[k])), visible: true });
    put("your_train", ({ train_loss }) => train_loss);
    put("your_val", ({ val_loss }) => val_loss);
    put("band_val_low", ({ val_loss, se }) => val_loss - se);
    put("band_val_high", ({ val_loss, se }) => val_loss + se);
    figure.layout.shapes = [upright(places[sweep.nearest(sweep.settings).x], part(figure, "your_val").line.color)];
  },
};
