/** Opens one socket to an upstream: TCP, TLS or unix, within a time, with errors told apart as Failures. */
import { isIP } from "node:net";
import type { Socket } from "bun";
import { BoundedMap } from "../../lib/bounded-map.ts";
import { descriptorReserve } from "../../lib/descriptor-reserve.ts";
import { descriptorsLeft } from "../../lib/descriptors.ts";
import { upstreamSessionsMax } from "../../lib/limits.ts";
import { Failure, type FailureCode } from "../failure.ts";

/** What happens to a socket; its user may put another set of ears in place at any time (`socket.data.events`). */
export interface SocketEvents {
  /** @param chunk fresh and ours: may be kept and changed */
  data(chunk: Buffer<ArrayBuffer>): void;
  /** the socket takes bytes again after a short write */
  drain(): void;
  /** the peer's FIN; not seen while the socket is paused */
  end(): void;
  /** the socket is gone, by whoever's doing; the last event. @param error reset, TLS failure, or what a handler threw */
  close(error: Error | undefined): void;
}

export interface DialOptions {
  readonly connect: { readonly hostname: string; readonly port: number } | { readonly unix: string };
  readonly tls?: UpstreamTls;
  /** time for connect and TLS handshake together; 0 = none */
  readonly connectMs: number;
  readonly signal?: AbortSignal;
  readonly events: SocketEvents;
}

export interface UpstreamTls {
  /** for SNI, and the name or IP that the certificate must carry when it is verified; "" = the address dialed */
  readonly serverName: string;
  readonly rejectUnauthorized: boolean;
  /** PEM text */
  readonly ca?: string;
  /** what is offered by ALPN; HTTP/1.1 without */
  readonly protocol?: "h2";
}

export type DialedSocket = Socket<Dial>;

/** As ALPN wants them (RFC 7301 3.1). */
const offers = { h1: "\x08http/1.1", h2: "\x02h2" };

/** What a session may be resumed by: another trust, name or address never gets it. */
const sessions = new BoundedMap<string, Buffer>(upstreamSessionsMax);

/** One attempt; lives on as the socket's data, to carry its events. */
export class Dial {
  events: SocketEvents;
  private socket: DialedSocket | undefined;
  private settled = false;
  private error: Error | undefined;
  private timer: Timer | undefined;
  /** where the session of this connection is to be kept; undefined when it is, or there is none */
  private sessionKey: string | undefined;

  constructor(
    readonly options: DialOptions,
    private readonly done: { resolve(socket: DialedSocket): void; reject(failure: Failure): void },
  ) {
    this.events = options.events;
  }

  begin(): void {
    const { connect, tls, connectMs, signal } = this.options;
    if (signal?.aborted) return this.fail("client_gone", "the client left before the connect");
    // The last file is for accept: a client can be told.
    if (descriptorReserve.exhausted)
      return this.fail("upstream_busy", `Cannot connect to ${this.target}: too many open files`);
    signal?.addEventListener("abort", this.aborted);
    if (connectMs > 0) {
      const late = `Cannot connect to ${this.target}: no connection within ${connectMs} ms`;
      this.timer = setTimeout(() => this.fail("connect_timeout", late), connectMs);
    }
    // A peer's FIN must not close our side before the bridge has said its last (bun-facts 7).
    const common = { socket: handlers, data: this as Dial, allowHalfOpen: true };
    const secured =
      tls === undefined
        ? common
        : {
            ...common,
            tls: {
              serverName: sniOf(tls, "unix" in connect ? "" : connect.hostname),
              rejectUnauthorized: tls.rejectUnauthorized,
              ALPNProtocols: offers[tls.protocol ?? "h1"],
              ...(tls.ca === undefined ? {} : { ca: tls.ca }),
            },
          };
    const attempt =
      "unix" in connect ? Bun.connect({ ...secured, ...connect }) : Bun.connect({ ...secured, ...connect });
    // connectError has told already; this keeps the rejection from being an unhandled one.
    attempt.catch((error: unknown) => this.refused(error));
  }

  opened(socket: DialedSocket): void {
    this.socket = socket;
    if (this.settled) return void socket.terminate();
    const { tls } = this.options;
    if (tls === undefined) return this.succeed(socket);
    this.sessionKey = JSON.stringify([this.target, tls.serverName, tls.rejectUnauthorized, tls.ca ?? ""]);
    const session = sessions.get(this.sessionKey);
    // BUN(1.4.4): sessions are not resumed by themselves; remove when they are.
    if (session) socket.setSession(session);
  }

