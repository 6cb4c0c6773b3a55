/**
 * One HTTP/2 connection (RFC 9113), for both roles: reads frames strictly, keeps the windows and the two HPACK tables,
 * carries streams, and writes once per turn of the event loop. It knows bytes and a transport; what a stream means is
 * its user's. No promise, closure or timer per frame or stream: times are swept.
 */
import {
  causeCharsMax,
  copiedChunkBytesMax,
  fieldLinesMax,
  halfClosedMs,
  http2BlockBytesMax,
  http2BlockFramesMax,
  http2ClientWindow,
  http2GoawayWaitMs,
  http2OutputBytesMax,
  http2PingAfterMs,
  http2PingWaitMs,
  http2ResetsRemembered,
  http2SillyWaitMs,
  http2SillyWindowBytes,
  http2StreamsMax,
  http2StreamWindow,
  http2UpstreamWindow,
  lingerMs,
} from "../../../lib/limits.ts";
import { NumberMap } from "../../../lib/number-map.ts";
import { release } from "../../../lib/release.ts";
import type { SocketEvents } from "../dial.ts";
import type { Transport } from "../transport.ts";
import { FieldList } from "./field-list.ts";
import { FrameOutput } from "./frame-output.ts";
import { FrameReader, type FrameEvents } from "./frame-reader.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";
import * as h2 from "./protocol.ts";
import { QueuedBytes } from "./queued-bytes.ts";
import { PeerSettings, type OwnSettings } from "./settings.ts";
import { Stream } from "./stream.ts";
import { idlePrice, pingPrice, resetPrice, settingsPrice, TokenBudget } from "./token-budget.ts";
import { readTrailers } from "./trailers.ts";
import { atTurnEnd, type TurnEnd } from "./turn.ts";

/** Milliseconds, 0 = no bound; asked anew each time. */
export interface Http2Timeouts {
  /** preface, acknowledgement of our SETTINGS, a whole field block */
  readonly headerMs: number;
  /** a peer that takes nothing of what is due to it */
  readonly writeMs: number;
  /** a connection without streams */
  readonly idleMs: number;
}

/** Who a connection belongs to. */
export interface Http2Owner {
  readonly role: "server" | "client";
  /** SETTINGS_MAX_HEADER_LIST_SIZE: larger lists are refused, and known as such */
  readonly listBytesMax: number;
  timeouts(): Http2Timeouts;
  /** To a server: a request; sets `stream.user` or resets the stream. `list` is valid during the call. */
  request(stream: Stream, list: FieldList, ended: boolean): void;
  /** The peer's settings came, or changed. */
  settled(): void;
  /** No new streams go here any more; those open go on. */
  leaving(): void;
  /** No streams are open any more. */
  idle(): void;
  /** The connection is over; its streams' users know. @param why for the log */
  closed(code: number, why: string): void;
}

/** One list serves all connections: it is read at once, or copied. */
const list = new FieldList();

const pingPayload = Buffer.from("aralezh2", "latin1");

export class Http2Connection implements SocketEvents, FrameEvents, TurnEnd {
  readonly encoder = new HpackEncoder();
  readonly peer = new PeerSettings();
  readonly streams = new NumberMap<Stream>();
  readonly queuedBytes: QueuedBytes;
  readonly streamWindow = http2StreamWindow;
  sendWindow = h2.windowDefault;
  sillyBelow = http2SillyWindowBytes;
  /** streams that count: open, or their exchange goes on */
  active = 0;
  /** somebody has kept a part of the chunk that is being read */
  chunkIsLent = false;
  /** SETTINGS of the peer have come */
  greeted = false;
  /** GOAWAY was sent or came: no new streams */
  goingAway = false;
  closed = false;
  readonly #server: boolean;
  readonly #out: FrameOutput;
  readonly #reader: FrameReader;
  readonly #decoder = new HpackDecoder(h2.headerTableDefault);
  readonly #budget = new TokenBudget();
  /** ids that we have reset: their late frames are no fault */
  readonly #resets = new Set<number>();
  #receiveWindow: number;
  #window: number;
  #spent = 0;
  #prefaceAt: number;
  #lastPeerId = 0;
  #nextId = 1;
  /** streams above it were told to be asked elsewhere */
  #goawayId = h2.windowLargest;
  /** the field block that is not complete yet */
  #blockStream = 0;
  #blockFlags = 0;
  #blockFrames = 0;
  #blockParts: Buffer[] = [];
  #blockBytes = 0;
  /** of the DATA frame that is being read; undefined where it belongs to none */
  #dataStream: Stream | undefined;
  #dataLength = 0;
  #dataRead = 0;
  #ready: Stream[] = [];
  #someStuck = false;
  #turnDue = false;
  /** everything was said; what the peer still sends is thrown away */
  #ending = false;
  readonly #startMs = performance.now();
  /** since the sweep before; the clock is read by sweeps, not by frames */
  #heard = false;
  #heardMs = this.#startMs;
  #sentMs = 0;
  #settingsMs: number;
  #blockMs = 0;
  #partialMs = 0;
  /** 0 = no sweep has seen it idle yet */
  #idleMs = this.#startMs;
  #pingMs = 0;
  #goawayMs = 0;
  #halfClosedMs = 0;
  #endMs = 0;
  /** the transport is paused: the peer asks, and does not read what it asked for */
  #deaf = false;
  /** ids that the peer left out last, and that it may not come back to (RFC 9113 5.1.1) */
  #skippedFrom = 0;
  #skippedTo = 0;

