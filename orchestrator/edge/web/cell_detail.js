// All that is known of one cell: picture, class, reasons, figures, report.

import {announce, el, fill} from "./dom.js";
import {analyseStreaming} from "./api.js";
import {className, confidenceInWords, number, percent, reasonText, stageName, t} from "./messages.js";
import {settings} from "./settings.js";
import {viewer} from "./viewer.js";

export const CLASSES = ["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"];

/**
 * The detail of a result. `url` is the image's (null where it is not at hand), `file` the image itself, which
 * is asked about once more for the report; `extra` stands under the decision.
 */
export function cellDetail({result, url, file, name}, extra = null) {
  const {decision, review} = result;
  return el("article", {class: "detail", "aria-labelledby": "detail-title"},
    el("h3", {id: "detail-title"}, className(decision.class)),
    name ? el("p", {class: "file-name"}, name) : null,
    el("p", {class: "decision"},
      el("strong", {}, percent(decision.confidence)), " ", confidenceInWords(decision.confidence)),
    extra,
    review.needed ? reasons(review.reasons) : el("p", {class: "note"}, t("noReview")),
    url ? viewer(url, result) : el("p", {class: "note"}, t("imageNotKept")),
    probabilities(result.probabilities, decision.class),
    report(result, file),
    facts(result));
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
      el("th", {scope: "col"}, t("class")), el("th", {scope: "col"}, t("probability")),
      el("td", {"aria-hidden": "true"}))),
    el("tbody", {}, rows));
}

function report(result, file) {
  const text = el("p", {class: "report-text"});
  const by = el("p", {class: "note"});
  const section = el("section", {class: "report", "aria-labelledby": "report-title", "aria-busy": "true"},
    el("h4", {id: "report-title"}, t("report")), text, by);

  function show(written) {
    text.textContent = written.text;
    text.lang = written.language;
    const who = written.model ? `${written.writer} (${written.model})` : written.writer;
    by.textContent = t("writtenBy", {writer: who});
    section.setAttribute("aria-busy", "false");
  }

  if (result.report) show(result.report);
  else if (!file || !settings.get("report")) {
    text.textContent = t("noReport");
    section.setAttribute("aria-busy", "false");
  } else {
    text.textContent = t("reportComes");
    const choice = {language: settings.get("language"), profile: settings.get("profile"), tta: settings.get("tta")};
    analyseStreaming(file, choice, (name, data) => {
      if (name === "report" && data.text) show(result.report = data);
    }).then(() => {
      if (!result.report) throw new Error("no report");
      if (section.isConnected) announce(t("reportIsThere"));
    }).catch(() => {
      text.textContent = t("reportFailed");
      section.setAttribute("aria-busy", "false");
    });
  }
  return section;
}

function facts(result) {
  const {focus, model, timings_ms: timings} = result;
  const rows = [];
  if (focus) {
    rows.push([t("focusRatio"), percent(focus.ratio)]);
    if (focus.verdict) rows.push([t("focusVerdict"), t(`focus_${focus.verdict}`)]);
    rows.push([t("focusShares"), ["nucleus", "cytoplasm", "background"]
      .map((part) => `${t(part)} ${percent(focus.shares[part])}`).join(", ")]);
  }
  rows.push(
    [t("views_"), number(result.views)],
    [t("model"), `${model.name} ${model.version} (${model.server})`],
    [t("modelHash"), model.sha256 ? el("code", {}, model.sha256.slice(0, 16)) : t("unknown")],
    [t("profile"), result.profile],
    [t("imageSize"), `${result.image.width} × ${result.image.height} px`],
    [t("requestId"), el("code", {}, result.request_id)],
  );
  return el("details", {class: "facts"},
    el("summary", {}, t("facts")),
    el("dl", {}, rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    timings && Object.keys(timings).length ? el("table", {class: "timings"},
      el("caption", {}, t("timings")),
      el("thead", {}, el("tr", {}, el("th", {scope: "col"}, t("step")), el("th", {scope: "col"}, "ms"))),
      el("tbody", {}, Object.entries(timings).map(([step, ms]) => el("tr", {},
        el("th", {scope: "row"}, stageName(step)), el("td", {class: "number"}, number(ms, 1)))))) : null);
}

/** Put a detail in its place, and a word for who listens. */
export function showDetail(place, item, extra = null) {
  fill(place, cellDetail(item, extra));
  const {decision} = item.result;
  announce(`${className(decision.class)}, ${percent(decision.confidence)}`);
}
