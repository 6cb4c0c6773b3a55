/** Bounds of the socket engine: connections, requests per connection, pipelined requests, header and idle timeouts. */
import { describe, expect, test } from "bun:test";
import net from "node:net";
import { startHttp2Origin } from "../support/http2-origin.ts";
import { echo, startOrigin, startRawOrigin } from "../support/origins.ts";
import { oneProcess, overTls, startProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const rules = (address: string, more = "") =>
  `upstreams: { a.test: { paths: { "/": { servers: ["${address}"]${more && `, ${more}`} } } } }`;
const socketEngines = { listener_engine: "socket", upstream_engine: "socket" } as const;

/** Everything that comes back on one connection until it ends or `enough` is satisfied. */
function conversation(
  port: number,
  bytes: string,
  enough: (text: string) => boolean,
): Promise<{ text: string; ended: boolean }> {
  return new Promise((resolve) => {
    let text = "";
    const socket = net.connect(port, "127.0.0.1", () => socket.write(bytes));
    const finish = (ended: boolean) => {
      socket.destroy();
      resolve({ text, ended });
    };
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (enough(text)) finish(false);
    });
    socket.on("end", () => finish(true));
    socket.on("error", () => finish(true));
  });
}

const count = (text: string, pattern: RegExp) => text.match(pattern)?.length ?? 0;

describe("pipelined requests", () => {
  test("are answered in order, however slow the first one is", async () => {
    await using up = await startOrigin(async (request, response, self) => {
      if (request.url === "/slow") await Bun.sleep(100);
      await echo()(request, response, self);
    });
    await using proxy = await startProxy(rules(up.address), socketEngines);
    const bytes = ["/slow", "/b", "/c"].map((path) => `GET ${path} HTTP/1.1\r\nHost: a.test\r\n\r\n`).join("");
    const { text } = await conversation(proxy.port, bytes, (t) => count(t, /"target"/g) === 3);
    expect([...text.matchAll(/"target":"([^"]+)"/g)].map((match) => match[1])).toEqual(["/slow", "/b", "/c"]);
  });
  test("behind one that ends the connection are not run", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address), socketEngines);
    const bytes = "GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: a.test\r\n\r\n";
    const { ended } = await conversation(proxy.port, bytes, () => false);
    expect(ended).toBe(true);
    expect(up.requests.map((seen) => seen.target)).toEqual(["/a"]);
  });
});

test("keepalive_requests ends a connection in order", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(rules(up.address), { ...socketEngines, keepalive_requests: 2 });
  const bytes = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(3);
  const { text, ended } = await conversation(proxy.port, bytes, () => false);
  expect(ended).toBe(true);
  expect(count(text, /HTTP\/1\.1 200/g)).toBe(2);
  expect(count(text, /Connection: close/g)).toBe(1);
});

test("above max_connections a client gets 503 at once, below it all is well again", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(rules(up.address), { ...socketEngines, ...oneProcess, max_connections: 2 });
  const idle: net.Socket[] = [];
  // Connections of an earlier test count in this process until they are gone, and ours are turned away for them.
  const fill = () => {
    while (idle.filter(({ destroyed }) => !destroyed).length < 2)
      idle.push(
        net
          .connect(proxy.port, "127.0.0.1")
          .on("error", () => {})
          .resume(),
      );
  };
  const ask = () => raw(proxy.port, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  // On the TLS port it is turned away before the handshake.
  await until(async () => (fill(), (await ask()).status === (overTls ? 0 : 503)), "503");
  for (const socket of idle) socket.destroy();
  await until(async () => (await ask()).status === 200, "200");
});

