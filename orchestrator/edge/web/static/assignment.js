// Who has taken a specimen, and the buttons to take it, hand it over and give it back.

import {askFirst} from "./ask_first.js";
import * as differentials from "./differentials.js";
import {announce, el} from "./dom.js";
import {errorText, nameOf, t} from "./messages.js";

const CHANGED_MEANWHILE = 412;

/**
 * Of one specimen, of which `assignee` was seen, for a person whom the service knows as `me`. `changed(problem)` hears
 * when the service has answered: what it refused stands in the problem, in words.
 */
export function assignment({id, name, assignee, me, isClosed}, changed) {
  const one = (action, to, words) => el("button", {
    type: "button", id: `${action}-${id}`, class: "quiet", "aria-label": `${words}: ${name}`,
    onclick: async ({currentTarget: button}) => {
      const whom = typeof to === "function" ? await to() : to;
      if (whom === undefined) return;
      const hadFocus = document.activeElement === button;
      button.disabled = true;
      await assign(id, whom, assignee, changed);
      button.disabled = false;  // it may stand there still: what was refused can be tried again
      if (!hadFocus || document.activeElement !== document.body) return;
      (button.isConnected ? button : document.querySelector(`#take-${id}, #give-${id}`))?.focus({preventScroll: true});
    },
  }, words);
  const buttons = isClosed ? [] : assignee === me
    ? [one("give", null, t("giveBack")), one("hand", askWhom, t("handOver"))]
    : [one("take", me, t(assignee ? "takeOver" : "take"))];
  return el("span", {class: "assignment"},
    el("span", {}, assignee ? (assignee === me ? t("you") : nameOf(assignee)) : t("nobody")), " ",
    el("span", {class: "no-print"}, buttons.flatMap((button) => [button, " "])));
}

async function assign(id, to, insteadOf, changed) {
  try {
    const {assignee} = await differentials.assign(id, to, insteadOf);
    announce(assignee ? t("takenBy", {person: nameOf(assignee)}) : t("givenBack"));
    await changed("");
  } catch (error) {
    if (error.status !== CHANGED_MEANWHILE) {
      await changed(errorText(error));
      return;
    }
    const now = await differentials.get(id).catch(() => null);
    await changed(now?.assignee ? t("takenMeanwhile", {person: nameOf(now.assignee)}) : t("givenBackMeanwhile"));
  }
}

/** The name of a colleague; undefined where nobody is to have it. */
async function askWhom() {
  const name = el("input", {type: "text", id: "hand-name", maxlength: "255", autocomplete: "off"});
  const isMeant = await askFirst("hand", t("handOver"), el("p", {class: "field"}, el("label", {for: "hand-name"}, t("handTo")), name),
    t("handOver"));
  return (isMeant && name.value.trim()) || undefined;
}