  constructor(
    readonly transport: Transport,
    readonly owner: Http2Owner,
    settings: OwnSettings,
  ) {
    this.#server = owner.role === "server";
    this.#out = new FrameOutput(transport);
    this.#window = this.#server ? http2ClientWindow : http2UpstreamWindow;
    this.#receiveWindow = this.#window;
    const calm = () => this.fail(h2.ENHANCE_YOUR_CALM, "too many bytes wait in its streams");
    this.queuedBytes = new QueuedBytes(this.#server ? calm : undefined);
    const frameBytes = settings.find(([identifier]) => identifier === h2.MAX_FRAME_SIZE)?.[1] ?? h2.frameBytesDefault;
    this.#reader = new FrameReader(this, frameBytes);
    this.#prefaceAt = this.#server ? 0 : h2.preface.length;
    this.#settingsMs = this.#startMs;
    if (!this.#server) this.#out.copy(h2.preface, 0, h2.preface.length);
    this.#greet(settings);
  }

  // What streams and users ask for.

  /** what is composed has outgrown its bound: sources wait */
  get congested(): boolean {
    return this.#out.pendingBytes >= http2OutputBytesMax;
  }

  /** To a client: another stream may be opened now. */
  get hasRoom(): boolean {
    return !this.goingAway && !this.closed && this.active < this.peer.streamsMax && this.#nextId < h2.windowLargest - 2;
  }

  /** To a client: opens a stream; its head is to be sent at once. */
  open(): Stream {
    const id = this.#nextId;
    this.#nextId += 2;
    return this.#newStream(id);
  }

  /** The encoder's block as HEADERS, and CONTINUATION where it is long. */
  sendBlock(id: number, end: boolean): void {
    const { bytes, length } = this.encoder;
    const most = this.peer.frameBytesMax < h2.frameBytesDefault ? this.peer.frameBytesMax : h2.frameBytesDefault;
    const first = length < most ? length : most;
    const flags = (end ? h2.END_STREAM : 0) | (first === length ? h2.END_HEADERS : 0);
    this.#out.head(first, h2.HEADERS, flags, id);
    this.#out.copy(bytes, 0, first);
    for (let at = first; at < length;) {
      const to = Math.min(length, at + most);
      this.#out.head(to - at, h2.CONTINUATION, to === length ? h2.END_HEADERS : 0, id);
      this.#out.copy(bytes, at, to);
      at = to;
    }
    this.#due();
  }

  sendData(id: number, bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.sendWindow -= length;
    this.#budget.earn(length);
    this.#out.head(length, h2.DATA, 0, id);
    this.#out.copy(bytes, start, end);
    this.#due();
  }

  /** END_STREAM, on the last DATA frame if it is still here. */
  sendEnd(id: number): void {
    if (this.#out.endLastData(id)) return;
    this.#out.head(0, h2.DATA, h2.END_STREAM, id);
    this.#due();
  }

  sendReset(id: number, code: number): void {
    if (this.#resets.size >= http2ResetsRemembered) {
      for (const oldest of this.#resets) {
        this.#resets.delete(oldest);
        break;
      }
    }
    this.#resets.add(id);
    this.#out.head(4, h2.RST_STREAM, 0, id);
    this.#out.uint32(code);
    this.#due();
  }

  sendWindowUpdate(id: number, bytes: number): void {
    this.#out.head(4, h2.WINDOW_UPDATE, 0, id);
    this.#out.uint32(bytes);
    this.#due();
  }

  /** Bytes of a body were passed on: a client's connection gets its credit back only now, an upstream's had it at once. */
  consumed(bytes: number): void {
    if (this.#server) this.#credit(bytes);
  }

  wantsToSend(stream: Stream): void {
    if (stream.waiting) return;
    stream.waiting = true;
    this.#ready.push(stream);
    this.#due();
  }

  /** Nothing more goes either way on this stream. */
  closeStream(stream: Stream): void {
    if (stream.closed) return;
    stream.closed = true;
    stream.dropQueue();
    this.streams.delete(stream.id);
    if (!this.#server || stream.done) stream.release();
  }

  /** A stream's exchange has ended. */
  released(): void {
    if (--this.active === 0) this.#becameIdle();
  }

  /** The peer, or a message of its, broke a rule: the stream ends, and it costs the peer as much as if it had reset it. */
  refuseStream(stream: Stream, code: number, why: string): void {
    if (stream.closed) return;
    stream.reset(code);
    stream.user?.gone(code, false, why);
    this.#charge(resetPrice);
  }

  /** Ends in order: no new streams, those open go on (RFC 9113 6.8, in two steps so that no request is lost). */
  shutDown(): void {
    if (this.closed || this.#ending || this.#goawayMs > 0) return;
    this.goingAway = true;
    this.#goawayMs = performance.now();
    if (!this.#server) {
      if (this.active === 0) this.#finish(h2.NO_ERROR, "");
      return;
    }
    this.#sendGoaway(h2.windowLargest, h2.NO_ERROR, "");
    this.#sendPing();
  }

  /** The connection cannot go on: says why, and ends. */
  fail(code: number, why: string): void {
    if (this.closed || this.#ending) return;
    this.#finish(code, why);
  }

  /** Cuts it at once. */
  cut(why: string): void {
    if (this.closed) return;
    this.transport.terminate();
    this.#over(h2.CANCEL, why);
  }

  // Events of the socket.

  data(chunk: Buffer): void {
    if (this.closed || this.#ending) return;
    this.#heard = true;
    this.#pingMs = 0;
    let at = 0;
    if (this.#prefaceAt < h2.preface.length) {
      for (; at < chunk.length && this.#prefaceAt < h2.preface.length; at++) {
        if (chunk[at] !== h2.preface[this.#prefaceAt++]) return this.fail(h2.PROTOCOL_ERROR, "no HTTP/2 preface");
      }
    }
    this.chunkIsLent = false;
    this.#reader.feed(chunk, at, chunk.length);
    // Everything in it was copied: while clients do not read, garbage would be as much again as what waits for them.
    if (!this.chunkIsLent && chunk.length >= copiedChunkBytesMax) release(chunk);
  }

  drain(): void {
    if (this.closed) return;
    this.#sentMs = performance.now();
    if (this.#out.drain()) this.#flushed();
    else if (this.#ready.length > 0 && this.#out.pendingBytes < http2OutputBytesMax / 2) this.#due();
    this.#listen();
  }

  end(): void {
    if (this.closed) return;
    // A half-closed client may still want its answers, but looks just like one that has left: it gets a while.
    this.#halfClosedMs = performance.now();
    if (this.#server && this.active > 0 && !this.#ending) return;
    this.#out.flush();
    this.transport.end();
    this.#over(h2.CANCEL, "the connection was closed");
  }

  close(error: Error | undefined): void {
    this.#over(h2.CANCEL, error ? "the connection was reset" : "the connection was closed");
  }

  /** By its owner, every 200 ms. @param nowMs performance.now() */
  sweep(nowMs: number): void {
    if (this.closed) return;
    const { headerMs, writeMs, idleMs } = this.owner.timeouts();
    if (this.#heard) this.#heardMs = nowMs;
    this.#heard = false;
    if (this.#ending) {
      if (nowMs - this.#endMs > lingerMs) this.cut("the connection was closed");
      return;
    }
    if (headerMs > 0) {
      if (!this.greeted && nowMs - this.#startMs > headerMs)
        return this.fail(h2.SETTINGS_TIMEOUT, "no preface in time");
      if (this.#settingsMs > 0 && nowMs - this.#settingsMs > headerMs)
        return this.fail(h2.SETTINGS_TIMEOUT, "no acknowledgement of our settings in time");
      if (this.#blockMs > 0 && nowMs - this.#blockMs > headerMs)
        return this.fail(h2.ENHANCE_YOUR_CALM, "a field block took too long");
      if (this.#reader.partial === 0) this.#partialMs = 0;
      else if (this.#partialMs === 0) this.#partialMs = nowMs;
      else if (nowMs - this.#partialMs > headerMs) return this.fail(h2.ENHANCE_YOUR_CALM, "a frame took too long");
    }
    if (this.#halfClosedMs > 0 && nowMs - this.#halfClosedMs > halfClosedMs)
      return this.cut("the connection was closed");
    if (this.#out.blocked && writeMs > 0 && nowMs - this.#sentMs > writeMs)
      return this.cut(`nothing was read for ${writeMs / 1000} s`);
    if (this.#goawayMs > 0 && nowMs - this.#goawayMs > http2GoawayWaitMs) this.#goawayAgain();
    if (this.active === 0) {
      if (this.#idleMs === 0) this.#idleMs = nowMs;
      if (idleMs > 0 && nowMs - this.#idleMs > idleMs) this.#finish(h2.NO_ERROR, "");
    } else this.#watch(nowMs);
    for (const stream of this.streams) this.#sweepStream(stream, nowMs, writeMs);
  }

  // The end of the turn.

  turnEnded(): void {
    this.#turnDue = false;
    if (this.closed) return;
    this.#pump();
    const wasBlocked = this.#out.blocked;
    if (this.#out.flush()) this.#flushed();
    else if (!wasBlocked) this.#sentMs = performance.now();
    this.#listen();
  }

  /** Heads go out whatever is queued; a peer that reads none of them is not heard until it does. */
  #listen(): void {
    const deaf = this.#out.pendingBytes > 2 * http2OutputBytesMax;
    if (deaf === this.#deaf || this.closed) return;
    this.#deaf = deaf;
    if (deaf) this.transport.pause();
    else this.transport.resume();
  }

  /** Everything is with the kernel: sources may go on, whoever waited for it may end. */
  #flushed(): void {
    if (this.#ending) return this.#hangUp();
    if (this.#ready.length > 0 && this.sendWindow > 0) this.#due();
  }

  #pump(): void {
    const ready = this.#ready;
    // Only those that were waiting when it began: whoever is woken now writes at once as long as there is room.
    for (let turns = ready.length; turns > 0 && !this.congested; turns--) {
      const stream = ready.shift()!;
      stream.waiting = false;
      if (stream.pump()) this.wantsToSend(stream);
      else if (!stream.closed && stream.wantsTurn) this.#someStuck = true;
    }
  }

  #due(): void {
    if (this.#turnDue || this.closed) return;
    this.#turnDue = true;
    atTurnEnd(this);
  }

  // Events of the frame reader.

  frame(type: number, flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (this.#blockStream !== 0 && (type !== h2.CONTINUATION || id !== this.#blockStream))
      return this.fail(h2.PROTOCOL_ERROR, "a field block was interrupted");
    if (!this.greeted && type !== h2.SETTINGS) return this.fail(h2.PROTOCOL_ERROR, "no SETTINGS at the beginning");
    switch (type) {
      case h2.HEADERS:
        return this.#headers(flags, id, bytes, start, end);
      case h2.CONTINUATION:
        return this.#continuation(flags, bytes, start, end);
      case h2.PRIORITY:
        return this.#priority(id, bytes, start, end);
      case h2.RST_STREAM:
        return this.#rstStream(id, bytes, start, end);
      case h2.SETTINGS:
        return this.#settings(flags, id, bytes, start, end);
      case h2.PING:
        return this.#ping(flags, id, bytes, start, end);
      case h2.GOAWAY:
        return this.#goaway(id, bytes, start, end);
      case h2.WINDOW_UPDATE:
        return this.#windowUpdate(id, bytes, start, end);
      case h2.PUSH_PROMISE:
        return this.fail(h2.PROTOCOL_ERROR, "a push that nobody asked for");
      default:
        // RFC 9113 4.1: unknown types are ignored; that is not free of cost.
        this.#charge(idlePrice);
    }
  }

  dataBegins(id: number, length: number, flags: number): void {
    if (this.#blockStream !== 0) return this.fail(h2.PROTOCOL_ERROR, "a field block was interrupted");
    if (!this.greeted) return this.fail(h2.PROTOCOL_ERROR, "no SETTINGS at the beginning");
    if (id === 0 || this.#isIdle(id)) return this.fail(h2.PROTOCOL_ERROR, "DATA on a stream that is not open");
    if (length > this.#receiveWindow) return this.fail(h2.FLOW_CONTROL_ERROR, "more DATA than the connection's window");
    this.#receiveWindow -= length;
    this.#dataLength = length;
    this.#dataRead = 0;
    const stream = this.streams.get(id);
    this.#dataStream = undefined;
    if (!stream) {
      // Of a server we have reset many streams at once, perhaps: what was on its way then is no fault of its own.
      if (!this.#server && length > 0) return;
      if (this.#server && !this.#resets.has(id) && id <= this.#goawayId)
        return this.fail(h2.STREAM_CLOSED, "DATA on a closed stream");
      this.#charge(idlePrice);
      return;
    }
    if (length === 0 && (flags & h2.END_STREAM) === 0) this.#charge(idlePrice);
    else this.#budget.earn(length);
    if (stream.remoteEnded) return this.refuseStream(stream, h2.STREAM_CLOSED, "DATA behind the end of its stream");
    if (!stream.headSeen) return this.refuseStream(stream, h2.PROTOCOL_ERROR, "DATA before the head of the answer");
    if (length > stream.receiveWindow)
      return this.refuseStream(stream, h2.FLOW_CONTROL_ERROR, "more DATA than the stream's window");
    stream.receiveWindow -= length;
    this.#dataStream = stream;
  }

  dataPart(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    this.#dataRead += length;
    const stream = this.#dataStream;
    if (!stream || stream.closed) return this.#credit(length);
    // An upstream's connection gets its credit at once: only its streams hold it back.
    if (!this.#server) this.#credit(length);
    stream.received += length;
    if (stream.lengthDue >= 0 && stream.received > stream.lengthDue) {
      if (this.#server) this.#credit(length);
      return this.refuseStream(stream, h2.PROTOCOL_ERROR, "more DATA than Content-Length says");
    }
    stream.user.data(bytes, start, end);
  }

  dataEnds(endStream: boolean): void {
    const stream = this.#dataStream;
    const open = stream !== undefined && !stream.closed;
    const padding = this.#dataLength - this.#dataRead;
    this.#dataStream = undefined;
    if (padding > 0) {
      if (!open || !this.#server) this.#credit(padding);
      if (open) stream.consumed(padding);
    }
    if (open && endStream) this.#remoteEnds(stream, undefined);
  }

  broken(code: number, why: string): void {
    this.fail(code, why);
  }

  // Frames.

  #headers(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (id === 0) return this.fail(h2.PROTOCOL_ERROR, "HEADERS on no stream");
    let padding = 0;
    if ((flags & h2.PADDED) !== 0) {
      if (start === end) return this.fail(h2.FRAME_SIZE_ERROR, "HEADERS too short for their padding");
      padding = bytes[start++]!;
    }
    let itself = false;
    if ((flags & h2.WITH_PRIORITY) !== 0) {
      if (end - start < 5) return this.fail(h2.FRAME_SIZE_ERROR, "HEADERS too short for their priority");
      itself = (bytes.readUInt32BE(start) & h2.windowLargest) === id;
      start += 5;
    }
    if (padding > end - start) return this.fail(h2.PROTOCOL_ERROR, "padding longer than its frame");
    end -= padding;
    if (itself) this.#blockFlags = flags | dependsOnItself;
    else this.#blockFlags = flags;
    if ((flags & h2.END_HEADERS) !== 0) return this.#block(id, this.#blockFlags, bytes, start, end);
    this.#blockStream = id;
    this.#blockFrames = 1;
    this.#blockBytes = end - start;
    this.#blockParts = [Buffer.from(bytes.subarray(start, end))];
    this.#blockMs = performance.now();
  }

  #continuation(flags: number, bytes: Buffer, start: number, end: number): void {
    const id = this.#blockStream;
    if (id === 0) return this.fail(h2.PROTOCOL_ERROR, "CONTINUATION of nothing");
    this.#blockBytes += end - start;
    if (++this.#blockFrames > http2BlockFramesMax || this.#blockBytes > http2BlockBytesMax)
      return this.fail(h2.ENHANCE_YOUR_CALM, "a field block that is too long");
    if (start === end && (flags & h2.END_HEADERS) === 0 && !this.#charge(idlePrice)) return;
    this.#blockParts.push(Buffer.from(bytes.subarray(start, end)));
    if ((flags & h2.END_HEADERS) === 0) return;
    const block = Buffer.concat(this.#blockParts);
    this.#blockStream = 0;
    this.#blockParts = [];
    this.#blockMs = 0;
    this.#block(id, this.#blockFlags, block, 0, block.length);
  }

  /** A whole field block: decoded first, whoever it belongs to, to keep the table in step. */
  #block(id: number, flags: number, bytes: Buffer, start: number, end: number): void {
    list.begin(this.owner.listBytesMax, fieldLinesMax);
    if (!this.#decoder.decode(bytes, start, end, list))
      return this.fail(h2.COMPRESSION_ERROR, "a field block that cannot be decoded");
    const ended = (flags & h2.END_STREAM) !== 0;
    const stream = this.streams.get(id);
    if (stream) this.#nextHead(stream, ended, flags);
    else if (this.#isIdle(id) && this.#server && (id & 1) === 1) this.#request(id, ended, flags);
    else if (this.#isIdle(id)) this.fail(h2.PROTOCOL_ERROR, "HEADERS on a stream that is not open");
    else if (!this.#server || id > this.#goawayId || this.#resets.has(id)) this.#charge(idlePrice);
    else if (id >= this.#skippedFrom && id < this.#skippedTo)
      this.fail(h2.PROTOCOL_ERROR, "HEADERS on a stream that was left out");
    else this.fail(h2.STREAM_CLOSED, "HEADERS on a closed stream");
  }

  #request(id: number, ended: boolean, flags: number): void {
    if (id > this.#lastPeerId + 2) {
      this.#skippedFrom = this.#lastPeerId + 2;
      this.#skippedTo = id;
    }
    this.#lastPeerId = id;
    // It was told so: the request goes elsewhere.
    if (id > this.#goawayId) return;
    if (this.active >= http2StreamsMax) {
      this.sendReset(id, h2.REFUSED_STREAM);
      this.#charge(resetPrice);
      return;
    }
    const stream = this.#newStream(id);
    stream.headSeen = true;
    stream.remoteEnded = ended;
    if ((flags & dependsOnItself) !== 0) {
      this.refuseStream(stream, h2.PROTOCOL_ERROR, "a stream that depends on itself");
      return stream.release();
    }
    this.owner.request(stream, list, ended);
  }

  /** A head on a stream that is open: an answer's, or trailers. */
  #nextHead(stream: Stream, ended: boolean, flags: number): void {
    if (stream.remoteEnded)
      return this.refuseStream(stream, h2.STREAM_CLOSED, "HEADERS behind the end of their stream");
    if ((flags & dependsOnItself) !== 0)
      return this.refuseStream(stream, h2.PROTOCOL_ERROR, "a stream that depends on itself");
    if (!stream.headSeen) {
      stream.user.answered?.(list, ended);
      if (ended && stream.headSeen && !stream.closed) this.#remoteEnds(stream, undefined);
      return;
    }
    if (!ended) return this.refuseStream(stream, h2.PROTOCOL_ERROR, "trailers that are not the end");
    const trailers = readTrailers(list);
    if (!trailers) return this.refuseStream(stream, h2.PROTOCOL_ERROR, "malformed trailers");
    this.#remoteEnds(stream, trailers);
  }

  #remoteEnds(stream: Stream, trailers: ReturnType<typeof readTrailers>): void {
    if (stream.lengthDue >= 0 && stream.received !== stream.lengthDue)
      return this.refuseStream(stream, h2.PROTOCOL_ERROR, "less DATA than Content-Length says");
    stream.remoteEnded = true;
    // First the stream: what its user does next may want its place.
    if (stream.localEnded) this.closeStream(stream);
    stream.user.ended(trailers);
  }

  #priority(id: number, bytes: Buffer, start: number, end: number): void {
    if (id === 0) return this.fail(h2.PROTOCOL_ERROR, "PRIORITY of no stream");
    if (!this.#charge(idlePrice)) return;
    const itself = end - start === 5 && (bytes.readUInt32BE(start) & h2.windowLargest) === id;
    if (end - start === 5 && !itself) return;
    const code = itself ? h2.PROTOCOL_ERROR : h2.FRAME_SIZE_ERROR;
    const stream = this.streams.get(id);
    if (stream) this.refuseStream(stream, code, "a malformed PRIORITY");
    else if (!this.#isIdle(id)) return;
    else this.fail(code, "a malformed PRIORITY");
  }

  #rstStream(id: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) return this.fail(h2.FRAME_SIZE_ERROR, "RST_STREAM that is not 4 bytes long");
    if (id === 0 || this.#isIdle(id)) return this.fail(h2.PROTOCOL_ERROR, "RST_STREAM of a stream that is not open");
    const stream = this.streams.get(id);
    if (!stream) return void this.#charge(idlePrice);
    const code = bytes.readUInt32BE(start);
    // Who has our whole answer and wants no more of its own request has cost us nothing.
    const price = stream.localEnded ? idlePrice : resetPrice;
    this.closeStream(stream);
    stream.user.gone(code, true, `the stream was reset (${h2.errorName(code)})`);
    if (this.#server) this.#charge(price);
  }

  #settings(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) return this.fail(h2.PROTOCOL_ERROR, "SETTINGS on a stream");
    if ((flags & h2.ACK) !== 0) {
      if (start !== end) return this.fail(h2.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS that says something");
      if (!this.greeted) return this.fail(h2.PROTOCOL_ERROR, "no SETTINGS at the beginning");
      if (this.#settingsMs === 0) this.#charge(settingsPrice);
      this.#settingsMs = 0;
      return;
    }
    if ((end - start) % 6 !== 0) return this.fail(h2.FRAME_SIZE_ERROR, "SETTINGS that are not whole");
    const { peer } = this;
    const before = peer.initialWindow;
    const error = peer.read(bytes, start, end, !this.#server);
    if (error !== h2.NO_ERROR) return this.fail(error, "SETTINGS with a value that is not allowed");
    this.encoder.setTableMax(peer.headerTableSize);
    if (peer.initialWindow !== before && !this.#shiftWindows(peer.initialWindow - before)) return;
    this.sillyBelow = Math.max(1, Math.min(http2SillyWindowBytes, peer.initialWindow >> 1));
    if (this.greeted && !this.#charge(settingsPrice)) return;
    this.greeted = true;
    this.#out.head(0, h2.SETTINGS, h2.ACK, 0);
    this.#due();
    this.owner.settled();
  }

  /** RFC 9113 6.9.2: the windows of all streams move by the difference, below zero if need be. */
  #shiftWindows(by: number): boolean {
    for (const stream of this.streams) {
      stream.sendWindow += by;
      if (stream.sendWindow > h2.windowLargest) {
        this.fail(h2.FLOW_CONTROL_ERROR, "SETTINGS that make a window too large");
        return false;
      }
      if (stream.wantsTurn) this.wantsToSend(stream);
    }
    return true;
  }

  #ping(flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) return this.fail(h2.PROTOCOL_ERROR, "PING on a stream");
    if (end - start !== 8) return this.fail(h2.FRAME_SIZE_ERROR, "PING that is not 8 bytes long");
    if ((flags & h2.ACK) !== 0) {
      if (this.#goawayMs > 0) this.#goawayAgain();
      else this.#charge(idlePrice);
      return;
    }
    if (!this.#budget.spendEarned(pingPrice)) return this.fail(h2.ENHANCE_YOUR_CALM, "too many PINGs");
    this.#out.head(8, h2.PING, h2.ACK, 0);
    this.#out.copy(bytes, start, end);
    this.#due();
  }

  #goaway(id: number, bytes: Buffer, start: number, end: number): void {
    if (id !== 0) return this.fail(h2.PROTOCOL_ERROR, "GOAWAY on a stream");
    if (end - start < 8) return this.fail(h2.FRAME_SIZE_ERROR, "GOAWAY that is too short");
    if (!this.#charge(settingsPrice)) return;
    // A client's GOAWAY is about streams of ours, of which there are none; it may even ask on.
    if (this.#server) return;
    const last = bytes.readUInt32BE(start) & h2.windowLargest;
    const code = bytes.readUInt32BE(start + 4);
    this.goingAway = true;
    this.owner.leaving();
    const said = bytes
      .toString("latin1", start + 8, Math.min(end, start + 8 + causeCharsMax))
      .replace(/[^\x20-\x7e]/g, "?");
    const why = `the server is going away (${h2.errorName(code)}${said && `: ${said}`})`;
    for (const stream of this.streams) {
      if (stream.id <= last) continue;
      this.closeStream(stream);
      // It says that it has not looked at them (RFC 9113 6.8).
      stream.user.gone(h2.REFUSED_STREAM, true, why);
    }
    if (this.active === 0) this.#finish(h2.NO_ERROR, "");
  }

  #windowUpdate(id: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) return this.fail(h2.FRAME_SIZE_ERROR, "WINDOW_UPDATE that is not 4 bytes long");
    if (id !== 0 && this.#isIdle(id)) return this.fail(h2.PROTOCOL_ERROR, "WINDOW_UPDATE of a stream that is not open");
    if (!this.#budget.spendEarned(idlePrice)) return this.fail(h2.ENHANCE_YOUR_CALM, "too many window updates");
    const by = bytes.readUInt32BE(start) & h2.windowLargest;
    if (id === 0) {
      if (by === 0) return this.fail(h2.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing");
      this.sendWindow += by;
      if (this.sendWindow > h2.windowLargest) return this.fail(h2.FLOW_CONTROL_ERROR, "a window that is too large");
      if (this.#ready.length > 0) this.#due();
      if (!this.#someStuck) return;
      this.#someStuck = false;
      for (const stream of this.streams) if (stream.wantsTurn) this.wantsToSend(stream);
      return;
    }
    const stream = this.streams.get(id);
    if (!stream) return;
    if (by === 0) return this.refuseStream(stream, h2.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing");
    stream.sendWindow += by;
    if (stream.sendWindow > h2.windowLargest)
      return this.refuseStream(stream, h2.FLOW_CONTROL_ERROR, "a window that is too large");
    if (stream.wantsTurn) this.wantsToSend(stream);
  }

  // Help.

  #newStream(id: number): Stream {
    const stream = new Stream(this, id, this.peer.initialWindow, this.streamWindow);
    this.streams.set(id, stream);
    this.active++;
    return stream;
  }

  /** RFC 9113 5.1: neither side has opened it, nor a later one of the same side. */
  #isIdle(id: number): boolean {
    if (this.#server) return (id & 1) === 0 || id > this.#lastPeerId;
    return (id & 1) === 0 || id >= this.#nextId;
  }

  #credit(bytes: number): void {
    this.#spent += bytes;
    if (this.#spent * 2 < this.#window || this.closed) return;
    this.#receiveWindow += this.#spent;
    this.sendWindowUpdate(0, this.#spent);
    this.#spent = 0;
  }

  /** @returns false when that was too much: the connection is over */
  #charge(price: number): boolean {
    if (this.closed || this.#ending) return false;
    if (this.#budget.spend(price)) return true;
    this.fail(h2.ENHANCE_YOUR_CALM, "too many frames that bring nothing forward");
    return false;
  }

  #greet(settings: OwnSettings): void {
    this.#out.head(6 * settings.length, h2.SETTINGS, 0, 0);
    for (const [identifier, value] of settings) {
      this.#out.uint16(identifier);
      this.#out.uint32(value);
    }
    this.sendWindowUpdate(0, this.#window - h2.windowDefault);
  }

  #sendPing(): void {
    this.#pingMs = performance.now();
    this.#out.head(8, h2.PING, 0, 0);
    this.#out.copy(pingPayload, 0, 8);
    this.#due();
  }

  #sendGoaway(lastId: number, code: number, why: string): void {
    const text = Buffer.from(why, "latin1");
    this.#out.head(8 + text.length, h2.GOAWAY, 0, 0);
    this.#out.uint32(lastId);
    this.#out.uint32(code);
    this.#out.copy(text, 0, text.length);
    this.#due();
  }

  /** The second GOAWAY: what was on its way has come. */
  #goawayAgain(): void {
    if (!this.#server || this.#goawayId !== h2.windowLargest) return;
    this.#goawayId = this.#lastPeerId;
    if (this.active === 0) return this.#finish(h2.NO_ERROR, "");
    this.#sendGoaway(this.#goawayId, h2.NO_ERROR, "");
  }

  #becameIdle(): void {
    if (this.closed || this.#ending) return;
    this.#idleMs = 0;
    const over = this.goingAway && (!this.#server || this.#goawayId !== h2.windowLargest);
    if (over || this.#halfClosedMs > 0) this.#finish(h2.NO_ERROR, "");
    else this.owner.idle();
  }

  /** A sign of life is asked for where streams wait in silence. */
  #watch(nowMs: number): void {
    if (this.#pingMs > 0) {
      if (nowMs - this.#pingMs > http2PingWaitMs) this.cut("no answer to a PING");
    } else if (nowMs - this.#heardMs > http2PingAfterMs) this.#sendPing();
  }

  #sweepStream(stream: Stream, nowMs: number, writeMs: number): void {
    if (stream.wantsTurn) {
      if (stream.stuckMs === 0) stream.stuckMs = nowMs;
      else if (writeMs > 0 && nowMs - stream.stuckMs > writeMs)
        return this.refuseStream(stream, h2.CANCEL, `nothing was taken for ${writeMs / 1000} s`);
      else if (nowMs - stream.stuckMs >= http2SillyWaitMs && stream.sendWindow > 0 && this.sendWindow > 0) {
        stream.impatient = true;
        this.wantsToSend(stream);
      }
    }
    stream.user.sweep(nowMs);
  }

  /** Says the last, then hangs up; all streams that are left are gone. */
  #finish(code: number, why: string): void {
    this.#ending = true;
    this.goingAway = true;
    this.#endMs = performance.now();
    this.#reader.stop();
    // Never above what was said before (RFC 9113 6.8): the client has asked for those elsewhere.
    this.#sendGoaway(this.#server ? Math.min(this.#lastPeerId, this.#goawayId) : 0, code, why);
    this.#dropStreams(code, why);
    this.owner.leaving();
    // Whoever is the cause of it may never read it.
    if (this.#out.flush()) this.#hangUp();
  }

  /** What was said is with the kernel. A peer that still sends would reset it away: its FIN or the sweeper ends it. */
  #hangUp(): void {
    this.transport.shutdown();
  }

  #dropStreams(code: number, why: string): void {
    for (const stream of this.streams) {
      this.closeStream(stream);
      stream.user?.gone(code, false, why);
    }
  }

  #over(code: number, why: string): void {
    if (this.closed) return;
    this.closed = true;
    this.goingAway = true;
    this.#reader.stop();
    this.#out.close();
    this.#dropStreams(code, why);
    this.owner.closed(code, why);
  }
}

/** Beside the flags of a frame: its priority names its own stream. */
const dependsOnItself = 256;
