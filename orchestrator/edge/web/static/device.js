// What the page says of a microscope that the service does not know well enough: once, and not of each cell.

import {el} from "./dom.js";
import {t} from "./messages.js";

const DEVICE_UNKNOWN = "device_unknown";

/** As the service's `cell_features`: fewer cells say nothing, and from this share on a profile is offered. */
export const MIN_CELLS = 20;
export const OFFERED_SHARE = 0.8;

/**
 * What is known of the microscope of these results: the `state`, the least known; the profile that `contradicted` them,
 * or null; and the one whose cells they look like, or null.
 */
export function deviceOf(results) {
  const state = ["unknown", "profiled", "known", "audited"].find((one) => results.some((result) => result.device_state === one)) ?? null;
  // A profile that knows how its cells look is a device's: unknown it counts as only where they do not look so.
  const contradicted = results.find(({device_state: one, looks_like: alike, profile}) => one === "unknown" && profile in (alike ?? {}));
  return {state, contradicted: contradicted?.profile ?? null, resembled: resembled(results.map((result) => result.looks_like))};
}

/** The profile whose cells these look like most, by what the service says of each; null where they are too few. */
export function resembled(likenesses) {
  const told = {};
  for (const one of likenesses) {
    for (const [name, isAlike] of Object.entries(one ?? {})) {
      told[name] ??= {name, cells: 0, alike: 0};
      told[name].cells += 1;
      told[name].alike += Number(isAlike);
    }
  }
  const [best] = Object.values(told).filter(({cells}) => cells >= MIN_CELLS)
    .sort((a, b) => b.alike / b.cells - a.alike / a.cells || (a.name < b.name ? -1 : 1));
  return best && best.alike / best.cells >= OFFERED_SHARE ? best.name : null;
}

/** That answers are suggestions there, and what to do; null where the microscope is known, or audited. */
export function deviceNote({state, contradicted, resembled: offered}) {
  if (state !== "unknown" && state !== "profiled") return null;
  const words = [
    contradicted ? t("device_contradicted", {profile: contradicted}) : t(`device_${state}`),
    state === "profiled" ? "" : offered ? t("device_offered", {profile: offered}) : t("device_choose"),
  ];
  return el("p", {class: "note device-note", data: {state}}, words.filter(Boolean).join(" "), " ", el("a", {href: "#/adapt"}, t("teachIt")));
}

/** Reasons, or limitations, that are of a cell or a count and not of its microscope. */
export const notOfDevice = (found) => found.filter(({code}) => code !== DEVICE_UNKNOWN);
