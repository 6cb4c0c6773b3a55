/** Splice: two connections become one tunnel of bytes, with backpressure both ways and half-closes passed on. */
import { releasedBytesMin } from "../../lib/limits.ts";
import { newSerial } from "../../lib/numbered-set.ts";
import { release } from "../../lib/release.ts";
import type { Swept, Sweeper } from "../../lib/sweeper.ts";
import type { SocketEvents } from "../wire/dial.ts";
import type { Output } from "../wire/output.ts";
import type { Transport } from "../wire/transport.ts";

export interface SpliceSide {
  readonly transport: Transport;
  readonly out: Output;
  /** puts ears in place */
  listen(events: SocketEvents): void;
  /** bytes that were read before the splice */
  readonly early: Buffer | undefined;
}

export interface SpliceOptions {
  readonly client: SpliceSide;
  readonly upstream: SpliceSide;
  /** the tunnel ends after so long without a byte either way; 0 = never */
  readonly silenceMs: number;
  readonly sweeper: Sweeper;
  /** called once. @param cut true unless both sides closed in order */
  ended(bytesToClient: number, cut: boolean): void;
}

export function splice(options: SpliceOptions): void {
  new Tunnel(options).begin();
}

class Tunnel implements Swept {
  readonly serial = newSerial();
  #heardMs = performance.now();
  readonly #sweeper: Sweeper;
  readonly #client: Half;
  readonly #upstream: Half;
  #over = false;

  constructor(readonly options: SpliceOptions) {
    this.#sweeper = options.sweeper;
    this.#client = new Half(this, options.client);
    this.#upstream = new Half(this, options.upstream);
    this.#client.other = this.#upstream;
    this.#upstream.other = this.#client;
  }

  begin(): void {
    const { client, upstream, sweeper } = this.options;
    client.listen(this.#client);
    upstream.listen(this.#upstream);
    sweeper.add(this);
    if (upstream.early) this.#upstream.data(upstream.early);
    if (client.early) this.#client.data(client.early);
  }

  sweep(nowMs: number): void {
    const { silenceMs } = this.options;
    if (silenceMs > 0 && nowMs - this.#heardMs > silenceMs) this.finish(true);
  }

  heard(): void {
    this.#heardMs = this.#sweeper.dueMs;
  }

  finish(cut: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.options.sweeper.delete(this);
    for (const { transport } of [this.options.client, this.options.upstream]) {
      if (cut) transport.terminate();
      else transport.end();
    }
    this.options.ended(this.#upstream.bytes, cut);
  }
}

/** One side: what it says goes out on the other. */
class Half implements SocketEvents {
  other!: Half;
  readonly out: Output;
  /** bytes it has said */
  bytes = 0;
  #paused = false;
  /** it will say no more */
  #finished = false;
  /** once everything for it is written: "fin" half-closes it, "end" ends the tunnel */
  #afterDrain: "fin" | "end" | undefined;

  constructor(
    readonly tunnel: Tunnel,
    readonly side: SpliceSide,
  ) {
    this.out = side.out;
  }

  data(chunk: Uint8Array): void {
    const { length } = chunk;
    this.tunnel.heard();
    this.bytes += length;
    if (this.other.out.pass(chunk)) {
      if (length >= releasedBytesMin) release(chunk);
      return;
    }
    if (this.#paused) return;
    this.#paused = true;
    this.side.transport.pause();
  }

  drain(): void {
    this.tunnel.heard();
    if (!this.out.drain()) return;
    this.other.#wake();
    this.#said();
  }

  end(): void {
    this.#finished = true;
    this.other.#then(this.other.#finished ? "end" : "fin");
  }

  close(error: Error | undefined): void {
    // A reset is passed on as one; what was said before an orderly end still goes out.
    if (error) return this.tunnel.finish(true);
    this.#finished = true;
    this.other.#then("end");
  }

  #wake(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.side.transport.resume();
  }

  #then(act: "fin" | "end"): void {
    this.#afterDrain = act;
    if (this.out.queuedBytes === 0) this.#said();
  }

  #said(): void {
    const act = this.#afterDrain;
    this.#afterDrain = undefined;
    if (act === "fin") this.side.transport.shutdown();
    else if (act === "end") this.tunnel.finish(!this.#finished && !this.other.#finished);
  }
}
