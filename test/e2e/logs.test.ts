/** What is written about requests (contract point 30 and section 10). */
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { startOrigin, startRawOrigin } from "../support/origins.ts";
import { startProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

const rules = (address: string) => `upstreams: { a.test: { paths: { "/": { servers: ["${address}"] } } } }`;

describe("the access log [30]", () => {
  test("has the original's line, also at log_level error, with tokens redacted", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address), { access_log: "all", log_level: "error" });
    await raw(
      proxy.port,
      "GET /x?araleztoken=geheim&y=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8\r\nConnection: close\r\n\r\n",
    );
    const line = await proxy.logged(/access - /);
    expect(line).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO access - 200, GET \/x\?araleztoken=\*\*\*&y=1, Host: a\.test, client: 127\.0\.0\.1, version: HTTP\/1\.1, useragent: curl\/8$/,
    );
    expect(proxy.log()).not.toContain("geheim");
  });
  test("as JSON has Caddy's keys and ours", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address), { access_log: "all", access_log_format: "json" });
    await raw(
      proxy.port,
      "POST /x HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: r1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    );
    const line = JSON.parse(await proxy.logged(/"logger":"http.log.access"/));
    expect(line).toMatchObject({
      level: "info",
      msg: "handled request",
      status: 200,
      bytes_read: 5,
      request: {
        remote_ip: "127.0.0.1",
        client_ip: "127.0.0.1",
        proto: "HTTP/1.1",
        method: "POST",
        host: "a.test",
        uri: "/x",
      },
      route: "a.test/",
      upstream: up.address,
      request_id: "r1",
      denied_by: "",
    });
    expect(line.size).toBeGreaterThan(0);
    expect(line.duration).toBeGreaterThan(0);
  });
  test("`error` writes only failures and answers cut short, which the log explains", async () => {
    await using up = await startRawOrigin((socket, data) => {
      if (data.toString().startsWith("HEAD"))
        return void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      if (data.toString().includes("/cut"))
        return void socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello`);
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    await using proxy = await startProxy(rules(up.address), { access_log: "error" });
    for (const target of ["/fine", "/cut", "/%00"])
      await raw(proxy.port, `GET ${target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n`);
    await proxy.logged(/access - 400, GET \/%00/);
    await proxy.logged(/access - 200, GET \/cut/);
    await proxy.logged(
      /cut after 5 bytes, host: a.test, route: a.test\/.*ended after 5 of 1000000 bytes|the answer of/,
    );
    expect(proxy.log()).not.toContain("GET /fine");
  });
  test("is off by default, and each answer of our own still has its one line", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address));
    await raw(proxy.port, "GET /seen HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    await raw(proxy.port, "GET /lost?password=geheim HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n");
    const line = await proxy.logged(/404 GET/);
    expect(line).toContain("404 GET /lost?password=***, host: b.test, route: -, client: 127.0.0.1, id: ");
    expect(proxy.log()).not.toContain("/seen");
    expect(proxy.log().match(/404 GET/g)).toHaveLength(1);
  });
  test("cannot be forged by what a client sends", async () => {
    await using up = await startOrigin();
    await using proxy = await startProxy(rules(up.address), { access_log: "all" });
    await raw(
      proxy.port,
      "GET /x HTTP/1.1\r\nHost: a.test\r\nUser-Agent: a\t, Host: forged.test, client: 6.6.6.6\r\nConnection: close\r\n\r\n",
    );
    const line = await proxy.logged(/access - 200/);
    expect(line).not.toContain("\t");
    expect(line.indexOf("Host: a.test, client: 127.0.0.1")).toBeLessThan(line.indexOf("forged.test"));
    expect(proxy.log().match(/access - /g)).toHaveLength(1);
  });
});

test("reopening after the file was moved away writes a new one", async () => {
  await using up = await startOrigin();
  await using proxy = await startProxy(rules(up.address), { access_log: "all" });
  const file = join(proxy.folder, "log.txt");
  await raw(proxy.port, "GET /before HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  await proxy.logged(/\/before/);
  renameSync(file, `${file}.old`);
  proxy.running.reopenLogs();
  await raw(proxy.port, "GET /after HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  await proxy.logged(/\/after/);
  expect(readFileSync(`${file}.old`, "utf8")).not.toContain("/after");
  await until(() => existsSync(file));
});

test("with error_log, warnings and errors go there, the rest to log_file", async () => {
  await using up = await startOrigin();
  const errors = `/tmp/aralez-errors-${process.pid}.txt`;
  await using proxy = await startProxy(rules(up.address), {
    error_log: { path: errors, sizeMiB: 0, keep: 1, compress: false },
  });
  proxy.write("nonsense: 1\n");
  await until(
    () => existsSync(errors) && /error: unknown key|nonsense/.test(readFileSync(errors, "utf8")),
    "the error",
  );
  expect(proxy.log()).not.toContain("nonsense");
  expect(proxy.log()).toContain("in force");
  await Bun.file(errors).delete();
});
