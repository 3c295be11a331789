// One specimen: its order, its differential, and the review by which a person closes it.

import {announce, el, fill} from "./dom.js";
import {cellDetail} from "./cell_detail.js";
import {sheet} from "./differential_sheet.js";
import {deviceNote} from "./device.js";
import * as differentials from "./differentials.js";
import {ExplainedCells} from "./explained_cells.js";
import {className, dateTime, errorText, keyName, language, number, specimenState, t} from "./messages.js";
import {progressLine} from "./progress_line.js";
import {askToSign, decisionButtons, keysHelp} from "./review_controls.js";
import {settings} from "./settings.js";
import {exports, trail} from "./specimen_actions.js";
import {orderForm} from "./specimen_order.js";
import {LABELS, SpecimenTiles, urlOf} from "./specimen_tiles.js";

const CLOSED = ["signed", "cancelled"];
const REFRESH_MS = 2500;
const RETRY_S = 2;
/** Who runs through the cells asks for no heatmap of each. */
const REST_MS = 120;

const after = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export class SpecimenView {
  #place;
  #found = null;
  #current = null;
  #decided = [];
  #follow = null;
  #parts = null;
  #order = null;
  #refreshed = 0;
  /** Images of the orders of this page, which show where the service keeps none. */
  #files = new Map();
  #explained = new ExplainedCells();

  constructor(place) {
    this.#place = place;
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** The order form, or the specimen with this id, and the cell with this number. */
  async render(id = null, cellNumber = null) {
    this.#follow?.abort();
    const {signal} = this.#follow = new AbortController();
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
      fill(this.#place, el("h2", {id: "specimen-title"}, t("specimenTitle")), el("p", {role: "status"}, t("loading")));
    }
    try {
      const found = await differentials.get(id);
      if (signal.aborted) return;
      this.#build(found);
      this.#current = found.cells.find((cell) => String(cell.number) === cellNumber)?.id ?? this.#current;
      this.#take(found);
      this.#show();
      if (!this.#isOpen()) this.#watch(id, signal);
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    }
  }

  #isOpen() {
    return this.#found && !["waiting", "running"].includes(this.#found.state);
  }

  #isClosed() {
    return CLOSED.includes(this.#found.state) || !this.#isOpen();
  }

  #failed(error) {
    fill(this.#place,
      el("h2", {id: "specimen-title"}, t("specimenTitle")),
      el("p", {class: "problem", role: "alert"}, error.status === 404 ? t("notThere") : errorText(error)),
      el("p", {}, el("a", {href: "#/specimen"}, t("newOrder"))));
  }

  #orderForm() {
    // Who looks at something else and comes back finds what he has chosen.
    if (this.#order?.language !== language()) {
      const form = orderForm((id, files) => {
        this.#order = null;
        this.#files.set(id, files);
        location.hash = `#/specimen/${encodeURIComponent(id)}`;
      });
      this.#order = {...form, language: language()};
    }
    this.taken = this.#order.taken;
    fill(this.#place, el("h2", {id: "specimen-title"}, t("newOrder")), this.#order.node);
  }

  /** Follow the analysis to its end. */
  async #watch(id, signal) {
    while (!signal.aborted) {
      try {
        await differentials.follow(id, (name, data) => this.#progressed(name, data, signal), signal);
        const found = await differentials.get(id);
        if (signal.aborted) return;
        this.#say("");
        this.#take(found);
        if (!this.#isOpen()) { // the stream was old enough, or its process leaves
          await after(1000 * RETRY_S);
          continue;
        }
        // Only now it is known which is the least confident.
        this.#goTo(found.review_list[0] ?? this.#current);
        announce(t("allDone", {count: number(found.progress.counted)}));
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#say(errorText(error));
        await after(1000 * (error.retryAfterS ?? RETRY_S));
      }
    }
  }

  async #progressed(name, data, signal) {
    if (name !== "progress" || signal.aborted) return;
    this.#found = {...this.#found, state: data.state,
      progress: {...this.#found.progress, waiting: data.waiting, counted: data.analysed, failed: data.failed}};
    this.#showProgress();
    if (Date.now() - this.#refreshed < REFRESH_MS) return;
    this.#refreshed = Date.now();
    const found = await differentials.get(this.#found.id).catch(() => null);
    if (found && !signal.aborted && !this.#isOpen()) this.#take(found);
  }

  // What is seen

  #build(found) {
    const made = `${found.id} ${language()} ${settings.get("writer")} ${JSON.stringify(settings.get("keys"))}`;
    if (this.#parts?.made === made) {
      fill(this.#place, this.#parts.nodes);
      return;
    }
    this.#explained.clear();
    const tiles = new SpecimenTiles((id) => { this.#goTo(id); this.#parts.panel.focus({preventScroll: true}); this.#reveal(); },
      (cell) => this.#fileOf(cell));
    const progress = progressLine("specimen-progress", [["cancel-specimen", () => this.#do(differentials.cancel)]]);
    const parts = {
      made, tiles, progress,
      state: el("span", {class: "note", id: "specimen-state"}),
      problem: el("p", {class: "problem", role: "alert"}),
      signed: el("p", {id: "signed"}),
      device: el("div", {id: "device"}),
      sheet: el("div", {id: "sheet"}),
      reviewTitle: el("h3", {id: "review-title"}),
      help: keysHelp(),
      undo: el("button", {type: "button", id: "undo", onclick: () => this.#undo()}, `${t("undo")} (${keyName(settings.get("keys").undo)})`),
      sign: el("button", {type: "button", id: "sign", class: "primary", onclick: () => this.#sign()}, `${t("sign")} (${keyName(settings.get("keys").sign)})`),
      panel: el("div", {class: "panel", id: "review-detail", tabindex: "-1"}),
    };
    const numberOf = (id) => this.#cell(id)?.number ?? null;
    parts.nodes = [
      el("h2", {id: "specimen-title"}, found.specimen_id, " ", parts.state),
      parts.problem, progress.node, parts.signed, parts.device,
      el("div", {class: "split specimen"},
        el("div", {}, parts.sheet, exports(found.id), trail(found.id, numberOf)),
        el("section", {class: "no-print review", "aria-labelledby": "review-title"},
          el("div", {class: "review-bar"}, parts.reviewTitle, el("span", {class: "buttons"}, parts.undo, parts.sign)),
          tiles.waiting, parts.help, parts.panel)),
      tiles.gallery,
    ];
    this.#parts = parts;
    fill(this.#place, parts.nodes);
  }

  /** Take what the service says, and show what has changed. */
  #take(found) {
    this.#found = found;
    if (!this.#cell(this.#current)) this.#current = found.review_list[0] ?? found.cells[0]?.id ?? null;
    const {sheet: paper, signed, tiles, state} = this.#parts;
    document.title = `${found.specimen_id} · ${t("specimen")} · WBC Analyzer`;
    state.textContent = specimenState(found.state);
    signed.hidden = !found.signature;
    if (found.signature) {
      signed.textContent = `${t("signedBy", {person: found.signature.person, when: dateTime(found.signature.signed_at)})}. ${t("closed")}`;
    }
    fill(this.#parts.device, deviceNote(found.device_state));
    fill(paper, sheet(found));
    tiles.show(found);
    this.#showProgress();
  }

  #showProgress() {
    const {total, waiting, counted, failed, unreviewed} = this.#found.progress;
    const isOpen = this.#isOpen();
    const {progress, reviewTitle, undo, sign, help, state} = this.#parts;
    state.textContent = specimenState(this.#found.state);
    progress.show({
      total, ended: total - waiting,
      text: [t("counted", {counted: number(counted), total: number(total)}),
        failed ? t("failedCells", {count: number(failed)}) : "",
        isOpen && unreviewed ? t("reviewCells", {count: number(unreviewed)}) : ""].filter(Boolean).join(", "),
      buttons: {"cancel-specimen": isOpen ? "" : t("cancelSpecimen")},
    });
    reviewTitle.textContent = !isOpen ? t("reviewLater")
      : unreviewed ? t("reviewList", {count: number(unreviewed)}) : t("reviewDone");
    help.hidden = this.#isClosed();
    for (const button of [undo, sign]) button.hidden = CLOSED.includes(this.#found.state);
    sign.disabled = this.#found.state !== "analysed";
    undo.disabled = this.#isClosed() || !this.#lastDecided();
  }

  #say(text) {
    this.#parts.problem.textContent = text;
  }

  #show() {
    this.#parts.tiles.select(this.#current);
    this.#showCell();
  }

  // One cell

  #cell(id) {
    return this.#found.cells.find((cell) => cell.id === id) ?? null;
  }

  #fileOf(cell) {
    return this.#files.get((this.#found ?? {}).id ?? location.hash.split("/")[2])?.[cell.number - 1] ?? null;
  }

  #goTo(id) {
    this.#current = id;
    const cell = this.#cell(id);
    if (cell) history.replaceState(null, "", `#/specimen/${encodeURIComponent(this.#found.id)}/${cell.number}`);
    this.#show();
  }

  /** Where the page is narrow, or far down in the gallery, the cell is not on the screen. */
  #reveal() {
    const {top} = this.#parts.panel.getBoundingClientRect();
    if (top < 0 || top > innerHeight - 200) this.#parts.panel.scrollIntoView();
  }

  async #showCell() {
    const cell = this.#current && this.#cell(this.#current);
    if (!cell) return;
    const draw = (detail) => fill(this.#parts.panel, this.#cellHead(cell.id), detail
      ? cellDetail(detail, this.#decisionOf(this.#cell(cell.id)), true) : this.#unanalysed(this.#cell(cell.id)));
    if (!cell.result) {
      draw(null);
      return;
    }
    const known = this.#explained.get(cell.id);
    const file = this.#fileOf(cell);
    draw(known ?? this.#explained.beforehand(cell, file));
    if (known) return;
    await after(REST_MS);
    if (this.#current !== cell.id) return;
    const detail = await this.#explained.explain(this.#found, cell, file);
    if (this.#current === cell.id && this.#place.isConnected) draw(detail);
  }

  #cellHead(id) {
    const at = this.#parts.tiles.order.indexOf(id);
    return el("p", {class: "note cell-head", id: "cell-head"}, t("cellNumber", {number: number(this.#cell(id).number)}),
      at >= 0 && at < this.#found.review_list.length
        ? ` · ${t("placeInReview", {at: number(at + 1), count: number(this.#found.review_list.length)})}` : "");
  }

  /** A cell that could not be analysed: a person may still say what it is. */
  #unanalysed(cell) {
    const file = this.#fileOf(cell);
    return el("article", {class: "detail"},
      el("h3", {}, cell.label ? className(cell.label) : t(`state_${cell.state}`)),
      cell.failure ? el("p", {class: "problem", lang: "en"}, cell.failure) : null,
      cell.state === "failed" ? this.#decisionOf(cell) : null,
      file ? el("img", {class: "plain", src: urlOf(file), alt: t("imageOfCell")}) : null);
  }

  #decisionOf(cell) {
    return decisionButtons(cell, this.#isClosed(), (label) => this.#decide(cell, label));
  }

  // What a person does

  async #decide(cell, label) {
    if (this.#isClosed()) return;
    const next = this.#next(cell.id);
    await this.#do((id) => differentials.decide(id, cell.id, label), () => {
      this.#decided.push(cell.id);
      this.#current = next ?? cell.id;
      announce(`${t("cellNumber", {number: cell.number})}: ${className(label)}`);
    });
  }

  /** The one after it that waits; none where it is the last. */
  #next(id) {
    const waiting = this.#found.review_list;
    const at = waiting.indexOf(id);
    return at < 0 ? null : waiting[at + 1] ?? waiting[at - 1] ?? null;
  }

  /** The latest decision of this page, or that about the cell on the screen. */
  #lastDecided() {
    return this.#decided.at(-1) ?? (this.#current && this.#cell(this.#current)?.decision ? this.#current : null);
  }

  async #undo() {
    const last = this.#lastDecided();
    if (!last || this.#isClosed()) return;
    await this.#do((id) => differentials.undecide(id, last), () => {
      this.#decided = this.#decided.filter((id) => id !== last);
      this.#current = last;
      announce(t("undone", {number: this.#cell(last).number}));
    });
  }

  #sign() {
    askToSign(this.#found.progress.unreviewed, () => this.#do(differentials.sign, () => announce(t("st_signed"))));
  }

  /** Ask for a change, and show what follows from it. */
  async #do(change, then = () => {}) {
    const {id} = this.#found;
    try {
      const found = await change(id);
      if (this.#found?.id !== id) return;
      this.#say("");
      then();
      this.#take(found);
    } catch (error) {
      if (this.#found?.id !== id) return;
      this.#say(errorText(error));
      const found = await differentials.get(id).catch(() => null);
      if (found && this.#found?.id === id) this.#take(found);
    }
    this.#goTo(this.#current);
  }

  #key(event) {
    if (!this.#place.isConnected || !this.#found || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, dialog, .frame")) return;
    const keys = settings.get("keys");
    const onControl = event.target.closest("button, a, summary");
    if (onControl && (event.key === "Enter" || event.key === " ")) return;
    const cell = this.#current && this.#cell(this.#current);
    const label = LABELS[keys.labels.indexOf(event.key)];
    if (event.key === keys.next || event.key === keys.previous) {
      const {order} = this.#parts.tiles;
      const at = order.indexOf(this.#current) + (event.key === keys.next ? 1 : -1);
      if (order[at]) this.#goTo(order[at]);
    } else if (event.key === keys.accept && cell?.result) this.#decide(cell, cell.result.class);
    else if (label && cell && cell.state !== "waiting") this.#decide(cell, label);
    else if (event.key === keys.undo) this.#undo();
    else if (event.key === keys.sign && this.#found.state === "analysed") this.#sign();
    else return;
    event.preventDefault();
  }
}
