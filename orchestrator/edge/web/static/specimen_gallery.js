// All cells of a specimen by class, as a person lays them out: sorted, filtered, selected together, moved to another
// class by key, button or drag, and a class accepted as a whole.

import {announce, el, say} from "./dom.js";
import {CLASSES} from "./cell_detail.js";
import {canBeDecided, countsByItself, isDouble} from "./decisions.js";
import {folded, labelButton} from "./label_buttons.js";
import {moreLabels} from "./labels.js";
import {className, number, t} from "./messages.js";
import {settings} from "./settings.js";
import {TileWindow} from "./tile_window.js";

export const LABELS = [...CLASSES, "Unidentified"];
/** The names of all groups: of each label, and of what has none. */
export const groups = () => [...LABELS, ...moreLabels().map(({name}) => name), "none"];
const SORTS = ["number", "doubt", "second"];
const FILTERS = ["all", "waiting", "decided"];
/** On the screen for so long, a picture was looked at. */
const LOOK_MS = 400;

/** What a cell is as things are: what a person said, or else what the service suggests; nothing where it is counted elsewhere. */
const groupOf = (cell) => (isDouble(cell) ? "none" : cell.decision?.label ?? cell.result?.class ?? "none");

/** What is accepted as one of many: of what may be no white cell a person speaks by itself. */
const isAcceptable = (cell) => !cell.decision && countsByItself(cell);

const byConfidence = (a, b) => (a.result?.confidence ?? 0) - (b.result?.confidence ?? 0) || a.number - b.number;

const ORDERS = {
  number: (a, b) => a.number - b.number,
  doubt: byConfidence,
  second: (a, b) => second(a).localeCompare(second(b)) || byConfidence(a, b),
};

function second({result}) {
  const ranked = Object.entries(result?.probabilities ?? {}).sort(([, a], [, b]) => b - a);
  return ranked[1]?.[0] ?? "";
}

const PASSES = {
  all: () => true,
  waiting: (cell) => cell.needs_review,
  decided: (cell) => Boolean(cell.decision),
};

export class Gallery {
  #decide;
  #look;
  #found = null;
  #isClosed = true;
  #tileOf;
  #order = [];
  #picked = new Set();
  #last = null;
  #seen = new Set();
  #watched = new Map();
  #watcher;
  #groups = new Map();
  #counts = el("p", {class: "note", id: "gallery-picked", role: "status"});
  #bar;
  #sort = choice("gallery-sort", SORTS, () => this.#lay());
  #filter = choice("gallery-filter", FILTERS, () => this.#lay());
  #size = el("input", {type: "range", id: "gallery-size", min: "96", max: "240", value: "120", oninput: () => this.#resize()});

