/** Table: rules compiled, immutable, swapped by one pointer. Route: one host + path prefix with its guards and members. */
import type { FileTree } from "../forward/files.ts";
import type { Guard } from "../guards/guard.ts";
import type { HeaderEdits } from "../headers/edits.ts";
import type { RouteCounters } from "../observe/route-counters.ts";
import type { ClientPolicy } from "../tls/client-policy.ts";
import type { Pool } from "../upstream/pool.ts";

export interface Timeouts {
  /** all in milliseconds, 0 = none */
  readonly connectMs: number;
  readonly firstByteMs: number;
  readonly idleMs: number;
  readonly streamMs: number;
}

/** How far an upstream's certificate is believed. */
export interface Trust {
  readonly verify: boolean;
  readonly caFile: string | undefined;
  /** its text, read when the table was compiled; every reload reads it anew */
  readonly ca: string | undefined;
  /** SNI and name to verify */
  readonly serverName: string;
}

export interface Route {
  /** host pattern as matched: a name, `*.example.com` or DEFAULT */
  readonly host: string;
  /** path prefix as matched, without a final slash unless literal */
  readonly path: string;
  /** host + path, with "=" between them for an exact one: names the route in logs and status */
  readonly name: string;
  readonly guards: readonly Guard[];
  /** answers instead of a pool: a folder */
  readonly files: FileTree | undefined;
  /** undefined for routes without servers (redirects, files) */
  readonly pool: Pool | undefined;
  readonly requestEdits: HeaderEdits;
  readonly responseEdits: HeaderEdits;
  readonly stripPrefix: boolean;
  /** our token parameters are cut out of the query before it goes upstream */
  readonly cutsTokens: boolean;
  readonly timeouts: Timeouts;
  readonly retries: number;
  readonly retryBodyBytesMax: number;
  /** of a request body; 0 = no bound */
  readonly maxBodyBytes: number;
  /** Max-Age of the sticky cookie in seconds; 0 = off */
  readonly stickySeconds: number;
  readonly trust: Trust;
  /** kept by the request writer */
  said?: Buffer | undefined;
  /** put here when the table comes into force */
  counters?: RouteCounters;
  /** value of `Strict-Transport-Security` on TLS answers; undefined = none, or a header rule speaks of it */
  readonly hsts: string | undefined;
}

export interface HostTable {
  readonly name: string;
  readonly paths: ReadonlyMap<string, Route>;
  /** paths that answer for exactly themselves, before all others; undefined for most hosts */
  readonly exact: ReadonlyMap<string, Route> | undefined;
  /** which client certificates it asks for: its own, or the port's */
  readonly clientPolicy: ClientPolicy | undefined;
}

export interface Table {
  /** hash of the rules it was compiled from */
  readonly version: string;
  readonly hosts: ReadonlyMap<string, HostTable>;
  /** `*.example.com` by suffix `.example.com`, longest first */
  readonly wildcards: readonly { readonly suffix: string; readonly host: HostTable }[];
  readonly fallback: HostTable | undefined;
  /** of the TLS port, for names that lead to no host */
  readonly clientPolicy: ClientPolicy | undefined;
  readonly routes: readonly Route[];
  readonly unmatchedStatus: 404 | 421 | 502 | 503;
  /** per cent; 0 = no budget */
  readonly retryBudgetPercent: number;
}
