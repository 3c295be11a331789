// A microscope of one's own: label a few cells, see what a head learnt from them would do, switch it on, go back. The
// images stay in this page until they are learnt from; the service keeps none of them.

import {announce, el, fill} from "./dom.js";
import {askFirst} from "./ask_first.js";
import {ask, model} from "./api.js";
import {CLASSES} from "./cell_detail.js";
import {intake} from "./intake.js";
import {lazyImage} from "./lazy_image.js";
import {className, dateTime, errorText, keyName, number, percent, t} from "./messages.js";
import {progressLine} from "./progress_line.js";
import {settings} from "./settings.js";
import {trustView} from "./trust_view.js";

/** Cells of each class from which on more is known; as the service's `MIN_CELLS`, then twice that each. */
const USEFUL = [5, 10, 20];
const SUGGESTED = 50;
/** Of images and specimens, that a canary may answer; the service takes up to its `MAX_SHARE`. */
const SHARES = [0.05, 0.1, 0.25, 0.5];
const USUAL_SHARE = 0.1;
/** Under this name a form tells what is held out, so that no specimen can have it. */
const HELD_OUT = "holdout";
const LABELS = [...CLASSES, "other"];
const labelName = (label) => (label === "other" ? t("labelOther") : className(label));

export class AdaptView {
  #place;
  #items = [];
  #heldOut = new Set();
  #at = 0;
  #profile = "";
  #heads = null;
  #learnt = null;
  #parts = null;
  #asked = null;
  #busy = "";

  constructor(place) {
    this.#place = place;
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Whether something would be lost with this page. */
  holdsSomething() {
    return this.#items.length > 0;
  }

  /** Take images, of one specimen, as those to be labelled. */
  take(files) {
    const own = files.filter((file) => !file.profile);
    const specimen = this.#parts?.specimen.value.trim() || this.#nextSpecimen();
    if (this.#parts) this.#parts.problem.textContent = specimen === HELD_OUT ? t("specimenReserved", {name: HELD_OUT}) : "";
    if (specimen === HELD_OUT) return;
    this.#items.push(...own.map((file) => {
      const url = URL.createObjectURL(file);
      return {file, url, specimen: specimen.replaceAll("/", "-"), label: null};
    }));
    if (!this.#parts) return;
    this.#parts.specimen.value = this.#nextSpecimen();
    this.#show();
  }

  async render(name = null) {
    this.#asked?.abort();
    const {signal} = this.#asked = new AbortController();
    this.#parts = null;
    fill(this.#place, el("h2", {id: "adapt-title"}, t("adaptTitle")), el("p", {role: "status"}, t("loading")));
    try {
      const {profiles} = await model(signal);
      const standard = profiles.find((one) => one.default)?.name;
      this.#profile = [name, this.#profile, settings.get("profile")].find((one) => profiles.some((p) => p.name === one)) ?? standard;
      this.#heads = await (await ask(this.#path(), {signal})).json();
      if (!signal.aborted) this.#draw(profiles);
    } catch (error) {
      if (signal.aborted) return;
      fill(this.#place, el("h2", {id: "adapt-title"}, t("adaptTitle")),
        el("p", {class: error.status === 501 ? "note" : "problem", role: "alert"}, error.status === 501 ? t("headsOff") : errorText(error)));
    }
  }

  #path(rest = "") {
    return `v1/profiles/${encodeURIComponent(this.#profile)}/adaptations${rest}`;
  }

  #nextSpecimen() {
    const taken = new Set(this.#items.map((item) => item.specimen));
    let free = 1;
    while (taken.has(`S-${free}`)) free += 1;
    return `S-${free}`;
  }

