// What this browser has seen before, in its own database: results and small pictures, no whole images.

const NAME = "wbc";
const RESULTS = "results";
const MOST = 1000;
const THUMBNAIL_PX = 96;

let opened = null;
/** What is being written. */
const underWay = new Set();

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(RESULTS, {keyPath: "id"}).createIndex("when", "when");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

async function results(mode) {
  return (await database()).transaction(RESULTS, mode).objectStore(RESULTS);
}

/** The results, once what is being written is there: who asks must see it, and who forgets must not miss it. */
async function settledResults(mode) {
  await Promise.all(underWay);
  return results(mode);
}

function finished(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Keep one result; the oldest go when there are too many. A browser that keeps nothing is no error. */
export function keep(item) {
  const written = write(item).finally(() => underWay.delete(written));
  underWay.add(written);
}

async function write(item) {
  try {
    const entry = {
      id: item.result.request_id, when: Date.now(), name: item.name, result: {...item.result, heatmap: null},
      thumbnail: await thumbnail(item.file),
    };
    const store = await results("readwrite");
    await finished(store.put(entry));
    const extra = (await finished(store.count())) - MOST;
    if (extra > 0) await dropOldest(store, extra);
  } catch {
    opened = null;
  }
}

function dropOldest(store, count) {
  return new Promise((resolve, reject) => {
    let left = count;
    const cursor = store.index("when").openCursor();
    cursor.onerror = () => reject(cursor.error);
    cursor.onsuccess = () => {
      if (!cursor.result || left === 0) return resolve();
      cursor.result.delete();
      left -= 1;
      cursor.result.continue();
    };
  });
}

/** The newest first. */
export async function all() {
  try {
    return (await finished((await settledResults()).index("when").getAll())).reverse();
  } catch {
    return [];
  }
}

export async function find(id) {
  try {
    return (await finished((await settledResults()).get(id))) || null;
  } catch {
    return null;
  }
}

export async function forgetAll() {
  try {
    await finished((await settledResults("readwrite")).clear());
  } catch {
    // Nothing was kept.
  }
}

async function thumbnail(file) {
  const bitmap = await createImageBitmap(file);
  const scale = THUMBNAIL_PX / Math.max(bitmap.width, bitmap.height);
  const canvas = new OffscreenCanvas(Math.max(1, bitmap.width * scale), Math.max(1, bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.convertToBlob({type: "image/jpeg", quality: 0.8});
}
