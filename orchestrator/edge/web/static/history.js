// What this browser has seen before, in its own database: results and small pictures, no whole images.

import {BrowserStore, dropOldest, finished} from "./browser_store.js";

const MOST = 1000;
const THUMBNAIL_PX = 96;

const store = new BrowserStore("wbc", "results", "id");
/** What is being written. */
const underWay = new Set();

/** The results, once what is being written is there: who asks must see it, and who forgets must not miss it. */
async function settledResults(mode) {
  await Promise.all(underWay);
  return store.things(mode);
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
    const results = await store.things("readwrite");
    await finished(results.put(entry));
    const extra = (await finished(results.count())) - MOST;
    if (extra > 0) await dropOldest(results, {count: extra});
  } catch {
    // Nothing is kept.
  }
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
