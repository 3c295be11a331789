// A question before what cannot be taken back.

import {el} from "./dom.js";
import {t} from "./messages.js";

/** Ask; whether the answer is `yes`, a text. The buttons are `#ID-yes` and `#ID-no`, which has the focus. */
export function askFirst(id, title, words, yes) {
  const {promise, resolve} = Promise.withResolvers();
  const dialog = el("dialog", {"aria-labelledby": `${id}-title`},
    el("h3", {id: `${id}-title`}, title), words,
    el("form", {method: "dialog", class: "buttons"},
      el("button", {value: "no", id: `${id}-no`}, t("no")),
      el("button", {value: "yes", id: `${id}-yes`, class: "primary"}, yes)));
  dialog.addEventListener("close", () => {
    dialog.remove();
    resolve(dialog.returnValue === "yes");
  });
  document.body.append(dialog);
  dialog.showModal();
  return promise;
}
