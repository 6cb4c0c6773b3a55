/** Dead, slow and lying upstreams (contract points 8, 19; B6, B7, B20, A8; section 14: retries, timeouts, max_fails). */
import { describe, expect, test } from "bun:test";
import { deadPort, echo, startOrigin, startRawOrigin } from "../support/origins.ts";
import { startProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const request = (line: string, body = "") =>
  `${line} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n${body === "" ? "" : `Content-Length: ${body.length}\r\n`}\r\n${body}`;

function rules(servers: string[], more = "", top = ""): string {
  return `${top}\nupstreams: { a.test: { paths: { "/": { servers: ${JSON.stringify(servers)}${more && `, ${more}`} } } } }\n`;
}

describe("round robin [8]", () => {
  test("is even over live servers", async () => {
    await using a = await startOrigin(echo("a"));
    await using b = await startOrigin(echo("b"));
    await using c = await startOrigin(echo("c"));
    await using proxy = await startProxy(rules([a.address, b.address, c.address]));
    for (let i = 0; i < 30; i++) expect((await raw(proxy.port, request("GET /"))).status).toBe(200);
    for (const origin of [a, b, c]) expect(origin.requests).toHaveLength(10);
  });
  test("reaches IPv6 servers and unix sockets", async () => {
    await using six = Object.assign(
      Bun.serve({ hostname: "::1", port: 0, reusePort: false, fetch: () => new Response("six") }),
      {},
    );
    const path = `/tmp/aralez-origin-${process.pid}.sock`;
    await using unix = Object.assign(
      Bun.serve({ unix: path, fetch: (r) => new Response(`unix ${r.headers.get("host")}`) }),
      {},
    );
    await using proxy = await startProxy(rules([`[::1]:${six.port}`, `unix:${path}`]));
    const bodies = new Set([
      (await raw(proxy.port, request("GET /"))).body,
      (await raw(proxy.port, request("GET /"))).body,
    ]);
    expect([...bodies].sort()).toEqual(["six", "unix a.test"]);
    void unix;
  });
});

describe("failover [B7]", () => {
  for (const method of ["GET", "POST", "PATCH", "DELETE"]) {
    test(`a ${method} whose server refuses the connection goes to the next one, body and all`, async () => {
      await using up = await startOrigin();
      await using proxy = await startProxy(rules([`127.0.0.1:${await deadPort()}`, up.address], "healthcheck: false"));
      for (let i = 0; i < 4; i++) {
        const answer = await raw(proxy.port, request(`${method} /x`, method === "GET" ? "" : "hello"));
        expect(answer.status).toBe(200);
      }
      expect(up.requests).toHaveLength(4);
      if (method !== "GET") expect(up.requests.every((seen) => seen.body.toString() === "hello")).toBe(true);
    });
  }
  test("a GET that is reset before the answer is repeated, a POST is not", async () => {
    let resets = 0;
    await using bad = await startRawOrigin((socket, data) => {
      if (data.toString().startsWith("HEAD"))
        return void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      resets++;
      socket.resetAndDestroy();
    });
    await using up = await startOrigin();
    await using proxy = await startProxy(rules([bad.address, up.address], "max_fails: 0, healthcheck: false"));
    for (let i = 0; i < 4; i++) expect((await raw(proxy.port, request("GET /"))).status).toBe(200);
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await raw(proxy.port, request("POST /", "x"))).status);
    expect(statuses.filter((status) => status === 502)).toHaveLength(2);
    expect(resets).toBeGreaterThan(0);
  });
  test("a status is never a reason to ask another server", async () => {
    await using a = await startOrigin((_, response) => void response.writeHead(503).end("mine"));
    await using b = await startOrigin((_, response) => void response.writeHead(503).end("mine"));
    await using proxy = await startProxy(rules([a.address, b.address]));
    const answer = await raw(proxy.port, request("GET /"));
    expect(answer.status).toBe(503);
    expect(answer.body).toContain("mine");
  });
  test("retries: 0 switches it off", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(
      rules([`127.0.0.1:${await deadPort()}`, up.address], "healthcheck: false, retries: 0, max_fails: 0"),
    );
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await raw(proxy.port, request("GET /"))).status);
    expect(statuses.sort()).toEqual([200, 200, 502, 502]);
  });
  test("502 when none is left, without telling the client why; the log does", async () => {
    const dead = await deadPort();
    await using proxy = await startProxy(rules([`127.0.0.1:${dead}`], "healthcheck: false"));
    const answer = await raw(proxy.port, request("GET /"));
    expect(answer.status).toBe(502);
    expect(answer.body).not.toContain(String(dead));
    await proxy.logged(
      new RegExp(`502 GET /, host: a.test, route: a.test/, member: 127.0.0.1:${dead}.*connect_refused`),
    );
  });
  test("a server that keeps refusing is put aside, and tried again after fail_timeout", async () => {
    const port = await deadPort();
    await using up = await startOrigin(echo("up"));
    await using proxy = await startProxy(
      rules([`127.0.0.1:${port}`, up.address], "healthcheck: false, max_fails: 2, fail_timeout: 0.3"),
    );
    for (let i = 0; i < 8; i++) expect((await raw(proxy.port, request("GET /"))).status).toBe(200);
    await proxy.logged(new RegExp(`127.0.0.1:${port} is put aside for 0.3 s`));
    await using back = await startOrigin(echo("back"), port);
    await until(
      async () => JSON.parse((await raw(proxy.port, request("GET /"))).body).name === "back",
      "the server to be used again",
    );
    expect(back.requests.length).toBeGreaterThan(0);
  });
});

