// Draws Plotly figures in the colours of the page's theme and to the width of their box; on the
// page and in JupyterLab, which differ in where Plotly comes from.

const CONFIG = { displayModeBar: false, displaylogo: false, doubleClick: "reset" };
const FLAT = 14; // letters below a heat map that have room side by side
const WIDE = 5; // columns of a heat map whose cells have room for their value
const NARROW = 480;

// Colours come from the style sheet, so a theme is written down once.
function applyTheme(template, canvas) {
  const style = getComputedStyle(canvas), grid = style.getPropertyValue("--plot-grid");
  template.font.color = style.color;
  for (const axis of [template.xaxis, template.yaxis]) {
    Object.assign(axis, { gridcolor: grid, tickcolor: grid, linecolor: style.color });
  }
  template.hoverlabel = {
    ...template.hoverlabel,
    bgcolor: style.getPropertyValue("--plot-surface"),
    font: { color: style.color },
  };
}

// Panels that would be too narrow side by side flow into more rows.
function reflow(layout, width) {
  const { panels, width: least, above = 0 } = layout.meta;
  if (!panels) return;
  const { grid } = layout;
  let rowHeight = (layout.height - above) / grid.rows;
  grid.columns = Math.max(1, Math.min(grid.columns, Math.floor(width / least)));
  grid.rows = Math.ceil(panels / grid.columns);
  // Panels of equal scale are as high as wide, and their labels.
  if (layout.yaxis.scaleanchor) rowHeight = Math.min(rowHeight, width / grid.columns + 60);
  layout.height = above + rowHeight * grid.rows;
  for (let i = 0; i < panels; i++) {
    layout[`yaxis${i ? i + 1 : ""}`].showticklabels = i % grid.columns === 0;
  }
}

// Smaller print, slanted or left out where it is too much, a line per legend entry.
function shrink(data, layout, template) {
  template.font.size = 11;
  template.xaxis.title.font.size = template.yaxis.title.font.size = 11;
  for (const trace of data.filter(({ texttemplate }) => texttemplate)) {
    const { x, xaxis } = trace;
    if (x.join("").replace(/<.*?>/g, "").length > FLAT) layout[xaxis.replace("x", "xaxis")].tickangle = -45;
    if (x.length > WIDE) delete trace.texttemplate;
  }
  const entries = data.filter((trace) => trace.name && trace.showlegend !== false);
  if (layout.showlegend !== false && !layout.meta.fixed) {
    layout.height = (layout.height ?? template.height) + 10 * entries.length;
  }
}

function fit(figure, canvas) {
  const { data, layout } = structuredClone(figure), template = layout.template.layout;
  layout.width = canvas.clientWidth;
  reflow(layout, layout.width);
  applyTheme(template, canvas);
  if (layout.width < NARROW) shrink(data, layout, template);
  if (matchMedia("(pointer: coarse)").matches || layout.meta.fixed) layout.dragmode = false; // let it scroll
  return [data, layout];
}

export class Plots {
  // load: returns a promise of Plotly
  constructor(load) {
    this.load = load;
    this.figures = new Map(); // canvas -> figure
    this.jobs = new Map(); // canvas -> {again, over}
    const widths = new WeakMap();
    this.resized = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) {
        if (widths.get(target) === contentRect.width || !contentRect.width) continue;
        widths.set(target, contentRect.width);
        this.redraw(target);
      }
    });
    const theme = { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light"] };
    this.themed = new MutationObserver(() => this.redrawAll());
    for (const root of [document.documentElement, document.body].filter(Boolean)) this.themed.observe(root, theme);
  }

  // A figure that is drawn as soon as its box has a width, and again when that changes
  add(canvas, figure) {
    this.figures.set(canvas, figure);
    this.resized.observe(canvas);
  }

  update(canvas, figure) {
    this.figures.set(canvas, figure);
    return this.redraw(canvas);
  }

  drop(canvas) {
    this.resized.unobserve(canvas);
    this.figures.delete(canvas);
    if (canvas.data) this.load().then((plotly) => plotly.purge(canvas));
  }

  redrawAll = () => Promise.all([...this.figures.keys()].map((canvas) => this.redraw(canvas)));

  // One drawing of a canvas at a time; of those asked for meanwhile, the last is done.
  redraw(canvas) {
    const waiting = this.jobs.get(canvas);
    if (waiting) {
      waiting.again = true;
      return waiting.over;
    }
    const job = {};
    this.jobs.set(canvas, job);
    job.over = (async () => {
      do {
        job.again = false;
        await this.draw(canvas).catch((error) => fail(canvas, error));
      } while (job.again);
      this.jobs.delete(canvas);
    })();
    return job.over;
  }

  async draw(canvas) {
    const plotly = await this.load(), figure = this.figures.get(canvas);
    if (!figure || !canvas.clientWidth) return;
    const step = canvas.layout?.sliders?.[0].active; // where the reader left it
    await plotly.react(canvas, ...fit(figure, canvas), CONFIG);
    if (step !== undefined) {
      await plotly.restyle(canvas, ...canvas.layout.sliders[0].steps[step].args);
      await plotly.relayout(canvas, { "sliders[0].active": step });
    }
    canvas.dataset.state = "drawn";
  }

  // Gives drawn lines other points, in a hundredth of the time a drawing takes: for the frames of
  // a run between two drawings. traces: [{uid, x, y}].
  // Returns false, and does nothing, if a point is outside the axes or no number.
  stretch(canvas, traces) {
    const { xaxis, yaxis } = canvas._fullLayout ?? {};
    if (!xaxis || this.jobs.has(canvas)) return false;
    const place = (axis, values) => values.map((v) => axis.d2p(v ?? NaN));
    const fits = (axis, places) => places.every((p) => p >= 0 && p <= axis._length);
    const lines = [];
    for (const { uid, x, y } of traces) {
      const path = canvas.querySelector(`.trace${uid} path.js-line`);
      const across = place(xaxis, x), down = place(yaxis, y);
      if (!path || !fits(xaxis, across) || !fits(yaxis, down)) return false;
      lines.push([path, across.map((p, k) => `${p.toFixed(1)},${down[k].toFixed(1)}`)]);
    }
    for (const [path, points] of lines) path.setAttribute("d", `M${points.join("L")}`);
    return true;
  }
}

function fail(canvas, error) {
  canvas.dataset.state = "error";
  canvas.textContent = `This figure could not be drawn: ${error.message}`;
}
