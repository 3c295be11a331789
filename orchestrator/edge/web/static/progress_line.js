// How far the work is, with buttons that stay where they are while it goes on: one that is made anew under a
// pressed finger hears no click.

import {el} from "./dom.js";

/** `buttons` are pairs of an id and what a press does. */
export function progressLine(id, buttons) {
  const label = el("label", {for: `${id}-bar`});
  const bar = el("progress", {id: `${id}-bar`});
  const busy = el("p", {class: "busy", role: "status"});
  const made = new Map(buttons.map(([name, onclick]) => [name, el("button", {type: "button", id: name, onclick})]));
  const place = el("span", {class: "buttons"});
  const node = el("div", {class: "progress", id, hidden: true}, label, bar, busy, place);

  /** `buttons` has the text of each that is to be seen. */
  function show({isShown = true, total, ended, text, busy: wait = "", buttons: texts}) {
    node.hidden = !isShown;
    label.textContent = text;
    bar.max = Math.max(total, 1);
    bar.value = ended;
    const isOver = ended >= total;
    if (isOver) bar.remove();
    else if (!bar.isConnected) label.after(bar);
    if (busy.textContent !== wait) busy.textContent = wait;
    for (const [name, button] of made) {
      if (!texts[name]) button.remove();
      else {
        if (button.textContent !== texts[name]) button.textContent = texts[name];
        if (!button.isConnected) place.append(button);
      }
    }
  }
  return {node, show};
}
