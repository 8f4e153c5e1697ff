// The loss curves: the reader's run (of several draws the mean, with a band of one standard deviation), the
// last complete one as a ghost, the baseline's, pinned ones, and the book's.
import { METRICS } from "../records.js";
import { finite, part, upright } from "./parts.js";

const PARTS = ["train", "val"]; // as METRICS begins

export class Curves {
  spec; canvas; plots; figure; pinned;

  constructor(spec, canvas, plots) {
    Object.assign(this, { spec, canvas, plots, figure: spec.figures.curves, pinned: [] });
    this.own = PARTS.map((role) => part(this.figure, `your_${role}`));
    this.slots = this.figure.data.filter(({ uid }) => uid.startsWith("pin_"));
    this.width = this.figure.layout.xaxis.range[1];
    plots.add(canvas, this.figure);
  }

  line(role, x, y) {
    Object.assign(part(this.figure, role), { x, y: y.map(finite), visible: true });
  }

  // One standard deviation around a mean; on a logarithmic axis its lower edge stays above 0
  band(role, x, mean, deviation) {
    const log = this.figure.layout.yaxis.type === "log";
    const low = mean.map((v, k) => v - deviation[k]);
    this.line(`${role}_low`, x, low.map((v, k) => (log && v <= 0 ? mean[k] / 10 : v)));
    this.line(`${role}_high`, x, mean.map((v, k) => v + deviation[k]));
  }

  async draw(records, over, { patience, epochs }) {
    const { seeds, against } = this.spec, { layout } = this.figure, mine = records.curve();
    PARTS.forEach((role, k) => this.line(`your_${role}`, mine.epochs, mine.mean[k]));
    const marked = layout.shapes?.length, wide = Math.max(epochs, mine.epochs.at(-1) ?? 0), grown = this.width !== wide;
    layout.xaxis.range = [0, (this.width = wide)];
    layout.shapes = over && patience && seeds === 1 ? [this.kept(records.counted(0), wide)] : [];
    if (!over && !marked && !grown && this.plots.stretch(this.canvas, this.own)) return;
    if (seeds > 1) PARTS.forEach((role, k) => this.band(`band_${role}`, mine.epochs, mine.mean[k], mine.spread[k]));
    if (against) {
      const other = records.curve(seeds), k = METRICS.indexOf("val_loss");
      this.line("against_val", other.epochs, other.mean[k]);
      if (seeds > 1) this.band("against", other.epochs, other.mean[k], other.spread[k]);
    }
    await this.plots.update(this.canvas, this.figure);
  }

  kept(epoch, wide) {
    const line = upright(epoch, this.own[1].line.color, `kept: epoch ${epoch}`);
    if (epoch > wide / 2) line.label.xanchor = "right";
    return line;
  }

  // Keep what is complete, pale, while the next grows
  ghost(records) {
    const { epochs, mean } = records.curve();
    PARTS.forEach((role, k) => this.line(`ghost_${role}`, epochs, mean[k]));
  }

  pin(records, name) {
    const { epochs: x, mean } = records.curve(), y = mean[METRICS.indexOf("val_loss")].map(finite);
    this.pinned = [{ x, y, name }, ...this.pinned].slice(0, this.slots.length);
    this.slots.forEach((slot, k) =>
      Object.assign(slot, this.pinned[k], { visible: k < this.pinned.length, showlegend: k < this.pinned.length }));
    this.plots.update(this.canvas, this.figure);
  }
}
