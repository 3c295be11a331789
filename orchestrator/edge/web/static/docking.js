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
    // What is out of sight keeps its height, whatever is filled in: what is in sight must not move.
    const section = place.closest("section");
    Object.assign(section.style, {blockSize: `${section.offsetHeight}px`, overflow: "clip"});
    node.classList.add("docked");
    node.prepend(close);
    inSight.observe(section);
  }

  function undock() {
    const section = place.closest("section");
    const seen = document.elementsFromPoint(innerWidth / 2, innerHeight / 2).find((one) => !node.contains(one));
    const before = seen?.getBoundingClientRect().top;
    inSight.disconnect();
    node.classList.remove("docked");
    close.remove();
    Object.assign(section.style, {blockSize: "", overflow: ""});
    // What is filled in may be higher or lower than what was.
    if (seen && !section.contains(seen)) scrollBy({top: seen.getBoundingClientRect().top - before, behavior: "instant"});
  }

  const inSight = new IntersectionObserver(([entry]) => { if (entry.intersectionRatio > 0.3) undock(); }, {threshold: 0.3});
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && node.classList.contains("docked") && !document.querySelector("dialog")) undock();
  });
  return {place, reveal};
}
