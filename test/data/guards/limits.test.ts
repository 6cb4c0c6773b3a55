/** Limits per client on real sockets: rate, 4xx, concurrency, body size, address lists (contract points 13 and 14). */
import { describe, expect, test } from "bun:test";
import net from "node:net";
import { echo, startOrigin, startRawOrigin, type Origin } from "../../support/origins.ts";
import { startPatientProxy, until } from "../../support/proxy.ts";
import { raw } from "../../support/raw.ts";
import { from, send, type Sent } from "../../support/send.ts";

/** All at once, so that they fall into one window. @returns the statuses, sorted */
async function burst(port: number, count: number, target: string, sent?: Sent): Promise<number[]> {
  const answers = await Promise.all(Array.from({ length: count }, () => send(port, target, sent)));
  return answers.map(({ status }) => status).sort();
}

const behindProxy = { trusted_proxies: ["127.0.0.1"] };

describe("rate_limit", () => {
  test("refuses the N+1-th request in a second from one address on one host, with 429 and when to come again [13] [B4]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(`
upstreams:
  a.test: { rate_limit: 3, paths: { "/": { servers: ["${up.address}"] } } }
`);
    expect(await burst(proxy.port, 3, "/")).toEqual([200, 200, 200]);
    const refused = await send(proxy.port, "/");
    expect(refused.status).toBe(429);
    expect(refused.body).toBe("429 Too Many Requests: too many requests, try again in a moment\n");
    expect(refused.fields).toContainEqual(["retry-after", "1"]);
    expect(refused.fields).toContainEqual(["ratelimit-limit", "3"]);
    expect(refused.fields).toContainEqual(["ratelimit-remaining", "0"]);
    expect(refused.fields).toContainEqual(["ratelimit-reset", "1"]);
    expect(refused.fields).toContainEqual(["ratelimit-policy", "3;w=1"]);
    expect(up.requests).toHaveLength(3);
    await until(async () => (await send(proxy.port, "/")).status === 200, "the window to end");
  });
  test("counts each host for itself; all of the original's hosts share one counter [13] [B4]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(`
rate_limit: 2
upstreams:
  a.test: { paths: { "/": { servers: ["${up.address}"] }, "/x": { servers: ["${up.address}"] } } }
  b.test: { paths: { "/": { servers: ["${up.address}"] } } }
`);
    expect(await burst(proxy.port, 2, "/")).toEqual([200, 200]);
    // A path without a value of its own is the host's.
    expect(await burst(proxy.port, 1, "/x")).toEqual([429]);
    expect(await burst(proxy.port, 2, "/", { host: "b.test" })).toEqual([200, 200]);
  });
  test("of a path overrides the host's, and counts for itself [13] [B19]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(`
rate_limit: 100
upstreams:
  a.test:
    rate_limit: 2
    paths:
      "/": { servers: ["${up.address}"] }
      "/wide": { rate_limit: 4, servers: ["${up.address}"] }
`);
    expect(await burst(proxy.port, 5, "/wide")).toEqual([200, 200, 200, 200, 429]);
    expect(await burst(proxy.port, 3, "/")).toEqual([200, 200, 429]);
  });
  test("gives a client no fresh count for another name of a catch-all host, another port or another case", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { DEFAULT: { rate_limit: 2, paths: { "/": { servers: ["${up.address}"] } } } }`,
    );
    const hosts = ["one.test", "two.test", "ONE.test:80"];
    const answers = await Promise.all(hosts.map((host) => send(proxy.port, "/", { host })));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 429]);
  });
  test("counts the client behind a trusted proxy, and an IPv6 client by its /64 [B4]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { rate_limit: 1, paths: { "/": { servers: ["${up.address}"] } } } }`,
      behindProxy,
    );
    const of = async (ip: string) => (await send(proxy.port, "/", { fields: [from(ip)] })).status;
    expect(await Promise.all([of("192.0.2.1"), of("192.0.2.2"), of("2001:db8:0:1::1")])).toEqual([200, 200, 200]);
    expect(await Promise.all([of("192.0.2.1"), of("192.0.2.2"), of("2001:db8:0:1:a:b:c:d")])).toEqual([429, 429, 429]);
    expect(await of("2001:db8:0:2::1")).toBe(200);
  });
  test("is not fooled by an X-Forwarded-For of somebody who is not trusted", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { rate_limit: 1, paths: { "/": { servers: ["${up.address}"] } } } }`,
    );
    const statuses = await Promise.all(
      ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(
        async (ip) => (await send(proxy.port, "/", { fields: [from(ip)] })).status,
      ),
    );
    expect(statuses.sort()).toEqual([200, 429, 429]);
  });
  test("comes before credentials are looked at, and keeps its counts over a reload [B1]", async () => {
    await using up = await startOrigin();
    const rules = (rate: number) => `