describe("active checks [19] [B20]", () => {
  test("a server down at start, and one down at a reload, come back by themselves [A8]", async () => {
    const port = await deadPort();
    await using up = await startOrigin(echo("up"));
    const text = rules([`127.0.0.1:${port}`, up.address]);
    await using proxy = await startProxy(text);
    await proxy.logged(new RegExp(`127.0.0.1:${port} is down: connection refused`));
    await proxy.apply(`${text}# edited while it is down\n`);
    await using back = await startOrigin(echo("back"), port);
    await until(
      async () => JSON.parse((await raw(proxy.port, request("GET /"))).body).name === "back",
      "the server to come back",
    );
    await proxy.logged(new RegExp(`127.0.0.1:${port}.* up again`));
    expect(back.checks).toBeGreaterThan(0);
  });
  test("all down gives 503 at once and the summary names each cause", async () => {
    const dead = await deadPort();
    await using proxy = await startProxy(rules([`127.0.0.1:${dead}`]));
    await proxy.logged(new RegExp(`in force: .*down: 127.0.0.1:${dead} connection refused`));
    expect((await raw(proxy.port, request("GET /"))).status).toBe(503);
  });
  test("path, host, expect and method are configurable; redirects are not followed", async () => {
    const asked: string[] = [];
    await using odd = await startOrigin((req, res) => {
      if (req.headers["x-request-id"]) return void res.end("served");
      asked.push(`${req.method} ${req.url} ${req.headers.host}`);
      res.writeHead(302, { Location: "http://127.0.0.1:1/" }).end();
    });
    const check = "{ method: GET, path: /health?x=1, host: probe.test, expect: '200', rise: 1, fall: 1 }";
    await using proxy = await startProxy(rules([odd.address], `healthcheck: ${check}`));
    await proxy.logged(/is down: answered 302/);
    expect(asked[0]).toBe("GET /health?x=1 probe.test");
    await proxy.apply(rules([odd.address], `healthcheck: ${check.replace("'200'", "'300-399'")}`));
    await until(async () => (await raw(proxy.port, request("GET /"))).body === "served", "the server to count as up");
  });
  test("healthcheck: false asks nothing", async () => {
    await using up = await startOrigin();
    await using checked = await startOrigin();
    await using proxy = await startProxy(
      `upstreams: { a.test: { paths: { "/": { servers: ["${up.address}"], healthcheck: false }, "/c": { servers: ["${checked.address}"] } } } }`,
    );
    await until(() => checked.checks > 3, "four checks of the other server");
    expect(up.checks).toBe(0);
    expect(up.connections).toBe(0);
    expect((await raw(proxy.port, request("GET /"))).status).toBe(200);
  });
});

