// What people write about a specimen and its cells: the list of it, and the field to write in.

import {announce, el, say} from "./dom.js";
import {dateTime, errorText, nameOf, number, t} from "./messages.js";

const LONGEST = 2000;

/** One below the other; `numberOf(cellId)` says which cell each is about, where that is not known already. */
export function commentList(comments, numberOf = () => null) {
  const about = ({is_addendum: isAddendum, cell_id: cell, person, said_at: when}) => [
    isAddendum ? t("addendum") : "", cell && numberOf(cell) ? t("cellNumber", {number: number(numberOf(cell))}) : "",
    nameOf(person), dateTime(when)].filter(Boolean).join(" · ");
  return comments.length ? el("ul", {class: "comments"}, comments.map((one) => el("li", {},
    el("span", {class: "note small"}, about(one)), el("p", {}, one.text)))) : null;
}

/** A field that opens for a comment. What is written in it and not sent stays with what it is about, in `drafts`. */
export class CommentField {
  #drafts;
  #send;
  #leave;
  #of = null;
  #label;
  #text;
  #form;
  #button;
  #refused;
  /** Of what a comment is under way. */
  #sending = new Set();
  #problem = el("p", {class: "problem", role: "alert"});

  /**
   * `send(text)` keeps it, or fails; `leave()` hears that a person is done with the field, `refused(problem)` of a failure
   * when the field is about something else by then.
   */
  constructor({id, drafts, send, leave, refused}) {
    this.#drafts = drafts;
    this.#send = send;
    this.#leave = leave;
    this.#refused = refused;
    this.#label = el("label", {for: id});
    this.#text = el("textarea", {id, rows: "3", maxlength: String(LONGEST), "aria-describedby": `${id}-keys`,
      oninput: () => this.#drafts.set(this.#of, this.#text.value), onkeydown: (event) => this.#key(event)});
    this.#form = el("form", {hidden: true, onsubmit: (event) => { event.preventDefault(); this.#submitted(); }},
      this.#label, this.#text, this.#problem,
      el("div", {class: "buttons"}, el("button", {id: `${id}-send`}, t("send")), el("span", {class: "note small", id: `${id}-keys`}, t("commentKeys"))));
    this.#button = el("button", {type: "button", id: `${id}-open`, onclick: () => this.open()});
    this.node = el("div", {class: "comment-field no-print"}, this.#button, this.#form);
  }

  /** What it is about: `of` in the drafts, and on its button and as its label `words`. */
  show(of, words, key = "") {
    say(this.#label, words);
    say(this.#button, key ? `${words} (${key})` : words);
    if (this.#of === of) return;
    this.#of = of;
    this.#text.value = this.#drafts.get(of) ?? "";
    say(this.#problem, "");
    this.#opened(Boolean(this.#text.value));
  }

  open() {
    if (this.node.hidden) return;
    this.#opened(true);
    this.#text.focus();
  }

  #opened(isOpen) {
    this.#text.readOnly = this.#sending.has(this.#of);
    this.#form.hidden = !isOpen;
    this.#button.hidden = isOpen;
  }

  #key(event) {
    if (event.key === "Escape") this.#left();
    else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    else return;
    event.preventDefault();
  }

  #left() {
    this.#opened(false);
    this.#leave();
  }

  /** The person goes on at once: who sends it comes back to it only where it is refused. */
  async #submitted() {
    const of = this.#of;
    const text = this.#text.value.replaceAll("\t", " ").trim();
    if (!text || this.#sending.has(of)) return;
    this.#sending.add(of);
    say(this.#problem, "");
    const sent = this.#send(text);
    this.#left();
    let problem = "";
    try {
      await sent;
      this.#drafts.delete(of);
      announce(t("commentKept"));
    } catch (error) {
      problem = t("commentRefused", {why: errorText(error)});
    }
    this.#sending.delete(of);
    if (this.#of !== of) {
      if (problem) this.#refused(problem);
      return;
    }
    if (!problem) this.#text.value = "";
    say(this.#problem, problem);
    this.#opened(Boolean(problem));
  }
}