test("max_upstream_connections makes requests wait, and 503 after `connect`", async () => {
  let busy = 0;
  let most = 0;
  await using up = await startOrigin(async (_, response) => {
    most = Math.max(most, ++busy);
    await Bun.sleep(50);
    busy--;
    response.end("ok");
  });
  await using proxy = await startProxy(rules(up.address, "healthcheck: false"), {
    ...socketEngines,
    ...oneProcess,
    max_upstream_connections: 2,
  });
  const ask = () => raw(proxy.port, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  const answers = await Promise.all(Array.from({ length: 10 }, ask));
  expect(answers.map((answer) => answer.status)).toEqual(Array(10).fill(200));
  expect(most).toBe(2);
  await proxy.apply(rules(up.address, "healthcheck: false, timeouts: { connect: 0.02 }"));
  const hurried = await Promise.all(Array.from({ length: 10 }, ask));
  expect(hurried.map((answer) => answer.status)).toContain(503);
});

test("max_upstream_connections counts connections of both versions together", async () => {
  const held: (() => void)[] = [];
  await using one = await startOrigin((_, response) => void held.push(() => response.end("one")));
  await using two = await startHttp2Origin((stream) => {
    held.push(() => (stream.respond({ ":status": 200 }), stream.end("two")));
  });
  const written = (connect: number) =>
    `upstreams: { a.test: { healthcheck: false, timeouts: { connect: ${connect} }, paths: { "/": { servers: ["${one.address}"] }, "/2": { servers: [{ address: "${two.address}", protocol: h2c }] } } } }\n`;
  await using proxy = await startProxy(written(0.3), { ...socketEngines, ...oneProcess, max_upstream_connections: 1 });
  const ask = (path: string) => raw(proxy.port, `GET ${path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n`);
  const answered = async (asked: ReturnType<typeof ask>, body: string) => {
    held.shift()!();
    expect((await asked).body).toContain(body);
  };
  // Each version finds no place while the other has the only one.
  let busy = ask("/");
  await until(() => held.length === 1);
  expect((await ask("/2")).status).toBe(503);
  await answered(busy, "one");
  // An idle connection of the other one makes room, at once.
  busy = ask("/2");
  await until(() => held.length === 1, "HTTP/2 in the place of an idle HTTP/1.1");
  expect((await ask("/")).status).toBe(503);
  await answered(busy, "two");
  busy = ask("/");
  await until(() => held.length === 1, "HTTP/1.1 in the place of an idle HTTP/2");
  // Who waits gets the place when it is free.
  await proxy.apply(written(10));
  const next = ask("/2");
  await answered(busy, "one");
  await until(() => held.length === 1, "the place");
  const last = ask("/");
  await answered(next, "two");
  await until(() => held.length === 1, "the place");
  await answered(last, "one");
});

describe("client_timeouts", () => {
  test("header: a head that drips gets 408", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address), { ...socketEngines, client_timeouts: { header: 0.3 } });
    const answer = await raw(proxy.port, "GET / HTTP/1.1\r\nHost: a.te");
    expect(answer.status).toBe(408);
    expect(answer.fields).toContainEqual(["connection", "close"]);
  });
  test("idle: a connection between requests is closed", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address), { ...socketEngines, client_timeouts: { idle: 0.3 } });
    const { text, ended } = await conversation(proxy.port, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", () => false);
    expect(ended).toBe(true);
    expect(text).toStartWith("HTTP/1.1 200");
  });
  test("write: a client that reads nothing is cut, and the log says so", async () => {
    await using up = await startOrigin((_, response) => void response.end(Buffer.alloc(64 * 1024 * 1024)));
    await using proxy = await startProxy(rules(up.address), { ...socketEngines, client_timeouts: { write: 0.3 } });
    const socket = net.connect(proxy.port, "127.0.0.1");
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    await proxy.logged(/the client read nothing for 0.3 s/);
    socket.destroy();
  });
});

test("a half-closed client gets its answer", async () => {
  await using up = await startOrigin(async (request, response, self) => {
    await Bun.sleep(100);
    await echo()(request, response, self);
  });
  await using proxy = await startProxy(rules(up.address), socketEngines);
  const text = await new Promise<string>((resolve) => {
    let all = "";
    const socket = net.connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true });
    socket.end("GET /half HTTP/1.1\r\nHost: a.test\r\n\r\n");
    socket.on("data", (data) => (all += data));
    socket.on("end", () => resolve(all));
  });
  expect(text).toContain('"target":"/half"');
});

