/** Challenges on the plain port: only pending tokens are answered by the proxy itself. Orders: test/control/acme, Pebble: test/acme-pebble. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { origin } from "../cli/program.ts";
import { ask } from "../support/acme-ask.ts";
import { startAcmeServer } from "../support/acme-server.ts";
import { temporary } from "../support/certificates.ts";
import { deadPort } from "../support/origins.ts";
import { raw } from "../support/raw.ts";
import { startPatientProxy, until } from "../support/proxy.ts";

setDefaultTimeout(60_000);

const path = "/.well-known/acme-challenge/";
const token = "r".repeat(43);
const answer = `${token}.${"k".repeat(43)}`;

/** Every guard that could stand in the way. */
const rulesFor = (port: number) => `
upstreams:
  guarded.test:
    to_https: true
    authorization: {type: basic, data: "user:secret"}
    deny: ["0.0.0.0/0", "::/0"]
    paths:
      "/": {servers: ["127.0.0.1:${port}"], healthcheck: false}
  open.test:
    paths:
      "/": {servers: ["127.0.0.1:${port}"], healthcheck: false}
`;

describe("the plain port with ACME", () => {
  test("[26] answers a pending token for every host, before redirects and guards; the routes get everything else", async () => {
    using upstream = origin("up");
    using state = temporary();
    await using server = startAcmeServer();
    mkdirSync(join(state.path, "challenges"));
    const acme = { directory: server.url, ca_file: server.caFile, state: state.path };
    await using proxy = await startPatientProxy(rulesFor(upstream.port!), { acme });
    writeFileSync(join(state.path, "challenges", token), answer);
    const port = proxy.plainPort;
    for (const host of ["guarded.test", "open.test", "nobody.test", "127.0.0.1"]) {
      const { status, body, fields } = await ask(port, host, path + token);
      expect({ host, status, body }).toEqual({ host, status: 200, body: answer });
      expect(fields.get("content-type")).toBe("application/octet-stream");
      expect(fields.get("x-request-id")).toBeString();
    }
    expect((await ask(port, "open.test", path + token, { method: "HEAD" })).body).toBe("");
    await proxy.logged(/200 GET \/\.well-known.*host: nobody\.test.*the token of a pending ACME order/);

    const toRoutes = [
      "",
      "x",
      "x".repeat(43),
      `${token}/`,
      `${token}?x`,
      `../acme-challenge/${token}x`,
      `%72${token.slice(1)}`,
    ];
    for (const rest of toRoutes)
      expect((await ask(port, "open.test", path + rest)).body).toStartWith("up /.well-known/");
    expect((await ask(port, "open.test", path + token, { method: "POST", body: "x" })).body).toBe(`up ${path}${token}`);
    expect((await ask(port, "guarded.test", `${path}${"x".repeat(43)}`)).status).toBe(301);
    expect((await ask(port, "nobody.test", `${path}${"x".repeat(43)}`)).status).toBe(404);
    const bad = await raw(port, `GET ${path}${token} HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n`);
    expect(bad.status).toBe(400);
  });

  test("without ACME such a file is nobody's business", async () => {
    using upstream = origin("up");
    using folder = temporary();
    mkdirSync(join(folder.path, "autoconfigs", "challenges"), { recursive: true });
    writeFileSync(join(folder.path, "autoconfigs", "challenges", token), answer);
    await using proxy = await startPatientProxy(rulesFor(upstream.port!), { proxy_configs: folder.path });
    expect((await ask(proxy.plainPort, "open.test", path + token)).body).toBe(`up ${path}${token}`);
    expect(await proxy.running.acme.states()).toEqual([]);
  });

  test("new hosts get their certificate after a reload, and the whole order passes through the port", async () => {
    using upstream = origin("up");
    using state = temporary();
    await using server = startAcmeServer();
    const seen: string[] = [];
    const acme = { directory: server.url, ca_file: server.caFile, state: state.path, hosts: "all" as const };
    await using proxy = await startPatientProxy(rulesFor(upstream.port!), { acme });
    server.validate = async (name, asked, keyAuthorization) => {
      seen.push(name);
      return (await ask(proxy.plainPort, name, path + asked)).body === keyAuthorization;
    };
    const valid = async () =>
      (await proxy.running.acme.states()).filter(({ state: found }) => found === "valid").map(({ name }) => name);
    await until(async () => (await valid()).length === 2);
    await proxy.apply(
      `${rulesFor(upstream.port!)}  later.test:\n    paths:\n      "/": {servers: ["127.0.0.1:${upstream.port}"], healthcheck: false}\n`,
    );
    await until(async () => (await valid()).length === 3, `a third certificate\n${proxy.log()}`);
    expect(await valid()).toEqual(["guarded.test", "later.test", "open.test"]);
    expect(seen.sort()).toEqual(["guarded.test", "later.test", "open.test"]);
  });

  test("a server that is down at the start holds up nothing: the proxy serves, tells it, and tries again within minutes", async () => {
    using upstream = origin("up");
    using state = temporary();
    const port = await deadPort();
    const acme = { directory: `https://localhost:${port}/dir`, state: state.path, hosts: "all" as const };
    await using proxy = await startPatientProxy(rulesFor(upstream.port!), { acme });
    expect((await ask(proxy.plainPort, "open.test", "/")).status).toBe(200);
    expect((await ask(proxy.plainPort, "open.test", path + token)).status).toBe(200);
    await proxy.logged(/ERROR acme - Cannot read the ACME directory .*tried again in (4[89]|[56]\d|7[0-2]) s/);
    const states = await proxy.running.acme.states();
    expect(states.map(({ name, state: found }) => [name, found])).toEqual([
      ["guarded.test", "failed"],
      ["open.test", "failed"],
    ]);
    expect((await ask(proxy.plainPort, "open.test", "/")).status).toBe(200);
  });
});