upstreams:
  a.test: { rate_limit: ${rate}, paths: { "/": { servers: ["${up.address}"], authorization: { type: basic, data: "u:p" } } } }
`;
    await using proxy = await startPatientProxy(rules(50));
    expect(await burst(proxy.port, 2, "/")).toEqual([401, 401]);
    await until(async () => {
      await burst(proxy.port, 3, "/");
      await proxy.apply(rules(3));
      const now = (await send(proxy.port, "/")).status;
      await proxy.apply(rules(50));
      return now === 429;
    }, "a reload within one window");
  });
});

describe("x4xx_limit", () => {
  const missing = (address: string, limit: number) => `
upstreams:
  a.test: { x4xx_limit: ${limit}, paths: { "/": { servers: ["${address}"] } } }
  b.test: { x4xx_limit: ${limit}, paths: { "/": { servers: ["${address}"] } } }
`;
  const answering = (
    request: { url?: string | undefined },
    response: { statusCode: number; end(): void },
    origin: Origin,
  ) => {
    origin.requests.push(undefined as never);
    response.statusCode = Number(/^\/(\d{3})/.exec(request.url ?? "")?.[1] ?? 200);
    response.end();
  };

  test("answers 429 after N answers of 4xx for the rest of the window, also for what is there [14]", async () => {
    await using up = await startOrigin(answering);
    await using proxy = await startPatientProxy(missing(up.address, 3));
    expect(await burst(proxy.port, 3, "/404")).toEqual([404, 404, 404]);
    const refused = await send(proxy.port, "/200");
    expect(refused.status).toBe(429);
    expect(refused.field("retry-after")).toBe("1");
    expect(refused.field("ratelimit-limit")).toBe("3");
    expect(up.requests).toHaveLength(3);
    expect((await send(proxy.port, "/404", { host: "b.test" })).status).toBe(404);
  });
  test("is not prolonged by its own 429s, as the original's is [14] [B4]", async () => {
    await using up = await startOrigin(answering);
    await using proxy = await startPatientProxy(missing(up.address, 1));
    expect(await burst(proxy.port, 1, "/404")).toEqual([404]);
    // On the original each of these would begin the wait anew.
    await until(async () => (await send(proxy.port, "/200")).status === 200, "the window to end while it is asked");
  });
  test("counts 4xx only, an upstream's own 429 among them", async () => {
    await using up = await startOrigin(answering);
    await using proxy = await startPatientProxy(missing(up.address, 2));
    expect(await burst(proxy.port, 5, "/200")).toEqual([200, 200, 200, 200, 200]);
    expect(await burst(proxy.port, 3, "/500")).toEqual([500, 500, 500]);
    expect(await burst(proxy.port, 2, "/429")).toEqual([429, 429]);
    expect(up.requests).toHaveLength(10);
    expect((await send(proxy.port, "/200")).status).toBe(429);
    expect(up.requests).toHaveLength(10);
  });
  test("counts refused credentials: trying out passwords ends at N a second [B1]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(`
upstreams:
  a.test:
    x4xx_limit: 3
    paths: { "/": { servers: ["${up.address}"], authorization: { type: basic, data: "ann:secret" } } }
`);
    const guess = (password: string) =>
      send(proxy.port, "/", { fields: [["Authorization", `Basic ${btoa(`ann:${password}`)}`]] });
    const guesses = await Promise.all(["a", "b", "c"].map(guess));
    expect(guesses.map(({ status }) => status)).toEqual([401, 401, 401]);
    // Even the right one must wait now; on the original it would be tried, and so would any number of others.
    expect((await guess("secret")).status).toBe(429);
    expect(up.requests).toHaveLength(0);
  });
});

describe("max_concurrent", () => {
  /** Holds requests to /hold until they are let go. */
  const holding = () => {
    const held: (() => void)[] = [];
    return {
      held,
      respond: async (...args: Parameters<ReturnType<typeof echo>>) => {
        if (args[0].url === "/hold") await new Promise<void>((resolve) => held.push(resolve));
        await echo()(...args);
      },
    };
  };
  const rules = (address: string, most: number) => `
