// One image with its heat and outlines over it, in the image's own proportions; zoom and pan.

import {el, say, svg} from "./dom.js";
import {contour, groundsOf, levelsOf, paint, paintLegend} from "./heat.js";
import {scaleBar, scaleOf, sizesOf} from "./scale.js";
import {settings} from "./settings.js";
import {number, percent, t} from "./messages.js";

const MAX_ZOOM = 8;
const MAPS = ["green", "viridis", "inferno", "cividis", "jet"];
/** Where the heat is: over the image, beside it, or over it while its key is held. */
const WAYS = ["over", "beside", "held"];
const CONTOURS = [0.5, 0.8];
/** By frames, what draws their heat anew: the key of heat is for the one in the document. */
const drawings = new WeakMap();
let isHeld = false;

for (const kind of ["keydown", "keyup", "blur"]) {
  window.addEventListener(kind, (event) => {
    if (kind !== "blur" && (event.key !== settings.get("keys").heat || event.target.closest?.("input, select, textarea, dialog"))) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const held = kind === "keydown";
    if (held === isHeld) return;
    isHeld = held;
    drawings.get(document.getElementById("frame"))?.();
  });
}

/**
 * A viewer, complete with its controls: `node`, and `show(url, result, heatNote)` for one image after another, at the
 * same zoom; without a heatmap only the image, and the message `heatNote`; without a `url` nothing. `isThere()` tells
 * that the image shown can be seen, `isBroken()` that this browser cannot show it; of one that another has replaced
 * before it came nothing is told. `alt` and `help` name what is shown; `marks` are drawings that lie over it.
 * `look(x, y)` brings a place of the image, in shares of its sides, to the middle.
 */
