// Images on their way through the service: a few at a time, each of which may be cancelled and tried again.

import {analyse, analyseField, ServiceError} from "./api.js";

const AT_ONCE = 4;
const MAX_TRIES = 6;
const LONGEST_WAIT_S = 30;

/** An image and what has become of it; its address is made when it is first asked for. */
class Item {
  state = "waiting";
  result = null;
  error = null;
  tries = 0;
  abort = null;
  report = null;
  /** What was chosen when it was sent. */
  asked = null;
  #url = null;

  constructor(id, file) {
    this.id = id;
    this.file = file;
    this.name = file.name;
    this.isField = file.kind === "field";
  }

  get url() {
    this.#url ??= URL.createObjectURL(this.file);
    return this.#url;
  }

  forget() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }
}

/**
 * States: waiting, running, done, failed, cancelled. A busy service is asked again when it says so; the queue
 * then holds still (`busyUntil`), since the next image would fare no better.
 * Events: `change` (an item, or null for many), at most one for each frame.
 */
export class Queue extends EventTarget {
  items = [];
  busyUntil = 0;
  nextId = 1;
  /** Whether it holds still because there is no answer at all. */
  isOffline = false;
  #options;
  #running = 0;
  #changed = new Set();
  #timer = 0;

  /** `options(file)` gives language, profile and tta when an image's turn comes. */
  constructor(options) {
    super();
    this.#options = options;
  }

  add(files) {
    const added = files.map((file) => new Item(String(this.nextId++), file));
    this.items.push(...added);
    this.#note(null);
    this.#go();
    return added;
  }

  /** Put back, before all others, images that were here. What has no result waits for a person: nothing is sent by itself. */
  restore(entries) {
    const restored = entries.map(({id, file, asked, result}) => (
      Object.assign(new Item(id, file), {state: result ? "done" : "cancelled", asked, result})));
    this.items.unshift(...restored);
    this.#note(null);
    return restored;
  }

  find(id) {
    return this.items.find((item) => item.id === id) || null;
  }

  cancel(item) {
    if (item.state !== "waiting" && item.state !== "running") return;
    item.state = "cancelled";
    item.abort?.abort();
    this.#note(item);
  }

  cancelAll() {
    for (const item of this.items) this.cancel(item);
  }

  retry(item) {
    if (item.state !== "failed" && item.state !== "cancelled") return;
    Object.assign(item, {state: "waiting", error: null, tries: 0});
    this.#note(item);
    this.#go();
  }

  retryAll() {
    for (const item of this.items) this.retry(item);
  }

  clear() {
    this.cancelAll();
    for (const item of this.items) item.forget();
    this.items = [];
    this.#note(null);
  }

  get counts() {
    const counts = {waiting: 0, running: 0, done: 0, failed: 0, cancelled: 0};
    for (const item of this.items) counts[item.state] += 1;
    return counts;
  }

  #go() {
    if (Date.now() < this.busyUntil) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#go(), this.busyUntil - Date.now() + 10);
      return;
    }
    for (const item of this.items) {
      if (this.#running >= AT_ONCE) return;
      if (item.state === "waiting") this.#run(item);
    }
  }

  async #run(item) {
    this.#running += 1;
    item.state = "running";
    item.abort = new AbortController();
    this.#note(item);
    try {
      item.asked = this.#options(item.file);
      const result = await (item.isField ? analyseField : analyse)(item.file, {...item.asked, signal: item.abort.signal});
      if (item.state === "running") Object.assign(item, {state: "done", result});
    } catch (error) {
      if (item.state === "running") this.#failed(item, error);
    } finally {
      this.#running -= 1;
      item.abort = null;
      this.#note(item);
      this.#go();
    }
  }

  #failed(item, error) {
    item.tries += 1;
    const known = error instanceof ServiceError ? error : new ServiceError(0, String(error));
    if (known.isTemporary && item.tries < MAX_TRIES) {
      item.state = "waiting";
      const waitS = Math.min(known.retryAfterS ?? 2 ** item.tries, LONGEST_WAIT_S);
      this.busyUntil = Math.max(this.busyUntil, Date.now() + waitS * 1000);
      this.isOffline = known.status === 0;
      return;
    }
    Object.assign(item, {state: "failed", error: known});
  }

  #note(item) {
    if (!this.#changed.size) requestAnimationFrame(() => this.#tell());
    this.#changed.add(item);
  }

  #tell() {
    const changed = this.#changed;
    this.#changed = new Set();
    this.dispatchEvent(new CustomEvent("change", {detail: changed.has(null) ? null : [...changed]}));
  }
}
