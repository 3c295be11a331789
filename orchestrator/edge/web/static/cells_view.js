// Any images, one by one: the queue, the gallery by class, and the cell that is looked at.

import {announce, el, fill} from "./dom.js";
import {askFirst} from "./ask_first.js";
import {analyseAndReport} from "./api.js";
import {CLASSES, showDetail} from "./cell_detail.js";
import {partOf, usualSide} from "./cell_part.js";
import {deviceNote, deviceOf, resembled} from "./device.js";
import {foundText, isDoubtful, showField} from "./field_detail.js";
import {intake} from "./intake.js";
import {lazyImage, smallAddress} from "./lazy_image.js";
import {className, errorText, language, number, percent, seconds, t} from "./messages.js";
import {progressLine} from "./progress_line.js";
import {analysisChoice, settings} from "./settings.js";

const GROUPS = [...CLASSES, "field", "waiting", "not analysed"];
const NAMES = {field: "fields", waiting: "waiting", "not analysed": "notAnalysed"};
const TILES_AT_ONCE = 30;

function groupOf(item) {
  if (item.state === "done") return item.isField ? "field" : item.result.decision.class;
  return item.state === "failed" || item.state === "cancelled" ? "not analysed" : "waiting";
}

function groupName(name) {
  return CLASSES.includes(name) ? className(name) : t(NAMES[name]);
}

/** A result is of one cell, or of a field and all its white cells. */
const cellsOf = (result) => result.cells ?? [result];

function groupSection(name) {
  const title = el("h3");
  const list = el("ul", {class: "tiles"});
  return {title, list, section: el("section", {class: "group", data: {group: name}, hidden: true}, title, list)};
}

export class CellsView {
  #queue;
  #place;
  #selected = null;
  #tiles = new Map();
  #parts = null;
  #frame = 0;
  #allTold = true;
  /** Side in pixels of what tiles show of their images. */
  #side = null;

  #order;
  #teach;

