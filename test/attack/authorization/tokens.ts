/** Tokens that must not pass: every row is refused with 401 and never reaches the upstream (B3, RFC 8725). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startOrigin, type Origin } from "../../support/origins.ts";
import { startPatientProxy, type TestProxy } from "../../support/proxy.ts";
import { send } from "../../support/send.ts";
import { ecPair, edPair, encode, farExp, hmacToken, jwkOf, rsaPair, signedToken } from "../../support/tokens.ts";

const secret = "a-secret-of-this-route-0123456789";
const masterKey = "the-master-key-of-the-proxy-012345";
const rsa = rsaPair();
const ec = ecPair();
const ed = edPair();
const strange = rsaPair();
const now = Math.floor(Date.now() / 1000);
const shop = { exp: farExp, iss: "https://idp.test/", aud: ["shop", "x"], role: ["user", "admin"], level: 3 };

let up: Origin, idp: Origin, attacker: Origin, proxy: TestProxy;
beforeAll(async () => {
  up = await startOrigin();
  attacker = await startOrigin();
  idp = await startOrigin((_, response) => {
    const oct = { kty: "oct", kid: "shared", k: encode("an-oct-key-that-must-not-be-used") };
    const encryption = jwkOf(strange, { kid: "enc", use: "enc" });
    response.end(JSON.stringify({ keys: [jwkOf(rsa, { kid: "one" }), jwkOf(ec, { kid: "two" }), oct, encryption] }));
  });
  const paths = (authorization: object) =>
    JSON.stringify({ paths: { "/": { servers: [up.address], authorization: { type: "jwt", ...authorization } } } });
  proxy = await startPatientProxy(
    `upstreams:
  hs.test: ${paths({ data: secret })}
  master.test: ${paths({})}
  rs.test: ${paths({ public_key: rsa.pem })}
  many.test: ${paths({ public_key: [rsa.pem, ec.pem, ed.pem] })}
  only.test: ${paths({ public_key: [rsa.pem, ec.pem], algorithms: ["ES256"] })}
  jwks.test: ${paths({ jwks: `http://${idp.address}/jwks` })}
  shop.test: ${paths({ data: secret, issuer: "https://idp.test/", audience: ["shop"], claims: { role: "admin", level: 3 } })}
`,
    { master_key: masterKey, access_log: "all" },
  );
});
afterAll(async () => {
  for (const one of [proxy, up, idp, attacker]) await one[Symbol.asyncDispose]();
});

const bearer = (token: string) => [["Authorization", `Bearer ${token}`]] as const;

test("what is good passes, or the table below would say nothing", async () => {
  const good: [host: string, token: string][] = [
    ["hs.test", hmacToken(secret)],
    ["hs.test", hmacToken(masterKey)],
    ["master.test", hmacToken(masterKey, { master_key: "", owner: "ann", exp: farExp, random: "x" })],
    ["rs.test", signedToken(rsa.privateKey)],
    ["many.test", signedToken(rsa.privateKey)],
    ["many.test", signedToken(ec.privateKey)],
    ["many.test", signedToken(ed.privateKey)],
    ["only.test", signedToken(ec.privateKey)],
    ["jwks.test", signedToken(rsa.privateKey, { exp: farExp }, { kid: "one" })],
    ["jwks.test", signedToken(ec.privateKey)],
    ["shop.test", hmacToken(secret, shop)],
  ];
  for (const [host, token] of good) {
    const { status } = await send(proxy.port, "/", { host, fields: bearer(token) });
    expect([host, status]).toEqual([host, 200]);
  }
});

const unsigned = (alg: string, claims: object = { exp: farExp }) => `${encode({ alg, typ: "JWT" })}.${encode(claims)}.`;
const der = rsa.publicKey.export({ type: "spki", format: "der" });
const good = hmacToken(secret);
/** For places where nobody can know that a token stands there: those are in the log as they came. */
const stray = hmacToken(secret, { exp: farExp, owner: "stray" });
const [head, body, signature] = good.split(".") as [string, string, string];

