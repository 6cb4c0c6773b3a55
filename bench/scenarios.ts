/** The scenarios, as data: one entry is one load. A new one is measured for every contender without further code. */
import { host, prefix } from "./site.ts";

export interface Scenario {
  readonly doc: string;
  /** below the measured prefix: `/small`, `/10k`, `/1m`, or `/took`, which reads a request's body before it answers (see origin.ts) */
  readonly target: string;
  readonly connections: number;
  /** default GET */
  readonly method?: string;
  /** header lines beside Host */
  readonly headers?: Readonly<Record<string, string>>;
  /** bytes of the request body; default none */
  readonly bodyBytes?: number;
  /** contenders that only this scenario adds to the default ones */
  readonly also?: readonly string[];
}

/** With Host 12 lines, about what a browser sends. */
const browserHeaders = {
  "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  Accept: "application/json, text/plain, */*",
  "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
  "Accept-Encoding": "gzip, deflate, br, zstd",
  "Cache-Control": "no-cache",
  Cookie: "session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes",
  Referer: `http://${host}${prefix}/list?page=2&order=name`,
  "Sec-Fetch-Dest": "empty",
  "Sec-Fetch-Mode": "cors",
  "Sec-Fetch-Site": "same-origin",
  Priority: "u=1, i",
};

export const scenarios: Readonly<Record<string, Scenario>> = {
  small: { doc: "small JSON, 1 header line, 50 connections", target: "/small", connections: 50 },
  headers: {
    doc: "small JSON, 12 header lines, 50 connections",
    target: "/small",
    connections: 50,
    headers: browserHeaders,
  },
  "10k": { doc: "10 KiB, 50 connections", target: "/10k", connections: 50 },
  "1m": { doc: "1 MiB, 50 connections", target: "/1m", connections: 50, also: ["nginx-large"] },
  upload: {
    doc: "POST of 10 KiB, small JSON back, 50 connections",
    target: "/took",
    connections: 50,
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    bodyBytes: 10 * 1024,
  },
  many: { doc: "small JSON, 300 connections", target: "/small", connections: 300 },
  close: {
    doc: "small JSON, a new connection for each request, 50 at a time",
    target: "/small",
    connections: 50,
    headers: { Connection: "close" },
  },
};
