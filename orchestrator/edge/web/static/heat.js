// Colours of heat. Each map is 256 colours made from a few of its own, evenly spaced.

// Matplotlib's viridis, inferno (van der Walt and Smith 2015) and cividis (Nuñez et al. 2018) at nine places.
// Green is of this page: dark to light as they are, in hues that Romanowsky stains do not have. Its least CIEDE2000 to a
// nucleus (90, 40, 130) is 44, to a red cell (222, 165, 170) 48; viridis has 4 and 43, inferno 5 and 24.
const STOPS = {
  green: ["00331a", "005c2e", "008542", "00a84f", "1cc84f", "63dd3f", "9dec35", "cdf53b", "f4ff5c"],
  viridis: ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"],
  inferno: ["000004", "210c4a", "57106e", "8a226a", "bc3754", "e45a31", "f98e09", "f9cb35", "fcffa4"],
  cividis: ["00224e", "123570", "3b496c", "575d6d", "707173", "8a8678", "a59c74", "c3b369", "fee838"],
  jet: ["00007f", "0000ff", "007fff", "00ffff", "7fff7f", "ffff00", "ff7f00", "ff0000", "7f0000"],
};

const tables = new Map();

/** 256 colours, as a Uint8Array of 768 bytes. */
export function colours(name) {
  if (!tables.has(name)) tables.set(name, interpolated(STOPS[name]));
  return tables.get(name);
}

function interpolated(stops) {
  const rgb = stops.map((stop) => [0, 2, 4].map((at) => Number.parseInt(stop.slice(at, at + 2), 16)));
  const table = new Uint8Array(768);
  for (let level = 0; level < 256; level += 1) {
    const place = (level / 255) * (rgb.length - 1);
    const below = Math.min(Math.floor(place), rgb.length - 2);
    for (let channel = 0; channel < 3; channel += 1) {
      const [low, high] = [rgb[below][channel], rgb[below + 1][channel]];
      table[level * 3 + channel] = Math.round(low + (high - low) * (place - below));
    }
  }
  return table;
}

/** The levels of heat (an image of grey) as ImageData of their size; kept, and coloured anew by `paint`. */
export async function levelsOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", {willReadFrequently: true});
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** Under the first level there is no heat to be seen, from the second on it covers as much as is chosen. */
const CLEAR_TO = 16;
const FULL_FROM = 80;

const cover = (level) => Math.min(1, Math.max(0, (level - CLEAR_TO) / (FULL_FROM - CLEAR_TO)));

/** Draw levels onto a canvas; `isOver` an image, which shows where there is no heat. */
export function paint(canvas, levels, name, isOver) {
  const table = colours(name);
  const painted = new ImageData(levels.width, levels.height);
  for (let at = 0; at < levels.data.length; at += 4) {
    const level = levels.data[at];
    painted.data[at] = table[level * 3];
    painted.data[at + 1] = table[level * 3 + 1];
    painted.data[at + 2] = table[level * 3 + 2];
    painted.data[at + 3] = isOver ? 255 * cover(level) : 255;
  }
  canvas.width = levels.width;
  canvas.height = levels.height;
  canvas.getContext("2d").putImageData(painted, 0, 0);
}

/**
 * Draw the map from cold to hot across a canvas: its legend, one row for each of the `grounds` (colours of the image,
 * as `[r, g, b]`), of which each level lets through as much as it does on the image at this opacity, in [0, 1].
 */
export function paintLegend(canvas, name, grounds, opacity) {
  const table = colours(name);
  canvas.width = 256;
  canvas.height = Math.max(1, grounds.length);
  const strip = new ImageData(256, canvas.height);
  for (let row = 0; row < canvas.height; row += 1) {
    for (let level = 0; level < 256; level += 1) {
      const share = grounds.length ? cover(level) * opacity : 1;
      const seen = [0, 1, 2].map((channel) => share * table[level * 3 + channel] + (1 - share) * (grounds[row]?.[channel] ?? 0));
      strip.data.set([...seen, 255], (row * 256 + level) * 4);
    }
  }
  canvas.getContext("2d").putImageData(strip, 0, 0);
}

/** Two grounds of an image that is loaded: what is dark in it, as a nucleus, and what is light. */
export function groundsOf(image) {
  const side = 48;
  const context = new OffscreenCanvas(side, side).getContext("2d");
  context.drawImage(image, 0, 0, side, side);
  const {data} = context.getImageData(0, 0, side, side);
  const pixels = Array.from({length: side * side}, (_, at) => [...data.subarray(4 * at, 4 * at + 3)]);
  const brightness = ([red, green, blue]) => red + green + blue;
  pixels.sort((a, b) => brightness(a) - brightness(b));
  return [pixels[Math.floor(pixels.length * 0.03)], pixels[Math.floor(pixels.length * 0.8)]];
}

/** The contour of all that has at least this level, as the path of an SVG in pixels of the image. */
export function contour({data, width, height}, level) {
  const isHot = (row, column) => row >= 0 && column >= 0 && row < height && column < width && data[(row * width + column) * 4] >= level;
  const edges = [];
  for (let row = 0; row <= height; row += 1) {
    for (let column = 0; column <= width; column += 1) {
      if (isHot(row, column) !== isHot(row - 1, column)) edges.push(`M${column} ${row}h1`);
      if (isHot(row, column) !== isHot(row, column - 1)) edges.push(`M${column} ${row}v1`);
    }
  }
  return edges.join("");
}
