// Elements, in a line each.

// element("input", {type: "range", name: "l2"}, child, …): properties, data and aria too
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "data") Object.assign(made.dataset, value);
    else if (name.startsWith("aria") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

export const button = (name, textContent, onclick, more = {}) =>
  element("button", { type: "button", name, textContent, onclick, ...more });

// What a page calls its own: a fold with a summary
export const fold = (summary, ...children) =>
  element("details", {}, element("summary", { textContent: summary }), ...children);

export const output = (name, more = {}) => element("output", { name, ...more });

// A table of texts; its first row and column are heads
export function table([head, ...rows]) {
  const th = (scope, cell) => element("th", { scope }, cell), td = (cell) => element("td", {}, cell);
  const body = rows.map(([first, ...rest]) => element("tr", {}, th("row", first), ...rest.map(td)));
  return element("table", { className: "table" },
    element("thead", {}, element("tr", {}, ...head.map((cell) => th("col", cell)))), element("tbody", {}, ...body));
}

// The moment after the screen has been drawn
export const painted = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));

// A number as a field shows it
export const text = (value) =>
  typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value);
