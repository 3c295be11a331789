// What goes wrong in the page itself is said in words: nobody should sit before a page that is blank, or does nothing.

import {el, fill} from "./dom.js";
import {t} from "./messages.js";

/** Say it, and offer to load the page again; what the service knows stays. */
export function tell(error) {
  if (error?.name === "AbortError") return;
  fill(document.getElementById("trouble"),
    t("pageFailed", {what: error?.message || String(error)}), " ",
    el("button", {type: "button", onclick: () => location.reload()}, t("loadAgain")));
}

// A script that cannot be had is told to its element alone, which only the first phase of the event passes.
window.addEventListener("error", (event) => {
  if (event instanceof ErrorEvent) tell(event.error ?? event.message);
  else if (event.target instanceof HTMLScriptElement) tell(event.target.src);
}, true);
window.addEventListener("unhandledrejection", (event) => tell(event.reason));
