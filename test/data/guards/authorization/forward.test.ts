/** Forward authorization: another service decides, and only its 2xx lets a request pass (contract point 12, A2). */
import { describe, expect, test } from "bun:test";
import net from "node:net";
import { deadPort, echo, startOrigin, startRawOrigin, type Respond, type Seen } from "../../../support/origins.ts";
import { startPatientProxy, until, type TestProxy } from "../../../support/proxy.ts";
import { send } from "../../../support/send.ts";

const rules = (upstream: string, service: string, more = "") =>
  `upstreams: { a.test: { paths: { "/": { servers: ["${upstream}"], authorization: { type: forward, data: "http://${service}/verify?for=a"${more} } } } } }`;

/** An upstream, a service and the proxy between them. */
async function start(respond: Respond, more = "", settings: Parameters<typeof startPatientProxy>[1] = {}) {
  const up = await startOrigin();
  const seen: Seen[] = [];
  const service = await startOrigin((request, response, origin) => {
    seen.push({
      method: request.method!,
      target: request.url!,
      rawHeaders: request.rawHeaders,
      headers: request.headers,
      body: Buffer.alloc(0),
    });
    return respond(request, response, origin);
  });
  let proxy: TestProxy;
  try {
    proxy = await startPatientProxy(rules(up.address, service.address, more), settings);
  } catch (error) {
    await up.close();
    await service.close();
    throw error;
  }
  return {
    up,
    service,
    seen,
    proxy,
    async [Symbol.asyncDispose]() {
      for (const each of [proxy, up, service]) await each[Symbol.asyncDispose]();
    },
  };
}

const yes: Respond = (_, response) => void response.end("fine");

describe("the request to the service", () => {
  test("is a GET without a body that tells what was asked for: method, scheme, host, original target, client [12]", async () => {
    await using all = await start(yes);
    const answer = await send(all.proxy.port, "/x/../y?a=%20&b", {
      method: "POST",
      host: "a.test:8080",
      body: "a body",
      fields: [
        ["Authorization", "Bearer abc"],
        ["Cookie", "session=1"],
        ["X-Other", "not for the service"],
        ["Content-Type", "text/plain"],
      ],
    });
    expect(answer.status).toBe(200);
    const [{ method, target, headers }] = all.seen as [Seen];
    expect([method, target, headers.host]).toEqual(["GET", "/verify?for=a", all.service.address]);
    expect(headers).toMatchObject({
      authorization: "Bearer abc",
      cookie: "session=1",
      "x-forwarded-method": "POST",
      "x-forwarded-proto": "http",
      "x-forwarded-host": "a.test:8080",
      "x-forwarded-for": "127.0.0.1",
    });
    // Bun.serve resolves dots before we see them.
    expect(["/x/../y?a=%20&b", "/y?a=%20&b"]).toContain(headers["x-forwarded-uri"] as string);
    expect(headers["x-other"]).toBeUndefined();
    expect(headers["content-type"]).toBeUndefined();
    expect(headers["content-length"]).toBeUndefined();
    expect(headers["transfer-encoding"]).toBeUndefined();
    expect(all.up.requests.map((one) => [one.method, one.body.toString()])).toEqual([["POST", "a body"]]);
  });
  test("is a HEAD for a HEAD", async () => {
    await using all = await start(yes);
    expect((await send(all.proxy.port, "/", { method: "HEAD" })).status).toBe(200);
    expect(all.seen.map((one) => one.method)).toEqual(["HEAD"]);
  });
  test("cannot be told anything by the client; a trusted proxy is believed", async () => {
    const lies = [
      ["X-Forwarded-Method", "GET"],
      ["X-Forwarded-Uri", "/public"],
      ["X-Forwarded-Host", "other.test"],
      ["X-Forwarded-Proto", "https"],
      ["X-Forwarded-For", "192.0.2.1"],
      ["Connection", "X-Forwarded-Uri, Authorization, Cookie"],
    ] as const;
    const told = async (settings: Parameters<typeof startPatientProxy>[1]) => {
      await using all = await start(yes, "", settings);
      await send(all.proxy.port, "/secret", { method: "DELETE", fields: [...lies, ["Cookie", "a=b"]] });
      const { headers } = all.seen[0]!;
      return ["method", "uri", "host", "proto", "for"]
        .map((name) => headers[`x-forwarded-${name}`])
        .concat(headers.cookie);
    };
    expect(await told({})).toEqual(["DELETE", "/secret", "a.test", "http", "127.0.0.1", "a=b"]);
    expect(await told({ trusted_proxies: ["127.0.0.1"] })).toEqual([
      "DELETE",
      "/secret",
      "other.test",
      "https",
      "192.0.2.1, 127.0.0.1",
      "a=b",
    ]);
  });
  test("uses its connection again", async () => {
    await using all = await start(yes);
    for (let i = 0; i < 5; i++) expect((await send(all.proxy.port, "/")).status).toBe(200);
    expect(all.seen).toHaveLength(5);
    // The fetch engine knocks once beforehand.
    expect(all.service.connections).toBeLessThanOrEqual(2);
  });
});

