/** What every contender is configured to do: the same hosts, prefixes and headers, so that all do the same work. */

export const hosts: readonly string[] = Array.from({ length: 50 }, (_, i) => `host-${i}.bench.test`);

/** Longest prefix wins; the root stands for what no other prefix answers. */
export const prefixes: readonly string[] = ["/", ...Array.from({ length: 8 }, (_, i) => `/service-${i}/v1`)];

/** Where the load goes: neither the first host nor the first prefix. */
export const host = hosts[24]!;
export const prefix = prefixes[5]!;

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

/** What the origin answers at `…/small`. */
export const smallBody = '{"id":42,"name":"a small answer","ready":true,"tags":["one","two","three"]}';

/** Bytes of the origin's files, by the last part of the target. */
export const files: Readonly<Record<string, number>> = { "10k": 10 * 1024, "1m": 1024 * 1024 };

/**
 * Asks a contender, before anything is measured, whether it does its work: the right body, the lines of both ways, and
 * what every proxy here tells the origin about the client.
 * @throws Error naming the first difference
 */
export async function checkWork(url: string, contender: string): Promise<void> {
  const ask = (target: string) =>
    fetch(`${url}${prefix}${target}`, {
      headers: { Host: host },
      proxy: false,
      keepalive: false,
    } as BunFetchRequestInit);
  const differs = (what: string, found: unknown, wanted: string) =>
    new Error(`${contender} does not do the work it is measured at: ${what} is "${found}", expected "${wanted}"`);

  const small = await ask("/small");
  const text = await small.text();
  if (text !== smallBody) throw differs(`the answer (status ${small.status})`, text, smallBody);
  for (const [name, value] of responseLines) {
    if (small.headers.get(name) !== value) throw differs(`the answer's ${name}`, small.headers.get(name), value);
  }
  const seen = (await (await ask("/seen")).json()) as Record<string, string>;
  const expected: Record<string, string> = {
    ...Object.fromEntries(requestLines),
    Host: host,
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": host,
    "X-Forwarded-Port": new URL(url).port,
    "X-Real-IP": "127.0.0.1",
  };
  for (const [name, value] of Object.entries(expected)) {
    if (seen[name] !== value) throw differs(`${name} at the origin`, seen[name], value);
  }
  if (!seen["X-Request-Id"]) throw differs("X-Request-Id at the origin", seen["X-Request-Id"], "an id");
  for (const [name, bytes] of Object.entries(files)) {
    const { byteLength } = await (await ask(`/${name}`)).arrayBuffer();
    if (byteLength !== bytes) throw differs(`the length of ${name}`, byteLength, String(bytes));
  }
}

/** Fields that the origin shows at `…/seen`. */
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
