/** Lines: text that arrives in any pieces, put together; a piece of one byte costs one byte. */
import { kubernetesEventBytesMax } from "../../lib/limits.ts";

const roomFirst = 4_096;

/** One text out of pieces. Copied: a list of pieces would cost a hundred bytes for each, however short it is. */
export class Gathered {
  length = 0;
  #bytes: Buffer = Buffer.alloc(0);

  add(piece: Buffer, start: number, end: number): void {
    const length = this.length + end - start;
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#bytes.length, roomFirst));
      this.#bytes.copy(larger, 0, 0, this.length);
      this.#bytes = larger;
    }
    piece.copy(this.#bytes, this.length, start, end);
    this.length = length;
  }

  /** @returns all of it; it is empty then */
  take(): string {
    const text = this.#bytes.toString("utf8", 0, this.length);
    this.length = 0;
    // One long line must not keep its room for as long as a watch lives.
    if (this.#bytes.length > 64 * roomFirst) this.#bytes = Buffer.alloc(0);
    return text;
  }
}

export class Lines {
  readonly #held = new Gathered();

  constructor(readonly tell: (line: string) => void) {}

  /** @throws Error when a line is too long, or what `tell` throws */
  add(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      this.#hold(chunk, from, end);
      from = end + 1;
      const line = this.#held.take();
      if (line !== "") this.tell(line);
    }
    if (from < chunk.length) this.#hold(chunk, from, chunk.length);
  }

  #hold(chunk: Buffer, start: number, end: number): void {
    if (this.#held.length + end - start > kubernetesEventBytesMax)
      throw new Error(`a line is longer than ${kubernetesEventBytesMax} bytes`);
    this.#held.add(chunk, start, end);
  }
}
