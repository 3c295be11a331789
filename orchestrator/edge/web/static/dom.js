// Elements in one line each. Text is always set as text, never as markup.

/**
 * Make an element: `el("button", {class: "quiet", onclick: f, "aria-pressed": true}, "Text", child)`.
 * Attributes that are null, undefined or false are left out; `on…` are listeners; `data` is an object.
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  set(node, attributes);
  node.append(...present(children));
  return node;
}

/** As `el`, for SVG. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...present(children));
  return node;
}

/** Replace what is in `node`; the focus stays where it was if an element with the same id is there again. */
export function fill(node, ...children) {
  const focused = node.contains(document.activeElement) ? document.activeElement.id : "";
  node.replaceChildren(...present(children));
  if (focused) document.getElementById(focused)?.focus({preventScroll: true});
  return node;
}

const madeOf = new WeakMap();

/** Fill `node` with what `make(of)` gives, unless it was made `of` the same already: what is under a hand stays there. */
export function refill(node, of, make) {
  const key = JSON.stringify(of);
  if (madeOf.get(node) === key) return;
  madeOf.set(node, key);
  fill(node, make(of));
}

/** Set a text only where it is another one. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else node.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Have the browser save what a Blob holds. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  el("a", {href: address, download: name}).click();
  URL.revokeObjectURL(address);
}

/** Say something to a person who listens to the page. */
export function announce(text) {
  const node = document.getElementById("announcer");
  node.textContent = "";
  requestAnimationFrame(() => { node.textContent = text; });
}
