/** Passwords and API keys that must not pass: every row is refused with 401 and never reaches the upstream (A3, A6, B2). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { echo, startOrigin, type Origin } from "../../support/origins.ts";
import { startPatientProxy, type TestProxy } from "../../support/proxy.ts";
import { send } from "../../support/send.ts";

type Field = readonly [name: string, value: string];

const hashed = await Bun.password.hash("s3cret of bob", { algorithm: "bcrypt", cost: 4 });

let up: Origin, proxy: TestProxy;
beforeAll(async () => {
  up = await startOrigin();
  const paths = (authorization: object) => JSON.stringify({ paths: { "/": { servers: [up.address], authorization } } });
  proxy = await startPatientProxy(
    `upstreams:
  basic.test: ${paths({ type: "basic", data: "ann:pass:word ü" })}
  users.test: ${paths({ type: "basic", realm: 'Staff "only"', users: { ann: "plain-1", bob: hashed } })}
  hashes.test: ${paths({ type: "basic", users: { bob: hashed } })}
  key.test: ${paths({ type: "apikey", data: "k-0123456789" })}
  keys.test: ${paths({ type: "apikey", header: "X-Token", keys: { ci: "k-ci-0123456789", phone: "k-phone-0123456789" } })}
`,
    { access_log: "all", access_log_format: "json" },
  );
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await up[Symbol.asyncDispose]();
});

const basic = (pair: string | Buffer): Field => ["Authorization", `Basic ${Buffer.from(pair).toString("base64")}`];
const key = (value: string): Field => ["X-Api-Key", value];

const good: [host: string, fields: Field[], user: string][] = [
  ["basic.test", [basic("ann:pass:word ü")], "ann"],
  ["basic.test", [["authorization", `bAsIc   ${basic("ann:pass:word ü")[1].slice(6)}`]], "ann"],
  ["users.test", [basic("ann:plain-1")], "ann"],
  ["users.test", [basic("bob:s3cret of bob")], "bob"],
  ["hashes.test", [basic("bob:s3cret of bob")], "bob"],
  ["key.test", [key("k-0123456789")], "data"],
  ["key.test", [["x-api-key", "   k-0123456789  "]], "data"],
  ["keys.test", [["x-token", "k-ci-0123456789"]], "ci"],
  ["keys.test", [["X-TOKEN", "k-phone-0123456789"]], "phone"],
];

test("what is good passes, and the log tells who it was, by name", async () => {
  for (const [host, fields, user] of good) {
    up.requests.length = 0;
    expect([fields, (await send(proxy.port, `/${user}`, { host, fields })).status]).toEqual([fields, 200]);
    expect(up.requests).toHaveLength(1);
    const line = JSON.parse(await proxy.logged(new RegExp(`"host":"${host}","uri":"/${user}"`)));
    expect(line.user_id).toBe(user);
  }
});

const rows: Record<string, [host: string, fields: Field[]][]> = {
  nothing: [
    ["basic.test", []],
    ["users.test", []],
    ["key.test", []],
    ["keys.test", []],
  ],
  "empty credentials": [
    ["basic.test", [["Authorization", ""]]],
    ["basic.test", [["Authorization", "Basic"]]],
    ["basic.test", [["Authorization", "Basic "]]],
    ["basic.test", [basic(":")]],
    ["basic.test", [basic("ann:")]],
    ["basic.test", [basic(":pass:word ü")]],
    ["users.test", [basic("ann:")]],
    ["users.test", [basic("bob:")]],
    ["key.test", [key("")]],
    ["key.test", [key("   ")]],
    ["keys.test", [["X-Token", ""]]],
  ],
  "another scheme": [
    ["basic.test", [["Authorization", `Bearer ${basic("ann:pass:word ü")[1].slice(6)}`]]],
    ["basic.test", [["Authorization", `Digest ${basic("ann:pass:word ü")[1].slice(6)}`]]],
    // The original looks at what follows the first blank, and at no scheme.
    ["basic.test", [["Authorization", `x ${basic("ann:pass:word ü")[1].slice(6)}`]]],
    ["basic.test", [["Authorization", basic("ann:pass:word ü")[1].slice(6)]]],
    ["basic.test", [["Authorization", "ann:pass:word"]]],
    ["basic.test", [["Authorization", `Basic${basic("ann:pass:word ü")[1].slice(6)}`]]],
    ["basic.test", [["Proxy-Authorization", basic("ann:pass:word ü")[1]]]],
    ["key.test", [["Authorization", "Bearer k-0123456789"]]],
    ["key.test", [["Cookie", "x-api-key=k-0123456789"]]],
    ["key.test", [["X_Api_Key", "k-0123456789"]]],
    ["key.test", [["X-Api-Keys", "k-0123456789"]]],
    ["keys.test", [key("k-ci-0123456789")]],
  ],
  "base64 that is none": [
    ["basic.test", [["Authorization", "Basic ann:pass:word"]]],
    ["basic.test", [["Authorization", "Basic !!!!"]]],
    ["users.test", [["Authorization", `Basic ${btoa("ann:plain-1").replace(/=+$/, "")}`]]],
    ["users.test", [["Authorization", `Basic ${btoa("ann:plain-1")}=`]]],
    ["users.test", [["Authorization", `Basic ${btoa("ann:plain-1")}!`]]],
    ["users.test", [["Authorization", `Basic ${btoa("ann:plain-1")} x`]]],
    ["users.test", [["Authorization", `Basic ${btoa("ann:plain-1").slice(0, 8)} ${btoa("ann:plain-1").slice(8)}`]]],
    ["users.test", [["Authorization", `Basic "${btoa("ann:plain-1")}"`]]],
    ["basic.test", [["Authorization", "Basic ===="]]],
    ["basic.test", [basic("no colon at all")]],
  ],
  "something very long": [
    ["basic.test", [basic(`ann:${"x".repeat(40_000)}`)]],
    ["hashes.test", [basic(`bob:${"x".repeat(40_000)}`)]],
    ["basic.test", [["Authorization", `Basic ${"A".repeat(60_000)}`]]],
    ["basic.test", [basic(`${"a".repeat(5_000)}:pass:word ü`)]],
    ["key.test", [key("k".repeat(60_000))]],
    ["key.test", [key(`k-0123456789${" ".repeat(20_000)}x`)]],
  ],
  "a field twice": [
    ["basic.test", [basic("ann:pass:word ü"), basic("ann:pass:word ü")]],
    ["basic.test", [basic("x:y"), basic("ann:pass:word ü")]],
    ["basic.test", [basic("ann:pass:word ü"), basic("x:y")]],
    ["key.test", [key("k-0123456789"), key("k-0123456789")]],
    ["key.test", [key("wrong"), key("k-0123456789")]],
    ["key.test", [key("k-0123456789, k-0123456789")]],
    [
      "keys.test",
      [
        ["X-Token", "k-ci-0123456789"],
        ["X-Token", "k-phone-0123456789"],
      ],
    ],
  ],
  "nearly the right ones": [
    ["basic.test", [basic("ann:pass:word")]],
    ["basic.test", [basic("ann:pass")]],
    ["basic.test", [basic("ANN:pass:word ü")]],
    ["basic.test", [basic("ann :pass:word ü")]],
    ["basic.test", [basic("ann:pass:word ü\0")]],
    ["basic.test", [basic("ann:pass:word ü ")]],
    ["basic.test", [basic(Buffer.from("ann:pass:word \xfc", "latin1"))]],
    ["users.test", [basic("ann:s3cret of bob")]],
    ["users.test", [basic("bob:plain-1")]],
    ["users.test", [basic(`bob:${hashed}`)]],
    ["hashes.test", [basic(`bob:${hashed}`)]],
    ["hashes.test", [basic("eve:s3cret of bob")]],
    ["hashes.test", [basic("bob:s3cret of bob\0")]],
    ["hashes.test", [basic("bob:S3cret of bob")]],
    ["users.test", [basic("__proto__:x")]],
    ["users.test", [basic("constructor:function")]],
    ["key.test", [key("k-012345678")]],
    ["key.test", [key("k-01234567890")]],
    ["key.test", [key("K-0123456789")]],
    ["keys.test", [["X-Token", "ci"]]],
    ["keys.test", [["X-Token", "ci:k-ci-0123456789"]]],
  ],
};

describe("credentials that are", () => {
  for (const [name, cases] of Object.entries(rows)) {
    test(`${name} are refused (${cases.length})`, async () => {
      for (const [host, fields] of cases) {
        up.requests.length = 0;
        const answer = await send(proxy.port, "/", { host, fields });
        const shown = JSON.stringify(fields).slice(0, 200);
        expect([shown, answer.status]).toEqual([shown, 401]);
        expect(up.requests).toHaveLength(0);
      }
    });
  }
});

test("an answer says which credentials would be taken: browsers show a login, which the original keeps from them [B2]", async () => {
  const challenge = async (host: string) => (await send(proxy.port, "/", { host })).field("www-authenticate");
  expect(await challenge("basic.test")).toBe('Basic realm="basic.test", charset="UTF-8"');
  expect(await challenge("users.test")).toBe('Basic realm="Staff \\"only\\"", charset="UTF-8"');
  expect(await challenge("key.test")).toBe('ApiKey realm="key.test"');
});

test("no password and no key is in the log", async () => {
  await send(proxy.port, "/the-last", { host: "key.test" });
  await proxy.logged(/"uri":"\/the-last"/);
  const log = proxy.log();
  expect(log).toContain("basic: unknown user or wrong password");
  expect(log).toContain("apikey: not a valid key");
  for (const piece of ["plain-1", "s3cret", "pass:word", "k-0123", "k-ci-", "k-phone-", hashed, btoa("ann:plain-1")])
    expect([piece, log.includes(piece)]).toEqual([piece, false]);
});

test("the old `creds` is what must be shown; on the original it left the key empty, and an empty x-api-key passed [A6]", async () => {
  await using old = await startOrigin();
  await using files = await startPatientProxy(`
upstreams:
  a.test:
    paths:
      "/": { servers: ["${old.address}"], authorization: { type: apikey, creds: "k-0123456789" } }
`);
  // The request that succeeds on the original.
  expect((await send(files.port, "/", { fields: [["x-api-key", ""]] })).status).toBe(401);
  expect(old.requests).toHaveLength(0);
  expect((await send(files.port, "/", { fields: [["x-api-key", "k-0123456789"]] })).status).toBe(200);
});

test("a cookie from an open path of a host opens no protected one: what a route asks for never comes from the server [A3]", async () => {
  await using shared = await startOrigin(echo("shared"));
  await using sticky = await startPatientProxy(
    `
sticky_sessions: 600
upstreams:
  a.test:
    paths:
      "/": { servers: ["${shared.address}"], authorization: { type: basic, data: "ann:secret" } }
      "/ping": { servers: ["${shared.address}"] }
`,
    { master_key: "0123456789abcdef" },
  );
  const open = await send(sticky.port, "/ping");
  expect(open.status).toBe(200);
  const cookie = open.field("set-cookie")!.split(";")[0]!;
  // The request that succeeds on the original: /ping and / have the same server, and its record carries no guard.
  expect((await send(sticky.port, "/", { fields: [["Cookie", cookie]] })).status).toBe(401);
  expect(shared.requests.map(({ target }) => target)).toEqual(["/ping"]);
});
