/** Contender: a proxy that can be measured, as a command and the files it reads. */

import type { CertificateFiles } from "../certificate.ts";

/** Where a contender stands: everything a configuration needs to name. */
export interface Place {
  /** a temp folder of its own, removed afterwards */
  readonly folder: string;
  /** it listens on 127.0.0.1 and this port */
  readonly port: number;
  /** the origin, on 127.0.0.1 */
  readonly originPort: number;
  /** the echo server of the WebSocket scenarios, on 127.0.0.1; runs only in those */
  readonly echoPort: number;
  /** its port speaks TLS, HTTP/1.1 and HTTP/2; without it HTTP/1.1 in clear */
  readonly tls?: TlsPlace;
  /** checkout of Aralez to run; the one this file belongs to by default */
  readonly tree: string;
  /** another checkout to compare with, or undefined */
  readonly baseline: string | undefined;
}

export interface TlsPlace extends CertificateFiles {
  /** the origin that speaks HTTP/2 without TLS, on 127.0.0.1; runs only in scenarios that need it */
  readonly h2cPort: number;
  /** for a contender that always has a plain port too */
  readonly plainPort: number;
}

export interface Plan {
  /** absolute path or a name in PATH, then arguments; it stays in the foreground and ends on SIGTERM */
  readonly command: readonly string[];
  /** file name in the folder → content */
  readonly files: Readonly<Record<string, string>>;
  /** default: its folder */
  readonly cwd?: string;
}

/** A program in PATH, and where it comes from. */
export interface Program {
  readonly name: string;
  readonly from: string;
}

export interface Contender {
  readonly doc: string;
  /** the program it needs; none for Aralez */
  readonly program?: Program;
  /** header lines that its clients send beside the scenario's: they prove who the client is */
  readonly clientLines?: Readonly<Record<string, string>>;
  /** its clients keep the cookie that it sets: they send it from their second request on */
  readonly keepsCookie?: boolean;
  /** @throws Error when it cannot be run here */
  plan(place: Place): Plan;
}
