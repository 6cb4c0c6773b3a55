/** A WebSocket over HTTP/2 (RFC 8441): a stream that looks like a connection, spliced to an upstream's over HTTP/1.1. */
import { createHash } from "node:crypto";
import type { FieldLine } from "../body.ts";
import type { Answer } from "../exchange.ts";
import { copyFields, type HeaderEdits } from "../headers/edits.ts";
import type { SocketEvents } from "../wire/dial.ts";
import { CANCEL } from "../wire/http2/protocol.ts";
import type { Stream } from "../wire/http2/stream.ts";
import { Output } from "../wire/output.ts";
import type { Transport } from "../wire/transport.ts";
import type { Http2Exchange } from "./http2-exchange.ts";
import { splice } from "./splice.ts";

/** Fields of the handshake of HTTP/1.1, which has none here (RFC 8441 5). */
const handshake: ReadonlySet<string> = new Set(["sec-websocket-accept", "content-length"]);

/** RFC 6455 1.3 */
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Accepts the client's stream and splices it to the upstream's connection; 502 when that did not accept our key. */
export function tunnelOver(
  exchange: Http2Exchange,
  tunnel: StreamTunnel,
  answer: Answer,
  edits: HeaderEdits,
  fields: readonly FieldLine[],
): void {
  const { stream, connection } = exchange;
  const upstream = answer.tunnel!;
  const due = createHash("sha1")
    .update(exchange.webSocketKey + guid)
    .digest("base64");
  const encoder = stream.beginHead();
  if (!encoder || answer.field("sec-websocket-accept")?.trim() !== due) {
    upstream.transport.terminate();
    encoder?.status(502);
    if (encoder) stream.sendHead(true);
    return connection.answered(exchange, { status: 502, bytesOut: 0, cut: encoder === undefined });
  }
  encoder.status(200);
  copyFields(
    answer,
    edits,
    (lower) => !handshake.has(lower),
    (name, value) => encoder.text(name, value),
  );
  for (const [name, value] of [...edits.lines, ...fields]) encoder.text(name, value);
  stream.sendHead(false);
  const { endpoint } = exchange.member!;
  endpoint.inFlight++;
  splice({
    client: {
      transport: tunnel,
      out: new Output(tunnel),
      listen: (events) => (tunnel.events = events),
      early: undefined,
    },
    upstream,
    silenceMs: exchange.route!.timeouts.streamMs,
    sweeper: connection.site.sweeper,
    ended: (bytesOut, cut) => {
      endpoint.inFlight--;
      connection.answered(exchange, { status: 200, bytesOut, cut });
    },
  });
  tunnel.begin();
}

/** The stream as a transport: writes what its windows allow, and says when they allow more. */
export class StreamTunnel implements Transport {
  events: SocketEvents | undefined;
  #paused = false;
  #early: Buffer[] = [];
  #ended = false;
  #closed = false;

  constructor(readonly stream: Stream) {}

  /** What came before somebody listened. */
  begin(): void {
    this.#give();
  }

  // As a transport.

  write(data: Uint8Array, offset = 0, length = data.length - offset): number {
    if (this.#closed) return -1;
    const { stream } = this;
    if (stream.queued) return 0;
    const room = stream.room();
    const take = Math.min(length, room);
    if (take > 0) stream.write(data.subarray(offset, offset + take));
    if (take < length) stream.askRoom();
    return take;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#give();
  }

  end(): void {
    if (this.#closed) return;
    this.stream.end();
    this.#close(undefined);
  }

  shutdown(): void {
    this.stream.end();
  }

  terminate(): void {
    if (this.#closed) return;
    this.stream.reset(CANCEL);
    this.#close(undefined);
  }

  // As the user of the stream.

  data(bytes: Buffer, start: number, end: number): void {
    if (this.#closed) return this.stream.consumed(end - start);
    this.#early.push(Buffer.from(bytes.subarray(start, end)));
    this.stream.connection.queuedBytes.add(end - start);
    this.#give();
  }

  ended(): void {
    this.#ended = true;
    this.#give();
  }

  gone(why: string): void {
    this.#close(new Error(why));
  }

  writable(): void {
    this.events?.drain();
  }

  #give(): void {
    if (!this.events) return;
    while (!this.#paused && this.#early.length > 0) {
      const chunk = this.#early.shift()! as Buffer<ArrayBuffer>;
      const { length } = chunk;
      this.stream.connection.queuedBytes.remove(length);
      this.events.data(chunk);
      this.stream.consumed(length);
    }
    if (this.#early.length > 0 || !this.#ended) return;
    this.#ended = false;
    this.events.end();
  }

  #close(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { length } of this.#early) {
      this.stream.connection.queuedBytes.remove(length);
      this.stream.consumed(length);
    }
    this.#early = [];
    this.events?.close(error);
  }
}
