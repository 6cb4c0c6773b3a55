/** Asks an endpoint what it speaks: TLS, plain HTTP/1.1 or plain HTTP/2. */
import { showAddress, type DialAddress } from "../../lib/address.ts";
import { describe } from "../../lib/cause.ts";
import { detectStaggerMs } from "../../lib/limits.ts";
import type { Resolver } from "../../lib/resolve.ts";
import type { Wire } from "../../data/upstream/endpoint.ts";
import { agreedProtocol, DialError, errand, type Errand } from "./errand.ts";
import { askHttp1, NotHttpError } from "./http1.ts";
import { greetsHttp2, isSettings } from "./http2.ts";

export interface DetectOptions {
  /** SNI and Host of the questions */
  readonly serverName: string;
  /** for everything together */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly resolver?: Resolver;
}

/** What the questions have shown so far; undefined = undecided. */
export interface Seen {
  /**
   * - `https` TLS that takes HTTP/1.1, `h2` TLS that takes HTTP/2 only, `secure` TLS, which of the two is not known yet
   * - `alert` it refused the handshake as a TLS server does
   */
  tls?: "https" | "h2" | "secure" | "alert" | "no";
  /** `doubtful`: 400 or a redirect, as TLS servers answer plain HTTP; `h2c`: it answered in HTTP/2 frames */
  http?: "yes" | "doubtful" | "h2c" | "no";
  h2c?: "yes" | "no";
  /** why plain HTTP/1.1 failed */
  cause?: string;
}

/**
 * TLS is asked first; plain HTTP/1.1, then HTTP/2 by prior knowledge join when the question before has failed or is
 * slow, because many a plain server waits for ever on a ClientHello. A server that speaks both h2 and HTTP/1.1 over TLS
 * is `https`, one that speaks both plainly is `http`. Certificates are not verified here: the question is only which
 * protocol. All connections are closed in the end.
 * @throws Error whose message is a short cause: "connection refused", "name not found", "timed out after 2 s"
 */
export function detect(address: DialAddress, options: DetectOptions): Promise<Wire> {
  const seen: Seen = {};
  return errand({ ...options, late: () => verdict(seen, true) }, async (errand) => {
    const answer = Promise.withResolvers<Wire>();
    const settle = () => {
      const wire = verdict(seen, false);
      if (wire) answer.resolve(wire);
      else if (seen.tls && seen.http && seen.h2c) answer.reject(new Error(seen.cause ?? "speaks neither HTTP nor TLS"));
    };
    const host = options.serverName === "" ? showAddress(address) : options.serverName;
    const staggerMs = Math.min(detectStaggerMs, options.timeoutMs / 4);
    const tls = askTls(errand, address, options.serverName, seen).then(settle);
    // Without any connection the errand is over: by the race below, or later by the answer.
    tls.catch(answer.reject);
    answer.promise.catch(() => {});
    await Promise.race([tls, errand.sleep(staggerMs)]);
    if (verdict(seen, false)) return answer.promise;
    await Promise.race([askPlain(errand, address, host, seen).then(settle), errand.sleep(staggerMs)]);
    if (verdict(seen, false) || seen.http === "doubtful") return answer.promise;
    await askPreface(errand, address, seen);
    settle();
    return answer.promise;
  });
}

/** What to conclude. @param final nothing more will be learned. Pure. */
export function verdict({ tls, http, h2c }: Seen, final: boolean): Wire | undefined {
  if (tls === "https" || tls === "h2") return tls;
  // It offered h2 and then hung when offered HTTP/1.1 alone.
  if (tls === "secure") return final ? "h2" : undefined;
  if (http === "yes") return "http";
  if (http === "h2c") return "h2c";
  if (!final && (tls === undefined || http === undefined)) return undefined;
  if (http === "doubtful") return tls === "alert" ? "https" : "http";
  if (h2c === "yes") return "h2c";
  if (!final && h2c === undefined) return undefined;
  return tls === "alert" ? "https" : undefined;
}

/** @throws DialError when there is no connection at all: then the other questions need not be asked */
async function askTls(errand: Errand, address: DialAddress, serverName: string, seen: Seen): Promise<void> {
  const terms = { serverName, verify: false };
  try {
    const both = await errand.connect(address, { ...terms, alpn: ["h2", "http/1.1"] });
    if (agreedProtocol(both) !== "h2") return void (seen.tls = "https");
    both.destroy();
  } catch (error) {
    if (!(error instanceof DialError) || !error.reached) throw error;
    return void (seen.tls = error.errorCode.includes("_ALERT_") ? "alert" : "no");
  }
  seen.tls = "secure";
  try {
    const old = await errand.connect(address, { ...terms, alpn: ["http/1.1"] });
    if (agreedProtocol(old) === "http/1.1") return void (seen.tls = "https");
    // Some servers finish such a handshake without a protocol: Go's for HTTP/1.1 after all, Node's h2-only server to
    // answer "HTTP/1.0 403".
    const host = serverName === "" ? showAddress(address) : serverName;
    const { version } = await askHttp1(errand, old, { method: "HEAD", path: "/", host });
    seen.tls = version === "1.1" ? "https" : "h2";
  } catch {
    seen.tls = "h2";
  }
}

async function askPlain(errand: Errand, address: DialAddress, host: string, seen: Seen): Promise<void> {
  try {
    const socket = await errand.connect(address);
    const { status } = await askHttp1(errand, socket, { method: "HEAD", path: "/", host });
    seen.http = status === 400 || (status >= 300 && status < 400) ? "doubtful" : "yes";
  } catch (error) {
    seen.http = error instanceof NotHttpError && isSettings(error.first) ? "h2c" : "no";
    if (!(error instanceof NotHttpError)) seen.cause = describe(error);
  }
}

async function askPreface(errand: Errand, address: DialAddress, seen: Seen): Promise<void> {
  try {
    seen.h2c = (await greetsHttp2(await errand.connect(address))) ? "yes" : "no";
  } catch {
    seen.h2c = "no";
  }
}
