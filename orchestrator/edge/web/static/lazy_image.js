// Small pictures that get their source when they come near the screen: an address for each of hundreds of files at
// once takes longer than a key press may wait.

import {el} from "./dom.js";

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

/** An image without a text of its own; `source()` gives its address, or a promise of it. One that fails goes. */
export function lazyImage(source) {
  const image = el("img", {alt: "", decoding: "async", width: "96", height: "96", onerror: () => image.remove()});
  sources.set(image, source);
  seen.observe(image);
  return image;
}
