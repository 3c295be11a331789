// What a person decides with: the buttons of a cell, the keys, and the question before a signature.

import {askFirst} from "./ask_first.js";
import {canBeDecided} from "./decisions.js";
import {el, say} from "./dom.js";
import {folded, labelButton} from "./label_buttons.js";
import {moreLabels} from "./labels.js";
import {className, keyName, number, t} from "./messages.js";
import {settings} from "./settings.js";
import {LABELS} from "./specimen_gallery.js";

/**
 * What was said of a cell, and the buttons to say it; they stay the same for every cell, since one that is made anew
 * under a pressed finger hears no click. `decide(label)` is told; without one, the service's own is accepted.
 */
export function decisionControls(decide) {
  const keys = settings.get("keys");
  const saidLine = el("p", {id: "said"});
  const accept = el("button", {type: "button", id: "accept", class: "primary", onclick: () => decide()});
  const names = [...LABELS, ...moreLabels().map(({name}) => name)];
  const labels = names.map((label, index) => labelButton(label, keys.labels[index], {
    id: `as-${label.replaceAll(" ", "-")}`, onclick: () => decide(label)}));
  const buttons = el("span", {class: "buttons"}, accept, labels.slice(0, LABELS.length), folded(labels.slice(LABELS.length)));
  const node = el("div", {class: "decide no-print", role: "group", "aria-label": t("decide")}, buttons, saidLine);

  /** Of a closed specimen there is no button, and without a picture none can be pressed. */
  function show(cell, isClosed, hasPicture) {
    const own = cell.result?.class;
    const {label} = cell.decision ?? {};
    say(saidLine, !label ? ""
      : label === own ? t("acceptedAs", {label: className(own)})
        : t("reclassified", {label: className(label), before: own ? className(own) : t("state_failed")}));
    const canDecide = !isClosed && canBeDecided(cell);
    if (!canDecide) buttons.remove();
    else if (!buttons.isConnected) node.prepend(buttons);
    if (!own) accept.remove();
    else if (!accept.parentNode) buttons.prepend(accept);
    say(accept, `${t("accept")}: ${own ? className(own) : ""} (${keyName(keys.accept)})`);
    for (const button of [accept, ...labels]) button.disabled = !hasPicture;
    labels.forEach((button, index) => button.setAttribute("aria-pressed", String(label === names[index])));
    node.hidden = !canDecide && !label;
  }
  return {node, show};
}

/** What each key does, as chosen in the settings. */
export function keysHelp() {
  const keys = settings.get("keys");
  const one = (key, word) => el("span", {class: "key-help"}, el("kbd", {}, keyName(key)), " ", word);
  return el("p", {class: "note keys-help"},
    one(keys.next, t("next")), one(keys.previous, t("previous")), one(keys.accept, t("key_accept")),
    el("span", {class: "key-help"}, keys.labels.map((key) => [el("kbd", {}, keyName(key)), " "]), t("reclassify")),
    one(keys.undo, t("key_undo")), one(keys.sign, t("key_sign")), one(keys.heat, t("heat")), one(keys.gallery, t("gallery")), one(keys.comment, t("comment")),
    el("a", {href: "#/settings"}, t("changeKeys")));
}

/** Ask whether to sign, with what still waits, how many cells a person looked at and, in words, who else has `taken` it. */
export const askToSign = (unreviewed, seen, total, taken) => askFirst("sign", t("signTitle"), [
  el("p", {}, t("signQuestion")),
  el("p", {id: "sign-seen"}, t("signSeen", {seen: number(seen), total: number(total)})),
  unreviewed ? el("p", {class: "problem"}, t("signUnreviewed", {count: number(unreviewed)})) : null,
  taken ? el("p", {class: "problem", id: "sign-taken"}, taken) : null,
], t("sign"));
