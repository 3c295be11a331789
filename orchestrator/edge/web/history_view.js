// What this browser has seen before, and the specimens that the service keeps.

import {el, fill} from "./dom.js";
import * as differentials from "./differentials.js";
import {showDetail} from "./cell_detail.js";
import {all, find, forgetAll} from "./history.js";
import {className, dateTime, percent, specimenState, t} from "./messages.js";

export class HistoryView {
  #place;

  constructor(place) {
    this.#place = place;
  }

  async render(id = null) {
    const detail = el("div", {class: "detail-place", tabindex: "-1"});
    const list = el("ul", {class: "tiles"});
    const stored = el("div", {});
    fill(this.#place,
      el("h2", {id: "history-title"}, t("history")),
      el("section", {"aria-labelledby": "stored-title"}, el("h3", {id: "stored-title"}, t("storedSpecimens")), stored),
      el("section", {"aria-labelledby": "browser-title"},
        el("h3", {id: "browser-title"}, t("thisBrowser")),
        el("p", {class: "note"}, t("historyNote")),
        el("p", {}, el("button", {
          type: "button", id: "forget", onclick: async () => { await forgetAll(); this.render(); },
        }, t("forgetAll"))),
        el("div", {class: "split"}, list, detail)));
    showStored(stored);
    const entries = await all();
    fill(list, entries.length ? entries.map(tile) : el("li", {class: "empty"}, t("nothingYet")));
    const entry = id && await find(id);
    if (entry) {
      const url = entry.thumbnail ? URL.createObjectURL(entry.thumbnail) : null;
      showDetail(detail, {result: entry.result, url, file: null, name: entry.name});
    }
  }
}

function tile(entry) {
  const {decision, review} = entry.result;
  const words = `${className(decision.class)}, ${percent(decision.confidence)}`;
  const image = el("img", {alt: "", loading: "lazy", width: "96", height: "96"});
  if (entry.thumbnail) image.src = URL.createObjectURL(entry.thumbnail);
  return el("li", {class: `tile${review.needed ? " review" : ""}`},
    el("a", {href: `#/history/${encodeURIComponent(entry.id)}`, "aria-label": `${words}, ${dateTime(entry.when)}`},
      image, el("span", {class: "tile-caption"}, el("span", {}, words), el("span", {}, dateTime(entry.when)))));
}

async function showStored(place) {
  try {
    const page = await differentials.page(50);
    const found = page.items;
    fill(place, found.length ? el("table", {},
      el("thead", {}, el("tr", {},
        [t("specimenId"), t("state"), t("cells"), t("created")].map((name) => el("th", {scope: "col"}, name)))),
      el("tbody", {}, found.map((one) => el("tr", {},
        el("th", {scope: "row"}, el("a", {href: `#/specimen/${encodeURIComponent(one.id)}`}, one.specimen_id)),
        el("td", {}, specimenState(one.state)),
        el("td", {class: "number"}, String(one.cells)),
        el("td", {}, dateTime(one.created_at)))))) : el("p", {class: "empty"}, t("noSpecimens")));
  } catch (error) {
    fill(place, el("p", {class: "note"}, error.status === 0 ? t("offline") : t("storeIsOff")));
  }
}
