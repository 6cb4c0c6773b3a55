/** One WebSocket through the proxy: carries messages, pings and the end between the upstream's socket and the client. */
import * as limits from "../../lib/limits.ts";
import { hopByHop } from "../../lib/fields.ts";
import { newSerial } from "../../lib/numbered-set.ts";
import type { FieldLine } from "../body.ts";
import type { WebSocketAccept, WebSocketPeer } from "../exchange.ts";
import type { DialedSocket } from "../wire/dial.ts";
import { type Bytes, type FrameFault, FrameReader } from "../wire/websocket-frames.ts";
import { FrameWriter } from "../wire/websocket-writer.ts";
import { webSockets } from "./websocket-sweep.ts";

/** bytes queued towards upstreams by all bridges: clients cannot be paused, so together they must stay within bounds */
let queuedTogether = 0;

/** How a bridge ended, for the log line and the counters. */
export interface BridgeEnd {
  /** the close code of the side that ended it; 1005 = none given, 1006 = gone without a close frame */
  readonly code: number;
  readonly reason: string;
  readonly by: "client" | "upstream" | "proxy";
  /** payload bytes from the client */
  readonly bytesIn: number;
  /** payload bytes to the client */
  readonly bytesOut: number;
  /** messages both ways */
  readonly messages: number;
}

/**
 * Each hop answers its own pings; pings are relayed as well, so that a dead far end is noticed by the timeouts of the
 * near one. Pongs are not relayed. Close codes are relayed both ways; an end without a close frame stays one.
 */
export class UpstreamWebSocket {
  readonly serial = newSerial();
  private readonly reader: FrameReader;
  private readonly writer: FrameWriter;
  private onEnd: ((about: BridgeEnd) => void) | undefined;

  private client: WebSocketPeer | undefined;
  private clientFull = false;
  /** no more word to the client, nor from it */
  private clientGone = false;
  /** the client's end waits until it has taken what came before; 1006 = cut */
  private farewell: { readonly code: number; readonly reason: string } | undefined;

  /** came before the client was open; no more can come than the kernel held when we paused */
  private early: Bytes[] = [];
  private paused = true;
  private upstreamGone = false;
  private closeSent = false;
  private finWhenFlushed = false;
  private finSent = false;
  private upstreamFinSeen = false;

  private ended: { readonly code: number; readonly reason: string; readonly by: BridgeEnd["by"] } | undefined;
  private queuedCounted = 0;
  private bytesIn = 0;
  private bytesOut = 0;
  private messages = 0;

  // Time: a flag per event, the clock only in the sweep.
  private quiet = false;
  private quietSinceMs = 0;

  /**
   * @param socket after the 101; paused until the client is open
   * @param protocol the subprotocol the upstream chose
   * @param early bytes that came behind the 101
   * @param streamMs silence on both sides after which the bridge is closed with 1001; 0 = never
   */
  constructor(
    private readonly socket: DialedSocket,
    private readonly protocol: string | undefined,
    early: Bytes,
    private readonly streamMs: number,
  ) {
    this.writer = new FrameWriter(socket, true);
    this.reader = new FrameReader(
      {
        text: (text, bytes) => this.toClient(text, bytes),
        binary: (data) => this.toClient(data, data.length),
        ping: (data) => this.upstreamPing(data),
        pong: () => {},
        closeFrame: (code, reason) => this.upstreamClosed(code, reason),
      },
      false,
      limits.webSocketMessageBytesMax,
    );
    if (early.length > 0) this.early.push(early);
    socket.pause();
    socket.data.events = {
      data: (chunk) => (this.waiting ? void this.early.push(chunk) : this.receive(chunk)),
      drain: () => this.upstreamDrained(),
      end: () => this.upstreamFin(),
      close: (error) => this.upstreamSocketGone(error),
    };
    webSockets.add(this);
  }

