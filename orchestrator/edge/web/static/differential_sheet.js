// A differential as it is read and printed: counts with intervals, their chart, what limits them, who decided what.

import {el} from "./dom.js";
import {factList} from "./cell_detail.js";
import {notOfDevice} from "./device.js";
import {slugOf} from "./labels.js";
import {className, dateTime, nameOf, number, percent, statementText, t} from "./messages.js";

/** All of it, from the service's document. */
export function sheet(found) {
  return [countsTable(found), chart(found), statements(found), about(found), decisions(found)];
}

function interval(limits, digits = 1) {
  return limits ? `${number(limits.low, digits)}–${number(limits.high, digits)}` : "";
}

/** A label as a row is called: with what it is part of or told by, where that is not the whole of the white cells. */
function rowName({label, part_of: whole, denominator}) {
  if (whole) return t("partOf", {label: className(label)});
  return denominator === "per_100_white_cells" ? t("per100", {label: className(label)}) : className(label);
}

/** The rows, each with those that are part of it. */
const inOrder = (counts) => counts.filter((one) => !one.part_of)
  .flatMap((one) => [one, ...counts.filter((part) => part.part_of === one.label)]);

function countsTable(found) {
  const absolute = found.total_wbc !== null;
  const shift = found.label_shift;
  const head = [t("count"), t("percentage"), t("interval"), ...(absolute ? [t("absolute")] : []), t("reference")];
  const adjusted = shift && found.counts.filter(({label}) => label in shift).map(({label}) => `${className(label)} ${percent(shift[label])}`);
  const table = el("table", {id: "counts"},
    el("caption", {}, t("specimenTitle")),
    el("thead", {}, el("tr", {},
      el("th", {scope: "col"}, t("class")),
      head.map((name) => el("th", {scope: "col", class: "number"}, name)))),
    el("tbody", {}, inOrder(found.counts).map((one) => el("tr", {data: {label: one.label}},
      el("th", {scope: "row", class: one.part_of ? "part" : ""}, el("span", {class: `swatch ${slugOf(one.part_of ?? one.label)}`}), rowName(one),
        one.flag ? el("span", {class: "flag"}, ` ${one.flag === "low" ? "↓" : "↑"} ${t(one.flag)}`) : null),
      el("td", {class: "number"}, number(one.count)),
      el("td", {class: "number"}, one.percentage === null ? "–" : number(one.percentage, 1)),
      el("td", {class: "number"}, interval(one.interval)),
      absolute ? el("td", {class: "number"}, one.absolute === null ? "–" : number(one.absolute, 2)) : null,
      el("td", {class: "number"}, interval(one.reference))))));
  return [
    el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": t("specimenTitle")}, table),
    adjusted?.length ? el("p", {class: "note small"}, `${t("adjusted")}: ${adjusted.join(", ")}. ${t("adjustedNote")}`) : null,
  ];
}

/** Each share as a bar with its interval as a line; the table says the same to who does not see it. */
function chart(found) {
  if (found.counts.every((one) => one.percentage === null)) {
    return el("p", {class: "note"}, t("minCells", {count: number(found.min_cells)}));
  }
  const rows = inOrder(found.counts).filter((one) => one.denominator === "white_cells").map((one) => {
    const track = el("span", {class: "chart-track"});
    if (one.reference) track.append(span("chart-range", one.reference.low, one.reference.high));
    track.append(span(`chart-bar ${slugOf(one.part_of ?? one.label)}`, 0, one.percentage));
    if (one.interval) track.append(span("chart-whisker", one.interval.low, one.interval.high));
    return [el("span", {}, rowName(one)), track, el("span", {class: "number"}, number(one.percentage, 1))];
  });
  const axis = el("span", {class: "chart-axis"}, [0, 25, 50, 75, 100].map((tick) => el("span", {}, number(tick))));
  return el("figure", {class: "chart-figure", "aria-hidden": "true"},
    el("div", {class: "chart"}, rows, el("span"), axis, el("span", {class: "number"}, "%")),
    el("figcaption", {class: "note small"}, t("chartNote")));
}

function span(name, low, high) {
  const node = el("span", {class: name});
  node.style.insetInlineStart = `${low}%`;
  node.style.inlineSize = `${Math.max(0, high - low)}%`;
  return node;
}

function statements(found) {
  const limitations = notOfDevice(found.limitations);  // that of the microscope stands above
  if (!limitations.length) return null;
  return el("section", {class: "reasons", "aria-labelledby": "limits-title"},
    el("h3", {id: "limits-title"}, t("limitations")),
    el("ul", {}, limitations.map((one) => el("li", {}, statementText(one, found)))));
}

function about(found) {
  const ofModel = (model) => `${model.name} ${model.version} (${model.server})${model.sha256 ? `, SHA-256 ${model.sha256.slice(0, 16)}` : ""}`;
  return el("section", {class: "about", "aria-labelledby": "about-title"},
    el("h3", {id: "about-title"}, t("about")),
    factList([
      [t("orderedBy"), `${nameOf(found.created_by)}, ${dateTime(found.created_at)}`],
      found.total_wbc === null ? null : [t("totalWbcShort"), `${number(found.total_wbc, 2)} × 10⁹/L`],
      found.models.length ? [t("model"), found.models.map(ofModel).join("; ")] : null,
      [t("profile"), found.profile ?? t("profileDefault")],
      [t("serviceVersion"), found.service_version],
      found.reference_source ? [t("referenceSource"), nameOf(found.reference_source)] : null,
    ]));
}

/** On paper only: on the screen each cell says so itself. */
function decisions(found) {
  const decided = found.cells.filter((cell) => cell.decision);
  if (!decided.length) return null;
  return el("table", {class: "print-only decisions"},
    el("caption", {}, t("decisions")),
    el("thead", {}, el("tr", {}, ["cell", "modelSaid", "personSaid", "who"].map((key) => el("th", {scope: "col"}, t(key))))),
    el("tbody", {}, decided.map(({number: cell, result, decision}) => el("tr", {},
      el("th", {scope: "row"}, number(cell)),
      el("td", {}, result ? `${className(result.class)}, ${percent(result.confidence)}` : "–"),
      el("td", {}, className(decision.label)),
      el("td", {}, `${nameOf(decision.person)}, ${dateTime(decision.decided_at)}`)))));
}
