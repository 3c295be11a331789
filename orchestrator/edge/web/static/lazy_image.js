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

/**
 * An address of a small copy of an image, or of itself where it is small, or where this browser cannot read it; of the
 * square `part` of it, `{left, top, side}` in pixels, where one is given. What lies beyond the image is left clear.
 */
export async function smallAddress(blob, part = null) {
  try {
    const width = part ? Math.min(WIDTH, part.side) : WIDTH;
    const options = {resizeWidth: width, resizeQuality: "medium"};
    const bitmap = part ? await createImageBitmap(blob, part.left, part.top, part.side, part.side, {...options, resizeHeight: width})
      : await createImageBitmap(blob, options);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    const copy = await canvas.convertToBlob({type: part ? "image/webp" : "image/jpeg", quality: 0.85});
    return URL.createObjectURL(part || copy.size < blob.size ? copy : blob);
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
