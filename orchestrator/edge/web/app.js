// The page: makes its parts, knows which view the address asks for, and watches the service.

import {el, fill} from "./dom.js";
import {isReady, model} from "./api.js";
import {CellsView} from "./cells_view.js";
import {HistoryView} from "./history_view.js";
import {keep} from "./history.js";
import {errorText, language, t} from "./messages.js";
import {Queue} from "./queue.js";
import {settings} from "./settings.js";
import {SettingsView} from "./settings_view.js";
import {SpecimenView} from "./specimen_view.js";

const WATCH_MS = 10_000;
const VIEWS = ["cells", "specimen", "history", "settings"];

let service = null;

const queue = new Queue(() => ({
  language: settings.get("language"), profile: settings.get("profile"), tta: settings.get("tta"),
}));
const place = (name) => document.getElementById(`view-${name}`);
const views = {
  cells: new CellsView(place("cells"), queue),
  specimen: new SpecimenView(place("specimen")),
  history: new HistoryView(place("history")),
  settings: new SettingsView(place("settings"), () => service),
};

const kept = new Set();
queue.addEventListener("change", () => {
  if (!settings.get("keepHistory")) return;
  for (const item of queue.items) {
    if (item.state === "done" && !kept.has(item.id)) {
      kept.add(item.id);
      keep(item);
    }
  }
});

/** `#/specimen/42` is the view "specimen" and "42". */
function address() {
  const [, view, ...rest] = location.hash.split("/");
  return [VIEWS.includes(view) ? view : "cells", rest.length ? decodeURIComponent(rest.join("/")) : null];
}

function go({moved = true} = {}) {
  const [view, id] = address();
  for (const name of VIEWS) place(name).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${t(view)} · WBC Analyzer`;
  if (view === "cells") views.cells.select(id);
  else if (view === "settings") views.settings.render();
  else views[view].render(id);
  if (moved && !id) document.getElementById("main").focus({preventScroll: true});
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
  const remote = (service?.report_writers || []).filter((one) => one.leaves).map((one) => one.name);
  document.getElementById("where-data-goes").textContent = remote.length && settings.get("report")
    ? t("leaves", {writers: remote.join(", ")}) : t("staysHere");
}

async function watch() {
  const line = document.getElementById("service");
  try {
    await isReady();
    if (!service) {
      service = await model();
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
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => {
  event.preventDefault();
  takeAnywhere([...event.dataTransfer.files]);
});
window.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files || [])];
  if (files.length) takeAnywhere(files);
});

function takeAnywhere(files) {
  const [view] = address();
  if (view === "specimen") views.specimen.taken?.(files);
  else {
    if (view !== "cells") location.hash = "#/cells";
    views.cells.taken(files);
  }
}

dress();
views.cells.render();
go({moved: false});
watch();
