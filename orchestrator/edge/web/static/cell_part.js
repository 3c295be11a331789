// What of an image a tile shows: the square around its cell, at one scale for all cells that lie side by side.

/** Of the cells, by their size, the one that tiles are made for, and how much of its surroundings they show. */
const USUAL = 0.9;
const AROUND = 1.25;

const sizeOf = ({top, left, bottom, right}) => AROUND * Math.max(bottom - top, right - left);

/** Side in pixels of what tiles show of cells with these boxes; null without any. */
export function usualSide(boxes) {
  const sizes = boxes.filter(Boolean).map(sizeOf).sort((a, b) => a - b);
  return sizes[Math.floor(USUAL * (sizes.length - 1))] ?? null;
}

/** The square with the cell in the middle, or at the edge of its image; larger where the cell is. Null: the whole image. */
export function partOf(box, {height, width}, usual) {
  if (!usual || !box) return null;
  const side = Math.round(Math.max(usual, sizeOf(box)));
  const start = (low, high, end) => Math.round(side < end ? Math.min(Math.max((low + high - side) / 2, 0), end - side) : (end - side) / 2);
  return {left: start(box.left, box.right, width), top: start(box.top, box.bottom, height), side};
}
