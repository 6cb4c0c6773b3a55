/** What the socket engines carry unchanged, and Bun.serve with fetch cannot (the README's table names each case). */
import { describe, expect, test } from "bun:test";
import net from "node:net";
import { startOrigin, startRawOrigin } from "../support/origins.ts";
import { startProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const rules = (address: string) =>
  `upstreams: { a.test: { paths: { "/": { servers: ["${address}"], healthcheck: false } } } }`;
const engines = { listener_engine: "socket", upstream_engine: "socket" } as const;

/** An origin that keeps the bytes of each request and answers with given ones. */
async function recorder(answer: string) {
  const seen: string[] = [];
  const origin = await startRawOrigin((socket, data) => {
    seen.push(data.toString("latin1"));
    socket.write(Buffer.from(answer, "latin1"));
  });
  return { ...origin, seen, [Symbol.asyncDispose]: origin[Symbol.asyncDispose] };
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("the request goes upstream as it came", () => {
  for (const target of [
    "/a/../b",
    "//x//y",
    "/%7euser/%2F",
    "/q?a='b'&c=\"d\"",
    "/back\\slash",
    "/a;b=c/./d?x#".slice(0, -1),
    "/caf\xc3\xa9",
  ]) {
    test(`its target ${target}`, async () => {
      await using up = await recorder(ok);
      await using proxy = await startProxy(rules(up.address), engines);
      await raw(proxy.port, Buffer.from(`GET ${target} HTTP/1.1\r\nHost: a.test\r\n\r\n`, "latin1"));
      expect(up.seen[0]).toStartWith(`GET ${target} HTTP/1.1\r\n`);
    });
  }
  test("its lines in their order, case and number; nothing added but what says who the client is", async () => {
    await using up = await recorder(ok);
    await using proxy = await startProxy(rules(up.address), engines);
    const lines =
      "hOST: a.test\r\nX-b: 1\r\nx-A: 2\r\nX-b:   3  \r\nAccept-Language: de\r\nCookie: a=1\r\nCookie: b=2\r\n";
    await raw(proxy.port, `GET / HTTP/1.1\r\n${lines}\r\n`);
    const head = up.seen[0]!.split("\r\n\r\n")[0]!;
    expect(head).toStartWith(`GET / HTTP/1.1\r\n${lines}`);
    const added = head
      .slice(`GET / HTTP/1.1\r\n${lines}`.length)
      .split("\r\n")
      .map((line) => line.split(":")[0]);
    expect(added).toEqual([
      "X-Forwarded-For",
      "X-Real-IP",
      "X-Forwarded-Proto",
      "X-Forwarded-Host",
      "X-Forwarded-Port",
      "X-Request-Id",
      "CDN-Loop",
    ]);
  });
  test("what is prepared for a connection and a route says the same as what is made for one request", async () => {
    await using up = await recorder(ok);
    const servers = `servers: ["${up.address}"], healthcheck: false, strip_prefix: true`;
    await using proxy = await startProxy(
      // A rule that speaks of such a field makes ours one by one.
      `server_headers: ["X-Rule: 1"]\nupstreams: { DEFAULT: { paths: { "/a": { ${servers} }, "/b": { ${servers}, server_headers: ["-X-Forwarded-For", "X-Forwarded-For: 127.0.0.1"] } } } }`,
      engines,
    );
    for (const host of ["a.test", "A.test:81", "[::1]:8"]) {
      for (const path of ["/a/x", "/b/x"])
        await raw(proxy.port, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nX-Request-Id: 1\r\n\r\n`);
    }
    const lines = up.seen.map((head) =>
      head
        .replace(/X-Forwarded-Prefix: \/[ab]/, "")
        .split("\r\n")
        .sort(),
    );
    expect(lines).toHaveLength(6);
    for (let i = 0; i < 6; i += 2) expect(lines[i + 1]).toEqual(lines[i]!);
  });
  test("a GET with its body, and trailers that do no harm", async () => {
    await using up = await recorder(ok);
    await using proxy = await startProxy(rules(up.address), engines);
    await raw(
      proxy.port,
      "GET / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\nAuthorization: evil\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n",
    );
    await until(() => up.seen.join("").endsWith("\r\n\r\n") && up.seen.join("").includes("X-Sum"), "the body");
    const body = up.seen.join("").split("\r\n\r\n").slice(1).join("\r\n\r\n");
    expect(body).toBe("5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n");
  });
});

describe("the answer comes back as it was", () => {
  test("its reason phrase, lines and Content-Length of any size", async () => {
    const size = 3_000_000;
    await using up = await recorder(
      `HTTP/1.1 200 Sehr gut\r\nX-b: 1\r\nx-B: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: ${size}\r\n\r\n${"x".repeat(size)}`,
    );
    await using proxy = await startProxy(rules(up.address), engines);
    const answer = await raw(proxy.port, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    expect(answer.head).toStartWith(
      `HTTP/1.1 200 Sehr gut\r\nX-b: 1\r\nx-B: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: ${size}\r\nDate: `,
    );
    expect(answer.body.length).toBe(size);
  });
  test("its interim answers and trailers", async () => {
    await using up = await recorder(
      "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    );
    await using proxy = await startProxy(rules(up.address), engines);
    const text = await new Promise<string>((resolve) => {
      let all = "";
      const socket = net.connect(proxy.port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
      socket.on("data", (data) => {
        all += data;
        if (all.endsWith("X-Sum: 1\r\n\r\n")) {
          socket.destroy();
          resolve(all);
        }
      });
    });
    expect(text).toStartWith("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n");
    expect(text).toEndWith("2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n");
  });
  test("its head before the first byte of its body", async () => {
    let finish: () => void = () => {};
    await using up = await startOrigin((_, response) => {
      response.flushHeaders();
      finish = () => void response.end("late");
    });
    await using proxy = await startProxy(rules(up.address), engines);
    const socket = net.connect(proxy.port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    let text = "";
    socket.on("data", (data) => (text += data));
    await until(() => text.includes("\r\n\r\n"), "the head");
    expect(text).not.toContain("late");
    finish();
    await until(() => text.includes("late"), "the body");
    socket.destroy();
  });
  test("a body delimited by the connection that is cut by a reset never looks complete", async () => {
    await using up = await startRawOrigin((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\nhalf");
      setTimeout(() => socket.resetAndDestroy(), 50);
    });
    await using proxy = await startProxy(rules(up.address), engines);
    const answer = await raw(proxy.port, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    expect(answer.ended).not.toBe("open");
    expect(answer.body).not.toEndWith("0\r\n\r\n");
  });
});

describe("an upgrade", () => {
  const upgrade = "Connection: Upgrade\r\nUpgrade: echo\r\n";
  test("to any protocol that the upstream takes is a tunnel, frames sent with the request included", async () => {
    await using up = await startRawOrigin((socket, data) => {
      const text = data.toString();
      if (!text.startsWith("GET")) return void socket.write(`echo ${text}`);
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Up: 1\r\n\r\nhi`);
      const early = text.split("\r\n\r\n")[1];
      if (early) socket.write(` early ${early}`);
    });
    await using proxy = await startProxy(rules(up.address), { ...engines, access_log: "all" });
    const socket = net.connect(proxy.port, "127.0.0.1", () =>
      socket.write(`GET / HTTP/1.1\r\nHost: a.test\r\n${upgrade}\r\nfirst`),
    );
    let text = "";
    socket.on("data", (data) => (text += data));
    await until(() => /first/.test(text), "the early bytes");
    expect(text).toStartWith("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Up: 1\r\n");
    socket.write("more");
    await until(() => text.endsWith("echo more"), "an echo");
    socket.end();
    await proxy.logged(/access - 101, GET \//);
  });
  test("to HTTP/2 or TLS is not passed on", async () => {
    await using up = await recorder(ok);
    await using proxy = await startProxy(rules(up.address), engines);
    for (const token of ["h2c", "TLS/1.2", "h2c, TLS/1.0"]) {
      const answer = await raw(
        proxy.port,
        `GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${token}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
      );
      expect(answer.status).toBe(200);
    }
    expect(up.seen.join("").toLowerCase()).not.toMatch(/upgrade|http2-settings/);
  });
  test("that the upstream makes to something else is a bad answer", async () => {
    await using up = await recorder(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
    );
    await using proxy = await startProxy(rules(up.address), engines);
    expect((await raw(proxy.port, `GET / HTTP/1.1\r\nHost: a.test\r\n${upgrade}\r\n`)).status).toBe(502);
  });
});
