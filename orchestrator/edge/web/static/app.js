// The page: makes its parts, knows which view the address asks for, and watches the service.

import {el, fill} from "./dom.js";
import {AdaptView} from "./adapt_view.js";
import {isReady, model} from "./api.js";
import {CellsView} from "./cells_view.js";
import {DeviceAuditsView} from "./device_audits_view.js";
import {HistoryView} from "./history_view.js";
import {keep} from "./history.js";
import {filesOf} from "./intake.js";
import {errorText, language, t} from "./messages.js";
import {Queue} from "./queue.js";
import {knowScales} from "./scale.js";
import {analysisChoice, settings} from "./settings.js";
import {SettingsView} from "./settings_view.js";
import {SpecimenView} from "./specimen_view.js";
import {TabCells} from "./tab_cells.js";

const WATCH_MS = 10_000;
const VIEWS = ["cells", "specimen", "history", "adapt", "audits", "settings"];

let service = null;

const queue = new Queue(analysisChoice);
const tabCells = new TabCells(queue);
const main = document.getElementById("main");
const sections = Object.fromEntries(VIEWS.map((name) => [name, document.getElementById(`view-${name}`)]));
const views = {
  cells: new CellsView(sections.cells, queue, (files) => {
    views.specimen.order(files);
    location.hash = "#/specimen";
  }, (files) => {
    views.adapt.take(files);
    location.hash = "#/adapt";
  }),
  specimen: new SpecimenView(sections.specimen),
  history: new HistoryView(sections.history),
  adapt: new AdaptView(sections.adapt),
  audits: new DeviceAuditsView(sections.audits),
  settings: new SettingsView(sections.settings, () => service),
};

const kept = new Set();
queue.addEventListener("change", () => {
  if (!settings.get("keepHistory")) return;
  for (const item of queue.items) {
    if (item.state === "done" && !item.isField && !kept.has(item.id)) {
      kept.add(item.id);
      keep(item);
    }
  }
});

/** `#/specimen/42/7` is the view "specimen", "42", and its cell "7"; what follows a "?" is the view's own. */
function address() {
  const [, view, id, part] = location.hash.split("?")[0].split("/").map(decoded);
  return [VIEWS.includes(view) ? view : "cells", id || null, part || null];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function go({moved = true} = {}) {
  const [view, id, part] = address();
  // Only one is in the document, so that no id is there twice.
  if (!sections[view].isConnected || main.childElementCount > 1) {
    main.replaceChildren(sections[view]);
    scrollTo(0, 0);
  }
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view !== "specimen") views.specimen.leave();
  document.title = `${t(view)} · WBC Analyzer`;
  if (view === "cells") views.cells.select(id);
  else if (view === "settings") views.settings.render();
  else views[view].render(id, part);
  if (moved && !id) main.focus({preventScroll: true});
}

function dress() {
  const root = document.documentElement;
  root.lang = language();
  root.dataset.theme = settings.get("theme");
  root.dataset.palette = settings.get("palette");
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = t(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", t(node.dataset.label));
  showWhereDataGoes();
}

function showWhereDataGoes() {
  const remote = (service?.report_writers || []).filter((one) => one.leaves);
  const writer = settings.get("writer");
  const words = writer === "none" ? t("staysHereNoReports")
    : writer === "rule-based" || !remote.length ? t("staysHere")
      : t("leaves", {writers: remote.map((one) => `${one.name} (${one.sends_to})`).join(", ")});
  document.getElementById("where-data-goes").textContent = words;
}

async function watch() {
  const line = document.getElementById("service");
  try {
    await isReady();
    if (!service) {
      service = await model();
      knowScales(service);
      showWhereDataGoes();
      if (address()[0] === "settings") views.settings.render();
    }
    fill(line);
  } catch (error) {
    fill(line, el("span", {class: "problem"}, error.status === 503 ? t("notReady") : errorText(error)));
  }
  setTimeout(watch, WATCH_MS);
}

settings.addEventListener("change", ({detail}) => {
  dress();
  if (detail.includes("language") || detail.length > 1) {
    views.cells.render();
    go({moved: false});
  }
});
window.addEventListener("hashchange", () => go());
// What is dragged within the page brings nothing into it.
let isOwnDrag = false;
window.addEventListener("dragstart", () => { isOwnDrag = true; });
window.addEventListener("dragend", () => { isOwnDrag = false; });
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", async (event) => {
  event.preventDefault();
  const isOwn = isOwnDrag;
  isOwnDrag = false;  // no dragend is told of a tile that has gone
  if (isOwn || !event.dataTransfer.types.includes("Files")) return;
  const files = await filesOf(event.dataTransfer);
  if (files.length) takeAnywhere(files);
});
// The images are in this page alone.
window.addEventListener("beforeunload", (event) => {
  if (queue.items.length || views.specimen.holdsSomething() || views.adapt.holdsSomething()) event.preventDefault();
});
window.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files || [])];
  if (files.length) takeAnywhere(files);
});

function takeAnywhere(files) {
  const [view] = address();
  if (["specimen", "adapt"].includes(view) && views[view].taken) views[view].taken(files);
  else {
    if (view !== "cells") location.hash = "#/cells";
    views.cells.taken(files);
  }
}

dress();
views.cells.render();
go({moved: false});
tabCells.restore().then((items) => { for (const {id} of items) kept.add(id); });
watch();