describe("an answer of 2xx", () => {
  test("lets the request pass and copies x-* and remote-* onto it [12]", async () => {
    await using all = await start((_, response) => {
      response.statusCode = 204;
      for (const [name, value] of [
        ["X-User", "ann"],
        ["Remote-Groups", "staff"],
        ["Set-Cookie", "a=b"],
        ["Location", "/"],
        ["Server", "auth"],
      ] as const)
        response.setHeader(name, value);
      response.end();
    });
    const answer = await send(all.proxy.port, "/");
    expect(answer.status).toBe(200);
    expect(answer.field("set-cookie")).toBeUndefined();
    const { headers } = all.up.requests[0]!;
    expect(headers).toMatchObject({ "x-user": "ann", "remote-groups": "staff" });
    expect([headers.location, headers.server, headers["set-cookie"]]).toEqual([undefined, undefined, undefined]);
  });
  test("copies what copy_headers names, and nothing else", async () => {
    await using all = await start((_, response) => {
      for (const name of ["Authorization", "X-User", "Tenant-Id", "Remote-User"])
        response.setHeader(name, `${name} of service`);
      response.end();
    }, ', copy_headers: ["authorization", "tenant-*"]');
    await send(all.proxy.port, "/", {
      fields: [
        ["Authorization", "Bearer of the client"],
        ["X-User", "client"],
      ],
    });
    const { headers } = all.up.requests[0]!;
    expect(headers).toMatchObject({
      authorization: "Authorization of service",
      "tenant-id": "Tenant-Id of service",
      "x-user": "client",
    });
    expect(headers["remote-user"]).toBeUndefined();
    expect(all.seen[0]!.headers.authorization).toBe("Bearer of the client");
  });
  test("never changes what this proxy says about the client, nor what frames the request", async () => {
    await using all = await start((_, response) => {
      for (const [name, value] of [
        ["X-Forwarded-For", "192.0.2.1"],
        ["X-Real-IP", "192.0.2.1"],
        ["X-Forwarded-Proto", "https"],
        ["X-Request-Id", "of the service"],
        ["X-Client-Subject", "CN=root"],
      ] as const)
        response.setHeader(name, value);
      response.end();
    });
    await send(all.proxy.port, "/", { method: "POST", body: "x", fields: [["X-Request-Id", "mine"]] });
    expect(all.up.requests[0]!.headers).toMatchObject({
      "x-forwarded-for": "127.0.0.1",
      "x-real-ip": "127.0.0.1",
      "x-forwarded-proto": "http",
      "x-request-id": "mine",
      "content-length": "1",
    });
    expect(all.up.requests[0]!.headers["x-client-subject"]).toBeUndefined();
  });
  test("with a long body costs nothing but its connection", async () => {
    await using all = await start((_, response) => void response.end(Buffer.alloc(1_000_000)));
    for (let i = 0; i < 3; i++) expect((await send(all.proxy.port, "/")).status).toBe(200);
    expect(all.up.requests).toHaveLength(3);
  });
});

describe("any other answer", () => {
  test("goes to the client as it is, and the upstream is not asked; on the original it was [12] [A2]", async () => {
    for (const status of [301, 302, 303, 307, 400, 401, 403, 404, 418, 500, 503]) {
      await using all = await start((_, response) => {
        response.statusCode = status;
        response.setHeader("Location", "https://login.test/?rd=1");
        response.setHeader("Set-Cookie", ["state=1; Path=/", "again=2"]);
        response.setHeader("WWW-Authenticate", 'Digest realm="x"');
        response.setHeader("X-Powered", "service");
        response.end(`why ${status}`);
      });
      // The request that takes effect on the original: the client gets a redirect, and the upstream the order.
      const answer = await send(all.proxy.port, "/order", { method: "POST", body: "one of everything" });
      expect(answer.status).toBe(status);
      expect(answer.body).toContain(`why ${status}`);
      expect(answer.field("location")).toBe("https://login.test/?rd=1");
      expect(answer.fields.filter(([name]) => name === "set-cookie").map(([, value]) => value)).toEqual([
        "state=1; Path=/",
        "again=2",
      ]);
      expect(answer.field("www-authenticate")).toBe('Digest realm="x"');
      expect(all.up.requests).toHaveLength(0);
    }
  });
  test("is named in the access log as a refusal", async () => {
    await using all = await start((_, response) => void response.writeHead(403).end("no"), "", {
      access_log: "all",
      access_log_format: "json",
    });
    await send(all.proxy.port, "/");
    expect(JSON.parse(await all.proxy.logged(/"logger":"http.log.access"/))).toMatchObject({
      status: 403,
      denied_by: "authorization",
      upstream: "",
    });
  });
  test("leaves a client that still sends its body with that answer", async () => {
    await using all = await start((_, response) => void response.writeHead(401).end("no"));
    const answer = await send(all.proxy.port, "/", { method: "PUT", body: "x".repeat(300_000) });
    expect([answer.status, all.up.requests.length]).toEqual([401, 0]);
  });
});

