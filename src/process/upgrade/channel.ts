/**
 * Channel: where a process, its successor and `aralez upgrade` speak with each other, in lines of JSON. An abstract unix
 * socket: it needs no folder that both may write to, leaves no file behind, and is known in the same network name space
 * as the ports that it is about. Everybody may connect, so that both ends look who the other one is.
 */
import { createHash } from "node:crypto";
import { ptr } from "bun:ffi";
import type { PortShare } from "../../data/listen/hand-over.ts";
import { libc } from "../../lib/libc.ts";
import { upgradeLineBytesMax } from "../../lib/limits.ts";
import type { Manager } from "../systemd.ts";

export type Message =
  // successor → predecessor
  | { readonly kind: "take"; readonly pid: number; readonly version: string }
  | { readonly kind: "ready"; readonly ports: readonly PortShare[] }
  | { readonly kind: "failed"; readonly why: string }
  | { readonly kind: "taken" }
  // predecessor → successor
  | {
      readonly kind: "given";
      readonly pid: number;
      readonly ports: readonly number[];
      readonly manager?: Manager;
      readonly quitting: boolean;
    }
  | { readonly kind: "gone" }
  // `aralez upgrade` → running process, and back
  | { readonly kind: "upgrade" }
  | { readonly kind: "upgraded"; readonly pid: number }
  // to either
  | { readonly kind: "refused"; readonly why: string };

/** @param key what the two have in common: the file they were started with, or `upgrade_sock` */
export function channelName(key: string, uid: number): string {
  return `\0aralez/${uid}/${createHash("sha256").update(key).digest("hex").slice(0, 32)}`;
}

/** One end of a connection. */
export class Channel {
  #text = "";
  readonly #waiting: ((message: Message | undefined) => void)[] = [];
  readonly #messages: Message[] = [];
  #closed = false;

  constructor(readonly socket: Bun.Socket<{ channel: Channel | undefined }>) {}

  send(message: Message): void {
    // A line is far below what a socket takes at once.
    if (!this.#closed) this.socket.write(`${JSON.stringify(message)}\n`);
  }

  /** @returns the next message; undefined when the other end has closed, or says nothing in time */
  async next(waitMs?: number): Promise<Message | undefined> {
    const known = this.#messages.shift();
    if (known || this.#closed) return known;
    const { promise, resolve } = Promise.withResolvers<Message | undefined>();
    this.#waiting.push(resolve);
    if (waitMs === undefined) return promise;
    const timer = setTimeout(() => {
      this.#waiting.splice(this.#waiting.indexOf(resolve), 1);
      resolve(undefined);
    }, waitMs);
    return promise.finally(() => clearTimeout(timer));
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    this.socket.end();
    this.ended();
  }

  // Events of the socket.

  data(chunk: Uint8Array): void {
    this.#text += new TextDecoder().decode(chunk);
    if (this.#text.length > upgradeLineBytesMax) return this.close();
    for (let end = this.#text.indexOf("\n"); end >= 0; end = this.#text.indexOf("\n")) {
      const line = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 1);
      const message = readMessage(line);
      if (!message) return this.close();
      const waiting = this.#waiting.shift();
      if (waiting) waiting(message);
      else this.#messages.push(message);
    }
  }

  ended(): void {
    this.#closed = true;
    for (const resolve of this.#waiting.splice(0)) resolve(undefined);
  }
}

function readMessage(line: string): Message | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && "kind" in value ? (value as Message) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * @param accept called for everybody who is this user, or root
 * @throws the error of Bun.listen: EADDRINUSE when another process has the name
 */
export function openChannel(name: string, accept: (channel: Channel) => void): { close(): void } {
  const listener = Bun.listen<{ channel: Channel | undefined }>({
    unix: name,
    socket: {
      open(socket) {
        const channel = isTrusted(socket) ? new Channel(socket) : undefined;
        socket.data = { channel };
        if (channel) accept(channel);
        else socket.end();
      },
      ...events,
    },
  });
  return { close: () => listener.stop() };
}

/** @returns undefined when nobody who can be trusted is there */
export async function callChannel(name: string): Promise<Channel | undefined> {
  try {
    const data: { channel: Channel | undefined } = { channel: undefined };
    const socket = await Bun.connect<{ channel: Channel | undefined }>({
      unix: name,
      data,
      socket: { open: (opened) => void (data.channel = new Channel(opened)), connectError() {}, ...events },
    });
    if (isTrusted(socket)) return data.channel;
    socket.end();
  } catch {
    // Nobody listens.
  }
  return undefined;
}

const events = {
  data: (socket: Bun.Socket<{ channel: Channel | undefined }>, chunk: Buffer) => socket.data.channel?.data(chunk),
  close: (socket: Bun.Socket<{ channel: Channel | undefined }>) => socket.data?.channel?.ended(),
  error: (socket: Bun.Socket<{ channel: Channel | undefined }>) => void socket.end(),
};

/** SO_PEERCRED: whoever made the other end of the connection is this user, or root. */
function isTrusted(socket: Bun.Socket<unknown>): boolean {
  const SOL_SOCKET = 1;
  const SO_PEERCRED = 17;
  const credentials = new Uint32Array(3);
  const length = new Uint32Array([credentials.byteLength]);
  // BUN(1.4.4): the types do not know a socket's `fd`; remove when they do.
  const { fd = -1 } = socket as { fd?: number };
  if (libc()?.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ptr(credentials), ptr(length)) !== 0) return false;
  const uid = credentials[1]!;
  return uid === 0 || uid === process.geteuid!();
}
