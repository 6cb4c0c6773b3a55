/** Client policies: which client certificates a host asks for (`client_ca`, `client_auth`). */
import { createHash } from "node:crypto";
import { createSecureContext } from "node:tls";
import { findHost } from "../routing/match.ts";
import type { Table } from "../routing/table.ts";

export interface ClientPolicy {
  /** equal ids ask for the same; a connection of another policy may not carry a host's requests */
  readonly id: string;
  /** PEM text of the authorities */
  readonly ca: string;
  /** false: who shows no certificate passes too */
  readonly required: boolean;
}

/** @throws Error when the text holds no certificates */
export function clientPolicy(ca: string, required: boolean): ClientPolicy {
  createSecureContext({ ca });
  const id = createHash("sha256")
    .update(`${required ? "require" : "request"}\0${ca}`)
    .digest("base64url")
    .slice(0, 22);
  return { id, ca, required };
}

/** The policy of the host that a name leads to, or of the port. @param serverName lower case; "" without SNI */
export function policyFor(table: Table, serverName: string): ClientPolicy | undefined {
  const host = findHost(table, serverName);
  return host ? host.clientPolicy : table.clientPolicy;
}
