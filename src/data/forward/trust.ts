/** How far upstream certificates are believed, as connections need it: a key to share them by, dial options, one warning. */
import type { DialAddress } from "../../lib/address.ts";
import type { Trust } from "../routing/table.ts";
import type { Endpoint } from "../upstream/endpoint.ts";
import type { UpstreamTls } from "../wire/dial.ts";

/** Connections are shared by what they were made with. */
export function trustKey(trust: Trust): string {
  return JSON.stringify([trust.verify, trust.ca ?? "", trust.serverName]);
}

/** Where the rules give no name, it is the host of the address, as for health checks and `fetch`. */
export function tlsOf({ serverName, verify, ca }: Trust, address: DialAddress): UpstreamTls {
  const host = "unix" in address ? "" : address.host;
  return { serverName: serverName || host, rejectUnauthorized: verify, ...(ca !== undefined && { ca }) };
}

/** Says once per endpoint that nobody looks at its certificate (B13). */
export function warnUnverified(endpoint: Endpoint, log: (level: "warn", target: string, text: string) => void): void {
  if (endpoint.warnedUnverified) return;
  endpoint.warnedUnverified = true;
  const cure = "set `verify: true` or `ca_file` to change that";
  log("warn", "upstream", `${endpoint.name}: its certificate is not verified; ${cure}`);
}
