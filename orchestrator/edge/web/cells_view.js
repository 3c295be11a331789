// Any images, one by one: the queue, the gallery by class, and the cell that is looked at.

import {announce, el, fill} from "./dom.js";
import {CLASSES, showDetail} from "./cell_detail.js";
import {intake} from "./intake.js";
import {className, errorText, percent, seconds, t} from "./messages.js";

const GROUPS = [...CLASSES, "waiting", "not analysed"];

function groupOf(item) {
  if (item.state === "done") return item.result.decision.class;
  return item.state === "failed" || item.state === "cancelled" ? "not analysed" : "waiting";
}

function groupName(name) {
  return CLASSES.includes(name) ? className(name) : t(name === "waiting" ? "waiting" : "notAnalysed");
}

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

  constructor(place, queue) {
    this.#place = place;
    this.#queue = queue;
    queue.addEventListener("change", (event) => this.#changed(event.detail));
    setInterval(() => { if (queue.busyUntil > Date.now() - 1500) this.#showProgress(); }, 500);
  }

  /** Draw anew, in the language of now. */
  render() {
    const intaking = intake((files) => this.#queue.add(files));
    this.taken = intaking.taken;
    const groups = new Map(GROUPS.map((name) => [name, groupSection(name)]));
    const none = el("p", {class: "empty"}, t("noCellsYet"));
    this.#parts = {
      groups, none,
      progress: el("div", {class: "progress", id: "progress"}),
      gallery: el("div", {class: "gallery", id: "gallery"}, none, [...groups.values()].map((group) => group.section)),
      detail: el("div", {class: "detail-place", id: "detail", tabindex: "-1"}),
    };
    this.#tiles.clear();
    fill(this.#place,
      el("h2", {id: "cells-title"}, t("cells")),
      intaking.node, this.#parts.progress,
      el("div", {class: "split"}, this.#parts.gallery, this.#parts.detail));
    this.#changed(null);
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
    if (!items) this.#showGallery();
    else for (const item of items) this.#show(item);
    if (this.#selected && items?.some((item) => item.id === this.#selected)) this.#showSelected();
  }

  #showProgress() {
    const queue = this.#queue;
    const total = queue.items.length;
    if (!total) {
      fill(this.#parts.progress);
      return;
    }
    const counts = queue.counts;
    const ended = counts.done + counts.failed + counts.cancelled;
    const waitS = Math.ceil((queue.busyUntil - Date.now()) / 1000);
    fill(this.#parts.progress,
      el("label", {for: "progress-bar"}, t("progress", {done: ended, total})),
      el("progress", {id: "progress-bar", max: total, value: ended}),
      waitS > 0 && counts.waiting ? el("p", {class: "busy", role: "status"}, t("busy", {seconds: seconds(waitS)})) : null,
      el("span", {class: "buttons"},
        counts.waiting + counts.running
          ? el("button", {type: "button", id: "cancel-all", onclick: () => queue.cancelAll()}, t("cancelAll")) : null,
        counts.failed
          ? el("button", {type: "button", id: "retry-failed", onclick: () => queue.retryFailed()},
            t("retryFailed", {count: counts.failed})) : null,
        ended === total
          ? el("button", {type: "button", id: "clear", onclick: () => { this.select(null); queue.clear(); location.hash = "#/cells"; }},
            t("clear")) : null));
    if (ended === total && counts.done && !this.#announced) announce(t("allDone", {count: counts.done}));
    this.#announced = ended === total;
  }

  #announced = true;

  /** All of it anew: after many were added or taken away. */
  #showGallery() {
    for (const [id, tile] of this.#tiles) {
      if (!this.#queue.find(id)) {
        tile.node.remove();
        this.#tiles.delete(id);
      }
    }
    for (const item of this.#queue.items) this.#show(item);
    for (const group of GROUPS) this.#countGroup(group);
    this.#parts.none.hidden = this.#queue.items.length > 0;
    this.#mark();
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
      this.#parts.groups.get(group).list.append(tile.node);
      for (const one of [before, group]) this.#countGroup(one);
    }
    tile.show(item);
  }

  #countGroup(name) {
    const group = this.#parts.groups.get(name);
    if (!group) return;
    const count = group.list.childElementCount;
    group.section.hidden = count === 0;
    group.title.textContent = `${groupName(name)} (${count})`;
  }

  #mark() {
    for (const [id, tile] of this.#tiles) tile.mark(id === this.#selected);
  }

  #showSelected() {
    if (!this.#parts) return;
    const item = this.#selected && this.#queue.find(this.#selected);
    this.#mark();
    if (!item) fill(this.#parts.detail, this.#queue.items.length ? el("p", {class: "empty"}, t("chooseCell")) : null);
    else if (item.state === "done") showDetail(this.#parts.detail, item);
    else {
      fill(this.#parts.detail, el("article", {class: "detail"},
        el("h3", {}, item.name),
        el("p", {role: "status"}, item.error ? errorText(item.error) : t(`state_${item.state}`))));
    }
  }
}

/** An image in the gallery; the node is made once and changed, so that hundreds of them stay quick. */
class Tile {
  group = "";
  #caption = el("span", {class: "tile-caption"});
  #actions = el("span", {class: "tile-actions"});
  #link;

  constructor(item, queue) {
    this.queue = queue;
    this.#link = el("a", {href: `#/cells/${item.id}`},
      el("img", {src: item.url, alt: "", loading: "lazy", decoding: "async", width: "96", height: "96"}), this.#caption);
    this.node = el("li", {class: "tile", data: {id: item.id}}, this.#link, this.#actions);
  }

  show(item) {
    this.node.dataset.state = item.state;
    this.node.classList.toggle("review", item.state === "done" && item.result.review.needed);
    const words = item.state === "done"
      ? `${percent(item.result.decision.confidence)}${item.result.review.needed ? ` · ${t("review")}` : ""}`
      : t(`state_${item.state}`);
    fill(this.#caption, el("span", {class: "tile-name"}, item.name), el("span", {}, words));
    this.#link.setAttribute("aria-label",
      [item.name, item.state === "done" ? className(item.result.decision.class) : "", words].filter(Boolean).join(", "));
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
