/** The scenarios, as data: one entry is one load. A new one is measured for every contender without further code. */
import { host, prefix } from "./site.ts";

/** One of the loads side by side in a user's benchmark. */
export interface UserPart {
  readonly connections: number;
  /** HTTP/2 over TLS, one request at a time on each connection; without it HTTP/1.1 in clear */
  readonly http2?: boolean;
  /** all nine URLs in turn; without it `/` */
  readonly all?: boolean;
}

export interface Scenario {
  readonly doc: string;
  /** below the measured prefix: `/small`, `/10k`, …, or `/took`, which reads a request's body before it answers (see origin.ts) */
  readonly target: string;
  readonly connections: number;
  /** default GET */
  readonly method?: string;
  /** header lines beside Host */
  readonly headers?: Readonly<Record<string, string>>;
  /** bytes of the request body; default none */
  readonly bodyBytes?: number;
  /**
   * what makes the load: default `wrk`, keep-alive as fast as it goes; `connect` opens a connection for each request;
   * `h2load` with TLS
   */
  readonly tool?: "wrk" | "connect" | "websocket" | "h2load";
  /** the contenders listen with TLS; h2load only */
  readonly tls?: boolean;
  /** HTTP/2 with at most so many requests at a time on each connection; without it HTTP/1.1. h2load only */
  readonly streams?: number;
  /** h2load: a connection for each request, with whole handshakes at a fixed rate, or resumed ones as fast as it goes */
  readonly connects?: "full" | "resumed";
  /** the origin that speaks HTTP/2 without TLS; default the usual one, in HTTP/1.1 */
  readonly upstream?: "h2c";
  /** unary calls of gRPC; `target`, `method` and `bodyBytes` are not used */
  readonly grpc?: boolean;
  /** host, target and header lines differ from request to request; `headers` is not used */
  readonly varied?: boolean;
  /** WebSocket: payload of a message */
  readonly messageBytes?: number;
  /** latency is also measured at a fixed rate */
  readonly paced?: boolean;
  /** contenders beside the usual ones */
  readonly also?: readonly string[];
  /** contenders instead of the usual ones */
  readonly only?: readonly string[];
  /** a benchmark as a user would run it, on a site and with contenders of its own (user/) */
  readonly user?: {
    readonly parts: readonly UserPart[];
    /** requests/s against nginx's, as the original's README shows them */
    readonly claim?: number;
  };
  /** contender that ratios are to; default nginx */
  readonly reference?: string;
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

const small = { target: "/small", connections: 50 };
const post = { target: "/took", method: "POST", headers: { "Content-Type": "application/octet-stream" } };
const large = { also: ["nginx-large"] };
const tls = { ...small, tool: "h2load", tls: true, also: ["aralez-bun"] } as const;

/** The original's own benchmarks; target and connections are for the reader here. */
function user(doc: string, parts: readonly UserPart[], claim?: number): Scenario {
  const connections = parts.reduce((sum, part) => sum + part.connections, 0);
  return { doc, target: "/", connections, user: { parts, ...(claim !== undefined && { claim }) } };
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  small: { ...small, doc: "small JSON, 1 header line, 50 connections", paced: true },
  headers: { ...small, doc: "small JSON, 12 header lines, 50 connections", headers: browserHeaders, paced: true },
  varied: { ...small, doc: "small JSON, another host, path and header lines each time, 50 connections", varied: true },
  "1k": { doc: "1 KiB, 50 connections", target: "/1k", connections: 50 },
  "10k": { doc: "10 KiB, 50 connections", target: "/10k", connections: 50, paced: true },
  "100k": { doc: "100 KiB, 50 connections", target: "/100k", connections: 50, ...large },
  "1m": { doc: "1 MiB, 50 connections", target: "/1m", connections: 50, ...large },
  upload: { ...post, doc: "POST of 10 KiB, small JSON back, 50 connections", connections: 50, bodyBytes: 10 * 1024 },
  "upload-1m": {
    ...post,
    ...large,
    doc: "POST of 1 MiB, small JSON back, 50 connections",
    connections: 50,
    bodyBytes: 1024 * 1024,
  },
  many: { ...small, ...large, doc: "small JSON, 300 connections", connections: 300 },
  "many-1000": { ...small, ...large, doc: "small JSON, 1,000 connections", connections: 1_000 },
  "many-5000": { ...small, ...large, doc: "small JSON, 5,000 connections", connections: 5_000 },
  close: {
    ...small,
    doc: "small JSON, a new connection from one of 16 addresses for each request, 50 at a time",
    tool: "connect",
  },
  "ws-64": {
    doc: "WebSocket, messages of 64 bytes there and back, 50 connections",
    target: "/echo",
    connections: 50,
    tool: "websocket",
    messageBytes: 64,
  },
  "ws-16k": {
    doc: "WebSocket, messages of 16 KiB there and back, 50 connections",
    target: "/echo",
    connections: 50,
    tool: "websocket",
    messageBytes: 16 * 1024,
    ...large,
  },
  tls: { ...tls, doc: "TLS, HTTP/1.1: small JSON, 50 connections", paced: true },
  "tls-close": {
    ...tls,
    doc: "TLS, HTTP/1.1: a new connection with a whole handshake for each request, 500 a second",
    connects: "full",
  },
  "tls-resume": {
    ...tls,
    doc: "TLS, HTTP/1.1: a new connection with a resumed session for each request, 50 at a time",
    connects: "resumed",
  },
  "h2-1": { ...tls, doc: "HTTP/2: small JSON, 50 connections of one request at a time", streams: 1, paced: true },
  "h2-10": {
    ...tls,
    doc: "HTTP/2: small JSON, 10 connections × 10 streams",
    connections: 10,
    streams: 10,
    paced: true,
  },
  "h2-32": { ...tls, doc: "HTTP/2: small JSON, 4 connections × 32 streams", connections: 4, streams: 32 },
  "h2-h2c": {
    ...tls,
    doc: "HTTP/2 to an upstream in HTTP/2: small JSON, 10 connections × 10 streams",
    connections: 10,
    streams: 10,
    upstream: "h2c",
  },
  "h2-100k": {
    ...tls,
    doc: "HTTP/2: 100 KiB, 10 connections × 10 streams",
    target: "/100k",
    connections: 10,
    streams: 10,
    also: ["aralez-bun", "nginx-large"],
  },
  grpc: {
    ...tls,
    doc: "gRPC to an upstream without TLS: unary calls of 64 bytes each way, 4 connections × 10 streams",
    connections: 4,
    streams: 10,
    upstream: "h2c",
    grpc: true,
    paced: true,
    // Bun.serve sends no trailers.
    also: [],
  },
  "user-urls": user("nine URLs of up to seven levels, HTTP/1.1, 300 connections", [{ connections: 300, all: true }]),
  "user-http1": user("small JSON of three servers, HTTP/1.1, 800 connections", [{ connections: 800 }], 1.43),
  "user-h2": user(
    "small JSON of three servers, HTTP/2 over TLS, 800 connections",
    [{ connections: 800, http2: true }],
    1.11,
  ),
  "user-mixed": user(
    "small JSON of three servers, 400 connections in HTTP/1.1 and 400 in HTTP/2 over TLS",
    [{ connections: 400 }, { connections: 400, http2: true }],
    1.24,
  ),
  features: {
    ...small,
    doc: "small JSON, 15 header lines, 50 connections: each optional feature on",
    headers: { ...browserHeaders, "X-Forwarded-For": "203.0.113.7" },
    only: [
      "aralez-none",
      "aralez-health",
      "aralez-retries",
      "aralez-ejection",
      "aralez-log",
      "aralez-json",
      "aralez-trusted",
      "aralez-sticky",
      "aralez-cookie",
      "aralez-strip",
      "aralez-ip",
      "aralez-concurrent",
      "aralez-rate",
      "aralez-4xx",
      "aralez-basic",
      "aralez-apikey",
      "aralez-jwt",
      "aralez-forward",
      "aralez-all",
    ],
    reference: "aralez-none",
  },
};
