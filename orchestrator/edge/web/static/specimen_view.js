// One specimen: its order, its differential, and the review by which a person closes it.

import {assignment} from "./assignment.js";
import {announce, el, fill, refill, say} from "./dom.js";
import {CellPanel} from "./cell_panel.js";
import {CommentField, commentList} from "./comments.js";
import {canBeDecided, Decisions, isDouble} from "./decisions.js";
import {dockable} from "./docking.js";
import {sheet} from "./differential_sheet.js";
import {deviceNote, deviceOf, resembled} from "./device.js";
import * as differentials from "./differentials.js";
import {labelOfKey, PICK_KEY, readLabels} from "./labels.js";
import {className, dateTime, errorText, keyName, language, nameOf, number, specimenState, t} from "./messages.js";
import {following} from "./following.js";
import {imagesIn} from "./intake.js";
import {cellsOnPaper, headPages} from "./paper.js";
import {progressLine} from "./progress_line.js";
import {askToSign, keysHelp} from "./review_controls.js";
import {countSeen, look} from "./seen_cells.js";
import {readScales} from "./scale.js";
import {settings} from "./settings.js";
import {sha256} from "./sha256.js";
import {exports, trail} from "./specimen_actions.js";
import {orderForm} from "./specimen_order.js";
import {LABELS} from "./specimen_gallery.js";
import {SpecimenFields} from "./specimen_fields.js";
import {SpecimenTiles} from "./specimen_tiles.js";
import {layOut} from "./tile_window.js";
import {Worklist} from "./worklist.js";

const CLOSED = ["signed", "cancelled"];
const REFRESH_MS = 2500;
const RETRY_S = 2;
/** Of so many cells it is said one by one what somebody else decided. */
const MOST_NAMED = 3;

/** The cells about which something else is decided now, and those that were added. */
function changedSince(before, now) {
  const said = new Map(before.cells.map(({id, decision}) => [id, decision?.label]));
  return now.cells.filter(({id, decision}) => !said.has(id) || decision?.label !== said.get(id));
}

/** What somebody else has decided of a cell, or took back. */
function meanwhile({number: cell, decision}) {
  return decision ? t("decidedMeanwhile", {number: number(cell), label: className(decision.label), person: nameOf(decision.person)})
    : t("undoneMeanwhile", {number: number(cell)});
}

/** What somebody else has decided, added and written since, in sentences. */
function doneSince(before, now) {
  const known = new Set(before.cells.map(({id}) => id));
  const ofCell = (cell) => cell.decision || known.has(cell.id) ? meanwhile(cell)
    : t("addedMeanwhile", {number: number(cell.number), person: nameOf(cell.place.added_by)});
  const changed = changedSince(before, now);
  const cells = changed.length > MOST_NAMED ? [t("othersDecided", {count: number(changed.length)})] : changed.map(ofCell);
  const written = now.comments.slice(before.comments.length);
  return [...cells, ...written.map(({person}) => t("commentedMeanwhile", {person: nameOf(person)}))];
}

/** Why what was to be signed is not what there is now; empty where it is. */
function notSigned(before, now) {
  const what = doneSince(before, now);
  return what.length ? t("notSignedChanged", {what: what.join(" ")}) : "";
}

const isEnded = (state) => !["waiting", "running"].includes(state);
const after = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

export class SpecimenView {
  #place;
  /** The specimen as the service said last, and as it will be when it knows all decisions. */
  #kept = null;
  #found = null;
  #current = null;
  /** Whether a person went to the current cell: then nothing else goes to another. */
  #isChosen = false;
  /** By the ids of specimens: who leaves one while decisions are under way finds them when he comes back. */
  #decisions = new Map();
  #isSigning = false;
  #closed = new Set();
  #follow = null;
  #parts = null;
  #order = null;
  #refreshed = 0;
  /** Where the page was scrolled to in what is not shown, the gallery or one cell. */
  #leftAt = null;
  /** Images of the orders of this page, which show where the service keeps none. */
  #files = new Map();
  #worklist = new Worklist();
  /** Comments that were begun and not sent. */
  #drafts = new Map();
  /** As whom the service knows who looks; null before it has said so. */
  #me = null;
  /** The cell on the screen, where somebody else has decided about it and the person has not answered to that yet. */
  #overtaken = null;

