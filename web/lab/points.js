// The reader's own points: add, move, remove, flip, undo, on the picture of the decision regions or of
// the fit of one input. By mouse, finger and keyboard.
import { rounded } from "./address.js";
import { button, element } from "./dom.js";

const NEAR = { mouse: 10, touch: 22, pen: 14 }; // pixels within which a point is meant
const STILL = 5; // pixels a press may move and still be a press
const LONG = 550; // ms: a long press removes
const FEWEST = 2;
const UNDO = 50;
const STEP = 0.02; // of an axis, for the arrow keys

export class Editor {
  canvas; plots; lab; most; flat; past; chosen; ring;

  // lab: {points() -> {X, y} or undefined, own() -> bool, change(points or null)}
  constructor(canvas, spec, plots, lab) {
    Object.assign(this, { canvas, plots, lab, most: spec.most, flat: spec.features === 2, past: [], chosen: null });
    this.kind = element("select", { name: "class" }, ...["0 ●", "1 ◆"].map((textContent, k) =>
      element("option", { value: String(k), textContent })));
    this.undoButton = button("undo", "Undo", () => this.undo());
    this.removeButton = button("remove", "Remove", () => this.remove());
    this.flipButton = button("flip", "Flip label", () => this.flip());
    this.backButton = button("drawn", "Book's points", () => this.put(null));
    const kinds = this.flat ? [element("label", {}, "class ", this.kind)] : [];
    const flip = this.flat ? [this.flipButton] : [];
    this.tools = element("div", { className: "lab-points" },
      element("span", { textContent: "Click to add a point, drag to move one." }), ...kinds,
      ...flip, this.removeButton, this.undoButton, this.backButton);
    canvas.tabIndex = 0;
    canvas.setAttribute("aria-keyshortcuts", "N A Delete F");
    canvas.title = "Keys: N next point, A add, arrows move, F flip, Delete removes";
    for (const [type, take] of Object.entries({
      pointerdown: this.down, pointermove: this.drag, pointerup: this.up, pointercancel: this.cancel,
    })) canvas.addEventListener(type, take, true);
    const still = (event) => this.press?.hit >= 0 && event.preventDefault(); // a finger on a point does not scroll
    canvas.addEventListener("touchstart", still, { passive: false });
    canvas.addEventListener("keydown", this.key);
    this.refresh();
  }

  // Where a press is, in the units of the axes; null outside of them
  at({ clientX, clientY }) {
    const { xaxis, yaxis } = this.canvas._fullLayout ?? {};
    if (!xaxis) return null;
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = [clientX - box.left - xaxis._offset, clientY - box.top - yaxis._offset];
    if (x < 0 || y < 0 || x > xaxis._length || y > yaxis._length) return null;
    return { x: xaxis.p2d(x), y: yaxis.p2d(y), pixel: [x, y] };
  }

  place = (k, { X, y } = this.lab.points()) => (this.flat ? [X[2 * k], X[2 * k + 1]] : [X[k], y[k]]);

  // The point that is meant, or -1
  /** @param {number[]} pixel */
  nearest([x, y], pointerType) {
    const points = this.lab.points(), { xaxis, yaxis } = this.canvas._fullLayout;
    const far = points.y.map((_, k) => {
      const [a, b] = this.place(k, points);
      return Math.hypot(xaxis.d2p(a) - x, yaxis.d2p(b) - y);
    });
    const best = far.reduce((b, d, k) => (d < far[b] ? k : b), 0);
    return far[best] <= (NEAR[pointerType] ?? NEAR.mouse) ? best : -1;
  }

  down = (event) => {
    const at = this.at(event);
    if (!at || event.button || !this.lab.points()) return;
    const hit = this.nearest(at.pixel, event.pointerType);
    this.press = { hit, from: at.pixel, moved: false };
    if (hit < 0 && event.pointerType !== "mouse") return; // it may want to scroll
    event.preventDefault(); // Plotly would cover the page until the mouse is up
    event.stopPropagation();
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    if (hit < 0) return;
    this.choose(hit);
    this.press.timer = setTimeout(() => {
      if (!this.press || this.press.moved) return;
      this.press = null;
      this.remove();
    }, LONG);
  };

