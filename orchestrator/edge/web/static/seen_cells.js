// Which cells of a specimen this browser has shown to a person, so that a signature can say how many.

const KEY = "wbc.seen";
const MOST_SPECIMENS = 50;

/** By the ids of specimens, the latest last: the numbers of cells. */
let seen = read();

function read() {
  try {
    return new Map(JSON.parse(localStorage.getItem(KEY) ?? "[]").map(([id, numbers]) => [id, new Set(numbers)]));
  } catch {
    return new Map();
  }
}

/** The picture of a cell is on the screen. */
export function look(id, cell) {
  const numbers = seen.get(id) ?? new Set();
  if (numbers.has(cell.number)) return;
  numbers.add(cell.number);
  seen.delete(id);
  seen.set(id, numbers);
  seen = new Map([...seen].slice(-MOST_SPECIMENS));
  try {
    localStorage.setItem(KEY, JSON.stringify([...seen].map(([one, of]) => [one, [...of]])));
  } catch {
    // A browser that keeps nothing: known until the page is closed.
  }
}

/** How many of the cells were seen. */
export const countSeen = (id, cells) => cells.filter((cell) => seen.get(id)?.has(cell.number)).length;
