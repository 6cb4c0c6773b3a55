/**
 * Bytes that wait in the streams of one connection, and of all together: who holds most of too much has to go. That is a
 * client's connection; of an upstream's, which many clients share, the streams that nobody reads.
 */
import { http2QueuesBytesMax, http2QueueShareBytes, http2StreamShareBytes } from "../../../lib/limits.ts";

let everywhere = 0;

export class QueuedBytes {
  bytes = 0;

  /** @param calm called when this connection holds more than its share of too much; undefined for one that is shared */
  constructor(readonly calm: (() => void) | undefined) {}

  add(bytes: number): void {
    this.bytes += bytes;
    everywhere += bytes;
    if (everywhere <= http2QueuesBytesMax || !this.calm) return;
    // Very many connections could each stay below the share.
    const share = everywhere > 2 * http2QueuesBytesMax ? http2StreamShareBytes : http2QueueShareBytes;
    if (this.bytes > share) this.calm();
  }

  remove(bytes: number): void {
    this.bytes -= bytes;
    everywhere -= bytes;
  }

  /** @returns whether one stream of a shared connection may not hold so many bytes now */
  tooMany(bytes: number): boolean {
    if (this.calm || everywhere <= http2QueuesBytesMax) return false;
    return bytes > http2StreamShareBytes || everywhere > 2 * http2QueuesBytesMax;
  }
}
