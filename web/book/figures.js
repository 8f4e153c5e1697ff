// The book's static figures: each is drawn when it comes near the viewport, all before printing.
import { Plots } from "../lab/plots.js";

const own = /** @type {HTMLScriptElement} */ (document.currentScript);
const url = new URL("plotly-cartesian.min.js", own.src);
let plotly;

export const plots = new Plots(() => {
  plotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = url.href;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error(`${url.href} did not load`));
    document.head.append(script);
  });
  return plotly;
});

const near = new IntersectionObserver(
  (entries) => entries.filter((e) => e.isIntersecting).forEach(({ target }) => show(target)),
  { rootMargin: "600px" },
);

function show(canvas) {
  near.unobserve(canvas);
  const source = canvas.parentElement.querySelector("script.plot-data");
  plots.add(canvas, JSON.parse(source.textContent));
}

const canvases = () => document.querySelectorAll("figure .plot-canvas");
document.addEventListener("DOMContentLoaded", () => canvases().forEach((canvas) => near.observe(canvas)));
addEventListener("beforeprint", () => canvases().forEach((canvas) => plots.figures.has(canvas) || show(canvas)));