  #draw(profiles) {
    const intaking = intake((files) => this.take(files));
    intaking.offerSamples(false);
    this.taken = intaking.taken;
    this.#parts = {
      specimen: el("input", {type: "text", id: "adapt-specimen", maxlength: 64, autocomplete: "off", value: this.#nextSpecimen()}),
      progress: progressLine("labels", []),
      cell: el("div", {}), specimens: el("div", {}), learning: el("div", {}), trust: el("div", {id: "trust"}), heads: el("div", {id: "heads"}),
      problem: el("p", {class: "problem", role: "alert", id: "adapt-problem"}),
    };
    const {specimen, progress, cell, specimens, learning, trust, heads, problem} = this.#parts;
    fill(this.#place, el("h2", {id: "adapt-title"}, t("adaptTitle")), el("p", {class: "note"}, t("adaptNote")),
      el("p", {class: "buttons"}, el("label", {for: "adapt-profile"}, t("profile")),
        el("select", {id: "adapt-profile", onchange: ({target}) => { location.hash = `#/adapt/${encodeURIComponent(target.value)}`; }},
          profiles.map((one) => el("option", {value: one.name, selected: one.name === this.#profile}, one.name)))),
      el("h3", {}, t("labelling")),
      el("p", {class: "buttons"}, el("label", {for: "adapt-specimen"}, t("adaptSpecimen")), specimen),
      intaking.node, progress.node, problem, cell, specimens, learning, trust, heads);
    this.#show();
  }

  #show() {
    this.#showProgress();
    this.#showCell();
    this.#showSpecimens();
    this.#showLearning();
    this.#showTrust();
    this.#showHeads();
  }

  #taught() {
    return this.#items.filter((item) => CLASSES.includes(item.label));
  }

  #counts() {
    const own = this.#taught().filter((item) => !this.#heldOut.has(item.specimen));
    return CLASSES.map((name) => own.filter((item) => item.label === name).length);
  }

  #showProgress() {
    const counts = this.#counts();
    const goal = USEFUL.find((step) => counts.some((count) => count < step)) ?? USEFUL.at(-1);
    const ended = counts.reduce((sum, count) => sum + Math.min(count, goal), 0);
    const by = CLASSES.map((name, index) => `${className(name)} ${number(counts[index])}`).join(" · ");
    this.#parts.progress.show({isShown: this.#items.length > 0, total: goal * CLASSES.length, ended, text: t("nextUseful", {goal: number(goal), by}), buttons: {}});
  }

  #showCell() {
    const {cell: place} = this.#parts;
    const item = this.#items[this.#at];
    if (!item) {
      fill(place);
      return;
    }
    const keys = settings.get("keys");
    fill(place,
      el("p", {id: "adapt-cell"}, t("cellNumber", {number: `${number(this.#at + 1)} / ${number(this.#items.length)}`}), ` · ${item.specimen} · `,
        item.label ? t("labelledAs", {label: labelName(item.label)}) : t("notLabelled")),
      el("div", {class: "audited"}, el("img", {class: "plain", src: item.url, alt: t("imageOfCell")})),
      el("div", {class: "decide", role: "group", "aria-label": t("labelling")}, el("span", {class: "buttons"},
        LABELS.map((label, index) => el("button", {
          type: "button", id: `label-${label}`, "aria-pressed": String(item.label === label), onclick: () => this.#label(label),
        }, el("kbd", {}, keyName(keys.labels[index])), " ", labelName(label))))),
      el("p", {class: "buttons"},
        el("button", {type: "button", id: "previous-cell", onclick: () => this.#go(-1)}, el("kbd", {}, keyName(keys.previous)), " ", t("previous")),
        el("button", {type: "button", id: "next-cell", onclick: () => this.#go(1)}, el("kbd", {}, keyName(keys.next)), " ", t("next")),
        el("button", {type: "button", id: "suggest", disabled: Boolean(this.#busy), onclick: () => this.#suggest()}, t("usefulFirst"))));
  }

  #showSpecimens() {
    const names = [...new Set(this.#items.map((item) => item.specimen))];
    fill(this.#parts.specimens, names.length ? [el("h3", {}, t("specimens")), el("p", {class: "note"}, t("holdOutNote")),
      el("ul", {id: "specimens", class: "plain-list"}, names.map((name, index) => {
        const own = this.#items.filter((item) => item.specimen === name);
        const done = own.filter((item) => item.label).length;
        return el("li", {}, `${name}: ${t("labelled", {done: number(done), total: number(own.length)})} `,
          el("input", {type: "checkbox", id: `hold-${index}`, checked: this.#heldOut.has(name), onchange: ({target}) => {
            if (target.checked) this.#heldOut.add(name);
            else this.#heldOut.delete(name);
            this.#show();
          }}), " ", el("label", {for: `hold-${index}`}, t("holdOut")));
      }))] : null);
  }

  #showLearning() {
    const isReady = this.#counts().filter((count) => count >= USEFUL[0]).length > 1;
    fill(this.#parts.learning, this.#items.length ? el("p", {class: "buttons"},
      el("button", {type: "button", id: "learn", class: "primary", disabled: !isReady || Boolean(this.#busy), onclick: () => this.#learn()}, t("learn")),
      el("span", {class: "busy", role: "status"}, this.#busy)) : null);
  }

  #showTrust() {
    const {trust: place} = this.#parts;
    if (this.#learnt?.profile !== this.#profile) {
      fill(place);
      return;
    }
    const {head, wrong, likely_label_errors: suspects, failed, items} = this.#learnt;
    const cells = (id, title, names) => (names.length ? [el("h4", {}, title), el("ul", {id, class: "tiles"}, names.map((name) => {
      const item = items[Number(name) - 1];
      return el("li", {class: "tile"}, el("button", {type: "button", class: "quiet", "aria-label": `${item.specimen}, ${labelName(item.label)}`,
        onclick: () => this.#lookAt(item)}, lazyImage(() => item.url), el("span", {class: "tile-caption"}, labelName(item.label))));
    }))] : null);
    fill(place, el("h3", {}, t("trustTitle", {head: head.name})), trustView(head),
      cells("suspects", t("lookAgain"), suspects), cells("wrong", t("stillWrong"), wrong),
      failed.length ? el("p", {class: "problem"}, t("notLearntFrom", {count: number(failed.length)})) : null);
  }

  #showHeads() {
    const {active, unused, canary, shadow, versions, broken, trail} = this.#heads;
    fill(this.#parts.heads, el("h3", {}, t("headsTitle")),
      el("p", {id: "answers"}, active ? t("headAnswers", {head: active}) : t("modelAnswers")),
      unused ? el("p", {class: "problem", id: "unused"}, t("headUnused", {why: unused})) : null,
      active || unused ? el("p", {}, el("button", {type: "button", id: "roll-back", disabled: Boolean(this.#busy), onclick: () => this.#rollBack()}, t("rollBack"))) : null,
      canary ? this.#canaryLine(canary) : null,
      shadow ? el("p", {id: "shadow"}, shadow.unused ? t("shadowUnused", {why: shadow.unused})
        : t("shadowAgrees", {head: shadow.name, alike: number(shadow.alike), images: number(shadow.images)})) : null,
      versions.length ? el("ul", {id: "versions", class: "plain-list"}, versions.toReversed().map((head) => el("li", {},
        el("details", {}, el("summary", {}, `${head.name} · ${dateTime(head.made_at)} · ${head.made_by} · ${t(`decision_${head.decision}`)}`),
          trustView(head), el("p", {class: "note"}, "SHA-256: ", el("code", {}, head.sha256))),
        head.is_active ? el("strong", {}, t("isOn")) : this.#switch(head)))) : null,
      broken.map((why) => el("p", {class: "problem"}, t("headBroken", {why}))),
      trail.length ? el("details", {id: "trail"}, el("summary", {}, t("whoDidWhat")), el("ul", {}, trail.map((entry) => el("li", {},
        [dateTime(entry.at), entry.who, t(`head_${entry.act}`), entry.share && percent(entry.share, 0), entry.head ?? t("modelsOwn"), entry.reason].filter(Boolean).join(" · "))))) : null);
  }

  #canaryLine({name, share, unused, answers}) {
    const told = answers.map((one) => t("canaryAnswers", {head: one.head ?? t("modelsOwn"), images: number(one.images), review: number(one.for_review)}));
    return el("p", {id: "canary", class: "buttons"},
      el("span", {}, unused ? t("canaryUnused", {why: unused}) : [t("canaryOn", {head: name, share: percent(share, 0)}), ...told].join(" ")),
      el("button", {type: "button", id: "canary-end", disabled: Boolean(this.#busy), onclick: () => this.#changed("/canary", {number: null})}, t("canaryEnd")));
  }

  /** None where too few cells tell anything; with a reason where it was not shown to be better. */
  #switch(head) {
    if (head.decision === "too few") return null;
    const id = `reason-${head.number}`;
    const reason = head.decision === "recommended" ? null : el("input", {type: "text", id, maxlength: 1000, autocomplete: "off"});
    return el("p", {class: "buttons"}, reason ? [el("label", {for: id}, t("reasonToSwitch")), reason] : null,
      el("button", {type: "button", id: `switch-${head.number}`, disabled: Boolean(this.#busy), onclick: () => this.#switchOn(head, reason?.value ?? "")}, t("switchOn")),
      el("button", {type: "button", id: `canary-${head.number}`, disabled: Boolean(this.#busy), onclick: () => this.#tryOut(head, reason?.value ?? "")}, t("canaryBegin")));
  }

  #go(step) {
    if (!this.#items[this.#at + step]) return;
    this.#at += step;
    this.#showCell();
  }

  #lookAt(item) {
    this.#at = this.#items.indexOf(item);
    this.#showCell();
    this.#parts.cell.scrollIntoView();
  }

  #label(label) {
    const item = this.#items[this.#at];
    if (!item || this.#busy) return;
    item.label = label;
    announce(t("labelledAs", {label: labelName(label)}));
    const following = this.#items.findIndex((one, index) => index > this.#at && !one.label);
    if (following >= 0) this.#at = following;
    this.#show();
  }

  #form(items) {
    const body = new FormData();
    for (const {file, label, specimen} of items) {
      const name = label ? `${this.#heldOut.has(specimen) ? `${HELD_OUT}/` : ""}${specimen}/${label}` : "files";
      body.append(name, file, "cell");
    }
    return body;
  }

  async #suggest() {
    const asked = this.#items.filter((item) => item.label !== "other");
    const body = this.#form(asked);
    body.append("wanted", String(SUGGESTED));
    await this.#during(t("suggesting"), async () => {
      const {cells} = await (await ask(this.#path("/suggestions"), {method: "POST", body})).json();
      const next = cells.map(({image}) => asked[image - 1]);
      const others = this.#items.filter((item) => !next.includes(item));
      this.#items = [...others.filter((item) => item.label), ...next, ...others.filter((item) => !item.label)];
      this.#at = Math.max(this.#items.findIndex((item) => !item.label), 0);
    });
  }

  async #learn() {
    const items = this.#taught();
    const profile = this.#profile;
    await this.#during(t("learning"), async () => {
      const found = await (await ask(this.#path(), {method: "POST", body: this.#form(items)})).json();
      this.#learnt = {...found, items, profile};
      this.#heads = await (await ask(this.#path())).json();
      announce(t(`decision_${found.head.decision}`));
    });
  }

  async #switchOn(head, reason) {
    if (!await askFirst("switch", t("switchTitle", {head: head.name}), el("p", {}, t("switchQuestion")), t("switchOn"))) return;
    await this.#changed(`/${head.number}/activation`, {reason});
  }

  async #tryOut(head, reason) {
    const share = el("select", {id: "canary-share"}, SHARES.map((one) => el("option", {value: one, selected: one === USUAL_SHARE}, percent(one, 0))));
    const words = [el("p", {}, t("canaryQuestion")), el("p", {}, el("label", {for: "canary-share"}, t("canaryShare")), " ", share)];
    if (!await askFirst("canary", t("canaryTitle", {head: head.name}), words, t("canaryBegin"))) return;
    await this.#changed("/canary", {number: head.number, share: Number(share.value), reason});
  }

  async #rollBack() {
    if (!await askFirst("back", t("rollBack"), el("p", {}, t("rollBackQuestion")), t("rollBack"))) return;
    await this.#changed("/roll-back", {});
  }

  async #changed(rest, said) {
    await this.#during("", async () => {
      const headers = {"Content-Type": "application/json"};
      this.#heads = await (await ask(this.#path(rest), {method: "POST", body: JSON.stringify(said), headers})).json();
    });
  }

  /** One thing at a time, and what went wrong with it. */
  async #during(words, act) {
    if (this.#busy) return;
    const parts = this.#parts;
    this.#busy = words || t("loading");
    parts.problem.textContent = "";
    this.#show();
    try {
      await act();
    } catch (error) {
      parts.problem.textContent = errorText(error);
    } finally {
      this.#busy = "";
    }
    if (this.#parts) this.#show();
  }

  #key(event) {
    if (!this.#place.isConnected || !this.#parts || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, dialog")) return;
    if (event.target.closest("button, a, summary") && (event.key === "Enter" || event.key === " ")) return;
    const keys = settings.get("keys");
    const label = LABELS[keys.labels.indexOf(event.key)];
    if (event.key === keys.next) this.#go(1);
    else if (event.key === keys.previous) this.#go(-1);
    else if (label) this.#label(label);
    else return;
    event.preventDefault();
  }
}
