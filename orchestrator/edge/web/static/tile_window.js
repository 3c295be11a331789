// A list of which only the tiles near the screen are in the document: a thousand cost what fifty do.

/** So far beyond the screen tiles are there already, in pixels: who scrolls or tabs on finds them. */
const AHEAD_PX = 600;

const STYLE = "tile-window";
const windows = new WeakMap();
let frame = null;

/** Lay out all lists now, for who is to be scrolled to a place among them; else that is done with the next frame. */
export function layOut() {
  cancelAnimationFrame(frame);
  frame = null;
  const lists = [...document.getElementsByClassName(STYLE)].map((list) => windows.get(list));
  // All are measured before any is changed: to ask in between lays out all anew. And twice, since the length of a
  // list moves those below it.
  for (const step of ["stretch", "draw"]) {
    const measures = lists.map((list) => list.measure());
    lists.forEach((list, at) => list[step](measures[at]));
  }
}

const layOutSoon = () => { frame ??= requestAnimationFrame(layOut); };
const resized = new ResizeObserver(layOutSoon);
document.addEventListener("scroll", layOutSoon, {capture: true, passive: true});

export class TileWindow {
  #list;
  #tileOf;
  #ids = [];
  #held = null;
  #drawn = "";

  /**
   * `list` is to be a grid, whose style says how high its rows are, or how wide its columns where it is one row that is
   * scrolled by itself; `tileOf(id)` gives the node of a tile, asked whenever it comes near the screen or is shown anew.
   */
  constructor(list, tileOf) {
    this.#list = list;
    this.#tileOf = tileOf;
    windows.set(list, this);
    list.classList.add(STYLE);
    list.addEventListener("focusin", ({target}) => { this.#held = target.closest("li")?.dataset.cell; });
    resized.observe(list);
  }

  /** Show these, in this order. */
  show(ids) {
    this.#ids = ids;
    this.#drawn = "";
    this.#list.hidden = !ids.length;
    this.#list.style.setProperty("--count", ids.length);
    layOutSoon();
  }

  /** Have a tile in the document wherever it lies, to be focused or scrolled to; that with the focus is so anyway. */
  hold(id) {
    this.#held = id;
    this.draw(this.measure());
  }

  /** How many tiles lie in a line, a row or else a column, and which lines are near the screen. */
  measure() {
    const list = this.#list;
    if (!list.getClientRects().length) return {inLine: 1, from: 0, to: 0};
    const style = getComputedStyle(list);
    if (style.gridAutoFlow === "column") {
      const step = parseFloat(style.gridAutoColumns) + parseFloat(style.columnGap);
      return {inLine: 1, isRow: true, ...near(-list.scrollLeft, list.clientWidth, step)};
    }
    const step = parseFloat(style.gridAutoRows) + parseFloat(style.rowGap);
    return {inLine: style.gridTemplateColumns.split(" ").length, ...near(list.getBoundingClientRect().top, innerHeight, step)};
  }

  stretch({inLine}) {
    this.#list.style.setProperty("--lines", Math.ceil(this.#ids.length / inLine));
  }

  draw({inLine, isRow = false, from, to}) {
    const drawn = `${inLine} ${isRow} ${from} ${to} ${this.#held}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const at = new Set([this.#ids.indexOf(this.#held)]);
    for (let one = from * inLine; one < Math.min(to * inLine, this.#ids.length); one += 1) at.add(one);
    at.delete(-1);
    place(this.#list, [...at].sort((a, b) => a - b).map((one) => {
      const node = this.#tileOf(this.#ids[one]);
      const [line, column] = [Math.floor(one / inLine) + 1, (one % inLine) + 1];
      node.style.gridArea = isRow ? `1 / ${line}` : `${line} / ${column}`;
      node.setAttribute("aria-setsize", this.#ids.length);
      node.setAttribute("aria-posinset", one + 1);
      return node;
    }));
  }
}

/** The lines near the screen of a list that begins at `start` on it, each so long. */
const near = (start, size, step) => ({
  from: Math.max(0, Math.floor((-start - AHEAD_PX) / step)), to: Math.max(0, Math.ceil((size - start + AHEAD_PX) / step)),
});

/** Make `nodes` the children of `list`, and move no more of them than need be. */
function place(list, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...list.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, at) => {
    if (list.children[at] !== node) list.insertBefore(node, list.children[at] ?? null);
  });
}
