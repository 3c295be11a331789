// What a person has said of the cells of one specimen: shown at once, sent to the service one by one in that order.

import {ServiceError} from "./api.js";
import * as differentials from "./differentials.js";

const RETRY_S = 2;
const LONGEST_WAIT_S = 30;
const CHANGED_MEANWHILE = 412;

/**
 * The decisions of a specimen. A label of null takes a decision back. `tell.kept(found)` hears of each document of the
 * service, `tell.changed()` of all else: what is refused is taken back, and stands in `refused` until the cell is decided
 * again; while the service cannot take any, `waitsFor` says why, and none is lost.
 *
 * Each is about the cell as the person saw it, or as this page's own decision before it has left it (`If-Match`): what
 * somebody else decides in between is never overwritten unseen.
 */
export class Decisions {
  /** Of cells, by their ids: `{number, label, error}`, and the `instead` that somebody else decided (null: took back). */
  refused = new Map();
  waitsFor = null;
  /** How many answers came: what was asked for before one of them may be older than it. */
  answers = 0;
  /** The specimen as the service said last. */
  known = null;
  #id;
  #tell;
  #pending = [];
  #done = [];
  #undone = [];
  #sending = null;
  /** By cells, the etags with which this page's own decisions left them. */
  #left = new Map();

  constructor(id, tell) {
    this.#id = id;
    this.#tell = tell;
  }

  /** How many the service does not know yet. */
  get pending() {
    return this.#pending.length;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** The cell of the latest one, or null. */
  get latest() {
    return this.#done.at(-1)?.cell ?? null;
  }

  decide(cell, label) {
    this.decideAll([[cell, label]]);
  }

  /** Of several cells at once, each with its label: they are taken back, and done again, together. */
  decideAll(said) {
    const together = {};
    this.#undone = [];
    for (const [cell, label] of said) {
      this.#done.push({...changeOf(cell, label), together});
      this.#send(this.#done.at(-1), label, cell.etag);
    }
  }

  /** Take the latest back, or else that about the cell `shown`; the id of its cell, null where there is none. */
  undo(shown = null) {
    if (!this.#done.length && shown?.decision) {
      const change = {...changeOf(shown, shown.decision.label), before: null, together: {}};
      this.#undone.push(change);
      this.#send(change, null, this.#left.get(change.cell) ?? shown.etag);
      return change.cell;
    }
    return this.#move(this.#done, this.#undone, "before");
  }

  redo() {
    return this.#move(this.#undone, this.#done, "after");
  }

  /** What was said last there, with all that was said with it; the id of the last cell, null where there is none. */
  #move(from, to, side) {
    const together = from.at(-1)?.together;
    let last = null;
    while (from.length && from.at(-1).together === together) {
      const change = from.pop();
      to.push(change);
      this.#send(change, change[side], this.#left.get(change.cell));
      last = change.cell;
    }
    return last;
  }

  /** The service's document, the latest, with what it does not know yet; its counts are those that it computed. */
  shown(found) {
    this.known = found;
    if (!this.#pending.length) return found;
    const said = new Map(this.#pending.map(({cell, label}) => [cell, label]));
    const cells = found.cells.map((cell) => (said.has(cell.id) ? asSaid(cell, said.get(cell.id)) : cell));
    const waiting = cells.filter((cell) => cell.needs_review)
      .sort((a, b) => a.result.confidence - b.result.confidence || a.number - b.number);
    return {...found, cells, review_list: waiting.map(({id}) => id),
      progress: {...found.progress, unreviewed: waiting.length}};
  }

  /** Wait until the service knows all; whether it took all that waited. */
  async settled() {
    const refused = new Set(this.refused.values());
    await this.#sending;
    return [...this.refused.values()].every((one) => refused.has(one));
  }

  #send({cell, number}, label, etag) {
    this.refused.delete(cell);
    this.#pending.push({cell, number, label, etag});
    this.#sending ??= this.#sendAll().finally(() => { this.#sending = null; });
  }

  async #sendAll() {
    while (this.#pending.length) {
      const [next] = this.#pending;
      try {
        this.#took(await this.#ask(next));
      } catch (error) {
        if (error instanceof ServiceError && error.isTemporary) {
          this.waitsFor = error;
          this.#tell.changed();
          await after(1000 * Math.min(error.retryAfterS ?? RETRY_S, LONGEST_WAIT_S));
        } else await this.#wasRefused(next, error);
      }
    }
  }

  async #ask({cell, label, etag}) {
    try {
      return await (label === null ? differentials.undecide(this.#id, cell, etag) : differentials.decide(this.#id, cell, label, etag));
    } catch (error) {
      if (error.status !== CHANGED_MEANWHILE) throw error;
      const found = await differentials.get(this.#id);
      const {decision} = cellOf(found, cell);
      // That it is so already: of an earlier try the answer was lost.
      if ((decision?.label ?? null) === label) return found;
      throw Object.assign(error, {found, instead: decision});
    }
  }

  #took(found) {
    const {cell} = this.#pending.shift();
    const {etag} = cellOf(found, cell);
    this.#left.set(cell, etag);
    for (const one of this.#pending) if (one.cell === cell) one.etag = etag;
    this.heard(found);
  }

  async #wasRefused({cell, number, label}, error) {
    const {instead} = error;
    const found = error.found ?? await differentials.get(this.#id).catch(() => null);
    const others = (changes) => changes.filter((one) => one.cell !== cell);
    [this.#pending, this.#done, this.#undone] = [this.#pending, this.#done, this.#undone].map(others);
    this.#left.delete(cell);
    this.refused.set(cell, {number, label, error, instead});
    if (found) this.heard(found);
    else {
      this.waitsFor = null;
      this.#tell.changed();
    }
  }

  /** The service has answered with this. */
  heard(found) {
    this.answers += 1;
    this.waitsFor = null;
    this.known = found;
    this.#tell.kept(found);
  }
}

const after = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

const cellOf = (found, id) => found.cells.find((cell) => cell.id === id);

const changeOf = (cell, label) => ({cell: cell.id, number: cell.number, before: cell.decision?.label ?? null, after: label});

/** Whether it is a cell of another field once more, which counts there. */
export const isDouble = ({place}) => Boolean(place?.same_as);

/** Whether a person may say what it is. */
export const canBeDecided = (cell) => ["analysed", "failed"].includes(cell.state) && !isDouble(cell);

/** Whether it waits for no word to count as something, if only as unidentified. */
export const countsByItself = ({result, place}) => Boolean(result) && (!place || (place.is_identified && !place.same_as));

/** A cell as the service will have it. */
function asSaid(cell, label) {
  const isDoubtful = cell.result?.review_codes.length > 0;
  const own = !countsByItself(cell) ? null : isDoubtful ? "Unidentified" : cell.result.class;
  return {
    ...cell, decision: label && {label, person: "", decided_at: null},
    needs_review: !label && isDoubtful && !isDouble(cell), label: label ?? own,
  };
}
