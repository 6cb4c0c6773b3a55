/** One stream of an HTTP/2 connection (RFC 9113 5): its windows, what waits to be sent, and how it ends. */
import { http2FrameBytes } from "../../../lib/limits.ts";
import type { FieldLine } from "../../body.ts";
import type { Http2Connection } from "./connection.ts";
import type { FieldList } from "./field-list.ts";
import type { HpackEncoder } from "./hpack-encoder.ts";
import { CANCEL, NO_ERROR } from "./protocol.ts";

/** Who a stream belongs to: the exchange it carries. Nothing is called after {@link StreamUser.gone}. */
export interface StreamUser {
  /** To a client: an answer's head, interim or not; `list` is valid during the call. */
  answered?(list: FieldList, ended: boolean): void;
  /** bytes[start, end) of the body, to be copied or passed on during the call; {@link Stream.consumed} says when. */
  data(bytes: Buffer, start: number, end: number): void;
  /** The peer has said everything. */
  ended(trailers: readonly FieldLine[] | undefined): void;
  /** The stream ended before its time. @param code of RFC 9113 7 @param byPeer it was the peer that reset it */
  gone(code: number, byPeer: boolean, why: string): void;
  /** All that was to be sent is in frames, END_STREAM included. */
  sent?(): void;
  /** After a {@link Stream.write} that returned false: there is room. */
  writable(): void;
  /** Every 200 ms. @param nowMs performance.now() */
  sweep(nowMs: number): void;
}

/** Most streams never queue. */
const empty: Uint8Array[] = [];

export class Stream {
  user!: StreamUser;
  sendWindow: number;
  /** credit that the peer has left */
  receiveWindow: number;
  /** the peer sent END_STREAM */
  remoteEnded = false;
  /** we sent END_STREAM, or will when the queue is empty */
  localEnding = false;
  localEnded = false;
  /** nothing more goes either way */
  closed = false;
  /** counts against the limit of streams */
  held = true;
  /** to a server: the exchange has ended */
  done = false;
  /** client: the final head has come; server: always. What follows are trailers. */
  headSeen = false;
  /** bytes announced by Content-Length, -1 without */
  lengthDue = -1;
  received = 0;
  /** in the connection's list of those that want to send */
  waiting = false;
  /** a small window is to be used at last */
  impatient = false;
  /** since when it could not send, or 0 */
  stuckMs = 0;
  #spent = 0;
  #queue: Uint8Array[] = empty;
  /** of the first in the queue */
  #at = 0;
  #trailers: readonly FieldLine[] | undefined;
  #wantsRoom = false;

  constructor(
    readonly connection: Http2Connection,
    readonly id: number,
    sendWindow: number,
    receiveWindow: number,
  ) {
    this.sendWindow = sendWindow;
    this.receiveWindow = receiveWindow;
  }

  /** body bytes are waiting for a window or the connection */
  get queued(): boolean {
    return this.#queue.length > 0;
  }

  /** … or its user is */
  get wantsTurn(): boolean {
    return this.#queue.length > 0 || this.#wantsRoom;
  }

  /**
   * Begins a field block; fields are put into the encoder, then {@link sendHead} is called, with nothing in between.
   * @returns undefined when nothing can be sent any more
   */
  beginHead(): HpackEncoder | undefined {
    if (this.closed || this.localEnding) return undefined;
    const { encoder } = this.connection;
    encoder.begin();
    return encoder;
  }

  /** @param end the message ends with it */
  sendHead(end: boolean): void {
    this.connection.sendBlock(this.id, end);
    if (!end) return;
    this.localEnding = true;
    this.#ended();
  }

