// What others do meanwhile, asked for every now and then.

const REFRESH_MS = 5000;

/** Call `look` at once, again and again and when the page is seen again, until `signal` says so; not while nobody sees it. */
export function following(look, signal) {
  let timer = null;

  async function again() {
    if (!document.hidden && !signal.aborted) await look();
    clearTimeout(timer);
    if (!signal.aborted) timer = setTimeout(again, REFRESH_MS);
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden) again(); }, {signal});
  signal.addEventListener("abort", () => clearTimeout(timer));
  again();
}
