// What is done with a whole specimen: export, print, and who did what with it.

import {announce, el, fill, save} from "./dom.js";
import {apiKey, blobOf} from "./api.js";
import * as differentials from "./differentials.js";
import {actionName, className, dateTime, errorText, nameOf, number, t} from "./messages.js";

const FILES = {csv: "csv", cells: "cells.csv", json: "json", fhir: "fhir.json", hl7: "hl7", dicom: "dcm"};

/** The files of a differential, and a button that `toPrint()` answers: it promises that all is ready for paper. */
export function exports(id, toPrint) {
  const problem = el("p", {class: "problem", role: "alert"});
  const links = Object.entries(differentials.exports(id)).map(([kind, href]) => el("a", {
    href, download: `differential-${id.slice(0, 8)}.${FILES[kind]}`, class: "button", data: {export: kind},
    onclick: (event) => download(event, href, problem),
  }, kind === "cells" ? t("csvOfCells") : kind.toUpperCase()));
  return el("div", {class: "no-print"},
    el("div", {class: "buttons", role: "group", "aria-label": t("export")}, el("span", {}, t("export")), links,
      el("button", {type: "button", id: "print", onclick: ({target}) => printWhenReady(target, toPrint)}, t("print"))),
    problem);
}

async function printWhenReady(button, toPrint) {
  button.disabled = true;
  announce(t("printComes"));
  try {
    await toPrint();
  } finally {
    button.disabled = false;
  }
  if (button.isConnected) print(); // else something else is on the screen by now
}

async function download(event, path, problem) {
  problem.textContent = "";
  if (!apiKey()) return;  // the browser can ask for it by itself
  event.preventDefault();
  const link = event.currentTarget;
  try {
    save(await blobOf(path), link.download);
  } catch (error) {
    problem.textContent = errorText(error);
  }
}

/** The audit trail, asked for when it is opened; `numberOf(cellId)` is the place of a cell in the order. */
export function trail(id, numberOf) {
  const list = el("ol", {class: "trail"});
  return el("details", {
    class: "no-print", ontoggle: async ({target}) => {
      if (!target.open) return;
      try {
        const {entries} = await differentials.audit(id);
        fill(list, entries.map((entry) => el("li", {}, line(entry, numberOf))));
      } catch (error) {
        fill(list, el("li", {}, errorText(error)));
      }
    },
  }, el("summary", {}, t("trail")), list);
}

function line(entry, numberOf) {
  const cell = entry.cell_id && numberOf(entry.cell_id);
  return [
    dateTime(entry.at), nameOf(entry.actor), actionName(entry.action),
    cell ? t("cellNumber", {number: number(cell)}) : "", className(entry.details.label ?? entry.details.class ?? ""),
    nameOf(entry.details.assignee ?? ""),
  ].filter(Boolean).join(" · ");
}
