// One specimen: ordering it, its differential, and the review by which a person closes it.

import {announce, el, fill, svg} from "./dom.js";
import {analyse, apiKey, ask, blobAddress, ServiceError} from "./api.js";
import {CLASSES, cellDetail} from "./cell_detail.js";
import * as differentials from "./differentials.js";
import {intake} from "./intake.js";
import {className, dateTime, errorText, number, percent, specimenState, statementText, t} from "./messages.js";
import {settings} from "./settings.js";

const LABELS = [...CLASSES, "Unidentified"];
const CLOSED = ["signed", "cancelled"];

export class SpecimenView {
  #place;
  #found = null;
  #current = null;
  #opened = null;
  #decided = [];
  #follow = null;
  /** Images of the orders of this page, which show where the service keeps none. */
  #files = new Map();
  #explained = new Map();

  constructor(place) {
    this.#place = place;
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** The order form, or the specimen with this id. */
  async render(id = null) {
    this.#follow?.abort();
    this.taken = null;
    if (!id) {
      this.#found = null;
      this.#orderForm();
      return;
    }
    if (this.#found?.id !== id) {
      this.#found = null;
      this.#current = null;
      this.#decided = [];
      fill(this.#place, el("h2", {id: "specimen-title"}, t("specimenTitle")), el("p", {role: "status"}, "…"));
    }
    try {
      this.#take(await differentials.get(id));
      if (!this.#isOpen()) this.#watch(id);
    } catch (error) {
      this.#failed(error);
    }
  }

  #isOpen() {
    return this.#found && !["waiting", "running"].includes(this.#found.state);
  }

  #failed(error) {
    fill(this.#place,
      el("h2", {id: "specimen-title"}, t("specimenTitle")),
      el("p", {class: "problem", role: "alert"}, error.status === 404 ? t("notThere") : errorText(error)),
      el("p", {}, el("a", {href: "#/specimen"}, t("newOrder"))));
  }

  // The order

  #orderForm() {
    let files = [];
    const key = crypto.randomUUID();
    const problem = el("p", {class: "problem", role: "alert"});
    const name = el("input", {type: "text", id: "specimen-id", required: true, maxlength: "64", autocomplete: "off"});
    const total = el("input", {type: "number", id: "total-wbc", min: "0.01", max: "1000", step: "0.01", inputmode: "decimal"});
    const send = el("button", {type: "submit", id: "order", class: "primary", disabled: true}, t("analyseSpecimen", {count: 0}));
    const chosen = el("p", {class: "note", role: "status"});
    const intaking = intake((more) => {
      files = [...files, ...more];
      chosen.textContent = t("chosenImages", {count: files.length});
      send.textContent = t("analyseSpecimen", {count: files.length});
      send.disabled = false;
    });
    this.taken = intaking.taken;
    const form = el("form", {
      onsubmit: async (event) => {
        event.preventDefault();
        problem.textContent = "";
        if (!name.value.trim()) {
          problem.textContent = t("specimenNeedsId");
          name.focus();
          return;
        }
        send.disabled = true;
        try {
          const id = await differentials.order(files, {
            specimenId: name.value.trim(), totalWbc: total.valueAsNumber || null,
            profile: settings.get("profile"), tta: settings.get("tta"), key,
          });
          this.#files.set(id, files);
          location.hash = `#/specimen/${encodeURIComponent(id)}`;
        } catch (error) {
          problem.textContent = error.status === 404 || error.status === 501 ? t("storeIsOff") : errorText(error);
          send.disabled = false;
        }
      },
    },
      el("p", {class: "field"}, el("label", {for: "specimen-id"}, t("specimenId")), name),
      el("p", {class: "field"}, el("label", {for: "total-wbc"}, t("totalWbc")), total),
      intaking.node, chosen, el("p", {}, send), problem);
    fill(this.#place, el("h2", {id: "specimen-title"}, t("specimenTitle")), form);
  }

  // Progress

  async #watch(id) {
    this.#follow = new AbortController();
    const {signal} = this.#follow;
    try {
      await differentials.follow(id, (name, data) => {
        if (name !== "progress" && name !== "done") return;
        this.#found = {...this.#found, state: data.state,
          progress: {...this.#found.progress, waiting: data.waiting, counted: data.analysed, failed: data.failed}};
        this.#showProgress();
      }, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ServiceError)) await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    if (signal.aborted) return;
    this.#take(await differentials.get(id));
    if (this.#isOpen()) announce(t("allDone", {count: this.#found.progress.counted}));
    else this.#watch(id);
  }

  #showProgress() {
    const place = document.getElementById("specimen-progress");
    if (!place) return;
    const {total, waiting, counted, failed} = this.#found.progress;
    fill(place,
      el("label", {for: "specimen-bar"}, t("counted", {counted, waiting, failed})),
      this.#isOpen() ? null : el("progress", {id: "specimen-bar", max: total, value: total - waiting}),
      this.#isOpen() ? null : el("button", {type: "button", id: "cancel-specimen", onclick: () => this.#do(differentials.cancel)}, t("cancelSpecimen")));
  }

  // The differential

  #take(found) {
    this.#found = found;
    if (this.#opened !== found.id) {
      this.#current = found.review_list[0] ?? found.cells[0]?.id ?? null;
      // Only when all are analysed is it known which is the closest call.
      if (this.#isOpen()) this.#opened = found.id;
    }
    this.#show();
  }

  #show() {
    const found = this.#found;
    const panel = el("div", {class: "detail-place", id: "review-detail", tabindex: "-1"});
    fill(this.#place,
      el("h2", {id: "specimen-title"}, found.specimen_id, " ", el("span", {class: "note"}, specimenState(found.state))),
      el("div", {class: "progress", id: "specimen-progress"}),
      found.signature ? el("p", {}, t("signedBy", {person: found.signature.person, when: dateTime(found.signature.signed_at)})) : null,
      el("div", {class: "split"},
        el("div", {}, countsTable(found), chart(found), statements(found), this.#actions(), this.#trail()),
        el("div", {}, this.#review(), panel)));
    this.#showProgress();
    this.#showCell();
  }

  #actions() {
    const found = this.#found;
    const links = Object.entries(differentials.exports(found.id))
      .map(([kind, href]) => el("a", {
        href, download: `differential.${kind}`, class: "button", data: {export: kind}, onclick: (event) => download(event, href),
      }, kind.toUpperCase()));
    const closed = CLOSED.includes(found.state);
    return el("div", {class: "no-print"},
      el("p", {class: "buttons", role: "group", "aria-label": t("export")}, el("span", {}, t("export")), links,
        el("button", {type: "button", id: "print", onclick: () => print()}, t("print"))),
      el("p", {class: "buttons"},
        el("button", {type: "button", id: "undo", disabled: closed || !this.#decided.length, onclick: () => this.#undo()}, t("undo")),
        el("button", {type: "button", id: "sign", class: "primary", disabled: found.state !== "analysed", onclick: () => this.#sign()}, t("sign"))),
      closed && found.state === "signed" ? el("p", {class: "note"}, t("closed")) : null);
  }

  #trail() {
    const list = el("ol", {class: "trail"});
    return el("details", {
      class: "no-print", ontoggle: async (event) => {
        if (!event.target.open) return;
        try {
          const {entries} = await differentials.audit(this.#found.id);
          fill(list, entries.map((entry) => el("li", {},
            [dateTime(entry.at), entry.actor, entry.action, ...Object.values(entry.details)].join(" · "))));
        } catch (error) {
          fill(list, el("li", {}, errorText(error)));
        }
      },
    }, el("summary", {}, t("trail")), list);
  }

  // The review

  #cell(id) {
    return this.#found.cells.find((cell) => cell.id === id) ?? null;
  }

  #review() {
    const waiting = this.#found.review_list;
    const order = this.#order();
    const keys = settings.get("keys");
    return el("section", {class: "no-print", "aria-labelledby": "review-title"},
      el("h3", {id: "review-title"}, waiting.length ? t("reviewList", {count: waiting.length}) : t("reviewDone")),
      el("p", {class: "note"}, t("reviewHelp", {...keys, labels: keys.labels.join(" ")})),
      el("ul", {class: "tiles review-list"}, order.map((id) => this.#tile(this.#cell(id)))));
  }

  /** What waits, closest calls first; then all others by their numbers. */
  #order() {
    const waiting = new Set(this.#found.review_list);
    return [...this.#found.review_list, ...this.#found.cells.map((cell) => cell.id).filter((id) => !waiting.has(id))];
  }

  #tile(cell) {
    const words = cell.label ? className(cell.label) : t(`state_${cell.state === "analysed" ? "done" : cell.state}`);
    const image = el("img", {alt: "", loading: "lazy", decoding: "async", width: "96", height: "96"});
    image.addEventListener("error", () => image.remove());
    const file = this.#file(cell);
    if (file) image.src = file.url ??= URL.createObjectURL(file);
    else showKept(image, differentials.imageUrl(this.#found.id, cell.id));
    return el("li", {class: `tile${cell.needs_review ? " review" : ""}`, data: {cell: cell.id}},
      el("a", {
        href: `#/specimen/${encodeURIComponent(this.#found.id)}`,
        "aria-current": cell.id === this.#current ? "true" : null,
        "aria-label": `${t("cellNumber", {number: cell.number})}, ${words}`,
        onclick: (event) => { event.preventDefault(); this.#goTo(cell.id); },
      }, image, el("span", {class: "tile-caption"},
        el("span", {class: "tile-name"}, t("cellNumber", {number: cell.number})),
        el("span", {}, words, cell.decision ? " ✓" : ""))));
  }

  #file(cell) {
    return this.#files.get(this.#found.id)?.[cell.number - 1] ?? null;
  }

  #goTo(id) {
    this.#current = id;
    for (const tile of this.#place.querySelectorAll(".review-list .tile")) {
      const link = tile.querySelector("a");
      if (tile.dataset.cell === id) {
        link.setAttribute("aria-current", "true");
        tile.scrollIntoView({block: "nearest"});
      } else link.removeAttribute("aria-current");
    }
    this.#showCell();
  }

  async #showCell() {
    const panel = document.getElementById("review-detail");
    const cell = this.#current && this.#cell(this.#current);
    if (!panel || !cell) return;
    if (!cell.result) {
      fill(panel, el("p", {class: "problem"}, cell.failure ?? t(`state_${cell.state}`)));
      return;
    }
    const key = cell.id;
    const known = this.#explained.get(key);
    fill(panel, cellDetail(known ?? {result: asAnalysis(cell), url: null, file: null}, this.#decision(cell)));
    if (known) return;
    const file = this.#file(cell) ?? await keptImage(differentials.imageUrl(this.#found.id, key));
    if (!file || this.#current !== key) return;
    try {
      const {profile, tta} = this.#found;
      const result = await analyse(file, {language: settings.get("language"), profile, tta});
      this.#explained.set(key, {result, url: file.url ??= URL.createObjectURL(file), file});
      // The buttons are there already: only the picture is put in, so that no key goes into the void.
      if (this.#current === key) fill(panel, cellDetail(this.#explained.get(key), this.#decision(this.#cell(key))));
    } catch {
      // The facts are there; the picture is not.
    }
  }

  #decision(cell) {
    const keys = settings.get("keys");
    const closed = CLOSED.includes(this.#found.state) || !this.#isOpen();
    const own = cell.result.class;
    const said = cell.decision && (cell.decision.label === own
      ? t("acceptedAs", {label: className(own)})
      : t("reclassified", {label: className(cell.decision.label), before: className(own)}));
    return el("div", {class: "decide no-print", role: "group", "aria-label": t("decide")},
      said ? el("p", {id: "said"}, said) : null,
      el("span", {class: "buttons"},
        el("button", {type: "button", id: "accept", disabled: closed, onclick: () => this.#decide(cell, own)}, `${t("accept")} (${keys.accept})`),
        LABELS.map((label, index) => el("button", {
          type: "button", id: `as-${label}`, disabled: closed, "aria-pressed": String(cell.decision?.label === label),
          onclick: () => this.#decide(cell, label),
        }, `${keys.labels[index]} ${className(label)}`))));
  }

  async #decide(cell, label) {
    if (CLOSED.includes(this.#found.state) || !this.#isOpen()) return;
    const next = this.#next(cell.id);
    await this.#do((id) => differentials.decide(id, cell.id, label), () => {
      this.#decided.push(cell.id);
      this.#current = next ?? cell.id;
      announce(t("acceptedAs", {label: className(label)}));
    });
  }

  /** The one after it that waits; none where it is the last. */
  #next(id) {
    const waiting = this.#found.review_list;
    const at = waiting.indexOf(id);
    return at < 0 ? waiting[0] ?? null : waiting[at + 1] ?? waiting[at - 1] ?? null;
  }

  async #undo() {
    const last = this.#decided.at(-1);
    if (!last) return;
    await this.#do((id) => differentials.undecide(id, last), () => {
      this.#decided.pop();
      this.#current = last;
    });
  }

  #sign() {
    const dialog = el("dialog", {"aria-labelledby": "sign-title"},
      el("h3", {id: "sign-title"}, t("signTitle")),
      el("p", {}, t("signQuestion")),
      this.#found.progress.unreviewed ? el("p", {class: "problem"}, t("reviewList", {count: this.#found.progress.unreviewed})) : null,
      el("form", {method: "dialog", class: "buttons"},
        el("button", {value: "no", id: "sign-no"}, t("no")),
        el("button", {value: "yes", id: "sign-yes", class: "primary"}, t("sign"))));
    dialog.addEventListener("close", async () => {
      dialog.remove();
      if (dialog.returnValue === "yes") await this.#do(differentials.sign);
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  /** Ask for a change, and show what follows from it. */
  async #do(change, then = () => {}) {
    const id = this.#found.id;
    try {
      const found = await change(id);
      then();
      this.#take(found);
    } catch (error) {
      this.#take(await differentials.get(id));
      document.getElementById("specimen-progress").after(el("p", {class: "problem", role: "alert"}, errorText(error)));
    }
  }

  #key(event) {
    if (this.#place.hidden || !this.#found || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, dialog, .frame")) return;
    const keys = settings.get("keys");
    const onControl = event.target.closest("button, a, summary");
    if (onControl && (event.key === "Enter" || event.key === " ")) return;
    const cell = this.#current && this.#cell(this.#current);
    const label = LABELS[keys.labels.indexOf(event.key)];
    if (event.key === keys.next || event.key === keys.previous) {
      const order = this.#order();
      const at = order.indexOf(this.#current) + (event.key === keys.next ? 1 : -1);
      if (order[at]) this.#goTo(order[at]);
    } else if (event.key === keys.accept && cell?.result) this.#decide(cell, cell.result.class);
    else if (label && cell?.result) this.#decide(cell, label);
    else if (event.key === keys.undo) this.#undo();
    else if (event.key === keys.sign && this.#found.state === "analysed") this.#sign();
    else return;
    event.preventDefault();
  }
}

/** A cell of a specimen as an analysis without its picture. */
function asAnalysis(cell) {
  const {result} = cell;
  return {
    request_id: cell.id, model: result.model, profile: result.profile, views: result.views,
    image: {height: result.image_size[0], width: result.image_size[1]},
    decision: {class: result.class, confidence: result.confidence, margin: result.margin},
    review: {needed: result.review_codes.length > 0, reasons: result.review_codes.map((code) => ({code, message: code}))},
    probabilities: result.probabilities, focus: null, heatmap: null, outlines: null, report: null, timings_ms: {},
  };
}

async function keptImage(path) {
  try {
    return new File([await (await ask(path)).blob()], "cell");
  } catch {
    return null;
  }
}

/** Show an image that the service keeps; an image element cannot send a key itself. */
function showKept(image, path) {
  if (!apiKey()) {
    image.src = path;
    return;
  }
  const seen = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting) return;
    seen.disconnect();
    try {
      image.src = await blobAddress(path);
    } catch {
      image.remove();
    }
  });
  seen.observe(image);
}

async function download(event, path) {
  if (!apiKey()) return;
  event.preventDefault();
  const link = event.currentTarget;
  const address = await blobAddress(path);
  el("a", {href: address, download: link.download}).click();
  URL.revokeObjectURL(address);
}

function interval(limits, digits = 1) {
  return limits ? `${number(limits.low, digits)} – ${number(limits.high, digits)}` : "";
}

function countsTable(found) {
  const absolute = found.total_wbc !== null;
  const shift = found.label_shift;
  const head = [t("class"), t("count"), t("percentage"), t("interval"), ...(absolute ? [t("absolute")] : []),
    t("reference"), t("flag"), ...(shift ? [t("labelShift")] : [])];
  return el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": t("specimenTitle")}, el("table", {id: "counts"},
    el("caption", {}, t("specimenTitle")),
    el("thead", {}, el("tr", {}, head.map((name) => el("th", {scope: "col"}, name)))),
    el("tbody", {}, found.counts.map((one) => el("tr", {data: {label: one.label}},
      el("th", {scope: "row"}, className(one.label)),
      el("td", {class: "number"}, number(one.count)),
      el("td", {class: "number"}, one.percentage === null ? "–" : number(one.percentage, 1)),
      el("td", {class: "number"}, interval(one.interval)),
      absolute ? el("td", {class: "number"}, one.absolute === null ? "–" : number(one.absolute, 2)) : null,
      el("td", {class: "number"}, interval(one.reference)),
      el("td", {class: one.flag ? "flag" : ""}, one.flag ? t(one.flag) : ""),
      shift ? el("td", {class: "number"}, one.label in shift ? percent(shift[one.label]) : "") : null)))));
}

/** Each share as a bar with its interval as a line; the table says the same to who does not see it. */
function chart(found) {
  if (found.counts.every((one) => one.percentage === null)) {
    return el("p", {class: "note"}, t("minCells", {count: found.min_cells}));
  }
  const height = 26 * found.counts.length;
  const drawing = svg("svg", {class: "chart", viewBox: `0 0 400 ${height}`, "aria-hidden": "true"});
  found.counts.forEach((one, row) => {
    const y = 26 * row + 4;
    const x = (value) => 90 + 3 * value;
    drawing.append(
      svg("text", {x: 84, y: y + 13, "text-anchor": "end"}, className(one.label)),
      svg("rect", {x: 90, y, width: Math.max(0, 3 * (one.percentage ?? 0)), height: 18, class: `chart-${one.label.toLowerCase()}`}),
      svg("line", {x1: x(one.interval?.low ?? 0), x2: x(one.interval?.high ?? 0), y1: y + 9, y2: y + 9, class: "whisker"}));
  });
  return drawing;
}

function statements(found) {
  if (!found.limitations.length) return null;
  return el("section", {class: "reasons", "aria-labelledby": "limits-title"},
    el("h3", {id: "limits-title"}, t("limitations")),
    el("ul", {}, found.limitations.map((one) => el("li", {}, statementText(one)))));
}