  /**
   * Sends a piece of the body, or queues it by reference.
   * @param chunk stays unchanged until {@link StreamUser.writable}
   * @returns false when no more should come until then
   */
  write(chunk: Uint8Array): boolean {
    if (this.closed || this.localEnding) return false;
    const { connection } = this;
    if (chunk.length > 0) {
      const at = this.queued ? 0 : this.#compose(chunk, 0, Infinity);
      if (at < chunk.length) {
        if (!this.queued) this.#at = at;
        if (this.#queue === empty) this.#queue = [];
        this.#queue.push(chunk);
        connection.queuedBytes.add(chunk.length - at);
        this.queues(chunk.length - at);
        if (this.closed) return false;
        this.#wantsRoom = true;
        connection.wantsToSend(this);
        return false;
      }
    }
    if (!connection.congested) return true;
    this.#wantsRoom = true;
    connection.wantsToSend(this);
    return false;
  }

  /** Bytes that {@link write} would put into frames at once. */
  room(): number {
    if (this.closed || this.localEnding || this.queued || this.connection.congested) return 0;
    return Math.max(0, Math.min(this.sendWindow, this.connection.sendWindow));
  }

  /** Puts bytes[start, end) into a frame at once. They fit in one, and {@link room} has room for them. */
  put(bytes: Uint8Array, start: number, end: number): void {
    this.connection.sendData(this.id, bytes, start, end);
    this.sendWindow -= end - start;
  }

  /** {@link StreamUser.writable} is to be called when there is room. */
  askRoom(): void {
    this.#wantsRoom = true;
    this.connection.wantsToSend(this);
  }

  /** The body is complete. */
  end(trailers?: readonly FieldLine[]): void {
    if (this.closed || this.localEnding) return;
    this.localEnding = true;
    this.#wantsRoom = false;
    this.#trailers = trailers;
    if (!this.queued) this.#sendEnd();
  }

  /** Ends the stream at once. Its user is not told: it is the one who says so. */
  reset(code: number): void {
    if (this.closed) return;
    this.connection.sendReset(this.id, code);
    this.connection.closeStream(this);
  }

  /** Its user has queued so many bytes: an upstream's stream that nobody reads ends where there are too many. */
  queues(bytes: number): void {
    if (this.closed || !this.connection.queuedBytes.tooMany(bytes)) return;
    this.reset(CANCEL);
    this.user.gone(CANCEL, false, "too many bytes wait, and nobody reads them");
  }

  /** Its exchange has ended. The stream counts until all that was said has left as well. */
  finish(): void {
    this.done = true;
    if (!this.closed && !this.localEnding) this.reset(CANCEL);
    // A peer that still sends is asked to stop (RFC 9113 8.1).
    if (!this.closed && this.localEnded) this.reset(NO_ERROR);
    if (this.closed) this.release();
  }

  /** It no longer counts. */
  release(): void {
    if (!this.held) return;
    this.held = false;
    this.connection.released();
  }

  /** So many bytes of the body were passed on: the peer may send as many more. */
  consumed(bytes: number): void {
    this.connection.consumed(bytes);
    if (this.closed || this.remoteEnded) return;
    this.#spent += bytes;
    if (this.#spent * 2 < this.connection.streamWindow) return;
    this.receiveWindow += this.#spent;
    this.connection.sendWindowUpdate(this.id, this.#spent);
    this.#spent = 0;
  }

  /**
   * Its turn to send: one frame, so that others get theirs.
   * @returns true when it wants another turn
   */
  pump(): boolean {
    if (this.closed) return false;
    const chunk = this.#queue[0];
    if (chunk) {
      const at = this.#compose(chunk, this.#at, http2FrameBytes);
      this.connection.queuedBytes.remove(at - this.#at);
      const stuck = at === this.#at;
      this.#at = at;
      if (at < chunk.length) return !stuck;
      this.#queue.shift();
      this.#at = 0;
      if (this.queued) return true;
    }
    if (this.localEnding) this.#sendEnd();
    else if (this.#wantsRoom && this.sendWindow > 0 && this.connection.sendWindow > 0) {
      this.#wantsRoom = false;
      this.stuckMs = 0;
      this.user.writable();
    }
    return false;
  }

  /** What was queued will not be sent. */
  dropQueue(): void {
    if (!this.queued) return;
    let bytes = -this.#at;
    for (const chunk of this.#queue) bytes += chunk.length;
    this.connection.queuedBytes.remove(bytes);
    this.#queue = empty;
    this.#at = 0;
  }

  /** Puts what the windows and the connection allow into frames. @returns how far it came */
  #compose(chunk: Uint8Array, from: number, most: number): number {
    const { connection } = this;
    let at = from;
    while (at < chunk.length && most > 0 && !connection.congested) {
      const left = chunk.length - at;
      const window = Math.min(this.sendWindow, connection.sendWindow);
      if (window <= 0 || (window < left && window < connection.sillyBelow && !this.impatient)) break;
      const length = Math.min(left, window, http2FrameBytes);
      connection.sendData(this.id, chunk, at, at + length);
      this.sendWindow -= length;
      at += length;
      most -= length;
    }
    if (at > from) {
      this.stuckMs = 0;
      this.impatient = false;
    }
    return at;
  }

  #sendEnd(): void {
    const trailers = this.#trailers;
    if (trailers && trailers.length > 0) {
      const { encoder } = this.connection;
      encoder.begin();
      for (const [name, value] of trailers) encoder.text(name, value);
      this.connection.sendBlock(this.id, true);
    } else this.connection.sendEnd(this.id);
    this.#ended();
  }

  #ended(): void {
    this.localEnded = true;
    if (this.remoteEnded) this.connection.closeStream(this);
    else if (this.done) this.reset(NO_ERROR);
    this.user.sent?.();
  }
}
