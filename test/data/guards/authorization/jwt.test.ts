/** Tokens that pass: where they may stand, whom they were signed by, and what becomes of them (contract section 7, point 11). */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { SignJWT } from "jose";
import { startOrigin } from "../../../support/origins.ts";
import { startPatientProxy } from "../../../support/proxy.ts";
import { send } from "../../../support/send.ts";
import { ecPair, edPair, farExp, hmacToken, rsaPair, signedToken } from "../../../support/tokens.ts";
import { withoutTokens } from "../../../../src/data/guards/authorization/token.ts";

const secret = "a-secret-of-this-route-0123456789";
const masterKey = "the-master-key-of-the-proxy-012345";
const bearer = (token: string) => [["Authorization", `Bearer ${token}`]] as const;
const route = (address: string, authorization: object, more = "") =>
  `upstreams: { a.test: { paths: { "/": { servers: ["${address}"]${more}, authorization: ${JSON.stringify({ type: "jwt", ...authorization })} } } } }`;

describe("a token", () => {
  test("is taken from Bearer, araleztoken and gazantoken; the query wins [11]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(route(up.address, { data: secret }));
    const good = hmacToken(secret);
    const status = async (target: string, fields: readonly (readonly [string, string])[] = []) =>
      (await send(proxy.port, target, { fields })).status;
    expect(await status("/", bearer(good))).toBe(200);
    expect(await status("/", [["authorization", `bearer   ${good}`]])).toBe(200);
    expect(await status(`/?araleztoken=${good}`)).toBe(200);
    expect(await status(`/?a=b&gazantoken=${good}`)).toBe(200);
    expect(await status(`/?araleztoken=${good.replaceAll(".", "%2E")}`)).toBe(200);
    expect(await status(`/?araleztoken=${good}`, bearer("a.b.c"))).toBe(200);
    expect(await status("/?araleztoken=a.b.c", bearer(good))).toBe(401);
  });
  test("in the query is cut out of what goes upstream, and in no log line [B3]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(
      `
authorization: { type: jwt, data: "${secret}" }
upstreams:
  a.test:
    paths:
      "/": { servers: ["${up.address}"] }
      "/cut": { servers: ["${up.address}"], strip_prefix: true }
      "/moved": { redirect_to: "https://elsewhere.test" }
      "/tls": { to_https: true, servers: ["${up.address}"] }
      "/open": { servers: ["${up.address}"], authorization: { type: none } }
`,
      { access_log: "all" },
    );
    const good = hmacToken(secret);
    for (const [target, seen] of [
      [`/x?araleztoken=${good}`, "/x"],
      [`/x?a=%20&araleztoken=${good}&b='2'&&c`, "/x?a=%20&b='2'&&c"],
      [`/x?gazantoken=${good}&a=1`, "/x?a=1"],
      [`/cut/y?araleztoken=${good}&a=1`, "/y?a=1"],
      [`/x?%61raleztoken=${good}&a=1`, "/x?a=1"],
    ] as const) {
      up.requests.length = 0;
      expect([target, (await send(proxy.port, target)).status]).toEqual([target, 200]);
      // The fetch engine writes its own form of what is left.
      expect(up.requests.map((one) => one.target.replaceAll("%27", "'"))).toEqual([seen]);
    }
    // Whoever stands at the other end of a redirect is not who the token is for; our own https side is.
    const moved = await send(proxy.port, `/moved?araleztoken=${good}&a=1`);
    expect(moved.field("location")).toBe("https://elsewhere.test/moved?a=1");
    const tls = await send(proxy.port, `/tls?araleztoken=${good}`);
    expect(tls.field("location")).toBe(`https://a.test/tls?araleztoken=${good}`);
    // A route that does not read tokens passes everything on as it came.
    up.requests.length = 0;
    await send(proxy.port, `/open?araleztoken=${good}`);
    expect(up.requests[0]!.target).toBe(`/open?araleztoken=${good}`);
    await send(proxy.port, `/?araleztoken=${good}x`);
    await proxy.logged(/access - 401, GET \/\?araleztoken=\*\*\*,/);
    await proxy.logged(/redirected to https:\/\/a\.test\/tls\?araleztoken=\*\*\*/);
    for (const part of good.split(".")) expect(proxy.log().includes(part)).toBe(false);
  });
  test("needs nothing but `exp`: those of other issuers pass, which the original refuses for their claims [B3]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(route(up.address, {}), { master_key: masterKey });
    // What POST /jwt of the original makes today, made in 2025, and what others make.
    const claims = [
      { master_key: "", owner: "ann", exp: farExp, random: "x" },
      { user: "ann", exp: farExp },
      { exp: farExp, sub: "ann", iss: "https://idp.test" },
      { exp: farExp },
    ];
    for (const each of claims)
      expect((await send(proxy.port, "/", { fields: bearer(hmacToken(masterKey, each)) })).status).toBe(200);
    const made = await new SignJWT({ owner: "ann" })
      .setProtectedHeader({ alg: "HS256" })
      .setExpirationTime("5m")
      .sign(new TextEncoder().encode(masterKey));
    expect((await send(proxy.port, "/", { fields: bearer(made) })).status).toBe(200);
  });
  test("that was good is refused as soon as it has expired, whatever is remembered", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(route(up.address, { data: secret }));
    const until = Math.floor(Date.now() / 1000) + 2;
    const token = hmacToken(secret, { exp: until });
    const statuses = new Set<number>();
    while (Date.now() < until * 1000 + 500) {
      const sentMs = Date.now();
      const { status } = await send(proxy.port, "/", { fields: bearer(token) });
      if (Date.now() < until * 1000) expect(status).toBe(200);
      if (sentMs >= until * 1000) expect(status).toBe(401);
      statuses.add(status);
      await Bun.sleep(20);
    }
    expect([...statuses].sort()).toEqual([200, 401]);
  });
  test("may be late by `leeway`", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(route(up.address, { data: secret, leeway: 60 }));
    const nowSeconds = Math.floor(Date.now() / 1000);
    const ask = async (claims: object) => {
      const fields = bearer(hmacToken(secret, claims));
      return [(await send(proxy.port, "/", { fields })).status, (await send(proxy.port, "/", { fields })).status];
    };
    expect(await ask({ exp: nowSeconds - 20 })).toEqual([200, 200]);
    expect(await ask({ exp: farExp, nbf: nowSeconds + 20 })).toEqual([200, 200]);
    expect(await ask({ exp: nowSeconds - 100 })).toEqual([401, 401]);
  });
  test("names who it is in the log", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(route(up.address, { data: secret }), {
      access_log: "all",
      access_log_format: "json",
    });
    await send(proxy.port, "/sub", { fields: bearer(hmacToken(secret, { exp: farExp, sub: "ann", owner: "x" })) });
    await send(proxy.port, "/owner", {
      fields: bearer(hmacToken(secret, { exp: farExp, owner: `bob\n"x${"y".repeat(500)}` })),
    });
    expect(JSON.parse(await proxy.logged(/"uri":"\/sub"/)).user_id).toBe("ann");
    expect(JSON.parse(await proxy.logged(/"uri":"\/owner"/)).user_id).toStartWith('bob\n"xyyy');
  });
});