  /**
   * `decide(cells, label)` is told what a person says of several; `look(cell)` of a picture that was on the screen;
   * `tileOf(id)` gives the tile of a cell.
   */
  constructor({decide, look, tileOf}) {
    this.#decide = decide;
    this.#tileOf = tileOf;
    this.#look = look;
    this.#watcher = new IntersectionObserver((entries) => this.#watch(entries), {threshold: 0.9});
    const keys = settings.get("keys");
    this.#bar = el("div", {class: "gallery-picks buttons", role: "group", "aria-label": t("decide")},
      LABELS.map((label, index) => this.#button(label, keys.labels[index])), folded(moreLabels().map(({name}) => this.#button(name))),
      el("button", {type: "button", id: "gallery-none", onclick: () => this.pickNone()}, t("pickNone")));
    this.node = el("section", {class: "gallery whole no-print", id: "gallery", "aria-labelledby": "gallery-whole-title", hidden: true},
      el("div", {class: "gallery-bar"},
        el("h3", {id: "gallery-whole-title"}, t("allCells")),
        el("span", {class: "control"}, el("label", {for: "gallery-sort"}, t("sort")), this.#sort),
        el("span", {class: "control"}, el("label", {for: "gallery-filter"}, t("filter")), this.#filter),
        el("span", {class: "control"}, el("label", {for: "gallery-size"}, t("size")), this.#size),
        this.#counts, this.#bar));
    for (const name of groups()) this.#groups.set(name, this.#group(name));
    this.node.append(...[...this.#groups.values()].map(({section}) => section));
  }

  /** Bring the tile of a cell under the keyboard. */
  focus(id) {
    for (const {tiles} of this.#groups.values()) tiles.hold(id);
    this.#tileOf(id).link.focus();
  }

  get isOpen() {
    return !this.node.hidden;
  }

  /** The ids in the order in which they lie. */
  get order() {
    return this.#order;
  }

  open() {
    this.node.hidden = false;
  }

  /** Lay the tiles out, by their cells. */
  show(found, isClosed) {
    this.#found = found;
    this.#isClosed = isClosed;
    this.#lay();
  }

  close() {
    this.node.hidden = true;
    for (const {tiles} of this.#groups.values()) tiles.show([]);
    this.#watcher.disconnect();
    for (const timer of this.#watched.values()) clearTimeout(timer);
    this.#watched.clear();
  }

  /** That all selected cells are this. */
  say(label) {
    const cells = this.#found.cells.filter((cell) => this.#picked.has(cell.id));
    if (!cells.length) announce(t("pickFirst"));
    else this.#said(cells, () => label);
  }

  /** A person selects a cell or takes it out; with `through` also all that lie between it and the one before. */
  pick(id, through = false) {
    const [from, to] = [this.#order.indexOf(through ? this.#last : id), this.#order.indexOf(id)].sort((a, b) => a - b);
    const isIn = through || !this.#picked.has(id);
    for (const one of this.#order.slice(Math.max(from, 0), to + 1)) this.#picked[isIn ? "add" : "delete"](one);
    this.#last = id;
    this.#mark();
  }

  pickAll() {
    this.#picked = new Set(this.#order);
    this.#mark();
  }

  /** These are not what a person has selected any more. */
  drop(ids) {
    for (const id of ids) this.#picked.delete(id);
  }

  pickNone() {
    this.#picked.clear();
    this.#mark();
  }

  #button(label, key) {
    return labelButton(label, key, {data: {label}, onclick: () => this.say(label)});
  }

  #group(name) {
    const title = el("h4");
    const accept = el("button", {type: "button", class: "accept-group", onclick: () => this.#acceptAll(name)});
    const list = el("ul", {class: "tiles"});
    const section = el("section", {class: "group", data: {group: name}}, el("div", {class: "group-head"}, title, accept), list);
    if (name !== "none") {
      section.addEventListener("dragover", (event) => {
        if (!this.#picked.size || this.#isClosed || event.dataTransfer.types.includes("Files")) return;
        event.preventDefault();
        section.classList.add("over");
      });
      section.addEventListener("dragleave", ({relatedTarget}) => {
        if (!section.contains(relatedTarget)) section.classList.remove("over");
      });
      section.addEventListener("drop", (event) => {
        section.classList.remove("over");
        if (event.dataTransfer.files.length) return;
        event.preventDefault();
        event.stopPropagation();
        this.say(name);
      });
    }
    return {section, title, accept, tiles: new TileWindow(list, (id) => {
      const node = this.#dress(id);
      this.#watcher.observe(node);
      return node;
    })};
  }

  #lay() {
    const byGroup = new Map(groups().map((name) => [name, []]));
    const cells = this.#found.cells.filter(PASSES[this.#filter.value]).sort(ORDERS[this.#sort.value]);
    for (const cell of cells) (byGroup.get(groupOf(cell)) ?? byGroup.get("none")).push(cell);
    this.#order = [...byGroup.values()].flat().map(({id}) => id);
    for (const [name, of] of byGroup) {
      const {section, title, accept, tiles} = this.#groups.get(name);
      section.hidden = !of.length && (!LABELS.includes(name) || this.#isClosed);
      say(title, `${name === "none" ? t("withoutClass") : className(name)} (${number(of.length)})`);
      const open = of.filter(isAcceptable);
      accept.hidden = !open.length || this.#isClosed || name === "none";
      say(accept, t("acceptAll", {count: number(open.length)}));
      tiles.show(of.map(({id}) => id));
    }
    for (const id of this.#picked) if (!this.#order.includes(id)) this.#picked.delete(id);
    this.#resize();
    this.#mark();
  }

  #resize() {
    this.node.style.setProperty("--tile", `${this.#size.value}px`);
  }

  #mark() {
    for (const cell of this.#found?.cells ?? []) if (!canBeDecided(cell)) this.#picked.delete(cell.id);
    for (const {dataset} of this.node.querySelectorAll(".tile")) this.#dress(dataset.cell);
    say(this.#counts, this.#picked.size ? t("picked", {count: number(this.#picked.size)}) : "");
    this.#bar.hidden = !this.#picked.size || this.#isClosed;
  }

  /** A tile as it is here: whether it is selected, and may be. */
  #dress(id) {
    const {node, box} = this.#tileOf(id);
    const isPicked = this.#picked.has(id);
    node.classList.toggle("picked", isPicked);
    box.checked = isPicked;
    box.disabled = this.#isClosed;
    node.draggable = !this.#isClosed;
    return node;
  }

  /** A tile is dragged: with it go all that are selected, or else it alone. */
  dragged(id, event) {
    if (!this.#picked.has(id)) {
      this.#picked = new Set([id]);
      this.#mark();
    }
    event.dataTransfer.setData("text/plain", "");
    event.dataTransfer.effectAllowed = "move";
  }

  #acceptAll(name) {
    const cells = this.#found.cells.filter((cell) => groupOf(cell) === name && isAcceptable(cell) && this.#order.includes(cell.id));
    this.#said(cells, (cell) => cell.result.class);
  }

  /** Only of what was on the screen: the others are named. */
  #said(cells, labelOf) {
    if (this.#isClosed) return;
    const seen = cells.filter(({id}) => this.#seen.has(id));
    this.pickNone();
    this.#decide(seen.map((cell) => [cell, labelOf(cell)]));
    const unseen = cells.length - seen.length;
    const text = [seen.length ? t("saidOf", {count: number(seen.length)}) : "", unseen ? t("unseenLeft", {count: number(unseen)}) : ""].filter(Boolean).join(" ");
    say(this.#counts, text);
    announce(text);
  }

  #watch(entries) {
    for (const {isIntersecting, target} of entries) {
      const id = target.dataset.cell;
      clearTimeout(this.#watched.get(id));
      if (isIntersecting && !this.#seen.has(id)) this.#watched.set(id, setTimeout(() => this.#wasSeen(id, target), LOOK_MS));
      else this.#watched.delete(id);
    }
  }

  #wasSeen(id, node) {
    const image = node.querySelector("img");
    if (!node.isConnected || !image) return;
    if (!image.naturalWidth) {
      this.#watched.set(id, setTimeout(() => this.#wasSeen(id, node), LOOK_MS));
      return;
    }
    this.#seen.add(id);
    this.#watched.delete(id);
    this.#look(this.#found.cells.find((cell) => cell.id === id));
  }
}

const choice = (id, values, onchange) => el("select", {id, onchange}, values.map((value) => el("option", {value}, t(`${id}_${value}`))));
