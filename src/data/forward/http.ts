/** The forwarder of the engine `fetch`: HTTP/1.1 (plain, TLS) and HTTP/2 over TLS by Bun's fetch and its sessions. */
import { METHODS } from "node:http";
import { describe } from "../../lib/cause.ts";
import { collectedBodyBytesMax, detectWaitMs, knockAfterMs } from "../../lib/limits.ts";
import { SilenceTimer } from "../../lib/silence-timer.ts";
import type { Body } from "../body.ts";
import type { Answer, FieldVisitor } from "../exchange.ts";
import { asFailure, Failure, type FailureCode } from "../failure.ts";
import { bracketed, fieldsToUpstream, hostToUpstream, targetToUpstream } from "../headers/to-upstream.ts";
import type { Trust } from "../routing/table.ts";
import { wireOf, type Member } from "../upstream/pool.ts";
import type { Attempt, Forwarder } from "./forwarder.ts";
import { knock } from "./knock.ts";
import { trustKey, warnUnverified } from "./trust.ts";
import { StreamBody, streamOf } from "./stream-body.ts";

/** BUN(1.4.4): fetch sends any method it does not know as GET; remove when it sends them as they are. */
const sendable: ReadonlySet<string> = new Set(METHODS.filter((method) => method !== "CONNECT" && method !== "TRACE"));

export interface FetchForwarderOptions {
  /** idle upstream connections are closed after this; asked for each new session */
  keepaliveSeconds(): number;
  readonly loopMark: string;
  log(level: "warn" | "debug", target: string, text: string): void;
}

type FetchInit = BunFetchRequestInit & { protocol?: "http2" };

export class FetchForwarder implements Forwarder {
  readonly #sessions = new Map<string, Bun.FetchSession>();

  constructor(readonly options: FetchForwarderOptions) {}

  forward(attempt: Attempt): void {
    this.#ask(attempt).then(
      (answer) => attempt.answered(answer, performance.now()),
      (error: unknown) => attempt.failed(asFailure(error, attempt.member.endpoint.name)),
    );
  }

  async #ask(attempt: Attempt): Promise<Answer> {
    const { exchange, route, member } = attempt;
    if (!sendable.has(exchange.method))
      throw new Failure("unsupported", `the fetch engine cannot send the method ${exchange.method}`);
    await settleWire(member);
    const wire = wireOf(member);
    if (wire === "h2c")
      throw new Failure(
        "unsupported",
        `${member.endpoint.name} speaks HTTP/2 without TLS, which the fetch engine cannot`,
      );
    const { address } = member.endpoint;
    const tls = wire !== "http";
    if (member.health.state !== "up" && performance.now() - member.endpoint.heardMs > knockAfterMs)
      await knock(member.endpoint, route.timeouts.connectMs);
    if (tls && !route.trust.verify) warnUnverified(member.endpoint, this.options.log);

    const host = "unix" in address ? "localhost" : `${bracketed(address.host)}:${address.port}`;
    const url = `${tls ? "https" : "http"}://${host}${targetToUpstream(exchange, route)}`;
    const fields = fieldsToUpstream(exchange, route, this.options.loopMark);
    fields.push(["Host", hostToUpstream(exchange, route, member.endpoint.name)]);
    const call = new Call(attempt);
    if (attempt.body && (exchange.method === "GET" || exchange.method === "HEAD"))
      throw new Failure("unsupported", `the fetch engine cannot send a ${exchange.method} with a body`);
    const init: FetchInit = {
      method: exchange.method,
      redirect: "manual",
      decompress: false,
      proxy: false,
      timeout: 0,
      signal: call.signal,
      session: this.#session(tls ? route.trust : undefined),
      ...("unix" in address && { unix: address.unix }),
      ...(wire === "h2" && { protocol: "http2" }),
    } as FetchInit;
    if (attempt.body) {
      if (attempt.body.length >= 0) fields.push(["Content-Length", String(attempt.body.length)]);
      // BUN(1.4.4): a streamed body costs a new connection nearly every time; small ones go as bytes. Remove when it does not.
      const small = attempt.body.length >= 0 && attempt.body.length <= collectedBodyBytesMax;
      init.body = small ? await collect(attempt.body) : call.upload(attempt.body);
    }
    init.headers = fields as unknown as [string, string][];
    const response = await call.head(() => fetch(url, init), init.body instanceof ReadableStream);
    member.endpoint.heardMs = performance.now();
    // BUN(1.4.4): a Response cannot carry other codes; remove when it can.
    if (response.status < 200 || response.status > 599) {
      call.fail(new Failure("client_gone", "the answer is not wanted"));
      throw new Failure(
        "bad_answer",
        `${member.endpoint.name}: answered with the status ${response.status}, which is no final HTTP status`,
      );
    }
    return new FetchAnswer(response, attempt, call);
  }

  sweep(inUse: ReadonlySet<string>): void {
    for (const key of this.#sessions.keys()) if (key !== plainSession && !inUse.has(key)) this.#sessions.delete(key);
  }

  /** Closes idle connections; later requests open new ones under the settings of then. */
  close(): void {
    for (const session of this.#sessions.values()) session.close();
    this.#sessions.clear();
  }

  /** A session is kept here for as long as its trust is in use: an unreferenced one is collected and its pool closed. */
  #session(trust: Trust | undefined): Bun.FetchSession {
    const key = trust ? trustKey(trust) : plainSession;
    let session = this.#sessions.get(key);
    if (session) return session;
    const tls = trust && {
      rejectUnauthorized: trust.verify,
      ...(trust.serverName !== "" && { serverName: trust.serverName }),
      ...(trust.ca !== undefined && { ca: trust.ca }),
    };
    session = new Bun.FetchSession({
      ...(tls && { tls }),
      keepAlive: { idleTimeout: this.options.keepaliveSeconds() },
    });
    this.#sessions.set(key, session);
    return session;
  }
}

