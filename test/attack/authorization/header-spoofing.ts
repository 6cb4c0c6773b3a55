/** A client that says who it is: behind forward authorization no such field reaches the upstream, however it is written. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { startOrigin, type Origin } from "../../support/origins.ts";
import { startPatientProxy, type TestProxy } from "../../support/proxy.ts";
import { send, type Sent } from "../../support/send.ts";

let up: Origin, service: Origin, proxy: TestProxy;
beforeAll(async () => {
  up = await startOrigin();
  service = await startOrigin((_, response) => {
    response.setHeader("X-User", "ann");
    response.end();
  });
  const route = (more: string) =>
    `servers: ["${up.address}"], authorization: { type: forward, data: "http://${service.address}/"${more} }`;
  proxy = await startPatientProxy(`
upstreams:
  a.test: { paths: { "/": { ${route("")} } } }
  named.test: { paths: { "/": { ${route(', copy_headers: ["X-User", "X-Role", "Remote-*"]')} } } }
  ruled.test: { paths: { "/": { ${route("")}, server_headers: ["X-User: of the rules", "-X-Role"] } } }
`);
});
afterAll(async () => {
  for (const one of [proxy, up, service]) await one[Symbol.asyncDispose]();
});

const who = /^(?:remote[-_]|x[-_](?:user|role))/i;
/** Every field that the upstream could take for the client's name. */
async function claims(host: string, sent: Omit<Sent, "host">): Promise<string[]> {
  up.requests.length = 0;
  const { status } = await send(proxy.port, "/", { ...sent, host });
  expect([200, 400]).toContain(status);
  const { rawHeaders } = up.requests[0] ?? { rawHeaders: [] };
  const found: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (who.test(rawHeaders[i]!)) found.push(`${rawHeaders[i]!.toLowerCase()}: ${rawHeaders[i + 1]}`);
  }
  return found.sort();
}

const spellings: Record<string, Omit<Sent, "host">> = {
  "Remote-User": { fields: [["Remote-User", "root"]] },
  "another case": {
    fields: [
      ["rEmOtE-uSeR", "root"],
      ["x-uSER", "root"],
    ],
  },
  "an underscore": {
    fields: [
      ["Remote_User", "root"],
      ["X_User", "root"],
    ],
  },
  "two underscores and a hyphen": { fields: [["REMOTE_-USER", "root"]] },
  "the same field twice": {
    fields: [
      ["X-User", "root"],
      ["X-User", "root"],
      ["Remote-User", "root"],
      ["Remote-User", "root"],
    ],
  },
  "an empty value": {
    fields: [
      ["X-User", ""],
      ["Remote-User", ""],
    ],
  },
  "any other name that begins so": {
    fields: [
      ["Remote-Groups", "wheel"],
      ["Remote-Email", "root@a.test"],
      ["Remote-", "x"],
    ],
  },
  "a field that Connection names": {
    fields: [
      ["Connection", "X-User, Remote-User"],
      ["X-User", "root"],
      ["Remote-User", "root"],
    ],
  },
  "a blank before the colon": { fields: [["X-User ", "root"]] },
  "a folded line": { fields: [["X-Other", "a\r\n X-User: root"]] },
  "a trailer": {
    method: "POST",
    fields: [
      ["Transfer-Encoding", "chunked"],
      ["Trailer", "X-User"],
    ],
    body: "1\r\nx\r\n0\r\nX-User: root\r\nRemote-User: root\r\n\r\n",
  },
  "a body that looks like a head": { method: "POST", body: "GET / HTTP/1.1\r\nX-User: root\r\n\r\n" },
};

for (const [name, sent] of Object.entries(spellings)) {
  test(`${name}: the upstream hears what the service says, once`, async () => {
    for (const host of ["a.test", "named.test"]) {
      const heard = await claims(host, sent);
      // A request that is refused altogether says nothing to the upstream.
      if (up.requests.length > 0) expect([host, heard]).toEqual([host, ["x-user: ann"]]);
    }
  });
}

test("a field that copy_headers names goes even where the service says nothing about it", async () => {
  const sent = { fields: [["X-Role", "admin"]] as const };
  expect(await claims("named.test", sent)).toEqual(["x-user: ann"]);
});

test("the route's own rules have the last word", async () => {
  expect(
    await claims("ruled.test", {
      fields: [
        ["X-User", "root"],
        ["X-Role", "admin"],
      ],
    }),
  ).toEqual(["x-user: of the rules"]);
});

test("neither is it heard behind the body: such trailers are dropped, and those that a rule removes", async () => {
  const trailers: Record<string, string | undefined>[] = [];
  await using target = await startOrigin(async (request, response) => {
    for await (const chunk of request) void chunk;
    trailers.push(request.trailers);
    response.end();
  });
  const asks = `authorization: { type: forward, data: "http://${service.address}/", copy_headers: ["X-Role"] }`;
  await using behind = await startPatientProxy(
    `upstreams: { a.test: { paths: { "/": { servers: ["${target.address}"], server_headers: ["-X-Level"], ${asks} } } } }`,
    { listener_engine: "socket", upstream_engine: "socket" },
  );
  const lies = [
    "Remote-User: root",
    "remote-groups: wheel",
    "X-Role: admin",
    "X-Level: 9",
    "X-Forwarded-For: 192.0.2.1",
  ];
  const { status } = await send(behind.port, "/", {
    method: "POST",
    fields: [["Transfer-Encoding", "chunked"]],
    body: `1\r\nx\r\n0\r\nX-Checksum: 1\r\n${lies.join("\r\n")}\r\n\r\n`,
  });
  expect(status).toBe(200);
  expect(trailers).toEqual([{ "x-checksum": "1" }]);
});
