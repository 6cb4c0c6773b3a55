/** Key sets (JWKS): fetched when due and not oftener, never believed beyond their time where they can be had (section 14). */
import { describe, expect, test } from "bun:test";
import { KeySet } from "../../../../src/data/guards/authorization/key-set.ts";
import { keySetAgainMs, keySetBytesMax, keySetMs, keySetRetryMs } from "../../../../src/lib/limits.ts";
import { deadPort, startOrigin, type Origin } from "../../../support/origins.ts";
import { startPatientProxy, until } from "../../../support/proxy.ts";
import { send } from "../../../support/send.ts";
import { ecPair, farExp, jwkOf, rsaPair, signedToken } from "../../../support/tokens.ts";

const one = rsaPair();
const two = rsaPair();
const curve = ecPair();

/** An identity provider whose answer can be changed. */
async function startIdp(keys: object[]): Promise<Origin & { answer: string; status: number; fetches: number }> {
  const origin = await startOrigin((_, response) => {
    idp.fetches++;
    response.statusCode = idp.status;
    response.setHeader("Location", "/other");
    response.end(idp.answer);
  });
  const idp = Object.assign(origin, { answer: JSON.stringify({ keys }), status: 200, fetches: 0 });
  return idp;
}

/** A set with a clock of its own. */
function setOf(url: string) {
  const clock = { ms: 1_000_000 };
  const warnings: string[] = [];
  const set = new KeySet(url, { nowMs: () => clock.ms, warn: (text) => warnings.push(text) });
  return { set, clock, warnings };
}

const setOne = [jwkOf(one, { kid: "one", use: "sig" }), jwkOf(curve, { kid: "curve", alg: "ES256" })];

describe("a key set", () => {
  test("is fetched once for all who ask, and kept for its time", async () => {
    await using idp = await startIdp(setOne);
    const { set, clock } = setOf(`http://${idp.address}/jwks`);
    const asked = await Promise.all([1, 2, 3].map(() => set.keysFor("one", "RS256")));
    expect(asked.map((keys) => keys.length)).toEqual([1, 1, 1]);
    expect(idp.fetches).toBe(1);
    clock.ms += keySetMs - 1;
    await set.keysFor("one", "RS256");
    expect([idp.fetches, set.fresh]).toEqual([1, true]);
    clock.ms += 1;
    expect(set.fresh).toBe(false);
    await set.keysFor("one", "RS256");
    expect([idp.fetches, set.fresh, set.version]).toEqual([2, true, 2]);
  });
  test("is fetched again for an unknown key, but not at each such token", async () => {
    await using idp = await startIdp(setOne);
    const { set, clock } = setOf(`http://${idp.address}/jwks`);
    await set.keysFor("one", "RS256");
    for (let i = 0; i < 20; i++) expect(await set.keysFor(`forged ${i}`, "RS256")).toEqual([]);
    expect(idp.fetches).toBe(1);
    idp.answer = JSON.stringify({ keys: [...setOne, jwkOf(two, { kid: "two" })] });
    clock.ms += keySetAgainMs;
    expect(await set.keysFor("two", "RS256")).toHaveLength(1);
    expect(idp.fetches).toBe(2);
    for (let i = 0; i < 20; i++) await set.keysFor(`forged ${i}`, "RS256");
    expect(idp.fetches).toBe(2);
  });
  test("that cannot be fetched any more leaves the last good one in use, and is tried again", async () => {
    await using idp = await startIdp(setOne);
    const { set, clock, warnings } = setOf(`http://${idp.address}/jwks`);
    await set.keysFor("one", "RS256");
    for (const [status, answer] of [
      [500, "x"],
      [200, "no json"],
      [200, "{}"],
      [200, '{"keys":[]}'],
      [302, ""],
      [200, `{"keys":["${"x".repeat(keySetBytesMax)}"]}`],
    ] as const) {
      idp.status = status;
      idp.answer = answer;
      clock.ms += keySetMs;
      expect(await set.keysFor("one", "RS256")).toHaveLength(1);
    }
    expect(warnings).toHaveLength(6);
    expect(warnings[0]).toBe(
      `the key set http://${idp.address}/jwks could not be fetched: expected status 200, found 500; the keys fetched before stay in use`,
    );
    const { fetches } = idp;
    clock.ms += keySetAgainMs - 1;
    await set.keysFor("one", "RS256");
    expect(idp.fetches).toBe(fetches);
    clock.ms += 1;
    idp.status = 200;
    idp.answer = JSON.stringify({ keys: setOne });
    await set.keysFor("one", "RS256");
    expect([idp.fetches, set.fresh]).toEqual([fetches + 1, true]);
  });
  test("that never came is an error for each token, and asked for again soon", async () => {
    const port = await deadPort();
    const { set, clock, warnings } = setOf(`http://127.0.0.1:${port}/jwks`);
    expect(set.keysFor("one", "RS256")).rejects.toThrow(`no keys from http://127.0.0.1:${port}/jwks`);
    await until(() => warnings.length === 1, "the first failure");
    expect(set.keysFor("one", "RS256")).rejects.toThrow("no keys");
    expect(warnings).toHaveLength(1);
    clock.ms += keySetRetryMs;
    expect(set.keysFor("one", "RS256")).rejects.toThrow("no keys");
    await until(() => warnings.length === 2, "the second failure");
  });
  test("gives only keys that fit the token's algorithm: none that is symmetric, private, for encryption or too short", async () => {
    const wrong = [
      { kty: "oct", kid: "one", k: "c2VjcmV0" },
      jwkOf(two, { kid: "one", use: "enc" }),
      jwkOf(two, { kid: "one", key_ops: ["encrypt"] }),
      jwkOf(rsaPair(1024), { kid: "one" }),
      { kty: "RSA", kid: "one", n: "AA", e: 5 },
      { kty: "EC", kid: "one", crv: "P-9", x: "", y: "" },
      "one",
      null,
    ];
    await using idp = await startIdp([...(wrong as object[]), ...setOne]);
    const { set } = setOf(`http://${idp.address}/jwks`);
    expect((await set.keysFor("one", "RS256")).map(({ key }) => key.export({ format: "jwk" }))).toEqual([
      one.publicKey.export({ format: "jwk" }),
    ]);
    expect(await set.keysFor("one", "ES256")).toEqual([]);
    expect(await set.keysFor("one", "HS256")).toEqual([]);
    expect(await set.keysFor("curve", "ES256")).toHaveLength(1);
    expect(await set.keysFor(undefined, "ES256")).toHaveLength(1);
  });
});

