// All that is known of one cell: picture, class, reasons, figures, report.

import {announce, el, fill} from "./dom.js";
import {deviceNote, deviceOf, notOfDevice} from "./device.js";
import {className, confidenceInWords, nameOf, number, percent, reasonText, stageName, t} from "./messages.js";
import {viewer} from "./viewer.js";

export const CLASSES = ["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"];

/**
 * The detail of a result. `url` is the image's, null where it is not at hand; `report` a promise of one, null
 * where none is asked for; `heatNote` is the key of what to say where there is no heatmap; `device` is what is known of
 * the microscope, by this result alone or by more of them.
 */
export function cellDetail({result, url, name, report = null, heatNote = "noHeatmap", isSmall = false, device = deviceOf([result])}) {
  const picture = url ? viewer() : null;
  picture?.show(url, result, heatNote);
  return el("article", {class: "detail", "aria-labelledby": "detail-title"},
    name ? el("p", {class: "file-name"}, name) : null,
    el("div", {class: "detail-head"},
      el("h3", {id: "detail-title"}, className(result.decision.class)),
      el("p", {class: "decision"}, howSure(result))),
    el("div", {class: "detail-parts"},
      el("div", {class: isSmall ? "picture small" : "picture"}, picture?.node ?? el("p", {class: "note"}, t("imageNotKept"))),
      el("div", {class: "findings"}, deviceNote(device), findings(result))),
    reportSection(report),
    technicalFacts(result));
}

/** The confidence, as a number and in words. */
export const howSure = ({decision}) => [el("strong", {}, percent(decision.confidence)), " ", confidenceInWords(decision.confidence)];

/** Why a person should look, how likely each class is, and where the heat lies; nothing of the microscope. */
export function findings(result) {
  const ownReasons = notOfDevice(result.review.reasons);
  return [
    ownReasons.length ? reasons(ownReasons) : el("p", {class: "note"}, t(result.review.needed ? "noOtherReason" : "noReview")),
    probabilities(result.probabilities, result.decision.class),
    result.focus ? focusFacts(result.focus) : null,
  ];
}

function reasons(found) {
  return el("section", {class: "reasons", "aria-labelledby": "reasons-title"},
    el("h4", {id: "reasons-title"}, t("reviewNeeded")),
    el("ul", {}, found.map((reason) => el("li", {}, reasonText(reason)))));
}

function probabilities(found, decided) {
  const rows = CLASSES.map((name) => {
    const bar = el("span", {class: `bar-fill ${name.toLowerCase()}`});
    bar.style.inlineSize = `${100 * found[name]}%`;
    return el("tr", {class: name === decided ? "decided" : ""},
      el("th", {scope: "row"}, className(name)),
      el("td", {class: "number"}, percent(found[name])),
      el("td", {class: "bar-cell", "aria-hidden": "true"}, el("span", {class: "bar-track"}, bar)));
  });
  return el("table", {class: "bars"},
    el("caption", {}, t("probabilities")),
    el("thead", {}, el("tr", {},
      el("th", {scope: "col"}, t("class")), el("th", {scope: "col", class: "number"}, t("probability")),
      el("td", {"aria-hidden": "true"}))),
    el("tbody", {}, rows));
}

function focusFacts(focus) {
  const verdict = focus.verdict ? `, ${t(`focus_${focus.verdict}`)}` : "";
  return factList([
    [t("focusRatio"), `ρ = ${percent(focus.ratio)}${verdict}`],
    focus.shares ? [t("focusShares"), ["nucleus", "cytoplasm", "background"]
      .map((part) => `${t(part)} ${percent(focus.shares[part])}`).join(", ")] : null,
  ]);
}

/** The report, as soon as it is there; `report` is its promise, or null. */
export function reportSection(report) {
  const text = el("p", {class: "report-text"}, report ? t("reportComes") : t("noReport"));
  const by = el("p", {class: "note"});
  const section = el("section", {class: "report", "aria-labelledby": "report-title", "aria-busy": String(report !== null)},
    el("h4", {id: "report-title"}, t("report")), text, by);
  report?.then((written) => {
    text.textContent = written.text;
    text.lang = written.language;
    by.textContent = t("writtenBy", {writer: written.model ? `${written.writer} (${written.model})` : nameOf(written.writer)});
    if (section.isConnected) announce(t("reportIsThere"));
  }).catch(() => { text.textContent = t("reportFailed"); })
    .finally(() => section.setAttribute("aria-busy", "false"));
  return section;
}

/** Of a cell, or of a field: of that no views are told, and no model where nothing was found. */
export function technicalFacts(result) {
  const {model, timings_ms: timings} = result;
  return el("details", {class: "more"},
    el("summary", {}, t("facts")),
    factList([
      model ? [t("model"), `${model.name} ${model.version} (${model.server})`] : null,
      model ? [t("modelHash"), model.sha256 ? el("code", {}, model.sha256.slice(0, 16)) : t("unknown")] : null,
      [t("profile"), result.profile],
      result.views ? [t("views_"), number(result.views)] : null,
      [t("imageSize"), `${result.image.width} × ${result.image.height} px`],
      result.request_id ? [t("requestId"), el("code", {}, result.request_id)] : null,
    ]),
    timings && Object.keys(timings).length ? el("table", {class: "timings"},
      el("caption", {}, t("timings")),
      el("thead", {}, el("tr", {}, el("th", {scope: "col"}, t("step")), el("th", {scope: "col", class: "number"}, "ms"))),
      el("tbody", {}, Object.entries(timings).map(([step, ms]) => el("tr", {},
        el("th", {scope: "row"}, stageName(step)), el("td", {class: "number"}, number(ms, 1)))))) : null);
}

/** Names and values; what is null is left out. */
export function factList(rows) {
  return el("dl", {class: "facts"}, rows.filter(Boolean).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** Put a detail in its place, and a word for who listens. */
export function showDetail(place, item) {
  fill(place, cellDetail(item));
  const {decision} = item.result;
  announce(`${className(decision.class)}, ${percent(decision.confidence)}`);
}
