// What a person may call a cell beside the model's classes: the service's list, with the site's own words.

import {ask} from "./api.js";

let more = [];

/** Those that the model does not know: `{name, turkish, key}`, in the order in which they are shown. */
export const moreLabels = () => more;

/** The label of a key, if any has it. */
export const labelOfKey = (key) => more.find((label) => label.key === key)?.name;

/** Read them, once; `known` are the names of the others. */
export async function readLabels(known) {
  if (more.length) return;
  const {labels} = await (await ask("v1/labels")).json();
  more = labels.filter(({name}) => !known.includes(name));
}

/** A label's name where no space can be, in an id or a style: `nucleated-red-cell`. */
export const slugOf = (name) => name.toLowerCase().replaceAll(" ", "-");
