// The specimens that the service keeps: searched, filtered, sorted, followed while colleagues work, opened by keyboard.

import {assignment} from "./assignment.js";
import * as differentials from "./differentials.js";
import {el, fill, refill, say} from "./dom.js";
import {following} from "./following.js";
import {dateTime, errorText, nameOf, number, specimenState, t} from "./messages.js";
import {settings} from "./settings.js";

const AT_ONCE = 20;
const DAY_MS = 24 * 60 * 60 * 1000;

const STATES = {open: ["waiting", "running", "analysed"], analysed: ["analysed"], running: ["waiting", "running"],
  signed: ["signed"], cancelled: ["cancelled"], all: []};
const WHOSE = ["anybody", "mine", "nobody"];
const AGES = ["any", "newer", "older"];
/** How a column is sorted when it is first chosen, and the other way round. */
const SORTS = {state: ["state", "-state"], toReview: ["-doubt", "doubt"], created: ["-created", "created"]};
const COLUMNS = ["specimenId", "state", "toReview", "cells", "assignee", "created"];
const DEFAULTS = {text: "", state: "open", whose: "anybody", age: "any", review: "", sort: "-created"};
const CLOSED = ["signed", "cancelled"];

export class Worklist {
  node = el("div", {id: "worklist"});
  #choice = {...DEFAULTS};
  /** Who asks, as the service knows them. */
  #me = null;
  /** Parts of the list; the first is asked for again and again. */
  #pages = [];
  #cursor = null;
  #etag = null;
  #parts = null;
  #follow = null;

