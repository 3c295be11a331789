// Small pictures that get their source when they come near the screen: an address for each of hundreds of files at
// once takes longer than a key press may wait.

import {el} from "./dom.js";

/** As wide as a tile may be: of a thousand images in full a browser decodes each anew whenever it comes into sight. */
const WIDTH = 240;

/** While the page is scrolled nothing is fetched; and so few at once leave room for the cell that is looked at. */
const REST_MS = 100;
const AT_ONCE = 3;

const sources = new WeakMap();
const near = new Set();
let resting = null;
let underWay = 0;

const seen = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) near[isIntersecting ? "add" : "delete"](target);
  if (!resting) rest();
}, {rootMargin: "300px"});
document.addEventListener("scroll", rest, {capture: true, passive: true});

function rest() {
  clearTimeout(resting);
  resting = setTimeout(() => {
    resting = null;
    loadSome();
  }, REST_MS);
}

function loadSome() {
  for (const image of near) {
    if (resting || underWay === AT_ONCE) return;
    load(image);
  }
}

async function load(image) {
  near.delete(image);
  seen.unobserve(image);
  underWay += 1;
  try {
    image.src = await sources.get(image)();
  } catch {
    image.remove();
  }
  underWay -= 1;
  loadSome();
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
    const context = canvas.getContext("2d", {willReadFrequently: true});
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    // What reaches beyond the image has clear corners; JPEG has none, and takes a fraction of the time.
    const opacity = (x, y) => context.getImageData(x * (canvas.width - 1), y * (canvas.height - 1), 1, 1).data[3];
    const isClear = [[0, 0], [0, 1], [1, 0], [1, 1]].some(([x, y]) => !opacity(x, y));
    if (!isClear) {  // what else is transparent lies on white, as the service sees it
      context.globalCompositeOperation = "destination-over";
      context.fillStyle = "white";
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    const copy = await canvas.convertToBlob({type: isClear ? "image/webp" : "image/jpeg", quality: 0.85});
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
