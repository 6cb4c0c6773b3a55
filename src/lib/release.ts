/** Gives the memory of a passed-on chunk back at once, instead of when the garbage collector gets to it. */

/**
 * BUN(1.4.4): each chunk of a body is a buffer of its own (64 KiB to 1 MiB) that JSC's collector counts late: 1 GiB
 * through a JavaScript stream peaked at 128 MiB, with this at 78; remove when streams reuse their buffers.
 * @param chunk owned by the caller alone, and copied or written by whoever got it; it is empty afterwards
 */
export function release(chunk: Uint8Array | undefined): void {
  if (chunk === undefined || chunk.byteLength === 0 || chunk.byteLength !== chunk.buffer.byteLength) return;
  if (chunk.buffer instanceof ArrayBuffer) chunk.buffer.transfer(0);
}
