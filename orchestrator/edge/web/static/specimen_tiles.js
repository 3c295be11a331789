// The cells of a specimen as tiles: those that wait for a person, least confident first, and all others by class.

import {el} from "./dom.js";
import {blobOf} from "./api.js";
import {partOf, usualSide} from "./cell_part.js";
import {isDouble} from "./decisions.js";
import * as differentials from "./differentials.js";
import {lazyImage, smallAddress} from "./lazy_image.js";
import {Gallery, groups} from "./specimen_gallery.js";
import {className, number, t} from "./messages.js";
import {TileWindow} from "./tile_window.js";

/** An address of a file, the same each time. */
export function urlOf(file) {
  file.url ??= URL.createObjectURL(file);
  return file.url;
}

/** Null while cells are still to be measured; a cell that was cut out of a field is shown as it was. */
const sideOf = ({cells}) => (cells.some(({state}) => state === "waiting") ? null
  : usualSide(cells.filter(({place}) => !place).map(({result}) => result?.box)));

function partOfCell({result, place}, side) {
  if (!result || place) return null;
  const [height, width] = result.image_size;
  return partOf(result.box, {height, width}, side);
}

export class SpecimenTiles {
  #choose;
  #fileOf;
  #found = null;
  /** By their ids: the cells as they are, the tiles of those that came near the screen. */
  #cells = new Map();
  #tiles = new Map();
  #side = null;
  #order = [];
  #current = null;
  /** The link that is marked as the current one, and the frame in which its tile comes into sight. */
  #marked = null;
  #frame = null;
  #groups = new Map();
  #whole;
  #waiting = el("ul", {class: "tiles review-list"});
  #waitingTiles = new TileWindow(this.#waiting, (id) => this.#tileOf(id).node);
  #gallery = el("section", {class: "gallery no-print", id: "specimen-gallery", "aria-labelledby": "gallery-title"},
    el("h3", {id: "gallery-title"}, t("byClass")));

  /**
   * `choose(id)` is told of a click; `fileOf(cell)` gives an image that this page still has, or null; `decide` and `look`
   * are those of the whole gallery.
   */
  constructor({choose, fileOf, decide, look}) {
    this.#choose = choose;
    this.#fileOf = fileOf;
    this.#whole = new Gallery({decide, look, tileOf: (id) => this.#tileOf(id)});
    for (const name of groups()) {
      const title = el("h4");
      const list = el("ul", {class: "tiles"});
      const section = el("section", {class: "group", data: {group: name}}, title, list);
      this.#groups.set(name, {title, tiles: new TileWindow(list, (id) => this.#tileOf(id).node), section});
      this.#gallery.append(section);
    }
  }

  /** A row of what waits. */
  get waiting() {
    return this.#waiting;
  }

  get gallery() {
    return this.#gallery;
  }

  /** All of them at once, for who asks for it: while it is open they are nowhere else. */
  get whole() {
    return this.#whole;
  }

  /** The ids in the order in which one goes through them. */
  get order() {
    return this.#order;
  }

  show(found, isClosed) {
    this.#found = found;
    this.#cells = new Map(found.cells.map((cell) => [cell.id, cell]));
    this.#side = sideOf(found);
    const waits = new Set(found.review_list);
    const byGroup = new Map(groups().map((name) => [name, []]));
    for (const {id, label} of this.#whole.isOpen ? [] : found.cells) {
      if (!waits.has(id)) (byGroup.get(label) ?? byGroup.get("none")).push(id);
    }
    if (this.#whole.isOpen) this.#whole.show(found, isClosed);
    this.#waitingTiles.show(this.#whole.isOpen ? [] : found.review_list);
    for (const [name, ids] of byGroup) {
      const {section, title, tiles} = this.#groups.get(name);
      section.hidden = !ids.length;
      title.textContent = `${name === "none" ? t("withoutClass") : className(name)} (${number(ids.length)})`;
      tiles.show(ids);
    }
    const others = [...byGroup.values()].flat();
    this.#order = this.#whole.isOpen ? this.#whole.order : [...found.review_list, ...others];
    this.#gallery.hidden = !others.length;
  }

  /** Images came that were missing. */
  lookAgain() {
    for (const {lookAgain} of this.#tiles.values()) lookAgain();
  }

  select(id) {
    this.#current = id;
    this.#mark();
    // With the next frame, which lays all out anyway: to ask where a tile is lays it out at once.
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#waitingTiles.hold(this.#current);
      const node = this.#tiles.get(this.#current)?.node;
      if (node?.parentElement !== this.#waiting) return;
      // In its own row only: the page stays where it is.
      this.#waiting.scrollTo({left: node.offsetLeft - this.#waiting.clientWidth / 2 + node.clientWidth / 2});
    });
  }

  #mark() {
    const link = this.#tiles.get(this.#current)?.link ?? null;
    if (link === this.#marked) return;
    this.#marked?.removeAttribute("aria-current");
    link?.setAttribute("aria-current", "true");
    this.#marked = link;
  }

  /** Made once, and shown as its cell is now. */
  #tileOf(id) {
    const cell = this.#cells.get(id);
    if (!this.#tiles.has(id)) this.#tiles.set(id, this.#tile(this.#found.id, cell));
    const tile = this.#tiles.get(id);
    tile.show(cell, this.#side);
    if (id === this.#current) this.#mark();
    return tile;
  }

  /** A small picture of a cell, cut as tiles are. */
  picture(id) {
    const cell = this.#cells.get(id);
    return this.#pictureOf(cell, partOfCell(cell, this.#side));
  }

  /** The same, as soon as it is there, whether it is near the screen or not; null where there is none. */
  async pictureThere(id) {
    const cell = this.#cells.get(id);
    try {
      const image = el("img", {alt: "", src: await this.#addressOf(cell, partOfCell(cell, this.#side))});
      await image.decode();
      return image;
    } catch {
      return null;
    }
  }

  #pictureOf(cell, part) {
    return lazyImage(() => this.#addressOf(cell, part));
  }

  async #addressOf(cell, part) {
    return smallAddress(this.#fileOf(cell) ?? await blobOf(differentials.imageUrl(this.#found.id, cell.id)), part);
  }

  #tile(id, first) {
    const pictureOf = (of) => this.#pictureOf(first, of);
    let image = null, part = null;
    const words = el("span");
    const link = el("a", {
      href: `#/specimen/${encodeURIComponent(id)}/${first.number}`,
      onclick: (event) => {
        event.preventDefault();
        if (this.#whole.isOpen && (event.ctrlKey || event.metaKey || event.shiftKey)) this.#whole.pick(first.id, event.shiftKey);
        else this.#choose(first.id);
      },
    }, el("span", {class: "tile-caption"},
      el("span", {class: "tile-name"}, t("cellNumber", {number: number(first.number)})), words));
    const box = el("input", {type: "checkbox", class: "tile-pick", "aria-label": t("pick", {number: number(first.number)}),
      onclick: (event) => this.#whole.pick(first.id, event.shiftKey)});
    const node = el("li", {class: "tile", data: {cell: first.id}, ondragstart: (event) => this.#whole.dragged(first.id, event)}, link, box);
    let shown = "";

    function draw() {
      image?.remove();
      image = pictureOf(part);
      link.prepend(image);
    }
    function show(cell, side) {
      const wanted = partOfCell(cell, side);
      if (!image || JSON.stringify(wanted) !== JSON.stringify(part)) {
        part = wanted;
        draw();
      }
      const said = isDouble(cell) ? t("countedElsewhere") : cell.label ? className(cell.label) : t(`state_${cell.state === "analysed" ? "done" : cell.state}`);
      const text = cell.decision ? `${said} ✓` : said;
      if (shown === text + cell.needs_review) return;
      shown = text + cell.needs_review;
      words.textContent = text;
      node.classList.toggle("review", cell.needs_review);
      link.setAttribute("aria-label", [t("cellNumber", {number: number(cell.number)}), said, cell.decision ? t("decided") : ""]
        .filter(Boolean).join(", "));
    }
    function lookAgain() {
      if (!image.parentNode) draw();
    }
    return {node, link, box, show, lookAgain};
  }
}
