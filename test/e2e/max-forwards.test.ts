/** OPTIONS counts Max-Forwards down and ends here at 0, on every pair of engines (RFC 9110 7.6.2). */
import { describe, expect, test } from "bun:test";
import net from "node:net";
import { startOrigin } from "../support/origins.ts";
import { startProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const pairs = [
  ["socket", "socket"],
  ["socket", "fetch"],
  ["bun", "socket"],
  ["bun", "fetch"],
] as const;

describe.each(pairs)("%s in front, %s behind", (listener_engine, upstream_engine) => {
  const start = async (rules = "") => {
    const up = await startOrigin();
    const proxy = await startProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"]${rules} } } } }`,
      { listener_engine, upstream_engine },
    );
    return {
      up,
      ask: (method: string, field: string, target = "/") =>
        raw(proxy.port, `${method} ${target} HTTP/1.1\r\nHost: a.test\r\n${field}Connection: close\r\n\r\n`),
      async [Symbol.asyncDispose]() {
        await proxy[Symbol.asyncDispose]();
        await up.close();
      },
    };
  };

  test("0 is answered here: 200, Allow, nothing else", async () => {
    await using it = await start();
    const answer = await it.ask("OPTIONS", "Max-Forwards: 0\r\n");
    expect(answer.status).toBe(200);
    expect(answer.body).toBe("");
    const fields = new Map(answer.fields);
    expect(fields.get("allow")).toContain("OPTIONS");
    expect(fields.get("content-length")).toBe("0");
    expect(fields.has("x-request-id")).toBe(true);
    expect(it.up.requests).toEqual([]);
  });

  test("above 0 it goes on with one less; what is no number, and what other methods say, goes on as it is", async () => {
    await using it = await start();
    for (const [method, sent, seen] of [
      ["OPTIONS", "10", "9"],
      ["OPTIONS", "1", "0"],
      ["OPTIONS", "-1", "-1"],
      ["OPTIONS", "many", "many"],
      ["GET", "0", "0"],
      ["GET", "5", "5"],
    ] as const) {
      expect((await it.ask(method, `max-forwards: ${sent}\r\n`)).status).toBe(200);
      const { headers } = it.up.requests.at(-1)!;
      expect([method, sent, headers["max-forwards"]]).toEqual([method, sent, seen]);
    }
    expect((await it.ask("OPTIONS", "")).status).toBe(200);
    expect(it.up.requests.at(-1)!.headers["max-forwards"]).toBeUndefined();
  });

  test("a guard comes first: a redirect stays one", async () => {
    await using it = await start(`, redirect_to: "https://b.test"`);
    expect((await it.ask("OPTIONS", "Max-Forwards: 0\r\n")).status).toBe(301);
  });
});

test("on one connection each OPTIONS has its own count", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(`upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"] } } } }`, {
    listener_engine: "socket",
    upstream_engine: "socket",
  });
  const options = (count: number) => `OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: ${count}\r\n`;
  const get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
  const bytes = `${get}${options(7)}\r\n${get}${options(3)}\r\n${options(0)}Connection: close\r\n\r\n`;
  await new Promise<void>((resolve, reject) => {
    const socket = net.connect(proxy.port, "127.0.0.1", () => socket.write(bytes));
    socket.resume().on("end", resolve).on("error", reject);
  });
  expect(up.requests.map(({ headers }) => headers["max-forwards"])).toEqual([undefined, "6", undefined, "2"]);
});
