// What a person must see before a head is switched on.

import {el} from "./dom.js";
import {CLASSES} from "./cell_detail.js";
import {className, number, percent, t} from "./messages.js";

export function trustView({decision, why, trust}) {
  const verdict = el("p", {class: decision === "recommended" ? "verdict" : "note verdict"}, el("strong", {}, t(`decision_${decision}`)), " ", el("span", {lang: "en"}, why));
  if (!trust) return verdict;
  const more = CLASSES.map((name, index) => [name, trust.ten_more[index]]).filter(([, gain]) => gain > 0)
    .map(([name, gain]) => `${className(name)} +${percent(gain, 1)}`);
  return [verdict,
    comparison(t("onLeftOut"), trust.left_out),
    trust.hold_out ? comparison(t("onHoldOut"), trust.hold_out) : el("p", {class: "note"}, t("noHoldOut")),
    trust.kept.length ? el("p", {class: "note"}, t("keptClasses", {classes: trust.kept.map(className).join(", ")})) : null,
    el("table", {class: "curve"}, el("caption", {}, t("curveTitle")),
      el("thead", {}, el("tr", {}, [t("cellsOfEach"), t("balancedAccuracy")].map((head) => el("th", {scope: "col"}, head)))),
      el("tbody", {}, trust.curve.map((point) => el("tr", {}, el("th", {scope: "row"}, number(point.cells)), el("td", {}, percent(point.balanced_accuracy, 1)))))),
    more.length ? el("p", {class: "note"}, t("tenMore", {classes: more.join(", ")})) : null];
}

function comparison(title, found) {
  const row = (name, before, after) => el("tr", {}, el("th", {scope: "row"}, name), el("td", {}, percent(before, 1)), el("td", {}, percent(after, 1)));
  const [low, high] = found.after_interval;
  return el("table", {class: "comparison"},
    el("caption", {}, `${title} (${number(found.cells)}; ${t("interval95", {low: percent(low, 1), high: percent(high, 1)})})`),
    el("thead", {}, el("tr", {}, ["", t("before"), t("withHead")].map((head) => (head ? el("th", {scope: "col"}, head) : el("td"))))),
    el("tbody", {}, row(t("balancedAccuracy"), found.before, found.after),
      found.recalls.map((one) => row(className(one.class), one.before, one.after))));
}
