// All that was found in one whole field: its picture with a box for each cell, a list of them, and what is known of one.

import {analyseField} from "./api.js";
import {CLASSES, factList, findings, howSure, technicalFacts} from "./cell_detail.js";
import {deviceNote, deviceOf, notOfDevice} from "./device.js";
import {announce, el, fill, save, svg} from "./dom.js";
import {className, errorText, keyName, number, percent, t} from "./messages.js";
import {settings} from "./settings.js";
import {viewer} from "./viewer.js";

const UNIDENTIFIED = "Unidentified";
const FILES = ["geojson", "csv", "png"];
/** Of the width of a field, the height of the words at its boxes. */
const WORDS_SHARE = 1 / 42;

export const foundText = ({cells}) => (cells.length ? t("whiteCells", {count: number(cells.length)}) : t("noWhiteCell"));

export const isDoubtful = (cell) => notOfDevice(cell.review.reasons).length > 0;

/** Put the detail of a field that is done in its place, and a word for who listens. */
export function showField(place, item) {
  fill(place, fieldDetail(item));
  announce(foundText(item.result));
}

function fieldDetail({result, url, name, file, asked}) {
  const found = [
    ...result.cells.map((cell) => entryOf(cell, cell.decision.class)), ...result.unidentified.map((cell) => entryOf(cell, UNIDENTIFIED)),
  ].map((entry, at) => ({...entry, number: at + 1}));
  const {next, previous} = settings.get("keys");
  const problem = el("p", {class: "problem", role: "alert"});
  const drawing = boxes(found, result.image);
  const picture = viewer({
    alt: t("imageOfField"), help: t("fieldHelp"), marks: [drawing], isBroken: () => { problem.textContent = t("fieldBroken"); },
  });
  picture.show(url, result);
  const one = el("div", {class: "findings", id: "found-cell"});
  const radios = found.map((entry, at) => el("input", {type: "radio", name: "found", id: `found-${at}`, onchange: () => choose(at)}));
  const list = el("fieldset", {class: "found"},
    el("legend", {}, t("foundCells")),
    el("p", {class: "note"}, t("foundNote", {next: keyName(next), previous: keyName(previous)})),
    found.map((entry, at) => el("div", {class: "check"}, radios[at], el("label", {for: `found-${at}`}, words(entry).join(" · ")))));
  let chosen = -1;

  function choose(at, isSeen = false) {
    const {cell, label} = found[at];
    const {box} = cell;
    chosen = at;
    for (const [index, mark] of [...drawing.children].entries()) mark.classList.toggle("chosen", index === at);
    radios[at].checked = true;
    // Into sight in the list alone: the page stays, so that the picture does.
    const {offsetTop, offsetHeight} = radios[at].parentElement;
    list.scrollTop = Math.min(offsetTop, Math.max(list.scrollTop, offsetTop + offsetHeight - list.clientHeight));
    if (!isSeen) picture.look((box.left + box.right) / 2 / result.image.width, (box.top + box.bottom) / 2 / result.image.height);
    fill(one, el("h4", {}, `${number(at + 1)} ${className(label)}`), el("p", {class: "decision"}, howSure(cell)), findings(cell));
  }

  drawing.addEventListener("click", ({target}) => {
    const mark = target.closest(".box");
    if (mark) choose([...drawing.children].indexOf(mark), true);
  });

  function byKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !found.length) return;
    if (event.key !== next && event.key !== previous) return;
    const at = event.key === next ? Math.min(chosen + 1, found.length - 1) : Math.max(chosen - 1, 0);
    choose(at);
    announce(words(found[at]).join(", "));
  }

  async function download(format, button) {
    problem.textContent = "";
    button.disabled = true;
    try {
      save(await analyseField(file, {...asked, format}), `field-${result.request_id.slice(0, 8)}.${format}`);
    } catch (error) {
      problem.textContent = errorText(error);
    }
    button.disabled = false;
  }

  return el("article", {class: "detail field-detail", "aria-labelledby": "detail-title", onkeydown: byKey},
    el("p", {class: "file-name"}, name),
    el("h3", {id: "detail-title"}, foundText(result)),
    deviceNote(deviceOf([result])),
    el("div", {class: "detail-parts"},
      el("div", {class: "picture"}, picture.node, found.length ? legend() : null,
        el("div", {class: "buttons no-print", role: "group", "aria-label": t("export")}, el("span", {}, t("export")),
          FILES.map((format) => el("button", {
            type: "button", data: {export: format}, onclick: ({currentTarget}) => download(format, currentTarget),
          }, t(`field_${format}`)))),
        problem,
        factList([...CLASSES.map((label) => [className(label), number(result.counts[label])]),
          result.unidentified.length ? [className(UNIDENTIFIED), number(result.unidentified.length)] : null])),
      found.length ? el("div", {}, list, one) : null),
    technicalFacts(result));
}

const entryOf = (cell, label) => ({cell, label, kind: label === UNIDENTIFIED ? "unidentified" : isDoubtful(cell) ? "doubtful" : "sure"});

/** What the list says of one: its number as in the files, class, confidence, and what is to be known of it. */
const words = ({cell, label, kind, number: own}) => [
  `${number(own)} ${className(label)}`, percent(cell.decision.confidence), kind === "doubtful" ? t("review") : "",
  cell.is_cut ? t("isCut") : "", cell.is_clump ? t("isClump") : "",
].filter(Boolean);

/** A drawing of boxes over a picture of this size: of each of `found` its `cell.box`, its `number`, `label` and `kind`. */
export function boxes(found, {width, height}) {
  const drawing = svg("svg", {class: "layer", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
  const size = width * WORDS_SHARE;
  drawing.style.setProperty("--words", String(size));
  for (const {cell: {box}, label, kind, number: own} of found) {
    const place = {x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top};
    drawing.append(svg("g", {class: `box ${kind}`},
      svg("rect", {class: "ground", ...place}), svg("rect", {class: "line", ...place}),
      svg("text", {x: box.left, y: Math.max(box.top - size / 4, size)}, `${number(own)} ${className(label)}`)));
  }
  return drawing;
}

/** What the lines of the boxes mean. */
export function legend() {
  return el("p", {class: "controls small"}, ["sure", "doubtful", "unidentified"].map((kind) => el("span", {class: "check"},
    svg("svg", {class: "line-sample", viewBox: "0 0 36 8", "aria-hidden": "true"},
      svg("g", {class: `box ${kind}`}, svg("path", {class: "ground", d: "M0 4h36"}), svg("path", {class: "line", d: "M0 4h36"}))),
    t(`box_${kind}`))));
}
