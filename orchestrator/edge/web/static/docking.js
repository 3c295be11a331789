// A part of the page that comes to the foot of the screen where its own place is out of sight, so that who looks at it
// stays where he is.

import {el} from "./dom.js";
import {t} from "./messages.js";

/** `place` is where the node belongs; `reveal()` brings it into sight, and Escape, or its place in sight, back. */
export function dockable(node) {
  const place = el("div", {class: "dock-place"}, node);
  const close = el("button", {type: "button", class: "quiet dock-close", "aria-label": t("close"), onclick: undock}, "×");

  function reveal() {
    const {top, bottom} = place.getBoundingClientRect();
    const isInSight = top < innerHeight - 200 && bottom > innerHeight / 2;
    if (isInSight || node.classList.contains("docked")) return;
    place.style.minBlockSize = `${place.offsetHeight}px`;
    node.classList.add("docked");
    node.prepend(close);
    inSight.observe(place);
  }

  function undock() {
    inSight.disconnect();
    node.classList.remove("docked");
    close.remove();
    place.style.minBlockSize = "";
  }

  const inSight = new IntersectionObserver(([entry]) => { if (entry.intersectionRatio > 0.4) undock(); }, {threshold: 0.4});
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && node.classList.contains("docked") && !document.querySelector("dialog")) undock();
  });
  return {place, reveal};
}
