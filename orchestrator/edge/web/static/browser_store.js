// Things of one kind in a database of this browser (IndexedDB).

/** Every transaction rejects in a browser that keeps nothing; one that kept nothing once is asked again the next time. */
export class BrowserStore {
  #opened = null;
  #name;
  #kind;
  #keyPath;

  /** `when` is of each thing the time in milliseconds at which it came, by which the oldest are dropped. */
  constructor(name, kind, keyPath) {
    this.#name = name;
    this.#kind = kind;
    this.#keyPath = keyPath;
  }

  /** The things, for one transaction; those that are asked for first come first. */
  async things(mode = "readonly") {
    this.#opened ??= this.#open();
    try {
      return (await this.#opened).transaction(this.#kind, mode).objectStore(this.#kind);
    } catch (error) {
      this.#opened = null;
      throw error;
    }
  }

  #open() {
    return new Promise((resolve, reject) => {
      const request = indexedDB.open(this.#name, 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore(this.#kind, {keyPath: this.#keyPath}).createIndex("when", "when");
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }
}

export function finished(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Of the things the oldest: `count` of them, or those that came before `when`. */
export function dropOldest(things, {count = Infinity, before = Infinity}) {
  return new Promise((resolve, reject) => {
    let left = count;
    const cursor = things.index("when").openCursor(IDBKeyRange.upperBound(before, true));
    cursor.onerror = () => reject(cursor.error);
    cursor.onsuccess = () => {
      if (!cursor.result || left === 0) return resolve();
      cursor.result.delete();
      left -= 1;
      cursor.result.continue();
    };
  });
}
