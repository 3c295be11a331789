// A field with its boxes, zoomed and moved, in which a person draws the box of one more cell: by dragging, by its two
// corners, or with the arrow keys.

import {blobOf} from "./api.js";
import {el, svg} from "./dom.js";
import {t} from "./messages.js";
import {urlOf} from "./specimen_tiles.js";
import {zoomable} from "./viewer.js";

/** Shorter drags, in pixels of the screen, are clicks. */
const CLICK_PX = 4;
/** Of its side, by how much an arrow key moves a box, and plus and minus change it. */
const STEP = 0.1;

/**
 * `node`; `show(field, drawing, picture)` with the field's size and boxes, where `picture()` gives the address of its image;
 * `draw(side)` begins with a box of this side in the middle of what is seen, `end()` ends it, `focus()` lets keys move it; `box`
 * is what is drawn, or null.
 * `changed()` hears of each box, `added()` that Enter was pressed on it, and `broken(words)` that no picture can be shown.
 */
export function fieldFrame({changed, added, broken}) {
  const stage = el("div", {class: "stage"});
  const frame = el("div", {class: "frame", tabindex: "0", role: "group", "aria-label": t("fieldHelp")}, stage);
  const draft = svg("rect", {class: "draft"});
  const pad = svg("svg", {class: "layer pad", "aria-hidden": "true"}, draft);
  let size = {width: 1, height: 1}, box = null, isDrawing = false, corner = null, drag = null;

  function put(next) {
    box = next;
    const {left = 0, top = 0, right = 0, bottom = 0} = box ?? {};
    for (const [name, value] of Object.entries({x: left, y: top, width: right - left, height: bottom - top})) draft.setAttribute(name, value);
    changed();
  }

  function at({clientX, clientY}) {
    const {left, top, width, height} = pad.getBoundingClientRect();
    const within = (share, side) => Math.min(Math.max(share, 0), 1) * side;
    return {x: within((clientX - left) / width, size.width), y: within((clientY - top) / height, size.height)};
  }

  const between = (one, other) => ({
    left: Math.min(one.x, other.x), top: Math.min(one.y, other.y), right: Math.max(one.x, other.x), bottom: Math.max(one.y, other.y),
  });

  function squareAt({x, y}, side) {
    const half = Math.min(side, size.width, size.height) / 2;
    const middle = {x: Math.min(Math.max(x, half), size.width - half), y: Math.min(Math.max(y, half), size.height - half)};
    return between({x: middle.x - half, y: middle.y - half}, {x: middle.x + half, y: middle.y + half});
  }

  pad.addEventListener("pointerdown", (event) => {
    event.stopPropagation();  // else the field is moved
    drag = {from: at(event), x: event.clientX, y: event.clientY, hasMoved: false};
    pad.setPointerCapture(event.pointerId);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag.hasMoved ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) >= CLICK_PX;
    if (drag.hasMoved) put(between(drag.from, at(event)));
  });
  pad.addEventListener("pointerup", (event) => {
    event.stopPropagation();
    if (!drag) return;
    // Who cannot drag clicks one corner, then the other (WCAG 2.2, 2.5.7).
    if (!drag.hasMoved && corner) put(between(corner, at(event)));
    corner = drag.hasMoved || corner ? null : drag.from;
    drag = null;
  });
  pad.addEventListener("pointercancel", () => { drag = null; });

  frame.addEventListener("keydown", (event) => {
    if (!isDrawing || !box || event.ctrlKey || event.metaKey || event.altKey) return;
    const side = Math.max(box.right - box.left, box.bottom - box.top);
    const middle = {x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2};
    const moves = {ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]};
    if (moves[event.key]) {
      const [x, y] = moves[event.key];
      put(squareAt({x: middle.x + x * side, y: middle.y + y * side}, side));
    } else if (event.key === "+" || event.key === "=") put(squareAt(middle, side * (1 + STEP)));
    else if (event.key === "-") put(squareAt(middle, side / (1 + STEP)));
    else if (event.key === "Enter") added();
    else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  });
  const view = zoomable(frame, stage);

  let shown = null;
  async function show(field, drawing, picture) {
    const [height, width] = field.image_size;
    size = {width, height};
    frame.style.setProperty("--ratio", String(width / height));
    pad.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const image = shown?.field === field.id ? shown.image : el("img", {alt: t("imageOfField"), class: "layer", onerror: () => broken(t("fieldBroken"))});
    stage.replaceChildren(image, drawing, pad);
    if (shown?.field === field.id) return;
    shown = {field: field.id, image};
    view.reset();
    try {
      image.src = await picture();
    } catch {
      if (shown.image === image) broken(t("fieldNotKept"));
    }
  }

  function draw(side) {
    isDrawing = true;
    corner = null;
    frame.classList.add("drawing");
    const {left, top, width, height} = frame.getBoundingClientRect();
    put(squareAt(at({clientX: left + width / 2, clientY: top + height / 2}), side));
    focus();
  }

  function end() {
    isDrawing = false;
    frame.classList.remove("drawing");
    put(null);
  }

  const focus = () => frame.focus({preventScroll: true});

  const node = el("div", {}, frame, el("div", {class: "controls buttons"},
    el("button", {type: "button", "aria-label": t("zoomOut"), onclick: () => view.zoom(1 / 1.5)}, "−"),
    el("button", {type: "button", "aria-label": t("zoomIn"), onclick: () => view.zoom(1.5)}, "+"),
    el("button", {type: "button", onclick: () => view.reset()}, t("zoomReset"))));
  return {node, show, draw, end, focus, get box() { return box; }};
}

/** The address of what the service keeps at `path`, or of the page's own `file`. */
export const pictureOf = async (path, file) => (file ? urlOf(file) : URL.createObjectURL(await blobOf(path)));
