/** What every contender is configured to do: the same hosts, prefixes and headers, so that all do the same work. */

export const hosts: readonly string[] = Array.from({ length: 50 }, (_, i) => `host-${i}.bench.test`);

/** Longest prefix wins; the root stands for what no other prefix answers. */
export const prefixes: readonly string[] = ["/", ...Array.from({ length: 8 }, (_, i) => `/service-${i}/v1`)];

/** Where the load goes: neither the first host nor the first prefix. */
export const host = hosts[24]!;
export const prefix = prefixes[5]!;

/** One host more, all of whose paths lead to the echo server of the WebSocket scenarios. */
export const socketsHost = "sockets.bench.test";

/** One host more, all of whose paths lead to the origin that speaks HTTP/2 without TLS. */
export const h2cHost = "h2c.bench.test";

/** A call of gRPC: its path, and one message with its prefix of five bytes, which is also the answer's. */
export const grpcPath = "/bench.Echo/Unary";
const grpcPayload = "a message of 64 bytes, which stands for a small protocol buffer.";
export const grpcMessage: Buffer = Buffer.concat([
  Buffer.from([0, 0, 0, 0, grpcPayload.length]),
  Buffer.from(grpcPayload),
]);

/** Idle connections to the origin that each contender may keep. */
export const idleConnections = 512;

/** The same without an effective bound, for contenders that close the surplus at once. */
export const idleConnectionsLarge = 8192;

type Line = readonly [name: string, value: string];

/** Set on the way to the origin. */
export const requestLines: readonly Line[] = [
  ["X-Bench-Tenant", "tenant-42"],
  ["X-Bench-Stage", "production"],
];

/** Set on the way to the client. */
export const responseLines: readonly Line[] = [
  ["X-Content-Type-Options", "nosniff"],
  ["X-Bench-Served-By", "bench"],
];

/** What a client sends back of a Set-Cookie. @throws Error when there is none */
export function cookieOf(setCookie: string | undefined): string {
  const pair = setCookie?.split(";")[0];
  if (!pair?.includes("="))
    throw new Error(`Cannot keep the cookie: expected a Set-Cookie, found "${setCookie ?? ""}"`);
  return pair;
}

/** What the origin answers at `…/small`. */
export const smallBody = '{"id":42,"name":"a small answer","ready":true,"tags":["one","two","three"]}';

/** Bytes of the origin's files, by the last part of the target. */
export const files: Readonly<Record<string, number>> = {
  "1k": 1024,
  "10k": 10 * 1024,
  "100k": 100 * 1024,
  "1m": 1024 * 1024,
};

/** Fields that the origin shows at `…/seen`, and the echo server at any path. */
export const seenFields: readonly string[] = [
  ...requestLines.map(([name]) => name),
  "Host",
  "X-Forwarded-For",
  "X-Forwarded-Proto",
  "X-Forwarded-Host",
  "X-Forwarded-Port",
  "X-Real-IP",
  "X-Request-Id",
];
