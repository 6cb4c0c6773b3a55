/** Authorization per path, host and globally: the nearest wins, `none` opts out (contract point 10). */
import { describe, expect, test } from "bun:test";
import { startOrigin } from "../../../support/origins.ts";
import { startPatientProxy } from "../../../support/proxy.ts";
import { send } from "../../../support/send.ts";
import { hmacToken } from "../../../support/tokens.ts";

const masterKey = "the-master-key-of-the-proxy-012345";
type Field = readonly [string, string];

const kinds: Record<string, { rule: (service: string) => string; good: Field; bad: Field; refusal: number }> = {
  basic: {
    rule: () => '{ type: basic, data: "ann:secret" }',
    good: ["Authorization", `Basic ${btoa("ann:secret")}`],
    bad: ["Authorization", `Basic ${btoa("ann:wrong")}`],
    refusal: 401,
  },
  apikey: {
    rule: () => '{ type: apikey, data: "k-0123456789" }',
    good: ["x-api-key", "k-0123456789"],
    bad: ["x-api-key", "k-9876543210"],
    refusal: 401,
  },
  jwt: {
    rule: () => "{ type: jwt }",
    good: ["Authorization", `Bearer ${hmacToken(masterKey)}`],
    bad: ["Authorization", `Bearer ${hmacToken("another key of 16 bytes and more")}`],
    refusal: 401,
  },
  forward: {
    rule: (service) => `{ type: forward, data: "http://${service}/verify" }`,
    good: ["Cookie", "session=ann"],
    bad: ["Cookie", "session=eve"],
    refusal: 403,
  },
};

describe("authorization", () => {
  for (const [kind, { rule, good, bad, refusal }] of Object.entries(kinds)) {
    for (const place of ["path", "host", "top level"]) {
      test(`${kind} at the ${place} lets the right one in, refuses the others, and none opts out [10]`, async () => {
        await using up = await startOrigin();
        await using service = await startOrigin((request, response) => {
          response.statusCode = request.headers.cookie === "session=ann" ? 200 : 403;
          response.end();
        });
        const line = `authorization: ${rule(service.address)}`;
        await using proxy = await startPatientProxy(
          `
${place === "top level" ? line : ""}
upstreams:
  a.test:
    ${place === "host" ? line : ""}
    paths:
      "/": { servers: ["${up.address}"]${place === "path" ? `, ${line}` : ""} }
      "/open": { servers: ["${up.address}"], authorization: { type: none } }
`,
          { master_key: masterKey },
        );
        const ask = async (target: string, ...fields: Field[]) => (await send(proxy.port, target, { fields })).status;
        expect(await ask("/", good)).toBe(200);
        expect(up.requests).toHaveLength(1);
        expect([await ask("/"), await ask("/", bad), await ask("/below/it?x")]).toEqual([refusal, refusal, refusal]);
        expect(up.requests).toHaveLength(1);
        expect(await ask("/open")).toBe(200);
      });
    }
  }

  test("of a path wins over its host's, and that over the one at the top level [10]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(`
authorization: { type: apikey, data: "top-0123456789" }
upstreams:
  a.test:
    authorization: { type: apikey, data: "host-0123456789" }
    paths:
      "/": { servers: ["${up.address}"] }
      "/own": { servers: ["${up.address}"], authorization: { type: apikey, data: "path-0123456789" } }
  b.test: { paths: { "/": { servers: ["${up.address}"] } } }
  c.test: { authorization: { type: none }, paths: { "/": { servers: ["${up.address}"] } } }
`);
    const places: [host: string, target: string, opens: string | undefined][] = [
      ["a.test", "/", "host"],
      ["a.test", "/own", "path"],
      ["b.test", "/", "top"],
      ["c.test", "/", undefined],
    ];
    for (const [host, target, opens] of places) {
      for (const level of ["top", "host", "path"]) {
        const { status } = await send(proxy.port, target, { host, fields: [["x-api-key", `${level}-0123456789`]] });
        expect([host, target, level, status]).toEqual([
          host,
          target,
          level,
          opens === undefined || opens === level ? 200 : 401,
        ]);
      }
    }
  });

  test("is asked for on every kind of route: files, redirects, WebSockets", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(`
authorization: { type: apikey, data: "k-0123456789" }
upstreams:
  a.test:
    paths:
      "/files": { files: ${import.meta.dir} }
      "/moved": { redirect_to: "https://b.test" }
      "/live": { servers: ["${up.address}"] }
`);
    const upgrade = [
      ["Connection", "Upgrade"],
      ["Upgrade", "websocket"],
      ["Sec-WebSocket-Version", "13"],
      ["Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="],
    ] as const;
    const key = ["x-api-key", "k-0123456789"] as const;
    expect((await send(proxy.port, "/files/places.test.ts")).status).toBe(401);
    expect((await send(proxy.port, "/files/places.test.ts", { fields: [key] })).status).toBe(200);
    expect((await send(proxy.port, "/moved")).status).toBe(401);
    expect((await send(proxy.port, "/moved", { fields: [key] })).status).toBe(301);
    expect((await send(proxy.port, "/live", { fields: upgrade })).status).toBe(401);
    expect(up.requests).toHaveLength(0);
  });

  test("is not asked for before the redirect to https: credentials would travel in the clear [B1]", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(`
upstreams:
  a.test: { to_https: true, paths: { "/": { servers: ["${up.address}"], authorization: { type: basic, data: "ann:secret" } } } }
`);
    const answer = await send(proxy.port, "/x?y=1");
    expect([answer.status, answer.field("location"), answer.field("www-authenticate")]).toEqual([
      301,
      "https://a.test/x?y=1",
      undefined,
    ]);
  });
});
