/** Where the admin API listens: TCP, unix sockets, TLS; taken addresses; and never through the public port. */
import { describe, expect, test } from "bun:test";
import { existsSync, lstatSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../cli/program.ts";
import { madeByUs } from "../../support/certificates.ts";
import { startOrigin } from "../../support/origins.ts";
import { startProxy, until } from "../../support/proxy.ts";
import { raw } from "../../support/raw.ts";
import { send } from "../../support/send.ts";
import { masterKey, withKey } from "./ask.ts";

const rules = `upstreams: { a.test: { paths: { "/": { redirect_to: "https://b.test" } } } }\n`;
const loopback = (port: number) => ({ hostname: "127.0.0.1", port });

function folder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "aralez-admin-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

const overUnix = (unix: string, target: string, init: RequestInit = {}) =>
  fetch(`http://localhost${target}`, { unix, proxy: false, ...init } as BunFetchRequestInit);

describe("a unix socket", () => {
  test("is there for its owner alone (0600), reads without a key, and goes at the end", async () => {
    using place = folder();
    const unix = join(place.path, "admin.sock");
    {
      await using proxy = await startProxy(rules, { config_address: { unix }, master_key: masterKey });
      expect(proxy.running.listeners).toContainEqual({ name: "admin", url: `unix:${unix}` });
      expect(lstatSync(unix).isSocket()).toBe(true);
      expect(statSync(unix).mode & 0o777).toBe(0o600);
      expect((await overUnix(unix, "/status")).status).toBe(200);
      expect((await overUnix(unix, "/conf/history")).status).toBe(403);
      expect((await overUnix(unix, "/conf/history", { headers: [[...withKey]] })).status).toBe(200);
      expect(await proxy.logged(/client: unix socket/)).toContain("403 GET /conf/history");
    }
    expect(existsSync(unix)).toBe(false);
  });

  test("that a crashed process has left is replaced", async () => {
    using place = folder();
    const unix = join(place.path, "admin.sock");
    const script = `Bun.listen({ unix: ${JSON.stringify(unix)}, socket: { data() {} } }); process.kill(process.pid, "SIGKILL");`;
    await Bun.spawn([process.execPath, "-e", script], { stdout: "ignore", stderr: "ignore" }).exited;
    expect(existsSync(unix)).toBe(true);
    await using _proxy = await startProxy(rules, { config_address: { unix } });
    expect((await overUnix(unix, "/health")).status).toBe(200);
  });

  test("that somebody listens on is left alone until they go; a file that is no socket stays and stops the start", async () => {
    using place = folder();
    const unix = join(place.path, "admin.sock");
    const other = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => other.listen(unix, resolve));
    await using proxy = await startProxy(rules, { config_address: { unix } });
    expect(proxy.running.listeners.map(({ name }) => name)).not.toContain("admin");
    await proxy.logged(/Cannot listen on unix:.* \(config_address\): .*; tried again every 2 s/);
    await new Promise((resolve) => other.close(resolve));
    await until(async () => (await overUnix(unix, "/health").catch(() => undefined))?.status === 200);

    const file = join(place.path, "file");
    writeFileSync(file, "mine");
    expect(startProxy(rules, { config_address: { unix: file } })).rejects.toThrow("no socket");
    expect(await Bun.file(file).text()).toBe("mine");
  });
});

