// A differential on paper, or as a PDF: the pictures of its cells, and what stands in the margin of each page.

import {el} from "./dom.js";
import {className, number, t} from "./messages.js";

/** So many pictures are made at once; a thousand at once would be a thousand images in full. */
const AT_ONCE = 8;

const margins = new CSSStyleSheet();
document.adoptedStyleSheets.push(margins);

/** What stands at the head of each page, beside its number: the name of a specimen, or nothing. */
export function headPages(name) {
  margins.replaceSync(name ? `@page { @top-left { content: ${JSON.stringify(name)}; } }` : "");
}

/** The counted cells by what they count as, with their pictures, all of which are there; `printed(id)` promises one, or null. */
export async function cellsOnPaper(found, printed) {
  const pictures = new Map();
  const left = found.cells.filter(({label}) => label).map(({id}) => id);
  while (left.length) {
    const some = left.splice(0, AT_ONCE);
    const made = await Promise.all(some.map(printed));
    some.forEach((id, at) => { if (made[at]) pictures.set(id, made[at]); });
  }
  if (!pictures.size) return [];
  const cells = found.cells.filter(({id}) => pictures.has(id));
  const byLabel = Map.groupBy(cells, ({label}) => label);
  return el("section", {class: "print-only on-paper", "aria-labelledby": "on-paper-title"},
    el("h3", {id: "on-paper-title"}, t("cellsWithPictures", {count: number(cells.length)})),
    found.counts.map(({label}) => byLabel.get(label)).filter(Boolean).map((of) => [
      el("h4", {}, `${className(of[0].label)} (${number(of.length)})`),
      el("ul", {}, of.map((cell) => el("li", {}, pictures.get(cell.id), el("span", {}, `${number(cell.number)}${cell.decision ? " ✓" : ""}`)))),
    ]),
    el("p", {class: "note small"}, t("onPaperNote")));
}