  /**
   * @param fields end-to-end fields for the client's 101; those of the hop and of the handshake are dropped here
   * @param onEnd called once, when the upstream's connection is gone
   */
  toAccept(fields: readonly FieldLine[], onEnd: (about: BridgeEnd) => void): WebSocketAccept {
    this.onEnd = onEnd;
    return {
      protocol: this.protocol,
      fields: fields.filter(([name]) => isForClient(name.toLowerCase())),
      opened: (client) => this.clientOpened(client),
      message: (data) => this.clientMessage(data),
      ping: (data) => this.clientPing(data),
      drained: () => this.clientDrained(),
      closed: (code, reason) => this.clientClosed(code, reason),
    };
  }

  /** Ends both sides by the proxy's will; also the way to drop an upstream whose client could not be upgraded. */
  close(code: number, reason: string): void {
    this.end(code, reason, "proxy");
    this.sayClose(code, reason);
    this.dismissClient(code, reason);
  }

  /** Called about once a second by the sweep. */
  sweep(nowMs: number): void {
    if (!this.quiet) {
      this.quiet = true;
      this.quietSinceMs = nowMs;
      return;
    }
    const silentMs = nowMs - this.quietSinceMs;
    if (this.ended !== undefined) {
      if (silentMs >= limits.webSocketCloseWaitMs) this.cut();
    } else if (this.waiting) {
      if (silentMs >= limits.webSocketCloseWaitMs) this.close(1001, "client never opened");
    } else if (this.streamMs > 0 && silentMs >= this.streamMs) {
      this.close(1001, "idle timeout");
    }
  }

  // The client's side.

  private get waiting(): boolean {
    return this.client === undefined && !this.clientGone;
  }

  private clientOpened(client: WebSocketPeer): void {
    if (this.clientGone) return client.terminate();
    this.client = client;
    this.quiet = false;
    const { early } = this;
    this.early = [];
    for (const chunk of early) this.receive(chunk);
    if (this.upstreamGone) this.lost("connection lost before the client was open");
    if (!this.clientFull) this.clientDrained();
  }

  private clientMessage(data: string | Bytes): void {
    if (this.ended !== undefined) return;
    this.quiet = false;
    this.messages++;
    if (typeof data === "string") {
      this.bytesIn += this.writer.text(data);
    } else {
      this.bytesIn += data.length;
      this.writer.binary(data);
    }
    this.boundQueue();
  }

  private clientPing(data: Uint8Array): void {
    if (this.ended !== undefined) return;
    this.quiet = false;
    this.writer.ping(data);
    this.boundQueue();
  }

  private clientDrained(): void {
    this.clientFull = false;
    this.quiet = false;
    if (this.farewell !== undefined) this.dismissClient(this.farewell.code, this.farewell.reason);
    this.flow();
  }

  private clientClosed(code: number, reason: string): void {
    if (this.clientGone) return;
    this.clientGone = true;
    this.farewell = undefined;
    const first = this.end(code, reason, "client");
    // What the client sent before it vanished still arrives; then a FIN without a close frame, as the client did.
    if (code !== 1006) this.sayClose(code, reason);
    else if (first) this.finWhenFlushed = true;
    this.flow();
  }

  /** Ends the client's side once it has taken what was sent before. */
  private dismissClient(code: number, reason: string): void {
    if (this.clientGone) return;
    if (this.client === undefined || this.clientFull) {
      this.farewell = { code, reason };
      return;
    }
    // Set first: Bun calls `closed` from within close().
    this.clientGone = true;
    this.farewell = undefined;
    if (code === 1006) this.client.terminate();
    else this.client.close(code, reason);
    this.settle();
  }

  private toClient(data: string | Bytes, bytes: number): void {
    if (this.ended !== undefined) return;
    this.messages++;
    this.bytesOut += bytes;
    if (!this.client!.send(data)) this.clientFull = true;
  }

  // The upstream's side.

  private receive(chunk: Bytes): void {
    // While ending, only progress of our own writing counts: an upstream that talks on must not keep us.
    if (this.ended === undefined) this.quiet = false;
    const fault = this.reader.push(chunk);
    if (fault !== undefined) this.upstreamFault(fault);
    this.flow();
  }

  private upstreamPing(data: Bytes): void {
    if (this.closeSent) return;
    this.writer.pong(data);
    if (!this.clientGone) this.client?.ping(data);
    this.boundQueue();
  }