describe("a port", () => {
  test("that is taken keeps nothing from running, and is taken over when it is free", async () => {
    const port = freePort();
    const other = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
    await using proxy = await startProxy(rules, { config_address: loopback(port) });
    expect((await send(proxy.plainPort, "/")).status).toBe(301);
    await proxy.logged(
      new RegExp(`WARN admin - Cannot listen on 127.0.0.1:${port} \\(config_address\\): .*the proxy runs without it`),
    );
    await new Promise((resolve) => other.close(resolve));
    await until(async () => (await send(port, "/health").catch(() => undefined))?.status === 200);
    expect(await proxy.logged(/INFO admin - config_address: listening on/)).toContain(String(port));
  });

  test("that cannot be had at all stops the start, with a reason", () => {
    expect(startProxy(rules, { config_address: { hostname: "192.0.2.1", port: 3000 } })).rejects.toThrow(
      "Cannot listen on 192.0.2.1:3000 (config_address): ",
    );
  });

  test("a full proxy still answers its operator", async () => {
    await using proxy = await startProxy(rules, { max_connections: 1, listener_engine: "socket" });
    const idle = new Promise<Bun.Socket>((resolve, reject) => {
      Bun.connect({
        hostname: "127.0.0.1",
        port: proxy.plainPort,
        socket: { open: resolve, data() {}, connectError: (_socket, error) => reject(error) },
      }).catch(reject);
    });
    const held = await idle;
    await until(async () => (await send(proxy.plainPort, "/")).status === 503);
    expect((await send(proxy.adminPort, "/health", { host: "127.0.0.1" })).status).toBe(200);
    held.end();
  });

  test("/ready says when it is stopping, and answers until the drain is over", async () => {
    let asked = false;
    await using origin = await startOrigin(async (_request, response) => {
      asked = true;
      response.write("a");
      await Bun.sleep(1_500);
      response.end("b");
    });
    const proxy = await startProxy(
      `upstreams: { a.test: { paths: { "/": { healthcheck: false, servers: ["${origin.address}"] } } } }\n`,
    );
    expect((await send(proxy.adminPort, "/ready")).body).toBe("ready\n");
    const slow = send(proxy.plainPort, "/");
    await until(() => asked);
    const stopped = proxy.running.stop(10_000);
    expect(await send(proxy.adminPort, "/ready")).toMatchObject({ status: 503, body: "not ready: it is stopping\n" });
    expect(await send(proxy.adminPort, "/health")).toMatchObject({ status: 200 });
    expect((await slow).status).toBe(200);
    await stopped;
    expect(send(proxy.adminPort, "/ready")).rejects.toThrow();
    await proxy[Symbol.asyncDispose]();
  });
});