  /** By the first bytes of an answer the tickets of TLS 1.3 have come, which follow the handshake. */
  heard(socket: DialedSocket, chunk: Buffer<ArrayBuffer>): void {
    if (this.sessionKey !== undefined) {
      const session = socket.getSession() as Buffer | undefined;
      if (session) sessions.set(this.sessionKey, session);
      this.sessionKey = undefined;
    }
    this.events.data(chunk);
  }

  shaken(socket: DialedSocket, success: boolean, error: Error | null): void {
    if (this.settled) return;
    const strict = this.options.tls!.rejectUnauthorized;
    // A certificate that may be bad still gives an error here; a handshake that broke gives no protocol version.
    if (error !== null && (strict || socket.getTLSVersion() === null || isProtocolError(error))) {
      return this.fail("tls_failed", `Cannot open TLS to ${this.target}: ${error.message}`);
    }
    if (strict && !success) return this.fail("tls_failed", `Cannot open TLS to ${this.target}: not authorized`);
    this.succeed(socket);
  }

  closed(error: Error | undefined): void {
    if (this.settled) return this.events.close(this.error ?? error);
    const code = this.options.tls === undefined ? "early_reset" : "tls_failed";
    this.fail(code, `Cannot connect to ${this.target}: the connection was closed before it stood`);
  }

  refused(error: unknown): void {
    const code = typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
    const cause = `Cannot connect to ${this.target}: ${code || String(error)}`;
    if (descriptorsLeft()) this.fail(failureOf(code), cause);
    else this.fail("upstream_busy", `Cannot connect to ${this.target}: too many open files`);
  }

  /** A TLS session broke, or a handler threw: the connection is in no known state any more. */
  broken(socket: DialedSocket, error: Error): void {
    this.error = error;
    socket.terminate();
  }

  private readonly aborted = (): void => this.fail("client_gone", "the client left during the connect");

  private get target(): string {
    const { connect } = this.options;
    return "unix" in connect ? `unix socket "${connect.unix}"` : `${connect.hostname}:${connect.port}`;
  }

  private fail(code: FailureCode, cause: string): void {
    if (!this.settle()) return;
    this.events = deaf;
    this.socket?.terminate();
    this.done.reject(new Failure(code, cause));
  }

  private succeed(socket: DialedSocket): void {
    if (this.settle()) this.done.resolve(socket);
  }

  private settle(): boolean {
    if (this.settled) return false;
    this.settled = true;
    clearTimeout(this.timer);
    this.options.signal?.removeEventListener("abort", this.aborted);
    return true;
  }
}

/**
 * @returns the open socket; with TLS, after its handshake
 * @throws Failure `connect_refused`, `connect_timeout`, `name_not_found`, `tls_failed`, `early_reset`, `client_gone`
 */
export function dial(options: DialOptions): Promise<DialedSocket> {
  return new Promise((resolve, reject) => new Dial(options, { resolve, reject }).begin());
}

const deaf: SocketEvents = { data() {}, drain() {}, end() {}, close() {} };

const handlers: Bun.SocketHandler<Dial> = {
  open: (socket) => socket.data.opened(socket),
  // BUN(1.4.4): without this handler a bad certificate resolves as a closed socket; remove when connect rejects.
  handshake: (socket, success, error) => socket.data.shaken(socket, success, error),
  data: (socket, chunk) => socket.data.heard(socket, chunk as Buffer<ArrayBuffer>),
  drain: (socket) => socket.data.events.drain(),
  end: (socket) => socket.data.events.end(),
  close: (socket, error) => socket.data.closed(error),
  connectError: (socket, error) => socket.data.refused(error),
  error: (socket, error) => socket.data.broken(socket, error),
};

/**
 * SNI holds names only (RFC 6066 section 3). BUN(1.4.4): `serverName` is also what is verified, and an empty one stands
 * for the address dialed; so an IP that is to be verified at another address is sent. Remove when the two can be told apart.
 */
function sniOf({ serverName, rejectUnauthorized }: UpstreamTls, dialed: string): string {
  return isIP(serverName) !== 0 && (serverName === dialed || !rejectUnauthorized) ? "" : serverName;
}

/** The peer did not speak TLS as it must: no fault of ours. */
export function isProtocolError(error: Error): boolean {
  return "code" in error && error.code === "EPROTO";
}

function failureOf(code: string): FailureCode {
  if (code === "ETIMEDOUT") return "connect_timeout";
  if (code === "ENOTFOUND" || code.startsWith("EAI_") || code.startsWith("DNS_")) return "name_not_found";
  return "connect_refused";
}
