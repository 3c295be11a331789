// What the page says of a microscope that the service does not know well enough: once, and not of each cell.

import {el} from "./dom.js";
import {t} from "./messages.js";

const DEVICE_UNKNOWN = "device_unknown";

/** That answers are suggestions there, and what to do; null where the microscope is known, or audited. */
export function deviceNote(state) {
  return state === "unknown" || state === "profiled"
    ? el("p", {class: "note device-note", data: {state}}, t(`device_${state}`)) : null;
}

/** The least known of several. */
export const leastKnown = (states) => ["unknown", "profiled", "known", "audited"].find((one) => states.includes(one));

/** Reasons, or limitations, that are of a cell or a count and not of its microscope. */
export const notOfDevice = (found) => found.filter(({code}) => code !== DEVICE_UNKNOWN);