  /** `order(files)` begins an order of a specimen, `teach(files)` the labelling of its cells. */
  constructor(place, queue, order, teach) {
    this.#place = place;
    this.#order = order;
    this.#teach = teach;
    this.#queue = queue;
    queue.addEventListener("change", (event) => this.#changed(event.detail));
    setInterval(() => { if (queue.busyUntil > Date.now() - 1500) this.#showProgress(); }, 500);
  }

  /** Draw anew, in the language of now. */
  render() {
    const intaking = intake((files) => this.#queue.add(files), {takesFields: true});
    this.taken = intaking.taken;
    const groups = new Map(GROUPS.map((name) => [name, groupSection(name)]));
    const none = el("p", {class: "empty"}, t("noCellsYet"));
    this.#parts = {
      groups, none,
      intaking,
      progress: this.#progressLine(),
      gallery: el("div", {class: "gallery", id: "gallery"}, none, [...groups.values()].map((group) => group.section)),
      detail: el("div", {class: "detail-place", id: "detail", tabindex: "-1"}),
    };
    this.#tiles.clear();
    fill(this.#place,
      el("h2", {id: "cells-title"}, t("cells")),
      intaking.node, this.#parts.progress.node,
      el("div", {class: "split"}, this.#parts.gallery, this.#parts.detail));
    this.#showProgress();
    this.#showGallery();
    this.#showSelected();
  }

  /** Show one by its id; the page's address says so (`#/cells/3`). */
  select(id) {
    this.#selected = id;
    this.#showSelected();
    // On a narrow screen the detail stands under the gallery.
    if (id && matchMedia("(max-width: 56rem)").matches) this.#parts?.detail.scrollIntoView();
  }

  #changed(items) {
    if (!this.#parts) return;
    this.#showProgress();
    if (this.#measure() || !items) this.#showGallery();
    else for (const item of items) this.#show(item);
    if (items?.some((item) => item.id === this.#selected)) this.#showSelected();
    // One that was restored: its image is sent for a report only when a person opens it.
    else if (!items && this.#selected !== (this.#parts.detail.dataset.cell ?? null)) this.#showSelected({isOpened: false});
  }

  /** Whether tiles are at another scale than before: it stays while cells are still to be measured. */
  #measure() {
    const {waiting, running} = this.#queue.counts;
    const before = this.#side;
    if (!waiting && !running) this.#side = usualSide(this.#results().map(({box}) => box));
    return this.#side !== before;
  }

  #progressLine() {
    const queue = this.#queue;
    return progressLine("progress", [
      ["cancel-all", () => queue.cancelAll()],
      ["retry-failed", () => queue.retryAll()],
      ["clear", async () => {
        const count = number(queue.items.length);
        if (!await askFirst("clear", t("clearTitle"), el("p", {}, t("clearQuestion", {count})), t("clear"))) return;
        queue.clear();
        location.hash = "#/cells";
        document.getElementById("files").focus();
      }],
    ]);
  }

  #showProgress() {
    const queue = this.#queue;
    const {counts} = queue;
    const total = queue.items.length;
    const notAnalysed = counts.failed + counts.cancelled;
    const ended = counts.done + notAnalysed;
    const waitS = Math.ceil((queue.busyUntil - Date.now()) / 1000);
    this.#parts.intaking.compact(total > 0);
    this.#parts.progress.show({
      isShown: total > 0, total, ended, text: t("progress", {done: number(ended), total: number(total)}),
      busy: waitS > 0 && counts.waiting ? t(queue.isOffline ? "askedAgain" : "busy", {seconds: seconds(waitS)}) : "",
      buttons: {
        "cancel-all": counts.waiting + counts.running ? t("cancelAll") : "",
        "retry-failed": notAnalysed ? t("retryFailed", {count: number(notAnalysed)}) : "",
        clear: total && ended === total ? t("clear") : "",
      },
    });
    if (ended === total && counts.done && !this.#allTold) announce(t("allDone", {count: counts.done}));
    this.#allTold = ended === total;
    if (!this.#selectedItem()) this.#showOverview();
  }

  /** All of it anew: after many were added or taken away. Some in each frame, so that no key press waits. */
  #showGallery() {
    for (const [id, tile] of this.#tiles) {
      if (!this.#queue.find(id)) {
        tile.node.remove();
        this.#tiles.delete(id);
      }
    }
    for (const group of GROUPS) this.#countGroup(group);
    this.#parts.none.hidden = this.#queue.items.length > 0;
    const left = [...this.#queue.items];
    const some = () => {
      for (const item of left.splice(0, TILES_AT_ONCE)) this.#show(item);
      this.#frame = left.length ? requestAnimationFrame(some) : 0;
    };
    cancelAnimationFrame(this.#frame);
    some();
  }

  /** One tile, in its group; where only that one changes, only that one moves. */
  #show(item) {
    const group = groupOf(item);
    let tile = this.#tiles.get(item.id);
    if (!tile) {
      tile = new Tile(item, this.#queue);
      this.#tiles.set(item.id, tile);
    }
    if (tile.group !== group) {
      const before = tile.group;
      tile.group = group;
      insertInOrder(this.#parts.groups.get(group).list, tile.node);
      for (const one of [before, group]) this.#countGroup(one);
    }
    tile.show(item, this.#side);
  }

  #countGroup(name) {
    const group = this.#parts.groups.get(name);
    if (!group) return;
    const count = group.list.childElementCount;
    group.section.hidden = count === 0;
    group.title.textContent = `${groupName(name)} (${count})`;
  }

  #selectedItem() {
    return this.#selected && this.#queue.find(this.#selected);
  }

  #results() {
    return this.#queue.items.filter((item) => item.state === "done").map((item) => item.result);
  }

  #mark() {
    for (const [id, tile] of this.#tiles) tile.mark(id === this.#selected);
  }

  #showSelected({isOpened = true} = {}) {
    if (!this.#parts) return;
    const item = this.#selectedItem();
    if (item) this.#parts.detail.dataset.cell = item.id;
    else delete this.#parts.detail.dataset.cell;
    this.#mark();
    if (!item) this.#showOverview();
    else if (item.state === "done" && item.isField) showField(this.#parts.detail, item);
    else if (item.state === "done") {
      const device = {...deviceOf([item.result]), resembled: resembled(this.#results().map((result) => result.looks_like))};
      const report = isOpened ? reportOf(item) : null;
      showDetail(this.#parts.detail, {result: item.result, url: item.url, name: item.name, report, device});
    } else {
      fill(this.#parts.detail, el("article", {class: "detail"},
        el("h3", {}, item.name),
        el("p", {role: "status", class: item.error ? "problem" : "note"}, item.error ? errorText(item.error) : t(`state_${item.state}`))));
    }
  }

  /** While no cell is chosen: how many of each class there are. */
  #showOverview() {
    const place = this.#parts.detail;
    if (!this.#queue.items.length) {
      fill(place);
      return;
    }
    const done = this.#results();
    if (!place.querySelector(".overview")) {
      fill(place, overview(() => this.#order(ofOneKind(this.#queue.items)), () => this.#teach(ofOneKind(this.#queue.items))));
    }
    const own = ofOneKind(this.#queue.items);
    const order = place.querySelector("#order-these");
    order.textContent = t("orderThese", {count: number(own.length)});
    order.hidden = !own.length;
    place.querySelector("#choose-cell").textContent = t(own.length ? "chooseCell" : "chooseField");
    const device = deviceOf(done);
    fill(place.querySelector(".device"), deviceNote(device));
    const teach = place.querySelector("#label-these");
    teach.textContent = t("labelThese", {count: number(own.length)});
    teach.hidden = !["unknown", "profiled"].includes(device.state) || !own.length || Boolean(own[0].profile);
    const cells = done.flatMap(cellsOf);
    for (const row of place.querySelectorAll(".overview tbody tr")) {
      const found = cells.filter(({decision}) => decision.class === row.dataset.class);
      row.querySelector(".count").textContent = number(found.length);
      row.querySelector(".to-review").textContent = number(found.filter(({review}) => review.needed).length);
      row.querySelector(".bar-fill").style.inlineSize = `${cells.length ? (100 * found.length) / cells.length : 0}%`;
    }
  }
}

/** In the order in which the images came; the next one mostly belongs at the end. */
function insertInOrder(list, node) {
  let before = list.lastElementChild;
  while (before && Number(before.dataset.id) > Number(node.dataset.id)) before = before.previousElementSibling;
  if (before) before.after(node);
  else list.prepend(node);
}

/** The files of the items that are single cells; of samples, which make a specimen of their own, only where there is nothing else. */
function ofOneKind(items) {
  const files = items.filter((item) => !item.isField).map((item) => item.file);
  const own = files.filter((file) => !file.profile);
  return own.length ? own : files;
}

function overview(order, teach) {
  return el("article", {class: "detail overview"},
    el("h3", {}, t("overview")),
    el("p", {class: "note", id: "choose-cell"}),
    el("div", {class: "device"}),
    el("table", {class: "bars"},
      el("thead", {}, el("tr", {},
        el("th", {scope: "col"}, t("class")), el("th", {scope: "col", class: "number"}, t("count")),
        el("th", {scope: "col", class: "number"}, t("toReview")), el("td", {"aria-hidden": "true"}))),
      el("tbody", {}, CLASSES.map((name) => el("tr", {data: {class: name}},
        el("th", {scope: "row"}, className(name)),
        el("td", {class: "number count"}), el("td", {class: "number to-review"}),
        el("td", {class: "bar-cell", "aria-hidden": "true"},
          el("span", {class: "bar-track"}, el("span", {class: `bar-fill ${name.toLowerCase()}`}))))))),
    el("p", {class: "note"}, t("noDifferential")),
    el("p", {}, el("button", {type: "button", id: "order-these", onclick: order})),
    el("p", {}, el("button", {type: "button", id: "label-these", hidden: true, onclick: teach})));
}

/** The report about an image, asked for once in each language. */
function reportOf(item) {
  if (settings.get("writer") === "none") return item.report?.promise ?? null;
  const asked = `${language()} ${settings.get("writer")}`;
  if (item.report?.asked !== asked) {
    const {result, report} = analyseAndReport(item.file, analysisChoice(item.file));
    result.catch(() => {});
    item.report = {asked, promise: report};
    report.catch(() => { item.report = null; });  // asked again when the cell is opened again
  }
  return item.report.promise;
}

/** An image in the gallery; the node is made once and changed, so that hundreds of them stay quick. */
class Tile {
  group = "";
  #caption = el("span", {class: "tile-caption"});
  #actions = el("span", {class: "tile-actions"});
  #link;
  #image = null;
  #part = null;
  #shown = "";

  constructor(item, queue) {
    this.queue = queue;
    this.#link = el("a", {href: `#/cells/${item.id}`}, this.#caption);
    this.node = el("li", {class: "tile", data: {id: item.id}}, this.#link, this.#actions);
  }

  /** Its image, cut out at this scale once its cell is known, and what is said of it. */
  show(item, side) {
    const part = item.result && partOf(item.result.box, item.result.image, side);
    if (!this.#image || JSON.stringify(part) !== JSON.stringify(this.#part)) {
      this.#part = part;
      this.#image?.remove();
      this.#image = lazyImage(() => (part ? smallAddress(item.file, part) : item.url));
      this.#link.prepend(this.#image);
    }
    const shows = `${item.state} ${language()}`;
    if (shows === this.#shown) return;
    this.#shown = shows;
    this.node.dataset.state = item.state;
    const isDone = item.state === "done";
    const toReview = isDone && cellsOf(item.result).some(isDoubtful);
    this.node.classList.toggle("review", toReview);
    const told = isDone && (item.isField ? foundText(item.result) : percent(item.result.decision.confidence));
    const words = isDone ? `${told}${toReview ? ` · ${t("review")}` : ""}` : t(`state_${item.state}`);
    fill(this.#caption, el("span", {class: "tile-name"}, item.name), el("span", {}, words));
    this.#link.setAttribute("aria-label",
      [item.name, isDone && !item.isField ? className(item.result.decision.class) : "", words].filter(Boolean).join(", "));
    const isOpen = item.state === "waiting" || item.state === "running";
    const canRetry = item.state === "failed" || item.state === "cancelled";
    fill(this.#actions,
      isOpen ? el("button", {type: "button", class: "quiet", "aria-label": t("cancelOne", {name: item.name}),
        onclick: () => this.queue.cancel(item)}, "×") : null,
      canRetry ? el("button", {type: "button", class: "quiet", "aria-label": t("retryOne", {name: item.name}),
        onclick: () => this.queue.retry(item)}, "↻") : null);
  }

  mark(isSelected) {
    if (isSelected) this.#link.setAttribute("aria-current", "true");
    else this.#link.removeAttribute("aria-current");
  }
}