export function viewer({
  isThere = () => {}, isBroken = () => {}, alt = t("imageOfCell"), help = t("viewerHelp"), marks = [],
} = {}) {
  let image = null, lines = null, rings = null, levels = null, grounds = [], shown = {};
  const canvas = el("canvas", {class: "layer", "aria-hidden": "true"});
  const stage = el("div", {class: "stage"});
  const frame = el("div", {
    class: "frame", id: "frame", tabindex: "0", role: "group", "aria-label": help,
  }, stage);
  const bar = el("div", {class: "scale-bar", id: "scale-bar", hidden: true});
  const sizes = el("p", {class: "note", id: "sizes"});
  frame.append(bar);
  const legend = el("canvas", {class: "legend-strip", role: "img", "aria-label": t("legendLabel")});

  function showHeat() {
    const way = settings.get("heat");
    const isBeside = way === "beside";
    const name = settings.get("colourMap");
    const opacity = settings.get("opacity") / 100;
    lines?.classList.toggle("hidden", !settings.get("outlines"));
    rings?.classList.toggle("hidden", !settings.get("contours"));
    paintLegend(legend, name, isBeside ? [] : grounds, opacity);
    // The key shows what is not there, and takes away what is.
    canvas.hidden = !levels || (isBeside ? false : (way === "held") !== isHeld);
    canvas.style.opacity = String(isBeside ? 1 : opacity);
    frame.classList.toggle("beside", isBeside && Boolean(levels));
    if (levels) paint(canvas, levels, name, !isBeside);
  }
  const view = zoomable(frame, stage, showScale);

  function showScale(zoom) {
    const found = shown.result && scaleBar(scaleOf(shown.result), shown.result.image.width, zoom);
    bar.hidden = !found;
    if (!found) return;
    bar.style.setProperty("--share", String(found.share * zoom));
    say(bar, `${number(found.um)} µm`);
  }

  /** In micrometres, or else in pixels; of a field, which is not outlined, nothing. */
  function sizesInWords(result) {
    const found = sizesOf(result);
    if (!found) return "";
    const scale = scaleOf(result);
    const length = (px) => (scale ? `${number(px * scale, 1)} µm` : `${number(px)} px`);
    return t("sizes", {cell: length(found.cell), nucleus: length(found.nucleus), share: percent(found.share, 0)});
  }

  const opacity = el("input", {
    type: "range", id: "opacity", min: "0", max: "100", value: settings.get("opacity"),
    oninput: (event) => { settings.change({opacity: Number(event.target.value)}); showHeat(); },
  });
  const map = el("select", {
    id: "colour-map",
    onchange: (event) => { settings.change({colourMap: event.target.value}); showHeat(); },
  }, MAPS.map((name) => el("option", {value: name, selected: name === settings.get("colourMap")}, name)));
  const outline = el("input", {
    type: "checkbox", id: "outlines", checked: settings.get("outlines"),
    onchange: (event) => { settings.change({outlines: event.target.checked}); showHeat(); },
  });
  const contours = el("input", {
    type: "checkbox", id: "contours", checked: settings.get("contours"),
    onchange: (event) => { settings.change({contours: event.target.checked}); showHeat(); },
  });
  const where = el("select", {
    id: "heat-where",
    onchange: (event) => { settings.change({heat: event.target.value}); showHeat(); },
  }, WAYS.map((way) => el("option", {value: way, selected: way === settings.get("heat")}, t(`heat_${way}`, {key: settings.get("keys").heat}))));
  const zoomButtons = el("span", {class: "buttons"},
    el("button", {type: "button", "aria-label": t("zoomOut"), onclick: () => view.zoom(1 / 1.5)}, "−"),
    el("button", {type: "button", "aria-label": t("zoomIn"), onclick: () => view.zoom(1.5)}, "+"),
    el("button", {type: "button", onclick: () => view.reset()}, t("zoomReset")));
  const note = el("p", {class: "note", role: "status"});
  const heatControls = el("div", {},
    el("div", {class: "legend"}, el("span", {}, t("cold")), legend, el("span", {}, t("hot"))),
    el("div", {class: "controls"},
      el("span", {class: "control"}, el("label", {for: "heat-where"}, t("heat")), where),
      el("span", {class: "control"}, el("label", {for: "opacity"}, t("opacity")), opacity),
      el("span", {class: "control"}, el("label", {for: "colour-map"}, t("colourMap")), map),
      el("span", {class: "check"}, contours, el("label", {for: "contours"}, t("contours"))),
      el("span", {class: "check"}, outline, el("label", {for: "outlines"}, t("outlines")))));
  const node = el("figure", {class: "viewer"},
    frame, el("figcaption", {}, sizes, heatControls, note, el("div", {class: "controls"}, zoomButtons)));

  function show(url, result = null, heatNote = null) {
    node.hidden = !url;
    if (!url) {
      image = null;
      shown = {};
      stage.replaceChildren();
      return;
    }
    if (url !== shown.url) {
      // Anew: the picture of another cell must not stand here until this one has come.
      const loaded = ({target}) => {
        if (target !== image) return;
        grounds = groundsOf(image);
        showHeat();
        isThere();
      };
      image = el("img", {src: url, alt, class: "layer", onload: loaded,
        onerror: ({target}) => { if (target === image) isBroken(); }});
    }
    if (url !== shown.url || result !== shown.result) {
      const {height, width} = result.image;
      frame.style.setProperty("--ratio", String(width / height));
      lines = outlines(result.outlines, height, width);
      rings = svg("svg", {class: "layer", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
      stage.replaceChildren(image, canvas, rings, lines, ...marks);
      levels = null;
      if (result.heatmap) {
        levelsOf(result.heatmap.data).then((found) => {
          if (shown.result !== result) return;
          levels = found;
          for (const share of CONTOURS) {
            const path = {d: contour(found, 255 * share)};
            rings.append(svg("path", {class: "contour ground", ...path}), svg("path", {class: `contour at-${100 * share}`, ...path}));
          }
          rings.setAttribute("viewBox", `0 0 ${found.width} ${found.height}`);
          showHeat();
        });
      }
      showHeat();
    }
    shown = {url, result};
    view.reshow();
    sizes.hidden = !("outlines" in result);
    say(sizes, sizesInWords(result));
    heatControls.hidden = !result.heatmap;
    note.hidden = Boolean(result.heatmap) || !heatNote;
    note.textContent = heatNote ? t(heatNote) : "";
  }
  drawings.set(frame, showHeat);
  return {node, show, look: view.look};
}

function outlines(found, height, width) {
  const drawing = svg("svg", {class: "layer", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
  for (const [kind, polygons] of Object.entries(found || {})) {
    for (const polygon of polygons) {
      const points = polygon.map(([row, column]) => `${column},${row}`).join(" ");
      drawing.append(svg("polygon", {points, class: `outline ${kind}`}));
    }
  }
  return drawing;
}

/**
 * Let a `stage` be zoomed and moved in its `frame` by wheel, pointer and keys: `zoom(factor)`, `reset()`, `look(x, y)`.
 * `zoomed(scale)` is told how large it is shown, also by `reshow()`.
 */
export function zoomable(frame, stage, zoomed = () => {}) {
  let scale = 1, left = 0, top = 0, drag = null;

  function show() {
    const {clientWidth: width, clientHeight: height} = frame;
    left = Math.min(0, Math.max(left, width * (1 - scale)));
    top = Math.min(0, Math.max(top, height * (1 - scale)));
    stage.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    stage.style.setProperty("--zoom", String(scale));
    zoomed(scale);
  }

  function zoom(factor, x = frame.clientWidth / 2, y = frame.clientHeight / 2) {
    const next = Math.min(MAX_ZOOM, Math.max(1, scale * factor));
    left = x - ((x - left) * next) / scale;
    top = y - ((y - top) * next) / scale;
    scale = next;
    show();
  }

  /** Who cannot drag clicks: that place goes to the middle (WCAG 2.2, 2.5.7). */
  function centre(event) {
    const box = frame.getBoundingClientRect();
    left += frame.clientWidth / 2 - (event.clientX - box.left);
    top += frame.clientHeight / 2 - (event.clientY - box.top);
    show();
  }

  function look(x, y) {
    left = frame.clientWidth * (0.5 - x * scale);
    top = frame.clientHeight * (0.5 - y * scale);
    show();
  }

  function reset() {
    scale = 1;
    left = top = 0;
    show();
  }

  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && scale === 1 && event.deltaY > 0) return;  // the page scrolls
    event.preventDefault();
    const box = frame.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left, event.clientY - box.top);
  }, {passive: false});
  frame.addEventListener("pointerdown", (event) => {
    if (scale === 1) return;
    drag = {x: event.clientX - left, y: event.clientY - top, from: [event.clientX, event.clientY], hasMoved: false};
  });
  frame.addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (!drag.hasMoved) {
      if (Math.hypot(event.clientX - drag.from[0], event.clientY - drag.from[1]) < 4) return;
      drag.hasMoved = true;
      frame.setPointerCapture(event.pointerId);  // not before: a click is of what lies under it
    }
    left = event.clientX - drag.x;
    top = event.clientY - drag.y;
    show();
  });
  for (const end of ["pointercancel", "pointerleave"]) frame.addEventListener(end, () => { drag = null; });
  frame.addEventListener("pointerup", (event) => {
    if (drag && !drag.hasMoved && !event.target.closest(".box")) centre(event);
    drag = null;
  });
  frame.addEventListener("keydown", (event) => {
    const step = 40;
    const moves = {ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step]};
    if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "Escape" && scale > 1) reset();
    else if (scale > 1 && moves[event.key]) {
      left += moves[event.key][0];
      top += moves[event.key][1];
      show();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return {zoom, reset, look, reshow: () => zoomed(scale)};
}
