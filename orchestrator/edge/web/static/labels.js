// What a person may call a cell beside the model's classes: the service's list, with the site's own words.

import {ask} from "./api.js";
import {settings} from "./settings.js";

/** By which the gallery selects a cell, whatever was chosen. */
export const PICK_KEY = "x";

let more = [];

/** Those that the model does not know: `{name, turkish, key}`, in the order in which they are shown. */
export const moreLabels = () => more;

/** The key of a label; none where a person has chosen it for something else, which goes before. */
export function keyOf(name) {
  const key = more.find((label) => label.name === name)?.key;
  return [PICK_KEY, ...Object.values(settings.get("keys")).flat()].includes(key) ? "" : key;
}

/** The label of a key, if any has it. */
export const labelOfKey = (key) => more.find(({name}) => keyOf(name) === key)?.name;

/** Read them, once; `known` are the names of the others. */
export async function readLabels(known) {
  if (more.length) return;
  const {labels} = await (await ask("v1/labels")).json();
  more = labels.filter(({name}) => !known.includes(name));
}

/** A label's name where no space can be, in an id or a style: `nucleated-red-cell`. */
export const slugOf = (name) => name.toLowerCase().replaceAll(" ", "-");
