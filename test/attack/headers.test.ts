/** What a client may not make an upstream believe. */
import { describe, expect, test } from "bun:test";
import { startOrigin } from "../support/origins.ts";
import { startProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const rules = (address: string) =>
  `upstreams: { DEFAULT: { paths: { "/": { servers: ["${address}"], healthcheck: false } } } }\n`;
const trusting = { trusted_proxies: ["127.0.0.1", "10.0.0.0/8"] };

async function seenBehind(settings: Parameters<typeof startProxy>[1], fields: string) {
  await using origin = await startOrigin();
  await using proxy = await startProxy(rules(origin.address), settings);
  const answer = await raw(proxy.port, `GET / HTTP/1.1\r\nHost: a.test\r\n${fields}Connection: close\r\n\r\n`);
  expect(answer.status).toBe(200);
  return origin.requests[0]!.headers;
}

test("Connection cannot take away what the proxy says about the client, nor credentials and cookies", async () => {
  const seen = await seenBehind(
    {},
    "Connection: x-forwarded-for, X-Real-IP, x-request-id, authorization, cookie, host\r\nX-Forwarded-For: 6.6.6.6\r\nAuthorization: Basic eA==\r\nCookie: a=b\r\n",
  );
  expect(seen).toMatchObject({
    "x-forwarded-for": "127.0.0.1",
    "x-real-ip": "127.0.0.1",
    authorization: "Basic eA==",
    cookie: "a=b",
    host: "a.test",
  });
});

test("several lines, letter case and underscores do not get a claimed address through", async () => {
  const seen = await seenBehind(
    {},
    "x-FORWARDED-for: 6.6.6.6\r\nX-Forwarded-For: 5.5.5.5\r\nX_Forwarded_For: 7.7.7.7\r\nx_real_ip: 7.7.7.7\r\nForwarded: for=6.6.6.6\r\n",
  );
  expect(JSON.stringify(seen)).not.toMatch(/[567]\.[567]\.[567]\.[567]/);
});

describe("behind a trusted proxy the client is", () => {
  const cases: [string, string][] = [
    ["6.6.6.6, 10.0.0.2", "6.6.6.6"],
    ["6.6.6.6, 5.5.5.5, 10.1.1.1", "5.5.5.5"],
    ["2001:db8::1", "2001:db8::1"],
    ["[2001:db8::1]:99", "2001:db8::1"],
    ["::ffff:6.6.6.6", "6.6.6.6"],
    ["::FFFF:6.6.6.6", "6.6.6.6"],
    // Some balancers write the port: it is neither part of the address nor a reason to take a trusted hop for the client.
    ["6.6.6.6:1234", "6.6.6.6"],
    ["5.5.5.5, 10.0.0.9:80", "5.5.5.5"],
    // What is no address ends the search.
    ["junk", "127.0.0.1"],
    ["face", "127.0.0.1"],
    ["1.2.3.4.5", "127.0.0.1"],
    ["999.1.1.1, 10.0.0.2", "10.0.0.2"],
  ];
  for (const [sent, client] of cases) {
    test(`${client} for X-Forwarded-For: ${sent}`, async () => {
      expect((await seenBehind(trusting, `X-Forwarded-For: ${sent}\r\n`))["x-real-ip"]).toBe(client);
    });
  }
});
