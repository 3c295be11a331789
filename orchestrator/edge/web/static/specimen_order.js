// The order of a specimen: its name, its count, its images.

import {el} from "./dom.js";
import * as differentials from "./differentials.js";
import {intake} from "./intake.js";
import {errorText, number, seconds, t} from "./messages.js";
import {settings} from "./settings.js";

const MAX_TRIES = 5;
const LONGEST_WAIT_S = 30;

/** What all of the images show; where they differ the service looks. */
function kindOf(files) {
  const kinds = new Set(files.map(({kind}) => kind ?? "cell"));
  return kinds.size === 1 ? [...kinds][0] : "auto";
}

/**
 * The form; `ordered(id, files)` is told when the service has kept the order. `taken(files)` adds images. The samples are
 * of no person, and are never among images that are: they make a specimen of their own.
 */
export function orderForm(ordered) {
  let files = [];
  const key = differentials.orderKey();
  const problem = el("p", {class: "problem", role: "alert"});
  const status = el("p", {class: "note", role: "status"});
  const name = el("input", {type: "text", id: "specimen-id", required: true, maxlength: "64", autocomplete: "off",
    "aria-describedby": "specimen-id-note"});
  const total = el("input", {type: "number", id: "total-wbc", min: "0.01", max: "1000", step: "0.01", inputmode: "decimal"});
  const send = el("button", {type: "submit", id: "order", class: "primary", disabled: true}, t("analyseNone"));
  const none = el("button", {type: "button", id: "none-of-these", onclick: () => choose([])}, t("clear"));
  const take = (more) => choose([...new Set([...files.filter((file) => !file.profile), ...more])]);
  const intaking = intake(take, {
    takeSamples: (samples) => choose(samples), samplesName: t("sampleSpecimen"), takesFields: true,
  });

  function choose(chosen) {
    files = chosen;
    send.disabled = !files.length;
    send.textContent = files.length ? t("analyseSpecimen", {count: number(files.length)}) : t("analyseNone");
    none.hidden = !files.length;
    intaking.compact(files.length > 0);
    intaking.offerSamples(!files.length || Boolean(files[0].profile));
  }
  choose([]);

  async function order() {
    const specimen = {
      specimenId: name.value.trim(), totalWbc: total.valueAsNumber || null,
      profile: files[0].profile ?? settings.get("profile"), tta: settings.get("tta"), kind: kindOf(files), key,
    };
    for (let tries = 1; ; tries += 1) {
      status.textContent = t("sending", {count: number(files.length)});
      try {
        return await differentials.order(files, specimen);
      } catch (error) {
        if (!error.isTemporary || error.retryAfterS === null || tries === MAX_TRIES) throw error;
        const waitS = Math.min(error.retryAfterS, LONGEST_WAIT_S);
        status.textContent = t("busy", {seconds: seconds(waitS)});
        await new Promise((resolve) => { setTimeout(resolve, waitS * 1000); });
      }
    }
  }

  const node = el("form", {
    novalidate: true,
    onsubmit: async (event) => {
      event.preventDefault();
      problem.textContent = "";
      if (!name.value.trim()) {
        problem.textContent = t("specimenNeedsId");
        name.focus();
        return;
      }
      if (!total.validity.valid) {
        problem.textContent = t("totalIsWrong");
        total.focus();
        return;
      }
      send.disabled = true;
      try {
        ordered(await order(), files);
      } catch (error) {
        problem.textContent = error.status === 404 || error.status === 501 ? t("storeIsOff") : errorText(error);
        send.disabled = false;
      }
      status.textContent = "";
    },
  },
    el("p", {class: "field"}, el("label", {for: "specimen-id"}, t("specimenId")), name,
      el("span", {class: "note", id: "specimen-id-note"}, t("specimenIdNote"))),
    el("p", {class: "field"}, el("label", {for: "total-wbc"}, t("totalWbc")), total),
    intaking.node, el("p", {class: "buttons"}, send, none, status), problem);

  /** Images that the page has; the samples, where there are others, are not theirs. */
  function add(more) {
    if (!more[0]?.profile) take(more);
    else if (!files.length) choose(more);
  }
  return {node, taken: intaking.taken, add};
}
