/** What other features have on the admin API: metrics, explanations, ACME. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { startPatientProxy, type TestProxy } from "../../support/proxy.ts";
import { adminOf, asJson, masterKey, strangerAt } from "./ask.ts";

let proxy: TestProxy;
beforeAll(async () => {
  proxy = await startPatientProxy(
    `upstreams: { a.test: { paths: { "/": { redirect_to: "https://b.test" }, "/x": { redirect_to: "/y", authorization: { type: basic, data: "u:hush-hush" } } } } }\n`,
    { master_key: masterKey },
  );
});
afterAll(() => proxy?.[Symbol.asyncDispose]());

test("/metrics is the page of the metrics, for programs on this machine [25]", async () => {
  const { status, body } = await strangerAt(proxy)("GET", "/metrics");
  expect(status).toBe(200);
  for (const name of ["aralez_requests_total", "aralez_active_sessions", "aralez_memory_bytes"])
    expect(body).toMatch(new RegExp(`^${name} \\d+`, "m"));
  expect((await strangerAt(proxy)("GET", "/metrics", { host: "evil.test" })).status).toBe(403);
});

describe("/explain", () => {
  const question = `/explain?url=${encodeURIComponent("http://a.test/x?q=1")}`;
  test("tells what would become of a request, as text and as JSON, and no secret", async () => {
    const admin = adminOf(proxy);
    const text = await admin("GET", question);
    expect(text.status).toBe(200);
    expect(text.body).toContain("answered here: 401");
    const json = await admin("GET", `${question}&method=post&header=X-A:%201&client=192.0.2.1`, { fields: [asJson] });
    expect(JSON.parse(json.body)).toMatchObject({
      request: { method: "POST", client: "192.0.2.1" },
      route: "a.test/x",
      answer: { status: 401 },
    });
    for (const { body } of [text, json]) expect(body).not.toContain("hush-hush");
  });
  test("takes the question as JSON, so that no credentials of a request stand in a URL", async () => {
    const admin = adminOf(proxy);
    const ask = (body: string) => admin("POST", "/explain", { body, fields: [asJson] });
    const { status, body } = await ask(
      `{"method":"put","url":"http://a.test/x","header":["Authorization: Basic dTpo"]}`,
    );
    expect([status, JSON.parse(body)]).toMatchObject([200, { request: { method: "PUT" }, answer: { status: 401 } }]);
    expect((await strangerAt(proxy)("POST", "/explain", { body: `{"url":"http://a.test/"}` })).status).toBe(403);
    for (const odd of ["", "[]", "null", `"x"`, `{"url":5}`, `{"url":"http://a.test/","header":[["A: b"]]}`, "{}"])
      expect([odd, (await ask(odd)).status]).toEqual([odd, 400]);
    const long = await ask(`{"url":"http://a.test/${"x".repeat(300_000)}"}`);
    expect(long.status).toBe(413);
  });
  test("needs the key, and a question that can be understood", async () => {
    expect((await strangerAt(proxy)("GET", question)).status).toBe(403);
    for (const odd of ["/explain", "/explain?url=ftp://a.test/", `${question}&header=nonsense`, `${question}&client=x`])
      expect([odd, (await adminOf(proxy)("GET", odd)).status]).toEqual([odd, 400]);
  });
});

describe("ACME [B25]", () => {
  test("nobody without the key creates an account or orders a certificate", async () => {
    for (const target of ["/acme_create", "/acme_order/a.test"])
      for (const method of ["GET", "POST"])
        expect([target, (await strangerAt(proxy)(method, target)).status]).toEqual([target, 403]);
  });
  test("a name that is no host of the rules is refused before any server is asked", async () => {
    for (const name of ["stranger.test", "192.0.2.1", "..%2f", ""]) {
      const { status, body } = await adminOf(proxy)("GET", `/acme_order/${name}`);
      expect([name, status]).toEqual([name, 400]);
      expect(body).toStartWith("400 Bad Request: ");
    }
  });
  test("a challenge that is not pending is not found, whatever it is called", async () => {
    for (const token of ["x".repeat(43), "short", "..%2f..%2fetc%2fpasswd", ""]) {
      const answer = await strangerAt(proxy)("GET", `/.well-known/acme-challenge/${token}`);
      expect([token, answer.status, answer.body]).toEqual([token, 404, "Not found\n"]);
    }
  });
});
