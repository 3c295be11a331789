// Small pictures that get their source when they come near the screen: an address for each of hundreds of files at
// once takes longer than a key press may wait.

import {el} from "./dom.js";

/** As wide as a tile may be: of a thousand images in full a browser decodes each anew whenever it comes into sight. */
const WIDTH = 240;

const sources = new WeakMap();

const seen = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    load(target);
  }
}, {rootMargin: "300px"});

async function load(image) {
  try {
    image.src = await sources.get(image)();
  } catch {
    image.remove();
  }
}

/** An address of a small copy of an image, or of itself where it is small, or where this browser cannot read it. */
export async function smallAddress(blob) {
  try {
    const bitmap = await createImageBitmap(blob, {resizeWidth: WIDTH, resizeQuality: "medium"});
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    const copy = await canvas.convertToBlob({type: "image/jpeg", quality: 0.85});
    return URL.createObjectURL(copy.size < blob.size ? copy : blob);
  } catch {
    return URL.createObjectURL(blob);
  }
}

/** An image without a text of its own; `source()` gives its address, or a promise of it. One that fails goes. */
export function lazyImage(source) {
  const image = el("img", {alt: "", decoding: "async", width: "96", height: "96", onerror: () => image.remove()});
  sources.set(image, source);
  seen.observe(image);
  return image;
}