describe("timeouts [B6]", () => {
  test("first_byte: a silent upstream gives 504 and is not asked twice", async () => {
    let asked = 0;
    await using silent = await startRawOrigin(() => void asked++);
    await using up = await startOrigin();
    await using proxy = await startProxy(
      rules([silent.address, up.address], "healthcheck: false, timeouts: { first_byte: 0.2 }, max_fails: 0"),
    );
    const answers = [await raw(proxy.port, request("GET /")), await raw(proxy.port, request("GET /"))];
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, 504]);
    expect(answers.find((answer) => answer.status === 504)!.body).toBe(
      "504 Gateway Timeout: the upstream server did not answer in time\n",
    );
    expect(asked).toBe(1);
  });
  test("first_byte counts from the end of the request: a slow upload is no silence of the upstream", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules([up.address], "timeouts: { first_byte: 0.3 }"));
    const response = await fetch(proxy.url, {
      method: "POST",
      headers: { Host: "a.test" },
      body: new ReadableStream({
        async start(controller) {
          for (let i = 0; i < 6; i++) {
            controller.enqueue(new TextEncoder().encode("x"));
            await Bun.sleep(120);
          }
          controller.close();
        },
      }),
    });
    expect(response.status).toBe(200);
    expect(up.requests[0]!.body.toString()).toBe("xxxxxx");
  });
  test("idle: an upstream that goes silent inside its body cuts the client's connection", async () => {
    await using half = await startRawOrigin(
      (socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello"),
    );
    await using proxy = await startProxy(rules([half.address], "healthcheck: false, timeouts: { idle: 0.3 }"));
    const answer = await raw(proxy.port, request("GET /"));
    expect(answer.status).toBe(200);
    expect(answer.ended).not.toBe("open");
    expect(answer.body).not.toEndWith("0\r\n\r\n");
  });
  test("a client that goes silent inside its body gets 408", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules([up.address]), { client_timeouts: { body: 0.3 } });
    const answer = await raw(proxy.port, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nonly this");
    expect(answer.status).toBe(408);
  });
});

describe("a lying upstream", () => {
  const refused: [what: string, bytes: string][] = [
    ["an upgrade nobody asked for", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
    ["two different lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"],
  ];
  for (const [what, bytes] of refused) {
    test(`that answers with ${what} gives 502`, async () => {
      await using liar = await startRawOrigin((socket) => void socket.write(bytes));
      await using proxy = await startProxy(rules([liar.address], "healthcheck: false"));
      expect((await raw(proxy.port, request("GET /"))).status).toBe(502);
    });
  }

  const answers: [what: string, bytes: string][] = [
    ["is not HTTP", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["has a broken status line", "HTTP/1.1 abc Nope\r\n\r\n"],
    ["has a broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"],
    ["ends before its Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"],
    ["ends inside a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"],
    ["ends before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"],
  ];
  for (const [what, bytes] of answers) {
    test(`whose answer ${what} never looks complete to the client`, async () => {
      await using liar = await startRawOrigin((socket) => void socket.end(bytes));
      await using proxy = await startProxy(rules([liar.address], "healthcheck: false"));
      const answer = await raw(proxy.port, request("GET /"));
      if (answer.status === 502) return;
      expect(answer.status).toBe(200);
      expect(answer.ended).not.toBe("open");
      expect(answer.body).not.toEndWith("0\r\n\r\n");
      const length = answer.fields.find(([name]) => name === "content-length")?.[1];
      if (length !== undefined) expect(answer.body.length).toBeLessThan(Number(length));
    });
  }
});
