/** `POST /jwt`: the contract's statuses, and tokens that the proxy accepts. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startProxy, type TestProxy } from "../../support/proxy.ts";
import { startOrigin, type Origin } from "../../support/origins.ts";
import { send } from "../../support/send.ts";
import { adminOf, masterKey, strangerAt } from "./ask.ts";

let origin: Origin;
let proxy: TestProxy;
beforeAll(async () => {
  origin = await startOrigin();
  proxy = await startProxy(
    `upstreams: { a.test: { paths: { "/": { healthcheck: false, servers: ["${origin.address}"], authorization: { type: jwt } } } } }\n`,
    { master_key: masterKey },
  );
});
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await origin?.close();
});

const ask = (body: unknown, fields: [string, string][] = []) =>
  strangerAt(proxy)("POST", "/jwt", { body: typeof body === "string" ? body : JSON.stringify(body), fields });

const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString());

describe("POST /jwt [11]", () => {
  test.each(["exp", "valid"])("takes `%s` in minutes and answers 201 with a token", async (name) => {
    const before = Math.floor(Date.now() / 1000);
    const answer = await ask({ master_key: masterKey, owner: "ann", [name]: 5, random: "r" });
    expect([answer.status, answer.field("content-type")]).toEqual([201, "application/json"]);
    const { token } = JSON.parse(answer.body) as { token: string };
    // The original's manual cuts it out with `cut -d '"' -f4`.
    expect(answer.body.split('"')[3]).toBe(token);
    const { exp, ...claims } = claimsOf(token);
    expect(claims).toEqual({ master_key: "", owner: "ann", random: "r" });
    expect(exp).toBeGreaterThanOrEqual(before + 300);
    expect(exp).toBeLessThanOrEqual(Math.floor(Date.now() / 1000) + 300);
  });

  test("the token passes by Bearer, araleztoken and gazantoken, and nothing else does", async () => {
    const { token } = JSON.parse((await ask({ master_key: masterKey, owner: "ann", exp: 1 })).body);
    expect((await send(proxy.plainPort, "/", { fields: [["Authorization", `Bearer ${token}`]] })).status).toBe(200);
    expect((await send(proxy.plainPort, `/?araleztoken=${token}`)).status).toBe(200);
    expect((await send(proxy.plainPort, `/?gazantoken=${token}`)).status).toBe(200);
    expect((await send(proxy.plainPort, "/")).status).toBe(401);
    expect((await send(proxy.plainPort, `/?araleztoken=${token}x`)).status).toBe(401);
  });

  test("the key may come as for everything else", async () => {
    expect((await adminOf(proxy)("POST", "/jwt", { body: '{"exp": 1}' })).status).toBe(201);
    expect((await strangerAt(proxy)("POST", `/jwt?key=${masterKey}`, { body: '{"exp": 1}' })).status).toBe(201);
  });

  test.each([
    ["no key", {}],
    ["an empty one", { master_key: "" }],
    ["a wrong one", { master_key: `${masterKey}x` }],
    ["a number", { master_key: 1 }],
    ["a list", { master_key: [masterKey] }],
    ["null", { master_key: null }],
  ])("403 `Unauthorised` for %s", async (_name, key) => {
    const { status, body } = await ask({ owner: "ann", exp: 1, ...key });
    expect([status, JSON.parse(body)]).toEqual([403, { token: "Unauthorised" }]);
  });

  test("a wrong key in the body does not pass behind a right one in a field", async () => {
    expect((await adminOf(proxy)("POST", "/jwt", { body: '{"exp": 1, "master_key": "no"}' })).status).toBe(403);
  });

  test("who has no key is not told what else is wrong", async () => {
    expect((await ask({ exp: "x" })).status).toBe(403);
  });

  test.each([
    ["no minutes", {}],
    ["none", { exp: 0 }],
    ["negative ones", { exp: -1 }],
    ["a fraction", { exp: 1.5 }],
    ["text", { exp: "60" }],
    ["more than a year", { exp: 525_601 }],
    ["exp and valid that differ", { exp: 1, valid: 2 }],
    ["an owner that is no text", { exp: 1, owner: {} }],
    ["a very long owner", { exp: 1, owner: "x".repeat(200) }],
    ["random that is no text", { exp: 1, random: 7 }],
  ])("400 for %s, with the reason", async (_name, fields) => {
    const { status, body } = await ask({ master_key: masterKey, owner: "ann", ...fields });
    expect([status, Object.keys(JSON.parse(body))]).toEqual([400, ["error"]]);
  });

  test.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["a list", "[]"],
    ["text", '"x"'],
    ["null", "null"],
  ])("400 for a body that is %s", async (_name, body) => {
    expect((await ask(body)).status).toBe(400);
  });

  test("413 for a body above 16 KiB, 405 for GET", async () => {
    expect((await ask({ master_key: masterKey, exp: 1, owner: "x".repeat(20_000) })).status).toBe(413);
    expect((await adminOf(proxy)("GET", "/jwt")).status).toBe(405);
  });

  test("500 where no master_key is set", async () => {
    await using keyless = await startProxy(`upstreams: { a.test: { paths: { "/": { redirect_to: "/x" } } } }\n`);
    const { status, body } = await strangerAt(keyless)("POST", "/jwt", { body: '{"exp": 1, "master_key": ""}' });
    expect([status, JSON.parse(body).error]).toEqual([
      500,
      "there is no `master_key` in main.yaml to sign tokens with",
    ]);
  });

  test("the log tells who was given one, never the key or the token", async () => {
    const { token } = JSON.parse((await ask({ master_key: masterKey, owner: "be\nth", exp: 9 })).body);
    expect(await proxy.logged(/a token for "be\\nth", good for 9 minutes/)).toContain("admin - 201 POST /jwt");
    expect(proxy.log()).not.toContain(token);
    expect(proxy.log()).not.toContain(masterKey);
  });
});
