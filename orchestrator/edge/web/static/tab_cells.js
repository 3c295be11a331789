// The images and results of the Cells view, kept in this browser so that a tab that is loaded anew still has them. Each tab
// has a set of its own, of which only that tab knows.

import {BrowserStore, dropOldest, finished} from "./browser_store.js";
import {settings} from "./settings.js";

const KEY = "wbc.tab";
const KEPT_MS = 24 * 60 * 60 * 1000;
const store = new BrowserStore("wbc-tabs", "cells", ["tab", "id"]);

/** Delete what is kept of all tabs. */
export async function forgetTabs() {
  try {
    await finished((await store.things("readwrite")).clear());
  } catch {
    // Nothing was kept.
  }
}

export class TabCells {
  #queue;
  #tab;
  /** By ids, whether the result of an image is kept. */
  #kept = new Map();

  /** A queue without images. */
  constructor(queue) {
    this.#queue = queue;
    const {tab, nextId} = this.#come();
    this.#tab = tab;
    queue.nextId = nextId;
    queue.addEventListener("change", () => this.#changed());
    settings.addEventListener("change", () => {
      if (settings.get("keepHistory")) return;
      this.#kept.clear();
      forgetTabs();
    });
    // Only while the page is away or hidden, so that a copy of the tab does not take it for its own.
    for (const kind of ["pagehide", "pageshow", "visibilitychange"]) {
      addEventListener(kind, () => this.#go(kind === "pagehide" || document.hidden));
    }
  }

  #come() {
    try {
      const found = JSON.parse(sessionStorage.getItem(KEY));
      sessionStorage.removeItem(KEY);
      if (found) return found;
    } catch {
      // A browser that keeps nothing.
    }
    return {tab: `${Date.now()}-${Math.random()}`, nextId: 1};
  }

  #go(isAway) {
    try {
      if (isAway) sessionStorage.setItem(KEY, JSON.stringify({tab: this.#tab, nextId: this.#queue.nextId}));
      else sessionStorage.removeItem(KEY);
    } catch {
      // A browser that keeps nothing.
    }
  }

  /** Put back into the queue what this tab had, and drop what is too old; a promise of the items. */
  async restore() {
    try {
      const things = await store.things("readwrite");
      await dropOldest(things, {before: Date.now() - KEPT_MS});
      const entries = await finished(things.getAll(IDBKeyRange.bound([this.#tab], [this.#tab, []])));
      entries.sort((one, other) => Number(one.id) - Number(other.id));
      for (const {id, result} of entries) this.#kept.set(id, Boolean(result));
      return this.#queue.restore(entries.map(({file, profile, kind, asked, ...entry}) => (
        {...entry, asked, file: Object.assign(file, profile && {profile}, kind && {kind})})));
    } catch {
      return [];
    }
  }

  async #changed() {
    const items = settings.get("keepHistory") ? this.#queue.items : [];
    const here = new Set(items.map(({id}) => id));
    const gone = [...this.#kept.keys()].filter((id) => !here.has(id));
    const changed = items.filter(({id, result}) => this.#kept.get(id) !== Boolean(result));
    if (!gone.length && !changed.length) return;
    for (const id of gone) this.#kept.delete(id);
    for (const {id, result} of changed) this.#kept.set(id, Boolean(result));
    try {
      const things = await store.things("readwrite");
      for (const id of gone) things.delete([this.#tab, id]);
      for (const {id, file, asked, result} of changed) {
        const {profile = null, kind = null} = file;
        things.put({tab: this.#tab, id, when: Date.now(), file, profile, kind, asked, result});
      }
    } catch {
      // A browser that keeps nothing, or has no room.
    }
  }
}
