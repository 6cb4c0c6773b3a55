import { describe, expect, test } from "bun:test";
import { Resolver } from "../../src/lib/resolve.ts";

function start(answers: (() => Promise<string[]>)[]) {
  const asked: string[] = [];
  const clock = { ms: 0 };
  const resolver = new Resolver({
    now: () => clock.ms,
    lookup: (host) => {
      asked.push(host);
      const answer = answers.length > 1 ? answers.shift()! : answers[0]!;
      return answer();
    },
  });
  return { resolver, asked, clock };
}

const good =
  (...addresses: string[]) =>
  () =>
    Promise.resolve(addresses);
const bad = () => Promise.reject(Object.assign(new Error("getaddrinfo ENOTFOUND"), { code: "ENOTFOUND" }));

test("IP literals and localhost are answered without asking", async () => {
  const { resolver, asked } = start([bad]);
  expect(await resolver.resolve("192.0.2.1")).toEqual(["192.0.2.1"]);
  expect(await resolver.resolve("2001:db8::1")).toEqual(["2001:db8::1"]);
  for (const host of ["localhost", "LOCALHOST", "localhost.", "app.localhost"]) {
    expect(await resolver.resolve(host)).toEqual(["127.0.0.1", "::1"]);
  }
  expect(asked).toEqual([]);
});

test("the system's own look-up fails with a code for a name that cannot exist", async () => {
  // RFC 6761: .invalid never resolves; a machine without a name server gives another code.
  await expect(new Resolver().resolve("no-such-name.invalid")).rejects.toMatchObject({ code: expect.any(String) });
}, 60_000);

describe("a name", () => {
  test("is looked up once for many connections, and anew after 30 s", async () => {
    const { resolver, asked, clock } = start([good("192.0.2.1", "192.0.2.2"), good("192.0.2.3")]);
    const all = await Promise.all([
      resolver.resolve("up.test"),
      resolver.resolve("UP.test"),
      resolver.resolve("up.test"),
    ]);
    for (const addresses of all) expect(addresses).toEqual(["192.0.2.1", "192.0.2.2"]);
    clock.ms = 29_999;
    expect(await resolver.resolve("up.test")).toEqual(["192.0.2.1", "192.0.2.2"]);
    expect(asked).toEqual(["up.test"]);
    clock.ms = 30_000;
    expect(await resolver.resolve("up.test")).toEqual(["192.0.2.3"]);
  });

  test("that is not found is asked again after a second", async () => {
    const { resolver, asked, clock } = start([bad, good("192.0.2.1")]);
    await expect(resolver.resolve("up.test")).rejects.toMatchObject({ code: "ENOTFOUND" });
    clock.ms = 999;
    await expect(resolver.resolve("up.test")).rejects.toMatchObject({ code: "ENOTFOUND" });
    expect(asked).toHaveLength(1);
    clock.ms = 1_000;
    expect(await resolver.resolve("up.test")).toEqual(["192.0.2.1"]);
  });

  test("that cannot be looked up any more keeps its addresses for ten minutes", async () => {
    const { resolver, clock } = start([good("192.0.2.1"), bad]);
    await resolver.resolve("up.test");
    for (const ms of [30_000, 300_000, 599_999]) {
      clock.ms = ms;
      expect(await resolver.resolve("up.test")).toEqual(["192.0.2.1"]);
    }
    clock.ms = 600_000;
    await expect(resolver.resolve("up.test")).rejects.toMatchObject({ code: "ENOTFOUND" });
  });

  test("whose look-up hangs is served from what is known", async () => {
    const { resolver, clock } = start([good("192.0.2.1"), () => new Promise(() => {})]);
    await resolver.resolve("up.test");
    clock.ms = 30_000;
    expect(await resolver.resolve("up.test")).toEqual(["192.0.2.1"]);
  });

  test("without any address is not found", async () => {
    const { resolver } = start([good()]);
    await expect(resolver.resolve("up.test")).rejects.toMatchObject({ code: "ENODATA" });
  });
});