  private upstreamClosed(code: number, reason: string): void {
    this.end(code, reason, "upstream");
    this.sayClose(code, "");
    this.dismissClient(code, reason);
  }

  private upstreamFault(fault: FrameFault): void {
    this.end(fault.code, `upstream: ${fault.reason}`, "upstream");
    this.sayClose(fault.code, fault.reason);
    this.finWhenFlushed = true;
    if (fault.code === 1009) this.dismissClient(1009, fault.reason);
    // Not 1002 or 1007: the client did nothing wrong. 1014 would be exact, but common clients refuse it.
    else this.dismissClient(1011, "upstream broke the WebSocket protocol");
  }

  private upstreamDrained(): void {
    if (this.writer.flush()) this.quiet = false;
    this.countQueue(this.writer.queuedBytes);
    this.flow();
  }

  private upstreamFin(): void {
    this.lost("upstream ended without a close frame");
    this.upstreamFinSeen = true;
    this.finWhenFlushed = true;
    this.flow();
  }

  private upstreamSocketGone(error: Error | undefined): void {
    this.upstreamGone = true;
    this.countQueue(0);
    // What came before the client was open is still to be read: it may hold a close frame.
    if (!this.waiting) this.lost(error === undefined ? "connection lost" : `connection lost: ${error.message}`);
    this.settle();
  }

  private lost(reason: string): void {
    if (this.end(1006, reason, "upstream")) this.dismissClient(1006, "");
  }

  private sayClose(code: number, reason: string): void {
    if (this.closeSent || this.upstreamGone) return;
    this.closeSent = true;
    this.writer.close(code, reason);
    this.flow();
  }

  private boundQueue(): void {
    const queued = this.writer.queuedBytes;
    this.countQueue(queued);
    const within = queued <= limits.webSocketQueueShareBytes || queuedTogether <= limits.webSocketQueuesBytesMax;
    if (queued <= limits.webSocketQueueBytesMax && within) return;
    this.end(1013, "upstream reads too slowly", "proxy");
    this.dismissClient(1013, "upstream reads too slowly");
    // No close frame: it would have to wait behind the very queue that is too long.
    this.socket.terminate();
  }

  private countQueue(queued: number): void {
    queuedTogether += queued - this.queuedCounted;
    this.queuedCounted = queued;
  }

  /** Pauses the upstream while the client cannot take more; sends our FIN when it is due. */
  private flow(): void {
    if (this.upstreamGone) return this.settle();
    // While ending, messages are dropped anyway, and the upstream's close frame and FIN must be seen.
    const pause = this.ended === undefined && (this.client === undefined || this.clientFull);
    if (pause !== this.paused) {
      this.paused = pause;
      if (pause) this.socket.pause();
      else this.socket.resume();
    }
    if (this.finWhenFlushed && !this.finSent && this.writer.queuedBytes === 0) {
      this.finSent = true;
      // BUN(1.4.4): end() closes both ways at once, and a reset could overtake our last frame; remove when it half-closes.
      if (this.upstreamFinSeen) this.socket.end();
      else this.socket.shutdown();
    }
  }

  // The end.

  /** @returns true when this is what ended the bridge */
  private end(code: number, reason: string, by: BridgeEnd["by"]): boolean {
    if (this.ended !== undefined) return false;
    this.ended = { code, reason, by };
    this.quiet = false;
    return true;
  }

  private cut(): void {
    this.farewell = undefined;
    if (!this.clientGone) {
      this.clientGone = true;
      this.client?.terminate();
    }
    this.socket.terminate();
    this.settle();
  }

  private settle(): void {
    if (!this.upstreamGone || this.ended === undefined) return;
    const { onEnd } = this;
    this.onEnd = undefined;
    onEnd?.({ ...this.ended, bytesIn: this.bytesIn, bytesOut: this.bytesOut, messages: this.messages });
    if (this.clientGone) webSockets.delete(this);
  }
}

function isForClient(name: string): boolean {
  return !hopByHop.has(name) && !name.startsWith("sec-websocket-") && name !== "content-length";
}
