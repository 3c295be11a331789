// What this browser has seen before.

import {askFirst} from "./ask_first.js";
import {el, fill} from "./dom.js";
import {notOfDevice} from "./device.js";
import {showDetail} from "./cell_detail.js";
import {all, find, forgetAll} from "./history.js";
import {lazyImage} from "./lazy_image.js";
import {forgetTabs} from "./tab_cells.js";
import {className, dateTime, percent, t} from "./messages.js";

const SEEN_AT_ONCE = 60;

export class HistoryView {
  #place;

  constructor(place) {
    this.#place = place;
  }

  /** The lists, and the cell with this id. */
  async render(id = null) {
    const detail = el("div", {class: "detail-place", tabindex: "-1"});
    const seen = el("div", {});
    const forget = el("button", {
      type: "button", id: "forget", hidden: true, onclick: async () => {
        if (!await askFirst("forget", t("forgetTitle"), el("p", {}, t("forgetQuestion")), t("forgetAll"))) return;
        await Promise.all([forgetAll(), forgetTabs()]);
        this.render();
      },
    }, t("forgetAll"));
    fill(this.#place,
      el("h2", {id: "history-title"}, t("history")),
      el("section", {"aria-labelledby": "browser-title"},
        el("h3", {id: "browser-title"}, t("thisBrowser")),
        el("p", {class: "note"}, t("historyNote"), " ", forget),
        el("div", {class: "split"}, seen, detail)));
    const entries = await all();
    forget.hidden = !entries.length;
    if (entries.length) inParts(seen, el("ul", {class: "tiles"}), entries.map((entry) => () => tile(entry, entry.id === id)), SEEN_AT_ONCE);
    else fill(seen, el("p", {class: "empty"}, t("nothingYet")));
    const entry = id && await find(id);
    if (!entry) return;
    const url = entry.thumbnail ? URL.createObjectURL(entry.thumbnail) : null;
    showDetail(detail, {result: entry.result, url, name: entry.name, heatNote: "heatmapNotKept", isSmall: true});
  }
}

/** Some of many in a list, and a button for more of them. */
function inParts(place, list, makers, atOnce) {
  const more = el("button", {type: "button", onclick: () => grow()}, t("showMore"));
  let shown = 0;
  function grow() {
    list.append(...makers.slice(shown, shown + atOnce).map((make) => make()));
    shown += atOnce;
    if (shown >= makers.length) more.remove();
  }
  grow();
  fill(place, list, shown < makers.length ? el("p", {}, more) : null);
}

function tile(entry, isSelected) {
  const {decision, review} = entry.result;
  const words = `${className(decision.class)}, ${percent(decision.confidence)}`;
  const image = entry.thumbnail ? lazyImage(() => URL.createObjectURL(entry.thumbnail)) : null;
  return el("li", {class: `tile${notOfDevice(review.reasons).length ? " review" : ""}`},
    el("a", {
      href: `#/history/${encodeURIComponent(entry.id)}`, "aria-current": isSelected ? "true" : null,
      "aria-label": [entry.name, words, dateTime(entry.when)].join(", "),
    }, image, el("span", {class: "tile-caption"},
      el("span", {class: "tile-name"}, entry.name),
      el("span", {}, className(decision.class), " ", percent(decision.confidence, 0)),
      el("span", {class: "note"}, dateTime(entry.when, "short")))));
}
