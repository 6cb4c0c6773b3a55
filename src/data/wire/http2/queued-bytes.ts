/** Bytes that wait in the streams of one connection, and of all together: who holds most of too much has to go. */
import { http2QueuesBytesMax, http2QueueShareBytes } from "../../../lib/limits.ts";

let everywhere = 0;

export class QueuedBytes {
  bytes = 0;

  /** @param calm called when this connection holds more than its share of too much */
  constructor(readonly calm: () => void) {}

  add(bytes: number): void {
    this.bytes += bytes;
    everywhere += bytes;
    if (everywhere > http2QueuesBytesMax && this.bytes > http2QueueShareBytes) this.calm();
  }

  remove(bytes: number): void {
    this.bytes -= bytes;
    everywhere -= bytes;
  }
}