/** Tokens sent by Bearer. */
const tokens: Record<string, [host: string, token: string][]> = {
  "no algorithm": [
    ...["none", "None", "NONE", "nOnE", ""].flatMap((alg): [string, string][] => [
      ["hs.test", unsigned(alg)],
      ["rs.test", unsigned(alg)],
      ["jwks.test", unsigned(alg)],
      ["hs.test", unsigned(alg) + signature],
    ]),
    ["hs.test", `${encode({ typ: "JWT" })}.${body}.${signature}`],
    ["hs.test", `${encode({ alg: null })}.${body}.${signature}`],
    ["hs.test", `${encode({ alg: ["HS256"] })}.${body}.${signature}`],
  ],
  "the public key as a shared secret": [
    ["rs.test", hmacToken(rsa.pem)],
    ["rs.test", hmacToken(rsa.pem.trim())],
    ["rs.test", hmacToken(rsa.pem.replaceAll("\n", ""))],
    ["rs.test", hmacToken(der)],
    ["many.test", hmacToken(ec.pem)],
    ["jwks.test", hmacToken(rsa.pem, { exp: farExp }, { kid: "one" })],
    ["jwks.test", hmacToken(JSON.stringify(jwkOf(rsa, {})), { exp: farExp }, { kid: "one" })],
    ["jwks.test", hmacToken("an-oct-key-that-must-not-be-used", { exp: farExp }, { kid: "shared" })],
  ],
  "another algorithm than the key's": [
    ["hs.test", signedToken(rsa.privateKey)],
    ["hs.test", hmacToken(secret, { exp: farExp }, { alg: "HS384" })],
    ["hs.test", hmacToken(secret, { exp: farExp }, { alg: "HS512" })],
    ["only.test", signedToken(rsa.privateKey)],
    ["rs.test", hmacToken(masterKey)],
    ["rs.test", signedToken(ec.privateKey, { exp: farExp }, { alg: "RS256" })],
    ["many.test", signedToken(rsa.privateKey, { exp: farExp }, { alg: "ES256" })],
  ],
  "a key that the token brings along": [
    ["rs.test", signedToken(strange.privateKey, { exp: farExp }, { jwk: jwkOf(strange, {}) })],
    ["jwks.test", signedToken(strange.privateKey, { exp: farExp }, { jwk: jwkOf(strange, {}), kid: "one" })],
    ["jwks.test", signedToken(strange.privateKey, { exp: farExp }, { kid: "enc" })],
    ["hs.test", hmacToken("k".repeat(32), { exp: farExp }, { jwk: { kty: "oct", k: encode("k".repeat(32)) } })],
  ],
  "names of keys": [
    ...[
      "../../../../dev/null",
      "/dev/null",
      "' OR '1'='1",
      "one\u0000",
      "ONE",
      "two",
      "__proto__",
      "constructor",
      "http://127.0.0.1/",
      "",
    ].map((kid): [string, string] => ["jwks.test", signedToken(rsa.privateKey, { exp: farExp }, { kid })]),
    ["jwks.test", signedToken(rsa.privateKey, { exp: farExp }, { kid: 1 })],
    ["jwks.test", signedToken(rsa.privateKey, { exp: farExp }, { kid: ["one"] })],
    ["jwks.test", signedToken(strange.privateKey, { exp: farExp }, { kid: "one" })],
    ["hs.test", hmacToken("", { exp: farExp }, { kid: "../../../../dev/null" })],
    ["hs.test", hmacToken(Buffer.alloc(1), { exp: farExp }, { kid: "/dev/zero" })],
  ],
  "extensions nobody understands": [
    ["hs.test", hmacToken(secret, { exp: farExp }, { crit: ["exp"], exp: farExp })],
    ["hs.test", hmacToken(secret, { exp: farExp }, { crit: ["b64"], b64: false })],
    ["hs.test", hmacToken(secret, { exp: farExp }, { crit: [] })],
    ["hs.test", hmacToken(secret, { exp: farExp }, { zip: "DEF", crit: ["zip"] })],
  ],
  times: [
    ["hs.test", hmacToken(secret, {})],
    ["hs.test", hmacToken(secret, { exp: now - 1 })],
    ["hs.test", hmacToken(secret, { exp: now })],
    ["hs.test", hmacToken(secret, { exp: 0 })],
    ["hs.test", hmacToken(secret, { exp: -farExp })],
    ["hs.test", hmacToken(secret, { exp: String(farExp) })],
    ["hs.test", hmacToken(secret, { exp: null })],
    ["hs.test", hmacToken(secret, { exp: [farExp] })],
    ["hs.test", hmacToken(secret, { exp: farExp, nbf: now + 1000 })],
    ["hs.test", hmacToken(secret, { exp: farExp, nbf: "0" })],
    ["hs.test", hmacToken(secret, { iat: now, owner: "ann" })],
  ],
  claims: [
    ["shop.test", hmacToken(secret)],
    ["shop.test", hmacToken(secret, { ...shop, iss: "https://idp.test" })],
    ["shop.test", hmacToken(secret, { ...shop, iss: "https://idp.test/x" })],
    ["shop.test", hmacToken(secret, { ...shop, aud: "x" })],
    ["shop.test", hmacToken(secret, { ...shop, aud: ["shopping"] })],
    ["shop.test", hmacToken(secret, { ...shop, aud: { 0: "shop" } })],
    ["shop.test", hmacToken(secret, { ...shop, role: "user" })],
    ["shop.test", hmacToken(secret, { ...shop, role: ["user", "administrator"] })],
    ["shop.test", hmacToken(secret, { ...shop, role: { admin: true } })],
    ["shop.test", hmacToken(secret, { ...shop, level: "3" })],
    ["shop.test", hmacToken(secret, { ...shop, level: undefined })],
    [
      "shop.test",
      hmacToken(
        secret,
        `{"exp":${farExp},"iss":"https://idp.test/","aud":"shop","__proto__":{"role":"admin","level":3}}`,
      ),
    ],
  ],
  "other secrets": [
    ["hs.test", hmacToken("")],
    ["hs.test", hmacToken("secret")],
    ["hs.test", hmacToken(secret.slice(0, -1))],
    ["hs.test", hmacToken(secret.toUpperCase())],
    ["hs.test", hmacToken(Buffer.from(secret, "base64"))],
    ["master.test", hmacToken(secret)],
    ["rs.test", signedToken(strange.privateKey)],
  ],
  "a changed token": [
    ["hs.test", `${head}.${encode({ exp: farExp, owner: "root" })}.${signature}`],
    ["hs.test", `${encode({ alg: "HS256" })}.${body}.${signature}`],
    ["hs.test", `${head}.${body}.`],
    ["hs.test", `${head}.${body}`],
    ["hs.test", `${head}.${body}.${signature.slice(0, -4)}`],
    ["hs.test", `${head}.${body}.${signature.slice(0, -1)}${signature.endsWith("A") ? "Q" : "A"}`],
    ["hs.test", `${head}.${body}.${signature}A`],
    ["hs.test", `${head}.${body}.${signature}.`],
    ["hs.test", `${head}.${body}.${signature}.x.y`],
    ["hs.test", `.${body}.${signature}`],
    ["hs.test", `${head}..${signature}`],
    ["hs.test", `${good}=`],
    ["hs.test", `${good}%00`],
    ["hs.test", `${good},`],
    ["hs.test", `"${good}"`],
    ["hs.test", `${good}\t${good}`],
    ["hs.test", good.toLowerCase()],
    ["hs.test", `${good}${"A".repeat(40_000)}`],
    ["hs.test", hmacToken(secret, { exp: farExp, filler: "x".repeat(10_000) })],
    ["hs.test", hmacToken(secret, "[]")],
    ["hs.test", hmacToken(secret, "null")],
    ["hs.test", hmacToken(secret, `"${farExp}"`)],
    ["hs.test", hmacToken(secret, "not json")],
    ["hs.test", "a.b.c"],
    ["hs.test", "..."],
    ["hs.test", "x"],
  ],
};