describe("a service that", () => {
  const upstreamOnly = async (service: string, more = "") => {
    const up = await startOrigin();
    const proxy = await startPatientProxy(rules(up.address, service, more));
    return {
      up,
      proxy,
      async [Symbol.asyncDispose]() {
        await proxy[Symbol.asyncDispose]();
        await up[Symbol.asyncDispose]();
      },
    };
  };

  test("cannot be reached is a 502, never a pass", async () => {
    await using all = await upstreamOnly(`127.0.0.1:${await deadPort()}`);
    const answer = await send(all.proxy.port, "/");
    expect(answer.status).toBe(502);
    expect(answer.body).toBe(
      "502 Bad Gateway: the authorization service could not be reached or gave no valid answer\n",
    );
    expect(all.up.requests).toHaveLength(0);
    await all.proxy.logged(/502 GET \/.*authorization: connect_refused/);
  });
  test("does not answer in time is a 504, never a pass", async () => {
    await using silent = await startRawOrigin(() => {});
    await using all = await upstreamOnly(silent.address, ", timeout: 0.2");
    const answer = await send(all.proxy.port, "/");
    expect(answer.status).toBe(504);
    expect(answer.body).toBe("504 Gateway Timeout: the authorization service did not answer in time\n");
    expect(all.up.requests).toHaveLength(0);
  });
  test("drips the head of its answer is held to the same time", async () => {
    await using dripping = await startRawOrigin((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n");
      const timer = setInterval(() => socket.write("X-A: b\r\n"), 20);
      socket.on("close", () => clearInterval(timer));
    });
    await using all = await upstreamOnly(dripping.address, ", timeout: 0.3");
    expect((await send(all.proxy.port, "/")).status).toBe(504);
    expect(all.up.requests).toHaveLength(0);
  });
  for (const [name, bytes] of [
    ["closes the connection", ""],
    ["speaks something else", "SSH-2.0-OpenSSH_9.2\r\n\r\n"],
    ["breaks off in its head", "HTTP/1.1 200 O"],
    ["switches protocols", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"],
    ["answers with two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"],
  ] as const) {
    test(`${name} is a 502, never a pass`, async () => {
      await using odd = await startRawOrigin((socket) => void socket.end(bytes));
      await using all = await upstreamOnly(odd.address);
      const answer = await send(all.proxy.port, "/");
      expect(answer.status).toBe(502);
      expect(all.up.requests).toHaveLength(0);
    });
  }
  test("closes a connection that it kept is asked again on a fresh one", async () => {
    await using all = await start(yes);
    expect((await send(all.proxy.port, "/")).status).toBe(200);
    const { port } = all.service;
    await all.service.close();
    await using again = await startOrigin(echo("again"), port);
    expect((await send(all.proxy.port, "/")).status).toBe(200);
    expect(again.requests).toHaveLength(1);
  });
  test("is asked for a client that leaves is not waited for, and the upstream not asked", async () => {
    const closed: boolean[] = [];
    await using silent = await startRawOrigin((socket) => {
      closed.push(false);
      socket.on("close", () => closed.push(true));
    });
    await using all = await upstreamOnly(silent.address);
    const client = net.connect(all.proxy.port, "127.0.0.1", () =>
      client.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    );
    await until(() => closed.length === 1, "the service to be asked");
    client.resetAndDestroy();
    await until(() => closed.includes(true), "the question to be given up");
    expect(all.up.requests).toHaveLength(0);
  });
  test("is this proxy itself is a loop that ends at once", async () => {
    await using up = await startOrigin();
    await using proxy = await startPatientProxy(rules(up.address, "127.0.0.1:1"));
    await proxy.apply(rules(up.address, `127.0.0.1:${proxy.port}`).replace("a.test", "DEFAULT"));
    expect((await send(proxy.port, "/")).status).toBe(508);
    expect(up.requests).toHaveLength(0);
  });
  test("speaks TLS is verified when the rule says so", async () => {
    await using up = await startOrigin();
    const certs = `${import.meta.dir}/../../../../certs`;
    const service = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      reusePort: false,
      tls: { cert: Bun.file(`${certs}/dev.crt`), key: Bun.file(`${certs}/dev.key`) },
      fetch: () => new Response("fine", { headers: { "X-User": "ann" } }),
    });
    try {
      const of = (more: string) => rules(up.address, `localhost:${service.port}`, more).replace("http://", "https://");
      await using proxy = await startPatientProxy(of(""));
      expect((await send(proxy.port, "/")).status).toBe(200);
      expect(up.requests[0]!.headers["x-user"]).toBe("ann");
      await proxy.logged(/its certificate is not verified/);
      await proxy.apply(of(", verify: true"));
      expect((await send(proxy.port, "/")).status).toBe(502);
      await proxy.apply(of(`, ca_file: "${certs}/dev.crt"`));
      expect((await send(proxy.port, "/")).status).toBe(200);
      expect(up.requests).toHaveLength(2);
    } finally {
      await service.stop(true);
    }
  });
});