  constructor() {
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Show the list that the address asks for, and follow it until it is left. */
  render() {
    this.#choice = choiceIn(location.hash);
    this.#build();
    this.#begin();
  }

  leave() {
    this.#follow?.abort();
  }

  // What is asked for

  #choose(changes) {
    this.#choice = {...this.#choice, ...changes};
    history.replaceState(null, "", addressOf(this.#choice));
    this.#showSort();
    this.#begin();
  }

  #begin() {
    this.leave();
    [this.#pages, this.#cursor, this.#etag] = [[], null, null];
    this.#follow = new AbortController();
    following(() => this.#refresh(), this.#follow.signal);
  }

  #query(more = {}) {
    const {text, state, whose, age, review, sort} = this.#choice;
    const dayAgo = new Date(Date.now() - DAY_MS).toISOString();
    return {
      limit: AT_ONCE, sort, state: STATES[state], ...(text && {text}), ...(review && {needs_review: true}),
      ...(whose === "mine" && {mine: true}), ...(whose === "nobody" && {assignee: ""}),
      ...(age === "newer" && {created_from: dayAgo}), ...(age === "older" && {created_before: dayAgo}), ...more,
    };
  }

  async #refresh() {
    const {signal} = this.#follow;
    try {
      const found = await differentials.page(this.#query(), this.#etag);
      if (signal.aborted) return;
      say(this.#parts.problem, "");
      if (!found) return;  // it is as it was
      this.#me = found.person;
      // What came or went moves all that follows.
      const pages = [found];
      while (pages.length < this.#pages.length && pages.at(-1).next_cursor) {
        pages.push(await differentials.page(this.#query({cursor: pages.at(-1).next_cursor})));
        if (signal.aborted) return;
      }
      this.#etag = found.etag;
      this.#pages = pages.map(({items}) => items);
      this.#cursor = pages.at(-1).next_cursor;
      this.#show();
    } catch (error) {
      if (signal.aborted) return;
      say(this.#parts.problem, [404, 501].includes(error.status) ? t("storeIsOff") : errorText(error));
      if ([404, 501].includes(error.status)) this.leave();
    }
  }

  async #grow() {
    const [{signal}, cursor] = [this.#follow, this.#cursor];
    try {
      const found = await differentials.page(this.#query({cursor}));
      if (signal.aborted) return;
      if (cursor !== this.#cursor) {  // the list has changed meanwhile
        await this.#grow();
        return;
      }
      this.#pages.push(found.items);
      this.#cursor = found.next_cursor;
      this.#show();
    } catch (error) {
      say(this.#parts.problem, errorText(error));
    }
  }

  // What is seen

  #build() {
    const {text, review} = this.#choice;
    const select = (name, options, words) => el("span", {class: "control"},
      el("label", {for: `worklist-${name}`}, t(`worklist-${name}`)),
      el("select", {id: `worklist-${name}`, onchange: ({target}) => this.#choose({[name]: target.value})},
        options.map((value) => el("option", {value, selected: this.#choice[name] === value}, words(value)))));
    const search = el("input", {type: "search", id: "worklist-text", value: text, maxlength: "64", autocomplete: "off",
      "aria-describedby": "worklist-text-note", onchange: ({target}) => this.#choose({text: target.value.trim()})});
    const rows = el("tbody", {});
    const heads = Object.fromEntries(COLUMNS.map((column) => [column, this.#head(column)]));
    const parts = this.#parts = {
      rows, heads,
      problem: el("p", {class: "note", role: "status"}),
      told: el("p", {class: "problem", role: "alert"}),
      empty: el("p", {class: "empty"}, t("noneOfThese")),
      more: el("button", {type: "button", id: "more-specimens", onclick: () => this.#grow()}, t("showMore")),
      table: el("div", {class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "worklist-title"},
        el("table", {id: "stored"}, el("thead", {}, el("tr", {}, Object.values(heads))), rows)),
    };
    fill(this.node,
      el("h3", {id: "worklist-title"}, t("storedSpecimens")),
      el("form", {class: "controls", role: "search", onsubmit: (event) => { event.preventDefault(); this.#choose({text: search.value.trim()}); }},
        el("span", {class: "control"}, el("label", {for: "worklist-text"}, t("worklist-text")), search),
        select("state", Object.keys(STATES), (value) => t(`worklist-state_${value}`)),
        select("whose", WHOSE, (value) => t(`worklist-whose_${value}`)),
        select("age", AGES, (value) => t(`worklist-age_${value}`)),
        el("span", {class: "check"},
          el("input", {type: "checkbox", id: "worklist-review", checked: Boolean(review),
            onchange: ({target}) => this.#choose({review: target.checked ? "1" : ""})}),
          el("label", {for: "worklist-review"}, t("worklist-review")))),
      el("p", {class: "note", id: "worklist-text-note"}, t("worklist-textNote")),
      parts.problem, parts.told, parts.table, parts.empty, el("p", {}, parts.more));
    [parts.table.hidden, parts.empty.hidden, parts.more.hidden] = [true, true, true];
    this.#showSort();
  }

  #head(column) {
    const sorts = SORTS[column];
    const shown = sorts ? el("button", {
      type: "button", class: "quiet", id: `sort-${column}`,
      onclick: () => this.#choose({sort: this.#choice.sort === sorts[0] ? sorts[1] : sorts[0]}),
    }, t(column)) : t(column);
    return el("th", {scope: "col", class: ["cells", "toReview"].includes(column) ? "number" : null}, shown);
  }

  #showSort() {
    const {sort} = this.#choice;
    for (const [column, sorts] of Object.entries(SORTS)) {
      const head = this.#parts.heads[column];
      if (sorts.includes(sort)) head.setAttribute("aria-sort", sort.startsWith("-") ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  #show() {
    const {rows, table, empty, more} = this.#parts;
    const there = [...new Map(this.#pages.flat().map((one) => [one.id, one])).values()];
    refill(rows, [this.#me, there], () => there.map((one) => this.#row(one)));
    table.hidden = !there.length;
    empty.hidden = Boolean(there.length);
    more.hidden = !this.#cursor;
  }

  #row(one) {
    const state = one.signature ? `${specimenState(one.state)}, ${nameOf(one.signature.person)}` : specimenState(one.state);
    const of = {id: one.id, name: one.specimen_id, assignee: one.assignee, me: this.#me, isClosed: CLOSED.includes(one.state)};
    const cell = (column, ...children) => el("td", {data: {column: t(column)}, class: ["cells", "toReview"].includes(column) ? "number" : null}, children);
    return el("tr", {},
      el("th", {scope: "row"},
        el("a", {href: `#/specimen/${encodeURIComponent(one.id)}`, id: `work-${one.id}`}, one.specimen_id),
        " ", el("span", {class: "note"}, one.id.slice(0, 8))),
      cell("state", state),
      cell("toReview", number(one.unreviewed)),
      cell("cells", number(one.cells)),
      cell("assignee", assignment(of, (problem) => this.#assigned(problem))),
      cell("created", dateTime(one.created_at, "short")));
  }

  async #assigned(problem) {
    this.#etag = null;
    await this.#refresh();
    say(this.#parts.told, problem);
  }

  // The keyboard

  /** To the next or the previous specimen; Enter opens it, as any link. */
  #key(event) {
    if (!this.node.isConnected || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.target.closest("input, select, textarea, dialog")) return;
    const {next, previous} = settings.get("keys");
    const step = [next, "ArrowDown"].includes(event.key) ? 1 : [previous, "ArrowUp"].includes(event.key) ? -1 : 0;
    const links = [...this.#parts.rows.querySelectorAll("th a")];
    if (!step || !links.length) return;
    const at = links.indexOf(event.target.closest("tr")?.querySelector("th a"));
    links[Math.min(links.length - 1, Math.max(0, at + step))].focus();
    event.preventDefault();
  }
}

/** What the address says; what it does not, or wrongly, is as usual. */
function choiceIn(hash) {
  const said = new URLSearchParams(hash.split("?")[1] ?? "");
  const choice = Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, said.get(name) ?? DEFAULTS[name]]));
  const possible = {state: Object.keys(STATES), whose: WHOSE, age: AGES, sort: Object.values(SORTS).flat(), review: ["", "1"]};
  for (const [name, values] of Object.entries(possible)) if (!values.includes(choice[name])) choice[name] = DEFAULTS[name];
  return {...choice, text: choice.text.slice(0, 64)};
}

function addressOf(choice) {
  const said = new URLSearchParams(Object.entries(choice).filter(([name, value]) => value !== DEFAULTS[name])).toString();
  return `#/specimen${said && `?${said}`}`;
}
