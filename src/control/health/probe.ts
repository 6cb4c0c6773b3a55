/** Asks an endpoint one health question, on a connection of its own. */
import type { DialAddress } from "../../lib/address.ts";
import type { Resolver } from "../../lib/resolve.ts";
import { describe } from "../../lib/cause.ts";
import type { Probe, Wire } from "../../data/upstream/endpoint.ts";
import { agreedProtocol, DialError, errand, type Errand } from "./errand.ts";
import { askHttp1 } from "./http1.ts";
import { askHttp2 } from "./http2.ts";
import { readAuthorities } from "./trust.ts";

export interface Verdict {
  readonly up: boolean;
  /** in a few words: "answered 503", "connection refused", "timed out after 5 s", "certificate: expired" */
  readonly cause: string;
  /** what it answered; undefined when there was no HTTP answer */
  readonly status?: number;
}

/** A gRPC server resets a stream it dislikes; that is its way of saying 405. */
const refusedStreamStatus = 405;

/**
 * One check within `probe.timeoutMs`. Redirects are answers, not followed. HTTP/1.1 over `http` and `https` (which falls
 * back to h2 when the server takes nothing else), HTTP/2 over `h2` and `h2c`. Certificates are verified only if the
 * probe says so. Never rejects.
 * @param wire how to speak to it; `probe.protocol` is not looked at
 */
export async function askHealth(
  address: DialAddress,
  probe: Probe,
  wire: Wire,
  options: { signal?: AbortSignal; resolver?: Resolver } = {},
): Promise<Verdict> {
  try {
    const spoiled = [probe.method, probe.path, probe.host].find((text) => /[\x00-\x20\x7f]/.test(text));
    if (spoiled !== undefined)
      throw new Error(`Cannot ask with "${spoiled.replace(/[\x00-\x1f\x7f]/g, "�")}": expected no blanks`);
    const status = await errand({ ...options, timeoutMs: probe.timeoutMs }, (errand) =>
      ask(errand, address, probe, wire),
    );
    const up = probe.expect.some(([from, to]) => status >= from && status <= to);
    return { up, cause: `answered ${status}`, status };
  } catch (error) {
    return { up: false, cause: describe(error) };
  }
}

async function ask(errand: Errand, address: DialAddress, probe: Probe, wire: Wire): Promise<number> {
  if (wire === "http") return (await askHttp1(errand, await errand.connect(address), probe)).status;
  if (wire === "h2c")
    return (await askHttp2(errand, await errand.connect(address), probe, false)) ?? refusedStreamStatus;
  const ca = probe.verify && probe.caFile !== undefined ? readAuthorities(probe.caFile) : undefined;
  const terms = { serverName: probe.serverName, verify: probe.verify, ca };
  if (wire === "https") {
    try {
      const socket = await errand.connect(address, { ...terms, alpn: ["http/1.1"] });
      return (await askHttp1(errand, socket, probe)).status;
    } catch (error) {
      if (!(error instanceof DialError) || !error.errorCode.endsWith("NO_APPLICATION_PROTOCOL")) throw error;
    }
  }
  const socket = await errand.connect(address, { ...terms, alpn: ["h2"] });
  if (agreedProtocol(socket) !== "h2") throw new Error("does not speak HTTP/2");
  return (await askHttp2(errand, socket, probe, true)) ?? refusedStreamStatus;
}
