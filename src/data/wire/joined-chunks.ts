/**
 * Joined chunks: the data of many small chunks that came in one read goes on as one piece. A peer may send a byte a chunk,
 * and a write for each of them would cost a core per megabyte.
 */
import { joinedChunkBytesMax } from "../../lib/limits.ts";
import type { ChunkedReader, ChunkSink } from "./chunked.ts";

/**
 * As {@link ChunkedReader.feed}; what is joined is handed over before this returns, and a pause counts from there.
 * @returns as `feed`
 */
export function feedJoined(reader: ChunkedReader, bytes: Buffer, start: number, end: number, out: ChunkSink): number {
  const joiner = new Joiner(out, end - start);
  const to = reader.feed(bytes, start, end, joiner);
  joiner.flush();
  return to;
}

class Joiner implements ChunkSink {
  /** the only small chunk so far: nothing to join it with may come */
  #first: Buffer | undefined;
  #joined: Buffer | undefined;
  #length = 0;

  /** @param room bytes of the read: its data is less */
  constructor(
    readonly out: ChunkSink,
    readonly room: number,
  ) {}

  data(bytes: Buffer): boolean {
    if (this.#joined) this.#add(this.#joined, bytes);
    else if (this.#first) {
      const joined = (this.#joined = Buffer.allocUnsafeSlow(this.room));
      this.#add(joined, this.#first);
      this.#add(joined, bytes);
    } else if (bytes.length > joinedChunkBytesMax) return this.out.data(bytes);
    else this.#first = bytes;
    return true;
  }

  flush(): void {
    const joined = this.#joined;
    if (!joined) {
      if (this.#first) this.out.data(this.#first);
      return;
    }
    const whole = joined.subarray(0, this.#length);
    // Whoever keeps it keeps all of its memory.
    this.out.data(this.#length * 2 < joined.length ? Buffer.from(whole) : whole);
  }

  #add(joined: Buffer, bytes: Buffer): void {
    bytes.copy(joined, this.#length);
    this.#length += bytes.length;
  }
}
