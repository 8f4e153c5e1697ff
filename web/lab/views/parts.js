// What several views need.

// The trace of a figure that plays a part, as utils/lab/views.py has named it
export const part = (figure, role) => figure.data.find(({ uid }) => uid === role);

// What a figure knows of a data set
export const known = (figure, name) => figure.layout.meta.sets[name];

export const finite = (v) => (Number.isFinite(v) ? v : null);

// A vertical line across the plot, with a word at its upper end
export const upright = (x, color, text, dash = "dash") => ({
  type: "line", yref: "paper", y0: 0, y1: 1, x0: x, x1: x, line: { color, width: 1.5, dash },
  ...(text && {
    label: { text, textangle: 0, textposition: "end", xanchor: "left", yanchor: "top", font: { size: 12, color } },
  }),
});

// The next of 1, 1.5, 2, 3, 5, 7, 10 times a power of ten: an axis that stays
export function roundUp(value) {
  if (!value || !Number.isFinite(value)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 5, 7, 10].find((s) => s * power >= value) * power;
}

// Say which draw a picture is of, where there are several
export const ofDraw = (seeds) => (seeds > 1 ? `, draw 1 of ${seeds}` : "");
