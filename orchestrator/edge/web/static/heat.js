// Colours of heat. Each map is 256 colours made from a few of its own, evenly spaced.

// Matplotlib's viridis, inferno (van der Walt and Smith 2015) and cividis (Nuñez et al. 2018) at nine places.
const STOPS = {
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

/** Draw levels onto a canvas; where there is no heat it stays clear, so that the image shows. */
export function paint(canvas, levels, name) {
  const table = colours(name);
  const painted = new ImageData(levels.width, levels.height);
  for (let at = 0; at < levels.data.length; at += 4) {
    const level = levels.data[at];
    painted.data[at] = table[level * 3];
    painted.data[at + 1] = table[level * 3 + 1];
    painted.data[at + 2] = table[level * 3 + 2];
    painted.data[at + 3] = level;
  }
  canvas.width = levels.width;
  canvas.height = levels.height;
  canvas.getContext("2d").putImageData(painted, 0, 0);
}

/** Draw the map from cold to hot across a canvas: its legend. */
export function paintLegend(canvas, name) {
  const table = colours(name);
  canvas.width = 256;
  canvas.height = 1;
  const strip = new ImageData(256, 1);
  for (let level = 0; level < 256; level += 1) {
    strip.data.set([table[level * 3], table[level * 3 + 1], table[level * 3 + 2], 255], level * 4);
  }
  canvas.getContext("2d").putImageData(strip, 0, 0);
}
