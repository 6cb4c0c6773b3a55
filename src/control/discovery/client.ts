/**
 * Client: asks a source of routes over HTTP/1.1, verified and bounded; an answer comes whole, or line by line as it is
 * written. On node:http: fetch allows 256 requests at once in a process, and held-back questions would take them all.
 */
import { Agent as PlainAgent, request as requestPlain, type ClientRequest, type IncomingMessage } from "node:http";
import { Agent as TlsAgent, request as requestTls } from "node:https";
import { describe } from "../../lib/cause.ts";
import { Gathered, Lines } from "./lines.ts";
import * as limits from "../../lib/limits.ts";

/** Where and as whom to ask. */
export interface Terms {
  readonly base: URL;
  readonly fields: Readonly<Record<string, string>>;
  /** in one of the fields; never in an error, whatever is answered */
  readonly secret: string | undefined;
  /** PEM; undefined = the system's authorities */
  readonly ca: string | undefined;
  readonly verify: boolean;
}

export interface Question {
  readonly method?: "GET" | "PATCH";
  /** with its query */
  readonly target: string;
  readonly fields?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** until the head of the answer */
  readonly headMs: number;
  /** from the head to the end; 0 = no bound */
  readonly bodyMs: number;
  readonly signal: AbortSignal;
}

export interface Head {
  readonly status: number;
  /** @param name in lower case  @returns "" when there is none */
  field(name: string): string;
}

export interface Answer extends Head {
  readonly text: string;
}

/** The source answered, but not what was wanted. */
export class StatusError extends Error {
  constructor(
    readonly status: number,
    text: string,
  ) {
    super(`answered ${status}${text === "" ? "" : `: ${text}`}`);
  }
}

export class Client {
  readonly #plain = new PlainAgent({ keepAlive: true, maxFreeSockets: limits.discoveryIdleConnectionsMax });
  #tls: { readonly ca: string | undefined; readonly agent: TlsAgent } | undefined;
  /** bytes of answers that are not whole yet */
  #reading = 0;

  /** @throws Error with a short cause, or {@link StatusError} for any status but 200 */
  async ask(terms: Terms, question: Question): Promise<Answer> {
    try {
      const response = await this.#begin(terms, question);
      const text = await this.#textOf(response);
      return { ...accept(response, text), text };
    } catch (error) {
      throw withoutSecret(error, terms.secret);
    }
  }

  /**
   * Reads an answer of unknown length.
   * @param began called with the head, before the first line
   * @param line one line without its end; what it throws ends the answer
   * @returns when the source has ended the answer
   * @throws as {@link ask}
   */
  async follow(terms: Terms, question: Question, began: () => void, line: (text: string) => void): Promise<void> {
    try {
      const response = await this.#begin(terms, question);
      if (response.statusCode !== 200) return void accept(response, await this.#textOf(response));
      began();
      const lines = new Lines(line);
      await read(response, (chunk) => lines.add(chunk));
    } catch (error) {
      throw withoutSecret(error, terms.secret);
    }
  }

  /** The whole body. All that are read at once share a bound: a hundred questions may be answered at the same time. */
  async #textOf(response: IncomingMessage): Promise<string> {
    const gathered = new Gathered();
    let bytes = 0;
    try {
      await read(response, (chunk) => {
        bytes += chunk.length;
        this.#reading += chunk.length;
        if (bytes > limits.discoveryAnswerBytesMax)
          throw new Error(`its answer is longer than ${limits.discoveryAnswerBytesMax} bytes`);
        if (this.#reading > limits.discoveryReadingBytesMax)
          throw new Error(`its answers are longer than ${limits.discoveryReadingBytesMax} bytes together`);
        gathered.add(chunk, 0, chunk.length);
      });
      return gathered.take();
    } finally {
      this.#reading -= bytes;
    }
  }

  close(): void {
    this.#plain.destroy();
    this.#tls?.agent.destroy();
  }

  /**
   * A kept connection may have been closed at this very moment: that is no failure of the source, so it is asked anew,
   * once. All that is asked may be repeated: a merge patch says what is to be, not what is to change.
   */
  async #begin(terms: Terms, question: Question): Promise<IncomingMessage> {
    const first = this.#send(terms, question, true);
    try {
      return await first.answer;
    } catch (error) {
      if (!first.request.reusedSocket || question.signal.aborted) throw error;
      return this.#send(terms, question, false).answer;
    }
  }