describe("config_tls_address", () => {
  const tls = { config_tls_address: loopback(0), admin_read: "key" as const, master_key: masterKey };
  const tlsPortOf = (proxy: { running: { listeners: readonly { name: string; url: string }[] } }) =>
    Number(new URL(proxy.running.listeners.find(({ name }) => name === "admin-tls")!.url).port);
  const ask = (port: number, ca: string, target: string, init: RequestInit = {}) =>
    fetch(`https://localhost:${port}${target}`, {
      ...init,
      tls: { ca },
      proxy: false,
      keepalive: false,
    } as RequestInit);

  test("serves its certificate, a renewed one within seconds, and asks for the same key", async () => {
    using place = folder();
    const [crt, key] = [join(place.path, "admin.crt"), join(place.path, "admin.key")];
    const put = (made: { crt: string; key: string }) => {
      writeFileSync(key, made.key);
      writeFileSync(crt, made.crt);
    };
    const [first, second] = [madeByUs(["localhost"]), madeByUs(["localhost"])];
    put(first);
    await using proxy = await startProxy(rules, { ...tls, config_tls_certificate: crt, config_tls_key_file: key });
    const port = tlsPortOf(proxy);
    expect((await ask(port, first.crt, "/health")).status).toBe(200);
    expect((await ask(port, first.crt, "/status")).status).toBe(403);
    expect((await ask(port, first.crt, "/status", { headers: { "x-api-key": masterKey } })).status).toBe(200);
    expect(ask(port, second.crt, "/health")).rejects.toThrow();
    // Damaged: the one before stays.
    writeFileSync(crt, "nonsense");
    await proxy.logged(/config_tls_address .*: Cannot use ".*admin.crt": .*the one before stays/);
    expect((await ask(port, first.crt, "/health")).status).toBe(200);
    put(second);
    await until(async () => (await ask(port, second.crt, "/health").catch(() => undefined))?.status === 200);
  });

  test("without a usable certificate is not served, never in plain, until there is one", async () => {
    using place = folder();
    const [crt, key] = [join(place.path, "admin.crt"), join(place.path, "admin.key")];
    const port = freePort();
    await using proxy = await startProxy(rules, {
      ...tls,
      config_tls_address: loopback(port),
      config_tls_certificate: crt,
      config_tls_key_file: key,
    });
    await proxy.logged(
      /config_tls_address .*: Cannot read ".*admin.crt": ENOENT; it is not served until that is mended/,
    );
    expect(raw(port, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n")).rejects.toThrow();
    const made = madeByUs(["localhost"]);
    writeFileSync(key, made.key);
    writeFileSync(crt, made.crt);
    await until(async () => (await ask(port, made.crt, "/health").catch(() => undefined))?.status === 200);
  });

  test("without the names of its two files says so", async () => {
    await using proxy = await startProxy(rules, tls);
    await proxy.logged(
      /config_tls_address .* is not served: it needs `config_tls_certificate` and `config_tls_key_file`/,
    );
  });
});

describe("the admin API and the public port [A1]", () => {
  test("the original's shipped DEFAULT route to 127.0.0.1:3000 opens nothing, the rest of the file works", async () => {
    const port = freePort();
    await using origin = await startOrigin();
    await using proxy = await startProxy(
      `
provider: file
consul: { servers: ["http://127.0.0.1:8500"], services: [{ hostname: "x", upstream: "x" }] }
kubernetes: { servers: ["127.0.0.1:6443"], services: [{ hostname: "x", upstream: "x" }] }
upstreams:
  a.test:
    paths:
      "/": { healthcheck: false, servers: ["${origin.address}"] }
      "/jwt-only": { healthcheck: false, servers: ["${origin.address}"], authorization: { type: jwt } }
  DEFAULT:
    paths:
      "/": { healthcheck: false, servers: ["127.0.0.1:${port}"] }
`,
      { config_address: loopback(port), master_key: masterKey, unmatched_status: undefined } as never,
    );
    for (const target of ["/conf", "/conf?save", `/conf?key=${masterKey}`, "/status", "/metrics", "/health"]) {
      const { status } = await send(proxy.plainPort, target, { method: "POST", host: "unknown.test", body: rules });
      expect([target, status]).toEqual([target, 404]);
      expect((await send(proxy.plainPort, target, { host: "unknown.test", fields: [withKey] })).status).toBe(404);
    }
    expect((await send(proxy.plainPort, "/", { host: "a.test" })).status).toBe(200);
    expect((await send(proxy.plainPort, "/jwt-only", { host: "a.test" })).status).toBe(401);
    expect((await send(port, "/health")).status).toBe(200);
  });

  test.each(["127.0.0.1", "127.9.9.9", "localhost", "[::1]"])(
    "a route to %s is found out where the admin API listens on every address",
    async (host) => {
      const port = freePort();
      await using proxy = await startProxy(
        `upstreams: { DEFAULT: { paths: { "/": { healthcheck: false, servers: ["${host}:${port}"] } } } }\n`,
        { config_address: { hostname: "::", port }, admin_read: "open" },
      );
      expect((await send(proxy.plainPort, "/status")).status).toBe(404);
      await proxy.logged(/route DEFAULT\/ is switched off/);
    },
  );

  test("a neighbour on the same port of another loopback address is no admin API", async () => {
    const port = freePort();
    await using proxy = await startProxy(
      `upstreams: { DEFAULT: { paths: { "/": { healthcheck: false, max_fails: 0, servers: ["127.0.0.2:${port}"] } } } }\n`,
      { config_address: loopback(port) },
    );
    expect((await send(proxy.plainPort, "/")).status).toBe(502);
  });

  test("what reaches it through the proxy by another name is cut with 508, the right key notwithstanding", async () => {
    // Port 0 is what the rules are compared with; the real one is told afterwards, as a name would be.
    await using proxy = await startProxy(rules, { master_key: masterKey, admin_read: "open" });
    await proxy.apply(
      `upstreams: { a.test: { paths: { "/": { healthcheck: false, servers: ["127.0.0.1:${proxy.adminPort}"] } } } }\n`,
    );
    for (const [method, target] of [
      ["GET", "/status"],
      ["GET", "/health"],
      ["POST", "/conf"],
    ] as const) {
      const { status, body } = await send(proxy.plainPort, target, { method, fields: [withKey] });
      expect([status, body]).toEqual([
        508,
        "508 Loop Detected: the admin API is not served through the proxy itself\n",
      ]);
    }
    expect((await send(proxy.adminPort, "/status")).status).toBe(200);
  });
});