describe("Expect: 100-continue goes to the upstream", () => {
  const head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

  /** A client that waits for its 100; what it was told so far. */
  function ask(port: number) {
    const told = { text: "", ended: false };
    const socket = net.connect(port, "127.0.0.1", () => socket.write(head));
    socket.on("data", (data) => (told.text += data));
    socket.on("end", () => (told.ended = true));
    return { socket, told };
  }

  test("its 100 is passed on, then the body", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address), socketEngines);
    const { socket, told } = ask(proxy.port);
    await until(() => told.text.startsWith("HTTP/1.1 100 Continue\r\n\r\n"), "100 Continue");
    socket.write("hello");
    await until(() => told.text.includes('"body":"hello"'), "the answer");
    expect(up.requests[0]!.headers.expect).toBe("100-continue");
    expect(count(told.text, /100 Continue/g)).toBe(1);
    socket.destroy();
  });

  test("its refusal comes instead, no 100, and the connection says that it ends", async () => {
    await using up = await startRawOrigin((socket) => {
      socket.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    });
    await using proxy = await startProxy(rules(up.address, "healthcheck: false"), socketEngines);
    const { socket, told } = ask(proxy.port);
    await until(() => told.text.endsWith("no"), "the refusal");
    expect(told.text).toStartWith("HTTP/1.1 403 Forbidden\r\n");
    expect(told.text).toContain("Connection: close\r\n");
    socket.destroy();
  });

  test("an upstream that knows no 100 gets the body a moment later", async () => {
    let seen = "";
    await using up = await startRawOrigin((socket, data) => {
      seen += data.toString();
      if (seen.endsWith("hello")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine");
    });
    await using proxy = await startProxy(rules(up.address, "healthcheck: false"), socketEngines);
    const { socket, told } = ask(proxy.port);
    await until(() => told.text.startsWith("HTTP/1.1 100 Continue\r\n\r\n"), "100 Continue");
    socket.write("hello");
    await until(() => told.text.endsWith("fine"), "the answer");
    socket.destroy();
  });
});

test("the authority of an absolute-form target decides, and is the Host that goes upstream", async () => {
  await using a = await startOrigin(echo("a"));
  await using b = await startOrigin(echo("b"));
  await using proxy = await startProxy(
    `upstreams: { a.test: { paths: { "/": { servers: ["${a.address}"] } } }, b.test: { paths: { "/": { servers: ["${b.address}"] } } } }`,
    socketEngines,
  );
  const answer = await raw(proxy.port, "GET http://b.test/x?y HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  const seen = JSON.parse(answer.body.slice(answer.body.indexOf("{"), answer.body.lastIndexOf("}") + 1));
  expect(seen).toMatchObject({ name: "b", target: "/x?y", headers: { host: "b.test" } });
  expect(a.requests).toHaveLength(0);
});

test("a tunnel counts towards max_upstream_connections while it lasts, and no longer", async () => {
  await using up = await startRawOrigin((socket, data) => {
    const ask = data.toString().startsWith("GET");
    socket.write(ask ? "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhi" : data);
  });
  const limited = { ...socketEngines, ...oneProcess, max_upstream_connections: 1 };
  await using proxy = await startProxy(rules(up.address, "healthcheck: false, timeouts: { connect: 0.05 }"), limited);
  const upgrade = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
  for (let i = 0; i < 4; i++) {
    // The one before is given back a moment after its client has left.
    const socket = await until(async () => {
      const client = net.connect(proxy.port, "127.0.0.1", () => client.write(upgrade));
      const text = await new Promise<string>((resolve) => client.once("data", (data) => resolve(data.toString())));
      return text.startsWith("HTTP/1.1 101") ? client : (client.destroy(), undefined);
    }, "a tunnel");
    expect((await raw(proxy.port, upgrade)).status).toBe(503);
    socket.destroy();
  }
});
