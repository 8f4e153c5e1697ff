// Draws the book's figures: each when it comes near the viewport, in the colours
// of the page's theme and to the width of its column.
(() => {
  "use strict";
  const plotlyUrl = new URL("plotly-cartesian.min.js", document.currentScript.src);
  const config = { displayModeBar: false, displaylogo: false, doubleClick: "reset" };
  const drawn = new Map(); // canvas -> figure
  let plotly;

  function loadPlotly() {
    plotly ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = plotlyUrl.href;
      script.onload = () => resolve(window.Plotly);
      script.onerror = () => reject(new Error(`${plotlyUrl.href} did not load`));
      document.head.append(script);
    });
    return plotly;
  }

  // Colours come from the style sheet, so a theme is written down once.
  function applyTheme(template, canvas) {
    const style = getComputedStyle(canvas);
    const grid = style.getPropertyValue("--plot-grid");
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
    if (layout.yaxis.scaleanchor) {
      rowHeight = Math.min(rowHeight, width / grid.columns + 60);
    }
    layout.height = above + rowHeight * grid.rows;
    for (let i = 0; i < panels; i++) {
      layout[`yaxis${i ? i + 1 : ""}`].showticklabels = i % grid.columns === 0;
    }
  }

  const FLAT = 14; // letters below a heat map that have room side by side
  const WIDE = 5; // columns of a heat map whose cells have room for their value

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
    if (layout.showlegend !== false) {
      layout.height = (layout.height ?? template.height) + 10 * entries.length;
    }
  }

  function fit(figure, canvas) {
    const { data, layout } = structuredClone(figure);
    const template = layout.template.layout;
    layout.width = canvas.clientWidth;
    reflow(layout, layout.width);
    applyTheme(template, canvas);
    if (layout.width < 480) shrink(data, layout, template);
    if (matchMedia("(pointer: coarse)").matches) layout.dragmode = false; // let it scroll
    return [data, layout];
  }

  async function moveSlider(plot, canvas, active) {
    await plot.restyle(canvas, ...canvas.layout.sliders[0].steps[active].args);
    await plot.relayout(canvas, { "sliders[0].active": active });
  }

  async function draw(canvas) {
    const figure = drawn.get(canvas);
    const plot = await loadPlotly();
    const step = canvas.layout?.sliders?.[0].active; // where the reader left it
    const [data, layout] = fit(figure, canvas);
    await plot.react(canvas, data, layout, config);
    if (step !== undefined) await moveSlider(plot, canvas, step);
    canvas.dataset.state = "drawn";
  }

  function fail(canvas, error) {
    canvas.dataset.state = "error";
    canvas.textContent = `This figure could not be drawn: ${error.message}`;
  }

  // One drawing of a canvas at a time; of those asked for meanwhile, the last is done.
  const jobs = new Map();
  function redraw(canvas) {
    const waiting = jobs.get(canvas);
    if (waiting) {
      waiting.again = true;
      return waiting.over;
    }
    const job = {};
    jobs.set(canvas, job);
    job.over = (async () => {
      do {
        job.again = false;
        await draw(canvas).catch((error) => fail(canvas, error));
      } while (job.again);
      jobs.delete(canvas);
    })();
    return job.over;
  }

  const redrawAll = () => [...drawn.keys()].forEach(redraw);

  const widths = new WeakMap();
  const resized = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      if (widths.get(target) === contentRect.width) continue;
      widths.set(target, contentRect.width);
      redraw(target);
    }
  });

  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        const source = target.parentElement.querySelector("script.plot-data");
        drawn.set(target, JSON.parse(source.textContent));
        resized.observe(target); // reports the first width at once
      }
    },
    { rootMargin: "600px" },
  );

  // For the live labs: a figure that changes.
  function update(canvas, figure) {
    drawn.set(canvas, figure);
    return redraw(canvas);
  }

  function add(canvas, figure) {
    drawn.set(canvas, figure);
    resized.observe(canvas);
  }

  // Gives drawn lines other points, in a hundredth of the time a drawing takes: for the
  // frames of a run between two drawings. traces: [{uid, x, y}].
  // Returns false, and does nothing, if a point is outside the axes or no number.
  function stretch(canvas, traces) {
    const { xaxis, yaxis } = canvas._fullLayout ?? {};
    if (!xaxis || jobs.has(canvas)) return false;
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

  window.bookFigures = { add, update, stretch };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("figure .plot-canvas").forEach((canvas) => near.observe(canvas));
    const theme = { attributes: true, attributeFilter: ["data-theme"] };
    new MutationObserver(redrawAll).observe(document.documentElement, theme);
  });
})();