describe("a route with jwks", () => {
  const rules = (address: string, url: string) =>
    `upstreams: { a.test: { paths: { "/": { servers: ["${address}"], authorization: { type: jwt, jwks: "${url}" } } } } }`;
  const token = (pair: typeof one, kid: string) =>
    [["Authorization", `Bearer ${signedToken(pair.privateKey, { exp: farExp }, { kid })}`]] as const;

  test("follows its keys, keeps them over a reload, and never asks for them before it needs them", async () => {
    await using up = await startOrigin();
    await using idp = await startIdp(setOne);
    const url = `http://${idp.address}/jwks`;
    await using proxy = await startPatientProxy(rules(up.address, url));
    expect((await send(proxy.port, "/")).status).toBe(401);
    expect(idp.fetches).toBe(0);
    expect((await send(proxy.port, "/", { fields: token(one, "one") })).status).toBe(200);
    await proxy.apply(`${rules(up.address, url)}\n# changed\n`);
    expect((await send(proxy.port, "/", { fields: token(one, "one") })).status).toBe(200);
    expect((await send(proxy.port, "/", { fields: token(two, "one") })).status).toBe(401);
    expect(idp.fetches).toBe(1);
  });
  test("answers 503 while there are no keys, and passes when they have come: never open, never for ever", async () => {
    await using up = await startOrigin();
    await using idp = await startIdp(setOne);
    idp.status = 500;
    await using proxy = await startPatientProxy(rules(up.address, `http://${idp.address}/jwks`));
    const refused = await send(proxy.port, "/", { fields: token(one, "one") });
    expect([refused.status, refused.field("retry-after")]).toEqual([503, "1"]);
    expect(up.requests).toHaveLength(0);
    await proxy.logged(/warn.*the key set .* could not be fetched: expected status 200, found 500/i);
    idp.status = 200;
    await until(async () => (await send(proxy.port, "/", { fields: token(one, "one") })).status === 200, "the keys");
  });
});
