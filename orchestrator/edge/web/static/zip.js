// The images in a zip archive, read in the browser (PKWARE APPNOTE 6.3.10): stored and deflated entries.

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const MAX_ENTRIES = 5000;

/** As the service knows them: the first bytes of JPEG, PNG, BMP, TIFF, WebP and, behind 128 others, DICOM. */
const IMAGES = /^(\xff\xd8\xff|\x89PNG|BM|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|.{128}DICM)/s;
const HEAD_BYTES = 132;

/** Is a file one by its first bytes? What it is called proves nothing. */
export async function isImage(file) {
  const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
  return IMAGES.test(String.fromCharCode(...head));
}

/** Is it one by its first bytes? What a file is called proves nothing. */
export async function isZip(file) {
  const head = new DataView(await file.slice(0, 4).arrayBuffer());
  return head.byteLength === 4 && [LOCAL, END].includes(head.getUint32(0, true));
}

/**
 * The images of a zip as files, in the archive's order. Anything else in it is passed over, and so are images of
 * more than `maxBytes`, whose names are `tooLarge`; what an entry says of its own size is not believed.
 */
export async function imagesOfZip(file, maxBytes) {
  const bytes = await file.arrayBuffer();
  const view = new DataView(bytes);
  const images = [];
  const tooLarge = [];
  for (const entry of entries(view)) {
    const data = await unpacked(bytes, view, entry, maxBytes);
    const name = entry.name.split("/").pop();
    if (!data || !await isImage(data)) continue;
    if (data.size > maxBytes) tooLarge.push(name);
    else images.push(new File([data], name));
  }
  return {images, tooLarge};
}

function* entries(view) {
  let end = view.byteLength - 22;
  while (end >= 0 && view.getUint32(end, true) !== END) end -= 1;
  if (end < 0) throw new Error("not a zip archive");
  const count = Math.min(view.getUint16(end + 10, true), MAX_ENTRIES);
  let at = view.getUint32(end + 16, true);
  for (let number = 0; number < count && at + 46 <= view.byteLength; number += 1) {
    if (view.getUint32(at, true) !== ENTRY) return;
    const nameLength = view.getUint16(at + 28, true);
    yield {
      method: view.getUint16(at + 10, true),
      packedBytes: view.getUint32(at + 20, true),
      offset: view.getUint32(at + 42, true),
      name: new TextDecoder().decode(new Uint8Array(view.buffer, at + 46, Math.min(nameLength, view.byteLength - at - 46))),
    };
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
}

/** An entry as a blob, of which no more is unpacked than tells that it is too large; null where it cannot be read. */
async function unpacked(bytes, view, entry, maxBytes) {
  const at = entry.offset;
  if (at + 30 > view.byteLength || view.getUint32(at, true) !== LOCAL) return null;
  const start = at + 30 + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
  const packed = bytes.slice(start, start + entry.packedBytes);
  if (entry.method === 0) return new Blob([packed]);
  if (entry.method !== 8) return null;
  const reader = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const parts = [];
  let total = 0;
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return new Blob(parts);
    parts.push(value);
    total += value.byteLength;
    if (total > maxBytes) {
      await reader.cancel();
      return new Blob(parts);
    }
  }
}
