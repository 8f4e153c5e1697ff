// Decision regions of a network with two inputs, and its training points
import { known, ofDraw, part } from "./parts.js";

// Training points on show: each is an element of the page, and every hundred take some 5 ms.
const ALL = 300, SOME = 100;

export const regions = {
  needs: "points",
  watch: (figure, data) => ({ grid: known(figure, data).grid, training: true }),
  draw(figure, { seen, spec, points, experiment }) {
    const colors = part(figure, "colors"), border = part(figure, "border");
    const [x, y] = known(figure, experiment.data).grid, columns = x.length;
    for (const trace of [colors, border]) Object.assign(trace, { x, y });
    figure.layout.xaxis.range = [x[0], x.at(-1)];
    figure.layout.yaxis.range = [y[0], y.at(-1)];
    const z = Array.from(colors.y, (_, r) => Array.from(seen.points.subarray(r * columns, (r + 1) * columns)));
    border.z = colors.z = z;
    if (seen.training) mark(figure, seen.training, spec.seeds, points);
  },
};

// The points by class, and those whose label is not their own; of many, some
function mark(figure, { X, y, clean }, seeds, own) {
  const classes = ["class_0", "class_1", "replaced"].map((role) =>
    Object.assign(part(figure, role), { x: [], y: [] }));
  const put = (trace, i) => {
    trace.x.push(X[2 * i]);
    trace.y.push(X[2 * i + 1]);
  };
  const [note] = figure.layout.annotations, count = y.length > ALL ? SOME : y.length;
  const whose = own ? "your points" : "training points";
  const what = count < y.length ? `${count} of ${y.length} ${whose}` : `${y.length} ${whose}`;
  note.text = note.text.replace(/, .*?<br>/, `, ${what}${ofDraw(seeds)}<br>`);
  for (let i = 0; i < count; i++) {
    put(classes[y[i]], i);
    if (y[i] !== clean[i]) put(classes[2], i);
  }
}
