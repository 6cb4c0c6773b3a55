/** Masking of WebSocket payloads (RFC 6455 5.3), 32 bits at a time, and keys that nobody can foretell. */

const wordsFromBytes = 32;
const keys = new Int32Array(1024);
let keysLeft = 0;

/** A fresh key; byte i of the mask is bits 8i to 8i+7. Drawn in batches: one call for 4 bytes costs more than a message. */
export function maskKey(): number {
  if (keysLeft === 0) {
    crypto.getRandomValues(keys);
    keysLeft = keys.length;
  }
  return keys[--keysLeft]!;
}

/**
 * XORs `bytes[start..end)` with the key in place; masking and unmasking are the same. Words are taken in the order of
 * the machine, which Bun only knows as little-endian (x64, arm64).
 * @param turn how many payload bytes came before, modulo 4
 */
export function mask(bytes: Uint8Array, start: number, end: number, key: number, turn = 0): void {
  if (key === 0) return;
  let at = start;
  if (end - start >= wordsFromBytes) {
    while (((bytes.byteOffset + at) & 3) !== 0) {
      bytes[at]! ^= key >>> (8 * turn);
      turn = (turn + 1) & 3;
      at++;
    }
    const count = (end - at) >>> 2;
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, count);
    const rolled = turn === 0 ? key : (key >>> (8 * turn)) | (key << (32 - 8 * turn));
    for (let i = 0; i < count; i++) words[i]! ^= rolled;
    at += count * 4;
  }
  for (; at < end; at++) {
    bytes[at]! ^= key >>> (8 * turn);
    turn = (turn + 1) & 3;
  }
}