describe("a token by Bearer with", () => {
  for (const [name, rows] of Object.entries(tokens)) {
    test(`${name} is refused (${rows.length})`, async () => {
      for (const [host, token] of rows) {
        up.requests.length = 0;
        const answer = await send(proxy.port, "/", { host, fields: bearer(token) });
        expect([token.slice(0, 200), answer.status]).toEqual([token.slice(0, 200), 401]);
        expect(answer.field("www-authenticate")).toBe(`Bearer realm="${host}", error="invalid_token"`);
        expect(up.requests).toHaveLength(0);
      }
    });
  }
});

/** Whole requests. */
const requests: Record<string, { target?: string; fields?: (readonly [string, string])[] }> = {
  "no token": {},
  "a bare scheme": { fields: [["Authorization", "Bearer"]] },
  "an empty field": { fields: [["Authorization", ""]] },
  "the token without a scheme": { fields: [["Authorization", good]] },
  "the token as Basic": { fields: [["Authorization", `Basic ${good}`]] },
  "the token as a Basic password": { fields: [["Authorization", `Basic ${btoa(`x:${good}`)}`]] },
  "the scheme twice": { fields: [["Authorization", `Bearer Bearer ${good}`]] },
  "two fields, both good": {
    fields: [
      ["Authorization", `Bearer ${good}`],
      ["Authorization", `Bearer ${good}`],
    ],
  },
  "two fields, one good": {
    fields: [
      ["Authorization", "Bearer x.y.z"],
      ["Authorization", `Bearer ${good}`],
    ],
  },
  "two tokens in one field": { fields: [["Authorization", `Bearer ${good}, Bearer ${good}`]] },
  "a cookie": { fields: [["Cookie", `araleztoken=${good}; token=${good}`]] },
  "other fields": {
    fields: [
      ["X-Auth-Token", good],
      ["Proxy-Authorization", `Bearer ${good}`],
      ["X-Api-Key", good],
    ],
  },
  "the query twice, both good": { target: `/?araleztoken=${good}&araleztoken=${good}` },
  "the query by both names": { target: `/?araleztoken=${good}&gazantoken=${good}` },
  "the query by an encoded name beside the plain one": { target: `/?araleztoken=${good}&%61raleztoken=${good}` },
  "the query in another case beside the plain one": { target: `/?araleztoken=${good}&ARALEZTOKEN=${good}` },
  "an empty one in the query, which wins over a good Bearer": {
    target: "/?araleztoken=",
    fields: [["Authorization", `Bearer ${good}`]],
  },
  "a bad one in the query, which wins over a good Bearer": {
    target: "/?gazantoken=a.b.c",
    fields: [["Authorization", `Bearer ${good}`]],
  },
  "a name without a value": { target: "/?araleztoken" },
  "a name that only ends like ours": { target: `/?xaraleztoken=${stray}` },
  "our name inside another parameter": { target: `/?next=/?araleztoken=${stray}` },
  "trailing garbage in the query": { target: `/?araleztoken=${good}%00` },
  "a second part in the query": { target: `/?araleztoken=${good};x` },
  "the path": { target: `/araleztoken=${stray}` },
  "OPTIONS, as a browser asks beforehand": {},
};

