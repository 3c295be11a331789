// The audits of microscopes: the plan, the labelling, the one look and what came of it. Who labels is not shown what
// the service answered: the page does not know it before the verdict.

import {announce, el, fill} from "./dom.js";
import {askFirst} from "./ask_first.js";
import {ask, blobAddress} from "./api.js";
import {CLASSES} from "./cell_detail.js";
import {className, dateTime, errorText, keyName, number, percent, t} from "./messages.js";
import {progressLine} from "./progress_line.js";
import {settings} from "./settings.js";

const LABELS = [...CLASSES, "other"];
const OPEN = ["adding", "labelling", "ready"];

const path = (name, rest = "") => `v1/device-audits/${encodeURIComponent(name)}${rest}`;
const labelName = (label) => (label === "other" ? t("labelOther") : className(label));

export class DeviceAuditsView {
  #place;
  #found = null;
  #at = 0;
  #parts = null;
  #asked = null;
  #url = null;
  #isBusy = false;

  constructor(place) {
    this.#place = place;
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** The list, or the audit of this name. */
  async render(name = null) {
    this.#asked?.abort();
    const {signal} = this.#asked = new AbortController();
    this.#found = null;
    fill(this.#place, this.#title(t("auditsTitle")), el("p", {role: "status"}, t("loading")));
    try {
      const answer = await (await ask(name ? path(name) : "v1/device-audits", {signal})).json();
      if (signal.aborted) return;
      if (name) this.#one(answer);
      else this.#list(answer.audits);
    } catch (error) {
      if (signal.aborted) return;
      fill(this.#place, this.#title(t("auditsTitle")),
        el("p", {class: "problem", role: "alert"}, error.status === 404 ? t("noSuchAudit") : errorText(error)),
        name ? el("p", {}, el("a", {href: "#/audits"}, t("auditsTitle"))) : null);
    }
  }

  #title(text) {
    return el("h2", {id: "audits-title"}, text);
  }

  #list(audits) {
    fill(this.#place, this.#title(t("auditsTitle")), el("p", {class: "note"}, t("auditsNote")),
      audits.length ? el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": t("audits")},
        table("audits", ["audit", "profile", "state", "labelling", "plannedAt"], audits.map((one) => [
          el("a", {href: `#/audits/${encodeURIComponent(one.name)}`}, one.name), one.profile, t(`au_${one.state}`),
          t("labelled", {done: number(one.labelled), total: number(one.cells)}), dateTime(one.planned_at),
        ]))) : el("p", {class: "empty"}, t("noAudits")));
  }

  #one(found) {
    this.#found = found;
    this.#at = Math.max(found.to_label.findIndex((cell) => !cell.label), 0);
    this.#parts = {
      progress: progressLine("labelling", []), cell: el("div", {}), look: el("div", {}), outcome: el("div", {}),
    };
    const {progress, cell, look, outcome} = this.#parts;
    const target = {target: percent(found.target, 0), confidence: percent(found.confidence, 0)};
    fill(this.#place, this.#title(`${t("audit")} ${found.name}`),
      el("p", {}, el("a", {href: "#/audits"}, t("auditsTitle"))),
      el("h3", {}, t("plan")),
      el("p", {class: "note"}, [found.profile, found.model, dateTime(found.planned_at)].join(" · ")),
      table("plan", ["class", "fromConfidence", "cellsPlanned"], Object.entries(found.thresholds).map(([name, value]) => [
        className(name), percent(value, 0), number(found.cells_per_class)]), t("toRelease", target)),
      el("p", {class: "note"}, `${t("planHash")}: `, el("code", {}, found.plan_sha256)),
      el("h3", {}, t("labelling")), progress.node, cell,
      look, outcome);
    this.#showState();
    this.#showCell();
  }

  /** What a change may change. */
  #showState() {
    const found = this.#found;
    const {progress, look, outcome} = this.#parts;
    const text = t("labelled", {done: number(found.labelled), total: number(found.cells)});
    progress.show({total: found.cells, ended: found.labelled, text, buttons: {}});
    const isOpen = OPEN.includes(found.state);
    fill(look, el("h3", {}, t("oneLook")), el("p", {class: "note"}, t("oneLookNote")),
      found.state === "adding" ? el("p", {}, t("cellsAreMissing")) : null,
      isOpen ? el("p", {}, el("button", {
        type: "button", id: "judge", class: "primary", disabled: found.state !== "ready", onclick: () => this.#askToJudge(),
      }, t("judge"))) : el("p", {}, dateTime(found.judged_at)));
    fill(outcome, isOpen ? null : [
      el("h3", {id: "outcome-title"}, t("outcome")),
      found.state === "suspended" ? el("p", {class: "problem"}, t("auditSuspended"))
        : found.samples ? el("p", {}, t("samplesChecked", {count: number(found.samples)})) : null,
      table("outcome", ["class", "fromConfidence", "cells", "wrongOf", "accuracyAtLeast", "state"], found.classes.map((one) => [
        className(one.class), percent(one.threshold, 0), number(one.accepted), number(one.errors), percent(one.accuracy_bound, 2),
        t(one.released ? "releasedClass" : "notReleased")])),
    ]);
  }

  async #showCell() {
    const {cell: place} = this.#parts;
    const cells = this.#found.to_label;
    const cell = cells[this.#at];
    URL.revokeObjectURL(this.#url);
    if (!cell || !OPEN.includes(this.#found.state)) {
      fill(place);
      return;
    }
    const keys = settings.get("keys");
    const picture = el("div", {class: "audited"}, el("p", {role: "status"}, t("imageComes")));
    fill(place, el("p", {class: "note"}, t("labelNote")),
      el("p", {id: "audited-cell"}, t("cellNumber", {number: `${number(this.#at + 1)} / ${number(cells.length)}`}), " · ",
        cell.label ? t("labelledAs", {label: labelName(cell.label)}) : t("notLabelled")),
      picture,
      el("div", {class: "decide", role: "group", "aria-label": t("labelling")}, el("span", {class: "buttons"},
        LABELS.map((label, index) => el("button", {
          type: "button", id: `label-${label}`, "aria-pressed": String(cell.label === label), onclick: () => this.#label(label),
        }, el("kbd", {}, keyName(keys.labels[index])), " ", labelName(label))))),
      el("p", {class: "buttons"},
        el("button", {type: "button", id: "previous-cell", onclick: () => this.#go(-1)}, el("kbd", {}, keyName(keys.previous)), " ", t("previous")),
        el("button", {type: "button", id: "next-cell", onclick: () => this.#go(1)}, el("kbd", {}, keyName(keys.next)), " ", t("next"))),
      el("p", {class: "problem", role: "alert", id: "label-problem"}));
    try {
      const url = await blobAddress(path(this.#found.name, `/cells/${cell.image_sha256}/image`));
      if (!picture.isConnected) {
        URL.revokeObjectURL(url);
        return;
      }
      this.#url = url;
      fill(picture, el("img", {class: "plain", src: url, alt: t("imageOfCell")}));
    } catch {
      fill(picture, el("p", {}, t("auditImageMissing", {name: cell.image})));
    }
  }

  #go(step) {
    const at = this.#at + step;
    if (!this.#found.to_label[at]) return;
    this.#at = at;
    this.#showCell();
  }

  async #label(label) {
    if (this.#isBusy) return; // two presses are not two cells
    const found = this.#found;
    const cell = found.to_label[this.#at];
    const said = await this.#changed(path(found.name, `/cells/${cell.image_sha256}/label`), JSON.stringify({label}));
    if (!said) return;
    cell.label = label;
    announce(t("labelledAs", {label: labelName(label)}));
    const following = found.to_label.findIndex((one, index) => index > this.#at && !one.label);
    if (following >= 0) this.#at = following;
    this.#showCell();
  }

  async #askToJudge() {
    const isSure = await askFirst("judge", t("judgeTitle"), el("p", {}, t("judgeQuestion")), t("judge"));
    if (isSure && await this.#changed(path(this.#found.name, "/verdict"))) this.#showCell();
  }

  /** Ask for a change and show what follows from it; whether there was one. */
  async #changed(address, body) {
    const found = this.#found;
    this.#isBusy = true;
    try {
      const headers = {"Content-Type": "application/json"};
      Object.assign(found, await (await ask(address, {method: "PUT", body, headers})).json());
    } catch (error) {
      const place = document.getElementById("label-problem");
      if (place) place.textContent = errorText(error);
      return false;
    } finally {
      this.#isBusy = false;
    }
    if (this.#found !== found) return false;
    this.#showState();
    return true;
  }

  #key(event) {
    if (!this.#place.isConnected || !this.#found || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!OPEN.includes(this.#found.state) || event.target.closest("input, select, textarea, dialog")) return;
    if (event.target.closest("button, a, summary") && (event.key === "Enter" || event.key === " ")) return;
    const keys = settings.get("keys");
    const label = LABELS[keys.labels.indexOf(event.key)];
    if (event.key === keys.next) this.#go(1);
    else if (event.key === keys.previous) this.#go(-1);
    else if (label && this.#found.to_label.length) this.#label(label);
    else return;
    event.preventDefault();
  }
}

function table(id, heads, rows, caption = null) {
  return el("table", {id},
    caption ? el("caption", {}, caption) : null,
    el("thead", {}, el("tr", {}, heads.map((key) => el("th", {scope: "col"}, t(key))))),
    el("tbody", {}, rows.map(([first, ...others]) => el("tr", {},
      el("th", {scope: "row"}, first), others.map((one) => el("td", {}, one))))));
}