/** @throws the Failure of a body that is cut */
function collect(body: Body): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  return new Promise((resolve, reject) => {
    body.start({
      write: (chunk) => (chunks.push(chunk), true),
      end: () => resolve(new Uint8Array(Buffer.concat(chunks))),
      fail: reject,
    });
  });
}

const plainSession = "plain";

/** Waits, bounded, for the first verdict about what a member speaks (B18). */
export async function settleWire(member: Member): Promise<void> {
  const { endpoint } = member;
  if (member.protocol !== "auto" || endpoint.wire !== undefined || !endpoint.detecting) return;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, detectWaitMs)));
  await Promise.race([endpoint.detecting, enough]);
  clearTimeout(timer);
}

/** One fetch call: its abort signal, its timers, and what a rejection means. */
class Call {
  readonly #abort = new AbortController();
  readonly signal = this.#abort.signal;
  #failure: Failure | undefined;
  #firstByte: ReturnType<typeof setTimeout> | undefined;
  #uploadSilence: SilenceTimer | undefined;
  #answered = false;

  constructor(readonly attempt: Attempt) {
    attempt.exchange.onClientGone(() => this.fail(new Failure("client_gone", "the client left")));
  }

  /** Ends the call; the first reason is the one that counts. */
  fail(failure: Failure): void {
    if (this.#failure) return;
    this.#failure = failure;
    this.#abort.abort(failure);
  }

  /** The body for fetch; the wait for the answer's first byte begins when it was sent. */
  upload(body: NonNullable<Attempt["body"]>): ReadableStream<Uint8Array<ArrayBuffer>> {
    const { idleMs } = this.attempt.route.timeouts;
    const { name } = this.attempt.member.endpoint;
    this.#uploadSilence = new SilenceTimer(idleMs, () =>
      this.fail(new Failure("first_byte_timeout", `${name} took nothing of the request body for ${idleMs / 1000} s`)),
    );
    const over = () => this.#uploadSilence?.stop();
    return streamOf(body, {
      // Asked for more, it is the client that is silent; its own timer tells.
      wanted: () => this.#uploadSilence!.hold(),
      sent: () => this.#uploadSilence!.release(),
      ended: () => {
        over();
        this.#awaitFirstByte();
      },
      failed: (failure) => {
        over();
        this.fail(failure);
      },
      cancelled: over,
    });
  }

