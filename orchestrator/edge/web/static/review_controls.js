// What a person decides with: the buttons of a cell, the keys, and the question before a signature.

import {el} from "./dom.js";
import {className, keyName, number, t} from "./messages.js";
import {settings} from "./settings.js";
import {LABELS} from "./specimen_tiles.js";

/** What was said of a cell, and the buttons to say it; `decide(label)` is told. */
export function decisionButtons(cell, isClosed, decide) {
  const keys = settings.get("keys");
  const own = cell.result?.class;
  const said = cell.decision && (cell.decision.label === own
    ? t("acceptedAs", {label: className(own)})
    : t("reclassified", {label: className(cell.decision.label), before: own ? className(own) : t("state_failed")}));
  if (isClosed) return said ? el("p", {class: "decide", id: "said"}, said) : null;
  return el("div", {class: "decide no-print", role: "group", "aria-label": t("decide")},
    said ? el("p", {id: "said"}, said) : null,
    el("span", {class: "buttons"},
      own ? el("button", {type: "button", id: "accept", class: "primary", onclick: () => decide(own)},
        `${t("accept")} (${keyName(keys.accept)})`) : null,
      LABELS.map((label, index) => el("button", {
        type: "button", id: `as-${label}`, "aria-pressed": String(cell.decision?.label === label),
        onclick: () => decide(label),
      }, el("kbd", {}, keyName(keys.labels[index])), " ", className(label)))));
}

/** What each key does, as chosen in the settings. */
export function keysHelp() {
  const keys = settings.get("keys");
  const one = (key, word) => el("span", {class: "key-help"}, el("kbd", {}, keyName(key)), " ", word);
  return el("p", {class: "note keys-help"},
    one(keys.next, t("next")), one(keys.previous, t("previous")), one(keys.accept, t("key_accept")),
    el("span", {class: "key-help"}, keys.labels.map((key) => [el("kbd", {}, keyName(key)), " "]), t("reclassify")),
    one(keys.undo, t("key_undo")), one(keys.sign, t("key_sign")),
    el("a", {href: "#/settings"}, t("changeKeys")));
}

/** Ask whether to sign, with what still waits; `sign()` is told of a yes. */
export function askToSign(unreviewed, sign) {
  const dialog = el("dialog", {"aria-labelledby": "sign-title"},
    el("h3", {id: "sign-title"}, t("signTitle")),
    el("p", {}, t("signQuestion")),
    unreviewed ? el("p", {class: "problem"}, t("signUnreviewed", {count: number(unreviewed)})) : null,
    el("form", {method: "dialog", class: "buttons"},
      el("button", {value: "no", id: "sign-no"}, t("no")),
      el("button", {value: "yes", id: "sign-yes", class: "primary"}, t("sign"))));
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (dialog.returnValue === "yes") sign();
  });
  document.body.append(dialog);
  dialog.showModal();
}
