// SHA-256 (FIPS 180-4): the browser's own where it has one, which is in a secure context alone, and else this.

/** The hash of a blob as 64 hexadecimal digits. */
export async function sha256(blob) {
  const bytes = await blob.arrayBuffer();
  const hash = crypto.subtle ? new DataView(await crypto.subtle.digest("SHA-256", bytes)) : computed(new Uint8Array(bytes));
  return Array.from({length: 8}, (_, at) => hash.getUint32(4 * at).toString(16).padStart(8, "0")).join("");
}

const firstPrimes = (count) => {
  const primes = [];
  for (let one = 2; primes.length < count; one += 1) if (primes.every((prime) => one % prime)) primes.push(one);
  return primes;
};
/** The first 32 bits behind the point. */
const fraction = (value) => Math.floor((value % 1) * 2 ** 32) >>> 0;
const START = firstPrimes(8).map((prime) => fraction(Math.sqrt(prime)));
const ROUNDS = firstPrimes(64).map((prime) => fraction(Math.cbrt(prime)));
const turned = (value, by) => (value >>> by) | (value << (32 - by));

function computed(bytes) {
  const padded = new DataView(new ArrayBuffer(Math.ceil((bytes.length + 9) / 64) * 64));
  new Uint8Array(padded.buffer).set(bytes);
  padded.setUint8(bytes.length, 0x80);
  padded.setBigUint64(padded.byteLength - 8, BigInt(bytes.length) * 8n);
  const state = Uint32Array.from(START);
  const words = new Uint32Array(64);
  for (let block = 0; block < padded.byteLength; block += 64) {
    for (let at = 0; at < 64; at += 1) {
      if (at < 16) words[at] = padded.getUint32(block + 4 * at);
      else {
        const [a, b] = [words[at - 15], words[at - 2]];
        words[at] = words[at - 16] + words[at - 7] + (turned(a, 7) ^ turned(a, 18) ^ (a >>> 3)) + (turned(b, 17) ^ turned(b, 19) ^ (b >>> 10));
      }
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let at = 0; at < 64; at += 1) {
      const first = (h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + ROUNDS[at] + words[at]) >>> 0;
      const second = ((turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) >>> 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) >>> 0, c, b, a, (first + second) >>> 0];
    }
    [a, b, c, d, e, f, g, h].forEach((value, at) => { state[at] += value; });
  }
  const hash = new DataView(new ArrayBuffer(32));
  state.forEach((value, at) => hash.setUint32(4 * at, value));
  return hash;
}
