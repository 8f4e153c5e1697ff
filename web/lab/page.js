// The page's entry: its live labs, each woken when it comes near the viewport, with the book's figures
// and the verdicts of its claims.
import { forAddress, link, load, read, restore, write } from "./address.js";
import { PoolEngine } from "./engines/pool.js";
import { Lab } from "./lab.js";
import { plots } from "../book/figures.js";
import "../book/claims.js";

const script = /** @type {HTMLScriptElement} */ (document.currentScript).src;
const sets = {};

// The data set's own script calls bookData: scripts load from disk, where fetch does not.
window.bookData = (name, packed) => sets[name].resolve(packed);

function loadData(name) {
  sets[name] ??= {};
  sets[name].promise ??= new Promise((resolve, reject) => {
    sets[name].resolve = resolve;
    const tag = document.createElement("script");
    tag.src = new URL(`data/${name}.js`, script).href;
    tag.onerror = () => {
      delete sets[name]; // the next question tries again
      reject(new Error(`${tag.src} did not load`));
    };
    document.head.append(tag);
  });
  return sets[name].promise;
}

const pool = new PoolEngine(loadData);

function wake(root, number) {
  const spec = JSON.parse(root.querySelector("script.lab-data").textContent);
  if (spec.experiment.channels.length) return null; // convolutions run in JupyterLab
  const knobs = { ...spec.knobs, seed: { values: [0, 2 ** 32 - 32], whole: true } };
  try {
    return new Lab(root, spec, {
      number, plots, engine: "browser",
      engines: { browser: (on) => pool.open(on) },
      open: () => restore(read(number) ?? {}, knobs, spec),
      note: (_, points, changed) => write(number, forAddress(changed), points),
      share: (changed, points) => link(number, forAddress(changed), points),
    });
  } catch (error) {
    root.dataset.state = "error";
    root.querySelector("output[name=message]").value = error.message;
    return null;
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const roots = [...document.querySelectorAll(".lab")], labs = new Map();
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (labs.has(target)) labs.get(target)?.rest(!isIntersecting);
      else if (isIntersecting) labs.set(target, wake(target, roots.indexOf(target) + 1));
    }
  }, { rootMargin: "200px" });
  // A link leads to a lab, whether the page is opened by it or already open.
  const follow = () => {
    const numbers = load(), named = numbers.map((number) => roots[number - 1]);
    for (const lab of named.map((root) => labs.get(root))) lab?.restore(lab.host.open());
    named[0]?.scrollIntoView({ block: "start" });
  };
  follow();
  roots.forEach((root) => seen.observe(root));
  addEventListener("hashchange", () => location.hash.startsWith("#lab=") && follow());
  document.addEventListener("visibilitychange", () => {
    for (const lab of labs.values()) lab?.rest(document.hidden);
  });
});
