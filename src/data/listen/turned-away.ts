/**
 * TurnedAway: a connection that gets 503 before it was heard. It is read on for a moment (RFC 9112 9.6): a client that has
 * sent its request already would else see a reset, and perhaps never the answer.
 */
import { lingerBytesMax, lingerMs } from "../../lib/limits.ts";
import { newSerial } from "../../lib/numbered-set.ts";
import type { Swept } from "../../lib/sweeper.ts";
import type { SocketEvents } from "../wire/dial.ts";
import type { Transport } from "../wire/transport.ts";

const answer = Buffer.from(
  "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
  "latin1",
);

export class TurnedAway implements SocketEvents, Swept {
  readonly serial = newSerial();
  readonly #untilMs = performance.now() + lingerMs;
  #read = 0;
  #over = false;

  /** @param gone called once */
  constructor(
    readonly transport: Transport,
    readonly gone: (self: TurnedAway) => void,
  ) {}

  begin(): void {
    this.transport.write(answer);
    this.transport.shutdown();
  }

  data(chunk: Uint8Array): void {
    this.#read += chunk.length;
    if (this.#read > lingerBytesMax) this.cut();
  }

  drain(): void {}

  end(): void {
    this.transport.end();
    this.close();
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.gone(this);
  }

  sweep(nowMs: number): void {
    if (nowMs > this.#untilMs) this.cut();
  }

  cut(): void {
    if (this.#over) return;
    this.transport.terminate();
    this.close();
  }
}

/** The same where not even that descriptor can be spared: it is free again when this returns. */
export function turnAwayAtOnce(transport: Transport): void {
  transport.write(answer);
  transport.end();
}