upstreams:
  a.test: { max_concurrent: ${most}, paths: { "/": { servers: ["${address}"] }, "/free": { max_concurrent: 0, servers: ["${address}"] } } }
  b.test: { max_concurrent: ${most}, paths: { "/": { servers: ["${address}"] } } }
`;

  test("bounds the requests in flight per client and host; the next is let in when one has ended", async () => {
    const { held, respond } = holding();
    await using up = await startOrigin(respond);
    await using proxy = await startPatientProxy(rules(up.address, 2), behindProxy);
    const first = [send(proxy.port, "/hold"), send(proxy.port, "/hold")];
    await until(() => held.length === 2, "two requests in flight");
    const refused = await send(proxy.port, "/");
    expect([refused.status, refused.field("retry-after")]).toEqual([429, "1"]);
    expect((await send(proxy.port, "/", { host: "b.test" })).status).toBe(200);
    expect((await send(proxy.port, "/", { fields: [from("192.0.2.9")] })).status).toBe(200);
    expect((await send(proxy.port, "/free")).status).toBe(200);
    held.pop()!();
    expect((await Promise.race(first)).status).toBe(200);
    expect((await send(proxy.port, "/")).status).toBe(200);
    held.pop()!();
    expect((await Promise.all(first)).map(({ status }) => status)).toEqual([200, 200]);
  });
  test("gives the place back when the client leaves, the upstream fails or another guard refuses", async () => {
    const { held, respond } = holding();
    await using up = await startOrigin(respond);
    await using proxy = await startPatientProxy(`
upstreams:
  a.test:
    max_concurrent: 1
    paths:
      "/": { servers: ["${up.address}"] }
      "/dead": { servers: ["127.0.0.1:1"], healthcheck: false, retries: 0 }
      "/closed": { servers: ["${up.address}"], authorization: { type: apikey, data: k-123456 } }
`);
    for (let i = 0; i < 3; i++) expect((await send(proxy.port, "/dead")).status).toBe(502);
    for (let i = 0; i < 3; i++) expect((await send(proxy.port, "/closed")).status).toBe(401);
    for (let i = 0; i < 3; i++) {
      const client = net.connect(proxy.port, "127.0.0.1", () =>
        client.write("GET /hold HTTP/1.1\r\nHost: a.test\r\n\r\n"),
      );
      await until(() => held.length === i + 1, "a request in flight");
      expect((await send(proxy.port, "/")).status).toBe(429);
      client.resetAndDestroy();
      await until(async () => (await send(proxy.port, "/")).status === 200, "the place of a client that left");
    }
  });
  test("counts a WebSocket for as long as it is open", async () => {
    await using up = await startRawOrigin((socket, data) => {
      const key = /sec-websocket-key: (\S+)/i.exec(data.toString("latin1"))?.[1];
      if (key === undefined) return;
      const accept = new Bun.CryptoHasher("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
    });
    await using proxy = await startPatientProxy(`
upstreams:
  a.test:
    max_concurrent: 1
    paths:
      "/": { servers: ["${up.address}"], healthcheck: false }
      "/page": { redirect_to: "https://b.test" }
`);
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/`, { headers: { Host: "a.test" } } as never);
    await new Promise((resolve, reject) => ((socket.onopen = resolve), (socket.onerror = reject)));
    expect((await send(proxy.port, "/page")).status).toBe(429);
    socket.terminate();
    await until(async () => (await send(proxy.port, "/page")).status === 301, "the place of the WebSocket");
  });
});

