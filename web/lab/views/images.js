// Some validation images, each with the class the network predicts
import { known, ofDraw, part } from "./parts.js";

export const images = {
  needs: "validation",
  watch: (figure, data) => ({ validation: known(figure, data).labels.length }),
  draw(figure, { seen: { validation: p }, spec, experiment }) {
    const { wrong, right } = figure.layout.meta, { labels, z } = known(figure, experiment.data);
    part(figure, "pixels").z = z;
    const classes = p.length / labels.length;
    const guess = labels.map((_, k) => {
      const row = p.subarray(k * classes, (k + 1) * classes);
      return row.indexOf(row.reduce((a, b) => Math.max(a, b)));
    });
    const mark = part(figure, "captions"), off = guess.map((g, k) => g !== labels[k]);
    mark.text = guess.map((g, k) => (off[k] ? `<b>${labels[k]}→${g}✗</b>` : `${g}`));
    mark.textfont = { ...mark.textfont, color: off.map((o) => (o ? wrong : right)) };
    figure.layout.annotations[0].text =
      `validation images${ofDraw(spec.seeds)}<br>${off.filter(Boolean).length} of ${labels.length} wrong (✗)`;
  },
};
