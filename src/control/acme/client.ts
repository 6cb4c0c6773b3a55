/** AcmeClient: speaks RFC 8555 with one ACME server: directory, nonces, signed requests. Knows no orders. */
import { boundedText } from "../../lib/bounded-text.ts";
import { describe } from "../../lib/cause.ts";
import {
  acmeAnswerBytesMax,
  acmeDirectoryMs,
  acmeNoncesMax,
  acmeNonceTriesMax,
  acmeRequestWaitMs,
  acmeRetryAfterMsMax,
} from "../../lib/limits.ts";
import { AcmeError, problemOf } from "./acme-error.ts";
import { sign, type AccountKey, type Identity } from "./jws.ts";

/** RFC 8555 7.1.1. */
export interface Directory {
  readonly newNonce: string;
  readonly newAccount: string;
  readonly newOrder: string;
  /** RFC 9773; absent where it is not offered */
  readonly renewalInfo?: string;
  readonly meta: { readonly termsOfService?: string; readonly externalAccountRequired?: boolean };
}

export interface AcmeAnswer {
  readonly status: number;
  readonly location: string;
  readonly retryAfterMs: number | undefined;
  readonly text: string;
  /** the text as a JSON map; {} where it is none */
  readonly body: Readonly<Record<string, unknown>>;
}

export interface AcmeClientOptions {
  readonly url: string;
  /** PEM of the authorities to trust instead of the system's */
  readonly ca: string | undefined;
  /** ends everything under way */
  readonly signal: AbortSignal;
}

export class AcmeClient {
  readonly #nonces: string[] = [];
  #directory: Promise<Directory> | undefined;
  #directoryMs = 0;

  constructor(readonly options: AcmeClientOptions) {}

  /** Asked for once a day, and again after a failure: its addresses may change. @throws AcmeError */
  directory(): Promise<Directory> {
    if (performance.now() - this.#directoryMs > acmeDirectoryMs) this.#directory = undefined;
    if (!this.#directory) this.#directoryMs = performance.now();
    this.#directory ??= this.#fetchDirectory().catch((error: unknown) => {
      this.#directory = undefined;
      throw error;
    });
    return this.#directory;
  }

  /** An unsigned GET. @throws AcmeError, for every status that is no success too */
  async get(what: string, url: string): Promise<AcmeAnswer> {
    const answer = await this.#send(what, url, { method: "GET" });
    if (answer.status !== 200) throw problemOf(what, answer.status, answer.body, answer.retryAfterMs);
    return answer;
  }

  /**
   * A signed POST.
   * @param what for the error: "Cannot create the account"
   * @param payload undefined for POST-as-GET
   * @throws AcmeError, for every status that is no success too
   */
  async post(what: string, url: string, key: AccountKey, identity: Identity, payload?: unknown): Promise<AcmeAnswer> {
    for (let tries = 1; ; tries++) {
      const body = await sign(key, identity, { nonce: await this.#nonce(), url }, payload);
      const answer = await this.#send(what, url, {
        method: "POST",
        headers: { "Content-Type": "application/jose+json" },
        body,
      });
      if (answer.status < 300) return answer;
      const problem = problemOf(what, answer.status, answer.body, answer.retryAfterMs);
      if (problem.type !== "badNonce" || tries >= acmeNonceTriesMax) throw problem;
      // Only the nonce that came with the refusal is sure to be new.
      this.#nonces.splice(0, this.#nonces.length - 1);
    }
  }

  async #fetchDirectory(): Promise<Directory> {
    const { url } = this.options;
    const what = `Cannot read the ACME directory ${url}`;
    const { body } = await this.get(what, url);
    const { newNonce, newAccount, newOrder, renewalInfo, meta } = body;
    if (![newNonce, newAccount, newOrder].every(isSecureUrl))
      throw new AcmeError(`${what}: expected https URLs for newNonce, newAccount and newOrder`);
    return {
      newNonce: newNonce as string,
      newAccount: newAccount as string,
      newOrder: newOrder as string,
      ...(isSecureUrl(renewalInfo) && { renewalInfo: renewalInfo as string }),
      meta: (typeof meta === "object" && meta !== null ? meta : {}) as Directory["meta"],
    };
  }

  async #nonce(): Promise<string> {
    const kept = this.#nonces.pop();
    if (kept !== undefined) return kept;
    const { newNonce } = await this.directory();
    const what = "Cannot get a nonce";
    const { status, body, retryAfterMs } = await this.#send(what, newNonce, { method: "HEAD" });
    const nonce = this.#nonces.pop();
    if (nonce === undefined) throw problemOf(what, status, body, retryAfterMs);
    return nonce;
  }

  async #send(what: string, url: string, init: RequestInit): Promise<AcmeAnswer> {
    if (!isSecureUrl(url)) throw new AcmeError(`${what}: expected an https URL, found "${url}"`);
    const { ca, signal } = this.options;
    try {
      const response = await fetch(url, {
        ...init,
        headers: {
          "User-Agent": `aralez-on-bun (Bun/${Bun.version})`,
          "Accept-Encoding": "identity",
          ...(init.headers as Record<string, string>),
        },
        // Compressed, a few kilobytes can be gigabytes.
        decompress: false,
        redirect: "manual",
        proxy: "",
        signal: AbortSignal.any([signal, AbortSignal.timeout(acmeRequestWaitMs)]),
        ...(ca !== undefined && { tls: { ca } }),
      } as BunFetchRequestInit);
      const nonce = response.headers.get("replay-nonce");
      if (nonce !== null && /^[A-Za-z0-9_-]+$/.test(nonce) && this.#nonces.length < acmeNoncesMax)
        this.#nonces.push(nonce);
      const text = await boundedText(response, acmeAnswerBytesMax, "its answer");
      return {
        status: response.status,
        location: response.headers.get("location") ?? "",
        retryAfterMs: readRetryAfter(response.headers.get("retry-after"), Date.now()),
        text,
        body: readBody(text),
      };
    } catch (error) {
      if (error instanceof AcmeError) throw error;
      const cause = signal.aborted ? "stopped" : describe(error);
      throw new AcmeError(`${what}: ${new URL(url).host}: ${cause}`, "unreachable");
    }
  }
}

export function isSecureUrl(value: unknown): boolean {
  return typeof value === "string" && URL.parse(value)?.protocol === "https:";
}

/** RFC 9110 10.2.3: seconds or a date. @returns milliseconds from now */
export function readRetryAfter(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), acmeRetryAfterMsMax);
}

function readBody(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