describe("a public key", () => {
  const kinds = { RSA: rsaPair(), "EC P-256": ecPair(), "EC P-384": ecPair("P-384"), Ed25519: edPair() };
  for (const [kind, pair] of Object.entries(kinds)) {
    test(`${kind} verifies, from a file beside main.yaml or as text`, async () => {
      await using up = await startOrigin();
      await using proxy = await startPatientProxy(route(up.address, { public_key: pair.pem }));
      const fields = bearer(signedToken(pair.privateKey));
      expect((await send(proxy.port, "/", { fields })).status).toBe(200);
      const file = join(proxy.folder, "idp.pem");
      writeFileSync(file, pair.pem);
      await proxy.apply(route(up.address, { public_key: [file] }));
      expect((await send(proxy.port, "/", { fields })).status).toBe(200);
      await proxy.apply(route(up.address, { public_key: edPair().pem }));
      expect((await send(proxy.port, "/", { fields })).status).toBe(401);
    });
  }
  test("that cannot be used is an error with its reason, and never shown", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(route(up.address, { data: secret }));
    const privatePem = kinds.RSA.privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    const wrong: [rule: object, says: RegExp][] = [
      [{ public_key: "nowhere.pem" }, /cannot read \\"nowhere\.pem\\": there is no such file/],
      [{ public_key: privatePem }, /this is a private key/],
      [{ public_key: rsaPair(1024).pem }, /at least 2048 bits, this one has 1024/],
      [{ public_key: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----" }, /not a public key or certificate/],
      [{ public_key: kinds.RSA.pem, algorithms: ["ES256"] }, /none of its keys fits/],
      [{ public_key: kinds.RSA.pem, algorithms: ["HS256"] }, /never goes together/],
      [{ public_key: kinds.RSA.pem, data: secret }, /never goes together/],
      [{ jwks: "https://idp.test/jwks", algorithms: ["HS256", "RS256"] }, /never goes together/],
      [{ data: secret, algorithms: ["RS256"] }, /none of its keys fits/],
    ];
    for (const [rule, says] of wrong) {
      const refused = await proxy.apply(route(up.address, rule)).then(
        () => "applied",
        (error: Error) => error.message,
      );
      expect(refused).toMatch(says);
      expect(refused).not.toContain(privatePem.split("\n")[1]!.slice(0, 20));
    }
    expect((await send(proxy.port, "/", { fields: bearer(hmacToken(secret)) })).status).toBe(200);
  });
});

test("our parameters are cut out of a target, every other byte of it stays", () => {
  const table: [target: string, left: string][] = [
    ["/", "/"],
    ["/?", "/?"],
    ["/?a=1", "/?a=1"],
    ["/?araleztoken", "/"],
    ["/?araleztoken=", "/"],
    ["/?araleztoken=x&", "/?"],
    ["/?&araleztoken=x", "/?"],
    ["/?a&araleztoken=x&b", "/?a&b"],
    ["/?araleztoken=x&gazantoken=y", "/"],
    ["/?ArAlEzToKeN=x", "/"],
    ["/?%61r%61leztoken=x&a=%61", "/?a=%61"],
    ["/?%zzaraleztoken=x", "/?%zzaraleztoken=x"],
    ["/araleztoken=x?b", "/araleztoken=x?b"],
    ["/?a=araleztoken=x", "/?a=araleztoken=x"],
    ["/?xaraleztoken=x", "/?xaraleztoken=x"],
  ];
  for (const [target, left] of table) expect([target, withoutTokens(target)]).toEqual([target, left]);
});
