// The buttons by which a person says what cells are.

import {el} from "./dom.js";
import {keyOf} from "./labels.js";
import {className, keyName, t} from "./messages.js";

/** A button of a label with its key: that which was chosen in the settings, or the label's own. */
export function labelButton(label, chosenKey, attributes) {
  const key = chosenKey ?? keyOf(label);
  return el("button", {type: "button", ...attributes}, key ? [el("kbd", {}, keyName(key)), " "] : null, className(label));
}

/** Those of labels that the model does not know, folded. */
export const folded = (buttons) => (buttons.length ? el("details", {class: "more-labels"},
  el("summary", {}, t("moreLabels")), el("span", {class: "buttons"}, buttons)) : null);
