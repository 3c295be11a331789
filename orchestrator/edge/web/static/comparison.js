// What the cell on the screen is compared with: decided cells like it, decided cells of the two likeliest classes, and
// what tells those two apart.

import {el, refill, say} from "./dom.js";
import {isDouble} from "./decisions.js";
import {className, number, t} from "./messages.js";

const MOST_ALIKE = 4;
const MOST_OF_CLASS = 3;

/** The classes, the likeliest first. */
const ranked = ({probabilities}) => Object.entries(probabilities).sort(([, a], [, b]) => b - a).map(([name]) => name);

/** Hellinger distance of the probabilities of two results, in [0, 1]. */
function distance(a, b) {
  const alike = Object.entries(a.probabilities).reduce((sum, [name, share]) => sum + Math.sqrt(share * b.probabilities[name]), 0);
  return Math.sqrt(Math.max(0, 1 - alike));
}

export class Comparison {
  #picture;
  #choose;
  #apart = el("p", {id: "apart"});
  #pictures = el("div", {class: "compared"});
  node = el("section", {class: "comparison no-print", "aria-labelledby": "comparison-title"},
    el("p", {id: "comparison-title"}, t("compare")), this.#apart, this.#pictures);

  /** `picture(id)` gives a small picture of a cell, `choose(id)` is told of a click on one. */
  constructor({picture, choose}) {
    this.#picture = picture;
    this.#choose = choose;
  }

  /** What tells the likeliest classes of a cell apart; pictures of another cell are left until `showPictures`. */
  show(cell) {
    this.node.hidden = !cell.result;
    if (!cell.result) return;
    say(this.#apart, t(`apart_${ranked(cell.result).slice(0, 2).sort().join("_")}`));
  }

  showPictures(found, cell) {
    if (!cell.result) return;
    const decided = found.cells.filter((one) => one.id !== cell.id && one.decision && one.result && !isDouble(one));
    const by = (measure) => decided.map((one) => [measure(one), one]).sort(([a], [b]) => a - b).map(([, one]) => one);
    const alike = by(({result}) => distance(cell.result, result)).slice(0, MOST_ALIKE);
    const references = ranked(cell.result).slice(0, 2).map((name) => [
      name, by(({result}) => -result.probabilities[name]).filter(({decision}) => decision.label === name).slice(0, MOST_OF_CLASS)]);
    const lists = [
      ...alike.length ? [{title: t("mostAlike"), cells: alike}] : [],
      ...references.map(([name, cells]) => ({title: t("decidedAs", {label: className(name)}), cells, painted: cells.length ? null : name})),
    ];
    const of = lists.map(({title, cells, painted}) => [title, painted ?? cells.map(({id, decision}) => [id, decision.label])]);
    refill(this.#pictures, of, () => lists.map((list) => this.#list(found.id, list)));
  }

  #list(specimen, {title, cells, painted}) {
    const tiles = painted ? [el("li", {class: "compare painted"},
      el("img", {src: `web/samples/${painted.toLowerCase()}.jpg`, alt: t("paintedCell", {label: className(painted)})}), el("span", {}, t("painted")))]
      : cells.map((cell) => el("li", {class: "compare"}, this.#link(specimen, cell)));
    return el("figure", {}, el("figcaption", {}, title), el("ul", {}, tiles));
  }

  #link(specimen, {id, number: cell, decision}) {
    return el("a", {
      href: `#/specimen/${encodeURIComponent(specimen)}/${cell}`,
      "aria-label": `${t("cellNumber", {number: number(cell)})}, ${className(decision.label)}`,
      onclick: (event) => {
        event.preventDefault();
        this.#choose(id);
      },
    }, this.#picture(id), el("span", {}, className(decision.label)));
  }
}