  /** @param uploading the body is still on its way: the wait begins at its end */
  async head(send: () => Promise<Response>, uploading: boolean): Promise<Response> {
    if (!uploading) this.#awaitFirstByte();
    try {
      return await send();
    } catch (error) {
      throw this.#failure ?? failureOf(error, this.attempt.member.endpoint.name);
    } finally {
      clearTimeout(this.#firstByte);
      this.#firstByte = undefined;
      this.#answered = true;
    }
  }

  #awaitFirstByte(): void {
    const { firstByteMs } = this.attempt.route.timeouts;
    if (firstByteMs === 0 || this.#answered) return;
    this.#firstByte = setTimeout(
      () =>
        this.fail(
          new Failure(
            "first_byte_timeout",
            `${this.attempt.member.endpoint.name} did not answer within ${firstByteMs / 1000} s`,
          ),
        ),
      firstByteMs,
    );
  }
}

const refusals: Record<string, FailureCode> = {
  // Our own shortage: nothing was sent, and no member is to blame.
  EMFILE: "upstream_busy",
  ENFILE: "upstream_busy",
  ECONNREFUSED: "connect_refused",
  ConnectionRefused: "connect_refused",
  ENOENT: "connect_refused",
  EACCES: "connect_refused",
  EHOSTUNREACH: "connect_refused",
  ENETUNREACH: "connect_refused",
  FailedToOpenSocket: "connect_refused",
  ENOTFOUND: "name_not_found",
  EAI_AGAIN: "name_not_found",
  ETIMEDOUT: "connect_timeout",
  ConnectionTimeout: "connect_timeout",
  ECONNRESET: "early_reset",
  ConnectionClosed: "early_reset",
  EPIPE: "early_reset",
};

const certificateFaults =
  /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH|INVALID_CA|UNKNOWN_CERTIFICATE)/;

/** What an error of fetch means. */
export function failureOf(error: unknown, server: string): Failure {
  if (error instanceof Failure) return error;
  const code = String((error as { code?: unknown })?.code ?? "");
  const kind = refusals[code] ?? (certificateFaults.test(code) ? "tls_failed" : "bad_answer");
  return new Failure(kind, `${server}: ${describe(error)}`);
}

/** Answers without a body of their own, whatever their fields say (RFC 9112 6.3). */
function bodyless(method: string, status: number): boolean {
  return method === "HEAD" || status === 204 || status === 304 || status < 200;
}

class FetchAnswer implements Answer {
  readonly status: number;
  readonly reason: string;
  readonly body: StreamBody | undefined;

  constructor(
    readonly response: Response,
    { exchange, route, member }: Attempt,
    call: Call,
  ) {
    this.status = response.status;
    this.reason = response.statusText;
    const { endpoint } = member;
    if (!response.body || bodyless(exchange.method, response.status)) {
      response.body?.cancel().catch(() => {});
      this.body = undefined;
      return;
    }
    const streaming = this.field("content-type")?.toLowerCase().startsWith("text/event-stream") ?? false;
    endpoint.inFlight++;
    this.body = new StreamBody(response.body, {
      length: contentLength(this.field("content-length")),
      silenceMs: streaming ? route.timeouts.streamMs : route.timeouts.idleMs,
      onSilence: "body_timeout",
      onCut: "body_cut",
      source: `the answer of ${endpoint.name}`,
      onDone: (complete) => {
        endpoint.inFlight--;
        if (!complete) call.fail(new Failure("client_gone", "the answer is not wanted"));
      },
    });
  }

  field(name: string): string | undefined {
    return this.response.headers.get(name) ?? undefined;
  }

  eachField(visit: FieldVisitor): void {
    this.response.headers.forEach((value, name) => visit(name, value));
  }
}

/** -1 when absent or not a plain number. */
export function contentLength(value: string | undefined): number {
  return value !== undefined && /^[0-9]{1,15}$/.test(value) ? Number(value) : -1;
}