  constructor(place) {
    this.#place = place;
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  /** What follows the service, once something else is looked at. */
  leave() {
    this.#worklist.leave();
    headPages("");
  }

  /** The worklist and the order form, or the specimen with this id, and the cell with this number. */
  async render(id = null, cellNumber = null) {
    const isFromList = this.#worklist.node.isConnected;
    this.leave();
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
      this.#isChosen = false;
      fill(this.#place, el("h2", {id: "specimen-title"}, t("specimenTitle")), el("p", {role: "status"}, t("loading")));
    }
    try {
      const [found] = await Promise.all([this.#fresh(id), readLabels(LABELS), readScales()]);
      if (signal.aborted) return;
      this.#build(found);
      const asked = found.cells.find((cell) => String(cell.number) === cellNumber)?.id;
      if (asked) [this.#current, this.#isChosen] = [asked, true];
      this.#take(found);
      if (this.#isOpen()) this.#goTo(this.#current);
      else this.#show();
      // Who has opened it by keyboard is in the review.
      if (isFromList) this.#parts.panel.node.focus({preventScroll: true});
      await Promise.all([this.#whoAmI(), this.#isOpen() ? null : this.#watch(id, signal)]);
      following(() => this.#lookForOthers(id), signal);
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    }
  }

  async #whoAmI() {
    this.#me ??= await differentials.whoAsks().catch(() => null);
    if (this.#me && this.#parts && this.#found) this.#showAssignee();
  }

  /** What colleagues have done meanwhile; what is under way here goes before. */
  async #lookForOthers(id) {
    const isHere = () => this.#place.isConnected && this.#found?.id === id && this.#isOpen() && !this.#isSigning;
    const decisions = this.#decisionsOf(id);
    const {answers} = decisions;
    if (!isHere() || decisions.pending) return;
    const before = this.#kept;
    const found = await differentials.get(id, before.etag).catch(() => null);
    if (!found || !isHere() || decisions.pending || decisions.answers !== answers) return;
    const changed = changedSince(before, found);
    if (changed.some((cell) => cell.id === this.#current)) this.#overtaken = this.#current;
    this.#parts.tiles.whole.drop(changed.map((cell) => cell.id));
    this.#takeAndShow(found);
    const words = doneSince(before, found);
    if (words.length) say(this.#parts.others, words.join(" "));
  }

  #decisionsOf(id) {
    if (!this.#decisions.has(id)) {
      const isHere = () => this.#found?.id === id && this.#parts;
      this.#decisions.set(id, new Decisions(id, {
        kept: (found) => { if (isHere()) this.#takeAndShow(found); },
        changed: () => { if (isHere()) this.#takeAndShow(this.#kept); },
      }));
    }
    return this.#decisions.get(id);
  }

  /** The specimen as the service has it, not older than the answer to any decision. */
  async #fresh(id) {
    const decisions = this.#decisionsOf(id);
    for (;;) {
      const {answers} = decisions;
      const found = await differentials.get(id);
      if (decisions.answers === answers) return found;
    }
  }

  #isOpen() {
    return this.#found && isEnded(this.#found.state);
  }

  #isClosed() {
    return CLOSED.includes(this.#found.state) || !this.#isOpen() || this.#isSigning;
  }

  #failed(error) {
    fill(this.#place,
      el("h2", {id: "specimen-title"}, t("specimenTitle")),
      el("p", {class: "problem", role: "alert"}, error.status === 404 ? t("notThere") : errorText(error)),
      el("p", {}, el("a", {href: "#/specimen"}, t("newOrder"))));
  }

  /** An order of these images, to be made. */
  order(files) {
    this.#form().add(files);
  }

  #form() {
    // Who looks at something else and comes back finds what he has chosen.
    if (this.#order?.language !== language()) {
      const form = orderForm((id, files) => {
        this.#order = null;
        this.#files.set(id, files);
        location.hash = `#/specimen/${encodeURIComponent(id)}`;
      });
      this.#order = {...form, language: language()};
    }
    return this.#order;
  }

  #orderForm() {
    this.taken = this.#form().taken;
    fill(this.#place, el("h2", {id: "specimen-title"}, t("specimen")), this.#worklist.node,
      el("h3", {id: "order-title"}, t("newOrder")), this.#order.node);
    this.#worklist.render();
  }

  /** Follow the analysis to its end. */
  async #watch(id, signal) {
    while (!signal.aborted) {
      try {
        await differentials.follow(id, (name, data) => this.#progressed(name, data, signal), signal);
        const found = await this.#fresh(id);
        if (signal.aborted) return;
        this.#say("");
        this.#takeAndShow(found);
        if (!this.#isOpen()) { // the stream was old enough, or its process leaves
          await after(1000 * RETRY_S);
          continue;
        }
        // Only now it is known which is the least confident.
        if (!this.#isChosen) this.#goTo(found.review_list[0] ?? this.#current);
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
    // The end is taken by who watches, with all that is known then, in one step.
    if (name !== "progress" || signal.aborted || isEnded(data.state)) return;
    this.#kept = {...this.#kept, state: data.state,
      progress: {...this.#kept.progress, waiting: data.waiting, counted: data.analysed, failed: data.failed}};
    this.#found = this.#decisionsOf(this.#kept.id).shown(this.#kept);
    this.#showProgress();
    if (Date.now() - this.#refreshed < REFRESH_MS) return;
    this.#refreshed = Date.now();
    const found = await this.#fresh(this.#found.id).catch(() => null);
    if (found && !signal.aborted && !isEnded(found.state)) this.#takeAndShow(found);
  }

  // What is seen

  #build(found) {
    const made = `${found.id} ${language()} ${settings.get("writer")} ${JSON.stringify(settings.get("keys"))}`;
    if (this.#parts?.made === made) {
      fill(this.#place, this.#parts.nodes);
      return;
    }
    const tiles = new SpecimenTiles({
      choose: (id) => {
        if (tiles.whole.isOpen) this.#toggleGallery();
        else this.#parts.dock.reveal();
        this.#choose(id);
        this.#parts.panel.node.focus({preventScroll: true});
      },
      fileOf: (cell) => this.#fileOf(cell),
      decide: (said) => this.#decideAll(said),
      look: (cell) => look(found.id, cell),
    });
    const progress = progressLine("specimen-progress", [["cancel-specimen", () => this.#cancel()]]);
    const parts = {
      made, tiles, progress,
      state: el("span", {class: "note", id: "specimen-state"}),
      problem: el("p", {class: "problem", role: "alert"}),
      refused: el("p", {class: "problem", role: "alert", id: "refused"}),
      others: el("p", {class: "note", role: "status", id: "others"}),
      assigned: el("span", {id: "assigned"}),
      pending: el("span", {class: "note", id: "pending"}),
      signed: el("p", {id: "signed"}),
      device: el("div", {id: "device"}),
      sheet: el("div", {id: "sheet"}),
      onPaper: el("div", {}),
      reviewTitle: el("h3", {id: "review-title"}),
      help: keysHelp(),
      gallery: el("button", {type: "button", id: "open-gallery", "aria-expanded": "false", "aria-controls": "gallery", onclick: () => this.#toggleGallery()},
        `${t("gallery")} (${keyName(settings.get("keys").gallery)})`),
      undo: el("button", {type: "button", id: "undo", onclick: () => this.#undo()}, `${t("undo")} (${keyName(settings.get("keys").undo)})`),
      redo: el("button", {type: "button", id: "redo", onclick: () => this.#redo()}, t("redo")),
      sign: el("button", {type: "button", id: "sign", onclick: () => this.#sign()}, `${t("sign")} (${keyName(settings.get("keys").sign)})`),
      commentsOfCell: el("div", {}),
      commentsOfAll: el("div", {}),
      cellField: this.#commentField("cell-comment", (text) => differentials.comment(found.id, text, this.#current)),
      specimenField: this.#commentField("specimen-comment", (text) => (this.#found.signature
        ? differentials.addTo(found.id, text) : differentials.comment(found.id, text, null))),
    };
    Object.assign(parts, {
      comments: el("section", {"aria-labelledby": "comments-title", id: "comments"},
        el("h3", {id: "comments-title"}, t("comments")), parts.commentsOfAll, parts.specimenField.node),
      panel: new CellPanel({
        comments: [parts.commentsOfCell, parts.cellField.node],
        decide: (label) => this.#decide(label), seen: (cell) => look(found.id, cell), fileOf: (cell) => this.#fileOf(cell),
        imagesAgain: (files) => this.#imagesAgain(files),
        compare: {picture: (id) => tiles.picture(id), choose: (id) => this.#choose(id)},
      }),
    });
    parts.dock = dockable(parts.panel.node);
    parts.fields = new SpecimenFields({
      choose: (id) => this.#choose(id), decide: (label) => this.#decide(label), add: (field, box) => this.#addCell(field, box),
      fileOf: (field) => this.#fileOf(field),
    });
    const numberOf = (id) => this.#cell(id)?.number ?? null;
    parts.nodes = [
      el("div", {class: "specimen-bar"},
        el("h2", {id: "specimen-title"}, found.specimen_id, " ", parts.state), progress.node, parts.assigned, parts.pending,
        el("span", {class: "buttons no-print"}, parts.gallery, parts.undo, parts.redo, parts.sign)),
      parts.problem, parts.refused, parts.others, parts.signed, parts.device, tiles.whole.node,
      parts.workspace = el("div", {class: "workspace"},
        el("section", {class: "no-print review", "aria-labelledby": "review-title"},
          parts.dock.place, parts.reviewTitle, tiles.waiting, parts.help, parts.panel.more),
        el("div", {class: "paper"}, parts.sheet, parts.comments, parts.onPaper,
          exports(found.id, () => this.#layOnPaper()), trail(found.id, numberOf))),
      parts.fields.node, tiles.gallery,
    ];
    this.#parts = parts;
    fill(this.#place, parts.nodes);
  }

  /** Take what the service says, and show what has changed; a person's own decisions go before. */
  #take(kept) {
    this.#kept = kept;
    const found = this.#found = this.#decisionsOf(kept.id).shown(kept);
    if (CLOSED.includes(found.state)) this.#closed.add(found.id);
    if (!this.#cell(this.#current)) this.#current = found.review_list[0] ?? found.cells[0]?.id ?? null;
    const {sheet: paper, signed, tiles, state} = this.#parts;
    this.#showDecisions();
    headPages(found.specimen_id);
    document.title = `${found.specimen_id} · ${t("specimen")} · WBC Analyzer`;
    state.textContent = specimenState(found.state);
    signed.hidden = !found.signature;
    if (found.signature) {
      const seen = t("signSeen", {seen: number(countSeen(found.id, found.cells)), total: number(found.cells.length)});
      say(signed, `${t("signedBy", {person: nameOf(found.signature.person), when: dateTime(found.signature.signed_at)})}. ${seen} ${t("closed")}`);
    }
    const resultsOf = (cells) => cells.map((cell) => cell.result).filter(Boolean);
    const counting = resultsOf(found.cells.filter(({label}) => label));
    const device = {...deviceOf(resultsOf(found.cells)), resembled: resembled(counting.map((result) => result.looks_like))};
    refill(this.#parts.device, device, deviceNote);
    // Its figures are the service's: they follow when it knows of a decision.
    refill(paper, {...kept, computed_at: null, cells: kept.cells.filter((cell) => cell.decision)}, () => sheet(kept));
    tiles.show(found, this.#isClosed());
    this.#showFields();
    this.#showComments();
    this.#showAssignee();
    this.#showProgress();
  }

  /** Paper has the pictures of cells too, all of which must be there before it is printed. */
  async #layOnPaper() {
    const {tiles, onPaper} = this.#parts;
    fill(onPaper, await cellsOnPaper(this.#found, (id) => tiles.pictureThere(id)));
    addEventListener("afterprint", () => fill(onPaper), {once: true});
  }

  #showFields() {
    this.#parts.fields.show(this.#found, this.#current, this.#isClosed());
  }

  #commentField(id, send) {
    return new CommentField({
      id, drafts: this.#drafts, refused: (problem) => this.#say(problem),
      leave: () => this.#parts.panel.node.focus({preventScroll: true}),
      send: async (text) => {
        const {id: of} = this.#found;
        await send(text);
        const found = await this.#fresh(of).catch(() => null);  // it is kept all the same
        if (found) this.#decisionsOf(of).heard(found);
      },
    });
  }

  /** What was written about the specimen and all its cells. */
  #showComments() {
    const {id, comments, state} = this.#found;
    const {commentsOfAll, specimenField, comments: section} = this.#parts;
    refill(commentsOfAll, comments, () => commentList(comments, (cell) => this.#cell(cell)?.number));
    specimenField.show(id, t(state === "signed" ? "addAddendum" : "commentOnSpecimen"));
    specimenField.node.hidden = state === "cancelled";
    section.hidden = !comments.length && state === "cancelled";
    section.classList.toggle("no-print", !comments.length);
  }

  /** The same of the cell on the screen. */
  #showCommentsOf(cell) {
    const {commentsOfCell, cellField} = this.#parts;
    const comments = this.#found.comments.filter(({cell_id: of}) => of === cell.id);
    refill(commentsOfCell, comments, () => commentList(comments));
    cellField.show(`${this.#found.id} ${cell.id}`, t("commentOnCell"), keyName(settings.get("keys").comment));
    cellField.node.hidden = CLOSED.includes(this.#found.state) || cell.state === "waiting";
  }

  /** Who has taken it; by whom the page is used it cannot know where the service does not say. */
  #showAssignee() {
    const {id, specimen_id: name, assignee, state} = this.#kept;
    const of = {id, name, assignee, me: this.#me, isClosed: CLOSED.includes(state) || !this.#me};
    refill(this.#parts.assigned, of, () => [t("assignee"), ": ", assignment(of, async (problem) => {
      const found = await this.#fresh(id).catch(() => null);
      if (this.#found?.id !== id) return;
      if (found) this.#takeAndShow(found);
      this.#say(problem);
    })]);
  }

  #takeAndShow(kept) {
    this.#take(kept);
    this.#show();
  }

  /** What of the decisions the service does not know yet, and what it did not take. */
  #showDecisions() {
    const {pending, refused, waitsFor} = this.#decisionsOf(this.#found.id);
    say(this.#parts.pending, !pending ? ""
      : waitsFor ? `${t("decisionsWait", {count: number(pending)})} ${errorText(waitsFor)}` : t("decisionsPending", {count: number(pending)}));
    this.#parts.sheet.setAttribute("aria-busy", String(pending > 0));
    say(this.#parts.refused, [...refused.values()].map(({number: cell, label, error, instead}) => {
      const values = {number: number(cell), label: label && className(label)};
      return instead === undefined ? t(label ? "decisionRefused" : "undoRefused", {...values, why: errorText(error)})
        : `${meanwhile({number: cell, decision: instead})} ${t(label ? "yoursNotKept" : "stillThere", values)}`;
    }).join(" "));
  }

  #showProgress() {
    const {total, waiting, counted, failed, unreviewed} = this.#found.progress;
    const isOpen = this.#isOpen();
    const {progress, reviewTitle, undo, redo, sign, help, state} = this.#parts;
    const decisions = this.#decisionsOf(this.#found.id);
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
    for (const button of [undo, redo, sign]) button.hidden = CLOSED.includes(this.#found.state);
    sign.classList.toggle("primary", !unreviewed);  // as loud as Accept only when nothing waits
    sign.disabled = this.#found.state !== "analysed" || this.#isSigning;
    undo.disabled = this.#isClosed() || !(decisions.latest ?? this.#cell(this.#current)?.decision);
    redo.disabled = this.#isClosed() || !decisions.canRedo;
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
    if (id !== this.#overtaken) this.#overtaken = null;
    this.#showProgress();
    const cell = this.#cell(id);
    if (cell && this.#place.isConnected) history.replaceState(null, "", `#/specimen/${encodeURIComponent(this.#found.id)}/${cell.number}`);
    this.#show();
  }

  /** A person goes to a cell. */
  #choose(id) {
    this.#isChosen = true;
    this.#goTo(id);
  }

  #showCell() {
    const cell = this.#cell(this.#current);
    if (!cell) return;
    const {tiles, panel} = this.#parts;
    const waiting = this.#found.review_list;
    const at = waiting.indexOf(cell.id);
    const place = at < 0 ? (isDouble(cell) ? t("countedElsewhere") : "") : t("placeInReview", {at: number(at + 1), count: number(waiting.length)});
    panel.show(this.#found, cell, place, this.#isClosed());
    this.#showFields();
    this.#showCommentsOf(cell);
    tiles.select(cell.id);
  }

  // What a person does

  // What a person says counts at once, for the cell on the screen, and the page moves on: the service hears of it in
  // its own time.

  /** That the current cell is this; without a label, what the service says. */
  #decide(label) {
    const cell = this.#cell(this.#current);
    const said = label ?? cell?.result?.class;
    if (this.#isClosed() || !said || !canBeDecided(cell)) return;
    if (!this.#parts.panel.hasPicture) {
      announce(this.#parts.panel.note);
      return;
    }
    if (this.#wasOvertaken(cell)) return;
    const next = this.#next(cell.id);
    this.#decisionsOf(this.#found.id).decide(cell, said);
    announce(`${t("cellNumber", {number: cell.number})}: ${className(said)}`);
    this.#decided(next ?? cell.id);
  }

  /** Whether a key was meant for what the cell was before somebody else decided, which is said once. */
  #wasOvertaken(cell) {
    if (!cell || this.#overtaken !== cell.id) return false;
    this.#overtaken = null;
    say(this.#parts.others, `${meanwhile(cell)} ${t("sayAgain")}`);
    return true;
  }

  /** A person adds the cell in this box of a field, which becomes the current one; throws where that is refused. */
  async #addCell(field, box) {
    const {id} = this.#found;
    const decisions = this.#decisionsOf(id);
    await decisions.settled();
    const {cells, etag} = decisions.known;
    let found;
    try {
      found = await differentials.addCell(id, field.id, box, etag);
    } catch (error) {
      const now = await this.#fresh(id).catch(() => null);
      if (now) decisions.heard(now);
      throw error;
    }
    decisions.heard(found);
    const known = new Set(cells.map((cell) => cell.id));
    const added = found.cells.find((cell) => !known.has(cell.id) && cell.place?.added_by);
    if (this.#found?.id === id) {
      this.#choose(added.id);
      this.#parts.panel.node.focus({preventScroll: true});
    }
    return added;
  }

  /** Of several cells what a person has said of each. */
  #decideAll(said) {
    const open = said.filter(([cell]) => canBeDecided(cell));
    if (this.#isClosed() || !open.length) return;
    this.#decisionsOf(this.#found.id).decideAll(open);
    this.#take(this.#kept);
  }

  /** All cells by class in place of one cell, or back; each where it was left. */
  #toggleGallery() {
    const {tiles, workspace, gallery} = this.#parts;
    const isOpen = !tiles.whole.isOpen;
    const before = scrollY;
    workspace.hidden = isOpen;
    gallery.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) tiles.whole.open();
    else tiles.whole.close();
    tiles.show(this.#found, this.#isClosed());
    layOut();
    scrollTo({top: this.#leftAt ?? 0, behavior: "instant"});
    this.#leftAt = before;
    if (!isOpen) this.#show();
  }

  /** The one after it that waits; none where it is the last. */
  #next(id) {
    const waiting = this.#found.review_list;
    const at = waiting.indexOf(id);
    return at < 0 ? null : waiting[at + 1] ?? waiting[at - 1] ?? null;
  }

  #undo() {
    if (this.#isClosed()) return;
    const [decisions, cell] = [this.#decisionsOf(this.#found.id), this.#cell(this.#current)];
    if (!decisions.latest && this.#wasOvertaken(cell)) return;
    const id = decisions.undo(cell);
    if (!id) return;
    announce(t("undone", {number: this.#cell(id).number}));
    this.#decided(id);
  }

  #redo() {
    const id = this.#isClosed() ? null : this.#decisionsOf(this.#found.id).redo();
    if (!id) return;
    const next = this.#next(id);
    this.#take(this.#kept);
    announce(`${t("cellNumber", {number: this.#cell(id).number})}: ${className(this.#cell(id).label)}`);
    this.#decided(next ?? id);
  }

  #decided(id) {
    this.#isChosen = true;
    this.#take(this.#kept);
    this.#goTo(id);
  }

  async #sign() {
    const asked = this.#found;
    const {id, cells, progress, assignee} = asked;
    const taken = assignee && assignee !== this.#me ? t("signTaken", {person: nameOf(assignee)}) : "";
    if (!await askToSign(progress.unreviewed, countSeen(id, cells), cells.length, taken) || this.#found?.id !== id) return;
    const decisions = this.#decisionsOf(id);
    this.#isSigning = true;
    this.#takeAndShow(this.#kept);
    let problem = "";
    try {
      // With what somebody else has done since the question was asked it is not what was to be signed.
      if (!await decisions.settled()) problem = t("notSigned");
      else if (!(problem = notSigned(asked, decisions.known))) {
        decisions.heard(await differentials.sign(id, decisions.known.etag));
        announce(t("st_signed"));
      }
    } catch (error) {
      const found = await this.#fresh(id).catch(() => null);
      if (found) decisions.heard(found);
      problem = (found && notSigned(asked, found)) || errorText(error);
    } finally {
      this.#isSigning = false;
      if (this.#found?.id === id) {
        this.#say(problem);
        this.#takeAndShow(this.#kept);
        this.#goTo(this.#current);
      }
    }
  }

  /** Of these files, those that are images of this specimen: by what they hold, whatever they are called. */
  async #imagesAgain(chosen) {
    const {id, cells} = this.#found;
    const numbers = new Map();
    for (const {image_sha256: hash, number: cell} of cells) numbers.set(hash, [...(numbers.get(hash) ?? []), cell]);
    const files = this.#files.get(id) ?? [];
    let found = 0;
    for (const image of await imagesIn(chosen)) {
      for (const cell of numbers.get(await sha256(image)) ?? []) {
        files[cell - 1] = image;
        found += 1;
      }
    }
    this.#files.set(id, files);
    if (this.#found?.id !== id) return;
    this.#say(t("imagesFound", {count: number(found), total: number(cells.length)}));
    this.#parts.tiles.lookAgain();
    this.#parts.panel.lookAgain();
    this.#show();
  }

  /** Whether leaving the page loses something: decisions under way, begun comments, or images of a specimen that is not closed. */
  holdsSomething() {
    return [...this.#drafts.values()].some((text) => text.trim()) || [...this.#decisions.values()].some(({pending}) => pending)
      || [...this.#files.keys()].some((id) => !this.#closed.has(id));
  }

  async #cancel() {
    const {id} = this.#found;
    const decisions = this.#decisionsOf(id);
    let problem = "";
    try {
      decisions.heard(await differentials.cancel(id));
    } catch (error) {
      problem = errorText(error);
      const found = await this.#fresh(id).catch(() => null);
      if (found) decisions.heard(found);
    }
    if (this.#found?.id !== id) return;
    this.#say(problem);
    this.#goTo(this.#current);
  }

  /** What a key does in the gallery; whether it does anything. */
  #galleryKey(event, label) {
    const {tiles: {whole}} = this.#parts;
    const {next, previous} = settings.get("keys");
    const at = event.target.closest(".tile")?.dataset.cell;
    if (label) {
      if (!event.repeat) whole.say(label);
    } else if (event.key === next || event.key === previous) {
      const id = whole.order[whole.order.indexOf(at) + (event.key === next ? 1 : -1)];
      if (id) whole.focus(id);
    } else if (event.key === PICK_KEY && at) whole.pick(at);
    else if (event.key === "Escape") whole.pickNone();
    else return false;
    return true;
  }

  #key(event) {
    if (!this.#place.isConnected || !this.#found || event.altKey) return;
    if (event.target.closest("input:not(.tile-pick), select, textarea, dialog, .frame")) return;
    if (event.ctrlKey || event.metaKey) {
      const letter = event.key.toLowerCase();
      if (letter === "a" && this.#parts.tiles.whole.isOpen) this.#parts.tiles.whole.pickAll();
      else if (letter === "y" || (letter === "z" && event.shiftKey)) this.#redo();
      else if (letter === "z") this.#undo();
      else return;
      event.preventDefault();
      return;
    }
    const keys = settings.get("keys");
    const onControl = event.target.closest("button, a, summary");
    if (onControl && (event.key === "Enter" || event.key === " ")) return;
    const label = LABELS[keys.labels.indexOf(event.key)] ?? labelOfKey(event.key);
    const outside = [keys.undo, keys.sign];
    if (event.key === keys.gallery) this.#toggleGallery();
    else if (this.#parts.tiles.whole.isOpen && !outside.includes(event.key)) {
      if (!this.#galleryKey(event, label)) return;
    } else if (event.key === keys.next || event.key === keys.previous) {
      const {order} = this.#parts.tiles;
      const at = order.indexOf(this.#current) + (event.key === keys.next ? 1 : -1);
      if (order[at]) this.#choose(order[at]);
    } else if (event.key === keys.accept || label) {
      // A key that is held down says it once: nobody has looked at the cells that would follow.
      if (!event.repeat) this.#decide(label);
    } else if (event.key === keys.undo) this.#undo();
    else if (event.key === keys.comment) {
      const {cellField, specimenField} = this.#parts;
      (this.#found.signature ? specimenField : cellField).open();
    } else if (event.key === keys.sign && this.#found.state === "analysed" && !this.#isSigning) this.#sign();
    else return;
    event.preventDefault();
  }
}