  #send(terms: Terms, question: Question, reuse: boolean): Sent {
    const { base, ca, verify } = terms;
    const { method = "GET", target, body, signal } = question;
    const tls = base.protocol === "https:";
    const fields = {
      Accept: "application/json",
      "User-Agent": "aralez",
      ...terms.fields,
      ...question.fields,
      ...(body !== undefined && { "Content-Length": String(Buffer.byteLength(body)) }),
    };
    const options = {
      host: base.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: base.port || (tls ? 443 : 80),
      method,
      path: base.pathname.replace(/\/$/, "") + target,
      headers: fields,
      agent: reuse && (tls ? this.#agentFor(ca) : this.#plain),
    };
    const request = tls ? requestTls({ ...options, ca, rejectUnauthorized: verify }) : requestPlain(options);
    const answer = answerTo(request, question, tls);
    if (signal.aborted) request.destroy();
    request.end(body);
    return { request, answer };
  }

  /** Connections that another authority has vouched for are not used any more. */
  #agentFor(ca: string | undefined): TlsAgent {
    if (this.#tls && this.#tls.ca === ca) return this.#tls.agent;
    this.#tls?.agent.destroy();
    this.#tls = { ca, agent: new TlsAgent({ keepAlive: true, maxFreeSockets: limits.discoveryIdleConnectionsMax }) };
    return this.#tls.agent;
  }
}

interface Sent {
  readonly request: ClientRequest;
  readonly answer: Promise<IncomingMessage>;
}

/** Resolves with the head; the bounds of the question hold until the end of the body. */
function answerTo(request: ClientRequest, question: Question, tls: boolean): Promise<IncomingMessage> {
  const { signal, headMs, bodyMs } = question;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const late = (what: string, ms: number) =>
    setTimeout(() => request.destroy(new Error(`${what} within ${ms / 1000} s`)), ms);
  const timers = new Set([late("it did not answer", headMs)]);
  const stop = () => request.destroy(new Error("stopped"));
  signal.addEventListener("abort", stop, { once: true });
  request.once("socket", (socket) => {
    socket.setKeepAlive(true, limits.discoveryKeepaliveMs);
    if (!socket.connecting) return;
    const connecting = late("it could not be connected to", limits.discoveryConnectMs);
    timers.add(connecting);
    socket.once(tls ? "secureConnect" : "connect", () => clearTimeout(connecting));
  });
  request.once("response", (response) => {
    for (const timer of timers) clearTimeout(timer);
    if (bodyMs > 0) timers.add(late("it did not end its answer", bodyMs));
    resolve(response);
  });
  request.on("error", (error) => reject(new Error(describe(error))));
  request.once("close", () => {
    for (const timer of timers) clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    reject(new Error("closed the connection without answering"));
  });
  // Who waits may have gone by then.
  promise.catch(() => {});
  return promise;
}

/** Reads a body to its end. @throws Error when it is cut, or what `take` throws */
function read(response: IncomingMessage, take: (chunk: Buffer) => void): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  response.on("data", (chunk: Buffer) => {
    try {
      take(chunk);
    } catch (error) {
      reject(error);
      response.destroy();
    }
  });
  response.once("end", () => (response.complete ? resolve() : reject(new Error("its answer was cut"))));
  response.on("error", (error) => reject(new Error(`its answer was cut: ${describe(error)}`)));
  response.once("close", () => reject(new Error("its answer was cut")));
  return promise;
}

/** Shorter ones are parts of ordinary words. */
const secretCharsMin = 8;

/** What a server says of itself goes into the log and the status page: it may repeat what it was asked with. */
function withoutSecret(error: unknown, secret: string | undefined): unknown {
  if (secret === undefined || secret.length < secretCharsMin || !(error instanceof Error)) return error;
  error.message = error.message.replaceAll(secret, "…");
  return error;
}

function accept(response: IncomingMessage, text: string): Head {
  const { statusCode = 0, headers } = response;
  if (statusCode !== 200) throw new StatusError(statusCode, causeIn(text));
  return { status: statusCode, field: (name) => String(headers[name] ?? "") };
}

/** Kubernetes explains itself in JSON, Consul in a line of text. */
function causeIn(text: string): string {
  let told = text;
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string") told = message;
  } catch {}
  const line = told.replace(/[\x00-\x1f\x7f]+/g, " ").trim();
  const { discoveryErrorCharsMax } = limits;
  return line.length > discoveryErrorCharsMax ? `${line.slice(0, discoveryErrorCharsMax - 1)}…` : line;
}