describe("a request with", () => {
  for (const [name, { target = "/", fields = [] }] of Object.entries(requests)) {
    test(`${name} is refused`, async () => {
      up.requests.length = 0;
      const method = name.startsWith("OPTIONS") ? "OPTIONS" : "GET";
      const answer = await send(proxy.port, target, { host: "hs.test", method, fields });
      expect(answer.status).toBe(401);
      expect(answer.field("www-authenticate")).toStartWith('Bearer realm="hs.test"');
      expect(up.requests).toHaveLength(0);
    });
  }
});

test("no address that a token names is ever asked (jku, x5u)", async () => {
  const url = `http://${attacker.address}/keys`;
  for (const [name, host] of [
    ["jku", "jwks.test"],
    ["x5u", "rs.test"],
    ["jku", "hs.test"],
  ] as const) {
    const token = signedToken(strange.privateKey, { exp: farExp }, { [name]: url, kid: "strange" });
    expect((await send(proxy.port, "/", { host, fields: bearer(token) })).status).toBe(401);
  }
  expect(attacker.connections).toBe(0);
});

test("no token, secret or key is in the log", async () => {
  await send(proxy.port, "/the-last", { host: "hs.test", fields: bearer("x.y.z") });
  await proxy.logged(/access - 401, GET \/the-last,/);
  const log = proxy.log();
  expect(log).toContain("the token is refused: its signature is wrong");
  for (const piece of [secret, masterKey, signature, `.${body}.`]) expect(log.includes(piece)).toBe(false);
});