  drag = (event) => {
    const { press } = this, at = press && this.at(event);
    if (!at) return;
    const [x, y] = press.from;
    if (!press.moved && Math.hypot(at.pixel[0] - x, at.pixel[1] - y) < STILL) return;
    if (!press.moved && press.hit >= 0) this.keep();
    press.moved = true;
    clearTimeout(press.timer);
    if (press.hit >= 0) this.moveTo(press.hit, at);
  };

  up = (event) => {
    const { press } = this, at = this.at(event);
    this.cancel();
    if (press && at && !press.moved && press.hit < 0) this.add(at);
  };

  cancel = () => {
    clearTimeout(this.press?.timer);
    this.press = null;
  };

  key = (event) => {
    const points = this.lab.points(), { xaxis, yaxis } = this.canvas._fullLayout ?? {};
    if (!points || !xaxis || event.ctrlKey || event.metaKey) {
      if (points && event.key === "z") this.undo();
      return;
    }
    const n = points.y.length;
    const span = (axis) => STEP * (axis.range[1] - axis.range[0]);
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const todo = {
      n: () => this.choose(((this.chosen ?? -1) + 1) % n),
      a: () => this.add({ x: (xaxis.range[0] + xaxis.range[1]) / 2, y: (yaxis.range[0] + yaxis.range[1]) / 2 }),
      f: () => this.flip(), Delete: () => this.remove(), Backspace: () => this.remove(),
    };
    const move = moves[event.key];
    if (move && this.chosen !== null) {
      const [x, y] = this.place(this.chosen, points);
      this.keep();
      this.moveTo(this.chosen, { x: x + move[0] * span(xaxis), y: y + move[1] * span(yaxis) });
    } else if (todo[event.key]) todo[event.key]();
    else return;
    event.preventDefault();
  };

  copy = () => {
    const { X, y } = this.lab.points();
    return { X: [...X], y: [...y] };
  };

  // Remember what can be undone to
  keep() {
    this.past = [...this.past, this.lab.own() ? this.copy() : null].slice(-UNDO);
  }

  put(points) {
    this.keep();
    this.lab.change(points);
    this.refresh();
  }

  undo() {
    if (!this.past.length) return;
    this.chosen = null;
    this.lab.change(this.past.pop());
    this.refresh();
  }

  add({ x, y }) {
    const points = this.copy();
    if (points.y.length >= this.most) return;
    const row = [x, y].map(rounded);
    points.X.push(...(this.flat ? row : row.slice(0, 1)));
    points.y.push(this.flat ? Number(this.kind.value) : row[1]);
    this.chosen = points.y.length - 1;
    this.put(points);
  }

  moveTo(k, { x, y }) {
    const points = this.copy(), [a, b] = [x, y].map(rounded);
    if (this.flat) [points.X[2 * k], points.X[2 * k + 1]] = [a, b];
    else [points.X[k], points.y[k]] = [a, b];
    this.lab.change(points);
    this.refresh();
  }

  remove() {
    const { chosen } = this, points = this.copy();
    if (chosen === null || points.y.length <= FEWEST) return;
    points.X.splice(chosen * (this.flat ? 2 : 1), this.flat ? 2 : 1);
    points.y.splice(chosen, 1);
    this.chosen = null;
    this.put(points);
  }

  flip() {
    if (this.chosen === null || !this.flat) return;
    const points = this.copy();
    points.y[this.chosen] = 1 - points.y[this.chosen];
    this.put(points);
  }

  choose(k) {
    this.chosen = k;
    this.refresh();
  }

  // The ring round the chosen point, and which tools do something
  refresh() {
    const points = this.lab.points();
    if (!points || this.chosen >= points.y.length) this.chosen = null;
    const none = this.chosen === null;
    this.flipButton.disabled = this.removeButton.disabled = none;
    this.undoButton.disabled = !this.past.length;
    this.backButton.hidden = !this.lab.own();
    const { xaxis, yaxis } = this.canvas._fullLayout ?? {};
    this.ring ??= element("div", { className: "lab-ring" });
    this.ring.hidden = none || !xaxis;
    if (this.ring.hidden) return;
    const [x, y] = this.place(this.chosen, points);
    if (!this.ring.isConnected) this.canvas.append(this.ring);
    this.ring.style.left = `${xaxis._offset + xaxis.d2p(x)}px`;
    this.ring.style.top = `${yaxis._offset + yaxis.d2p(y)}px`;
  }
}