describe("max_body", () => {
  const rules = (address: string, more = "") => `
upstreams:
  a.test: { max_body: 1K, paths: { "/": { servers: ["${address}"]${more} }, "/wide": { max_body: 0, servers: ["${address}"] } } }
`;
  const chunked = (size: number) => {
    const part = "x".repeat(256);
    return `${`100\r\n${part}\r\n`.repeat(size / 256)}0\r\n\r\n`;
  };

  test("refuses by Content-Length with 413, before credentials are looked at and without asking the upstream", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(rules(up.address, ", authorization: {type: apikey, data: k-123456}"));
    const refused = await send(proxy.port, "/", { method: "POST", body: "x".repeat(1025) });
    expect(refused.status).toBe(413);
    expect(refused.body).toBe("413 Content Too Large: the request body is larger than this route allows\n");
    expect((await send(proxy.port, "/", { method: "POST", body: "x".repeat(1024) })).status).toBe(401);
    expect(up.requests).toHaveLength(0);
  });
  test("passes what is just as long as allowed, and anything where the path says 0", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(rules(up.address));
    expect((await send(proxy.port, "/", { method: "POST", body: "x".repeat(1024) })).status).toBe(200);
    expect((await send(proxy.port, "/wide", { method: "POST", body: "x".repeat(5000) })).status).toBe(200);
    const framing = [["Transfer-Encoding", "chunked"]] as const;
    expect((await send(proxy.port, "/", { method: "POST", fields: framing, body: chunked(1024) })).status).toBe(200);
    expect(up.requests.map(({ body }) => body.length)).toEqual([1024, 5000, 1024]);
  });
  test("cuts a body without a length as soon as it is too long, with 413; the upstream never sees it whole", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(rules(up.address));
    const refused = await send(proxy.port, "/", {
      method: "POST",
      fields: [["Transfer-Encoding", "chunked"]],
      body: chunked(2048),
    });
    expect(refused.status).toBe(413);
    expect(refused.body).toContain("larger than this route allows");
    expect(up.requests).toHaveLength(0);
    await proxy.logged(/413 POST \/.*client_body_too_large: the request body is more than `max_body: 1024`/);
    expect((await send(proxy.port, "/", { method: "POST", body: "ok" })).status).toBe(200);
  });
  test("is told before the client sends anything, where it asks first (Expect: 100-continue)", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(rules(up.address), { listener_engine: "socket" });
    const head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n";
    expect((await raw(proxy.port, head)).status).toBe(413);
  });
});

describe("allow and deny", () => {
  const rules = (address: string) => `
deny: ["192.0.2.0/24"]
upstreams:
  a.test:
    paths:
      "/": { servers: ["${address}"] }
      "/inside": { allow: [loopback, "198.51.100.7", "2001:db8::/32"], servers: ["${address}"] }
      "/open": { deny: [], servers: ["${address}"] }
      "/moved": { deny: [loopback], to_https: true, servers: ["${address}"] }
      "/locked": { deny: ["203.0.113.1"], rate_limit: 1, authorization: {type: apikey, data: k-123456}, servers: ["${address}"] }
`;

  test("403 for who is denied, or not in the list of the allowed; the nearest list counts", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(rules(up.address), behindProxy);
    const of = async (ip: string, target: string) => (await send(proxy.port, target, { fields: [from(ip)] })).status;
    const table: [ip: string, target: string, status: number][] = [
      ["198.51.100.7", "/", 200],
      ["192.0.2.5", "/", 403],
      ["192.0.2.5", "/open", 200],
      ["198.51.100.7", "/inside", 200],
      ["198.51.100.8", "/inside", 403],
      ["2001:db8:1::1", "/inside", 200],
      ["2001:db9::1", "/inside", 403],
      ["192.0.2.5", "/inside", 403],
    ];
    for (const [ip, target, status] of table) expect([ip, target, await of(ip, target)]).toEqual([ip, target, status]);
    const refused = await send(proxy.port, "/", { fields: [from("192.0.2.5")] });
    expect(refused.body).toBe("403 Forbidden: clients from this address are not served here\n");
    await proxy.logged(/client: 192\.0\.2\.5.*the client's address is in `deny`/);
  });
  test("come after the redirect to https, and before limits and credentials", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(rules(up.address), behindProxy);
    expect((await send(proxy.port, "/moved")).status).toBe(301);
    expect(await burst(proxy.port, 3, "/locked", { fields: [from("203.0.113.1")] })).toEqual([403, 403, 403]);
    expect((await send(proxy.port, "/locked")).status).toBe(401);
  });
  test("an X-Forwarded-For counts only from a trusted proxy", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `upstreams: { a.test: { allow: ["192.0.2.1"], paths: { "/": { servers: ["${up.address}"] } } } }`,
    );
    expect((await send(proxy.port, "/", { fields: [from("192.0.2.1")] })).status).toBe(403);
    expect(up.requests).toHaveLength(0);
  });
});
