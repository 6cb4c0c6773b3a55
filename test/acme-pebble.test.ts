/** ACME against a real server: Pebble validates through our own plain port, and what it signs is served. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import type { WrittenSettings } from "../src/config/settings.ts";
import { freePort, origin } from "./cli/program.ts";
import { pebbleIsHere, startPebble, type Pebble } from "./support/pebble.ts";
import { startProxy, until, type TestProxy } from "./support/proxy.ts";
import { ask } from "./support/acme-ask.ts";

setDefaultTimeout(100_000);

if (!pebbleIsHere) console.log("ACME against Pebble is not tested: there is no pebble (apt-get install pebble)");

interface Started extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly state: string;
  readonly httpPort: number;
}

/** A proxy whose plain port Pebble validates at. */
async function startedFor(
  pebble: Pebble,
  httpPort: number,
  rules: string,
  acme: Partial<NonNullable<WrittenSettings["acme"]>>,
  more: Partial<WrittenSettings> = {},
): Promise<Started> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-acme-"));
  const proxy = await startProxy(rules, {
    proxy_address_http: { hostname: "127.0.0.1", port: httpPort },
    proxy_address_tls: { hostname: "127.0.0.1", port: 0 },
    proxy_configs: folder,
    hc_interval: 5,
    acme: { directory: pebble.url, ca_file: pebble.caFile, ...acme },
    ...more,
  });
  return {
    proxy,
    httpPort,
    state: join(folder, "autoconfigs"),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What the TLS port shows for a name to a client that trusts only `ca`. @returns the serial number; undefined when refused */
function shown(port: number, servername: string, ca: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, servername, ca }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.on("error", () => resolve(undefined));
  });
}

const rulesFor = (port: number, ...hosts: string[]) =>
  `upstreams:\n${hosts.map((host) => `  "${host}":\n    to_https: true\n    paths:\n      "/": {servers: ["127.0.0.1:${port}"], healthcheck: false}\n`).join("")}`;

describe.skipIf(!pebbleIsHere)("ACME against Pebble", () => {
  test("[26] a name is proved on our own plain port, before redirects, and its certificate served; forced renewal too", async () => {
    using upstream = origin("up");
    const httpPort = freePort();
    await using pebble = await startPebble({ httpPort, refused: ["refused.example"] });
    await pebble.point("astray.example", "127.0.0.2");
    const rules = rulesFor(
      upstream.port!,
      "shop.example",
      "refused.example",
      "astray.example",
      "127.0.0.1",
      "*.wild.example",
      "DEFAULT",
    );
    await using started = await startedFor(pebble, httpPort, rules, { hosts: "all", email: "ops@shop.example" });
    const { proxy, state } = started;
    const root = await pebble.root();
    const first = await until(
      () => shown(proxy.tlsPort, "shop.example", root),
      `a certificate\n${proxy.log()}\n${pebble.output()}`,
    );

    // Whom the server refuses, and whom it cannot reach, is told with its reason, and does not keep others waiting.
    await proxy.logged(/acme.*refused\.example: the order was refused: .*\(rejectedIdentifier\)/);
    await proxy.logged(/acme.*astray\.example: http-01 failed: .*127\.0\.0\.2.*\(connection\)/);
    const states = new Map((await proxy.running.acme.states()).map((each) => [each.name, each]));
    expect([...states.keys()]).toEqual(["astray.example", "refused.example", "shop.example"]);
    expect(states.get("shop.example")).toMatchObject({ state: "valid", failures: 0, trouble: "" });
    expect(states.get("refused.example")).toMatchObject({ state: "failed", failures: 1 });
    expect(states.get("astray.example")!.nextTryMs! - Date.now()).toBeGreaterThan(20_000);

    // Nothing of it is for others to read, and no token is left.
    for (const file of readdirSync(state, { recursive: true, withFileTypes: true })) {
      const path = join(file.parentPath, file.name);
      expect([path, statSync(path).mode & 0o077]).toEqual([path, 0]);
    }
    expect(readdirSync(join(state, "challenges"))).toEqual([]);
    expect(readdirSync(state)).not.toContain("acme.lock");
    expect(proxy.log()).not.toContain("PRIVATE KEY");

    // What the server suggests for the renewal is asked for, where it offers that (Debian's Pebble does not).
    const record = () => JSON.parse(readFileSync(join(state, "orders", "shop.example.json"), "utf8"));
    await until(() => record().renewal !== undefined, "renewal information");
    expect(record().renewal.window !== undefined).toBe(await pebble.suggestsRenewals());

    // Fresh ones stay; by force there is another one, in force without a restart.
    expect(await proxy.running.acme.order("shop.example")).toBe("fresh");
    expect(await proxy.running.acme.order("SHOP.example.", true)).toBe("issued");
    expect(await shown(proxy.tlsPort, "shop.example", root)).not.toBe(first!);
    const files = ["crt", "key"].map((ending) => join(state, "certificates", `shop.example.${ending}`));
    const digest = (args: string[]) => createHash("sha256").update(execFileSync("openssl", args)).digest("hex");
    expect(digest(["x509", "-in", files[0]!, "-noout", "-pubkey"])).toBe(digest(["pkey", "-in", files[1]!, "-pubout"]));
    expect(readFileSync(files[0]!, "utf8").match(/BEGIN CERTIFICATE/g)!.length).toBeGreaterThan(1);

    // The routes get everything else: ordinary pages, and tokens that are not ours.
    expect((await ask(httpPort, "shop.example", "/page")).status).toBe(301);
    expect((await ask(httpPort, "shop.example", `/.well-known/acme-challenge/${"x".repeat(43)}`)).status).toBe(301);
    const refused = await proxy.running.acme.order("stranger.example").catch((error: Error) => error.message);
    expect(refused).toContain('"stranger.example" is no host of the rules');
    expect(await proxy.running.acme.createAccount()).toStartWith("https://localhost:");
  });

  test("an external account is bound; without one the error says what is missing", async () => {
    using upstream = origin("up");
    const httpPort = freePort();
    const hmac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    await using pebble = await startPebble({ httpPort, externalAccounts: { "kid-1": hmac_key } });
    const rules = rulesFor(upstream.port!, "bound.example");
    {
      await using bare = await startedFor(pebble, httpPort, rules, { domains: ["bound.example"] });
      await bare.proxy.logged(/acme.*wants an external account: set `acme: \{eab:/);
      expect(await bare.proxy.running.acme.states()).toMatchObject([{ name: "bound.example", state: "failed" }]);
    }
    const eab = { key_id: "kid-1", hmac_key };
    await using bound = await startedFor(pebble, httpPort, rules, { domains: ["bound.example"], eab });
    const root = await pebble.root();
    await until(() => shown(bound.proxy.tlsPort, "bound.example", root), `a certificate\n${bound.proxy.log()}`);
    expect(bound.proxy.log()).not.toContain(hmac_key);
  });

  test("tls-alpn-01 proves a name on the TLS port, and no client is shown its certificate", async () => {
    using upstream = origin("up");
    const [httpPort, tlsPort] = [freePort(), freePort()];
    await using pebble = await startPebble({ httpPort: 1, tlsPort });
    const rules = rulesFor(upstream.port!, "alpn.example");
    await using started = await startedFor(
      pebble,
      httpPort,
      rules,
      { domains: ["alpn.example"], challenge: "tls-alpn-01" },
      { proxy_address_tls: { hostname: "127.0.0.1", port: tlsPort }, listener_engine: "auto" },
    );
    const { proxy } = started;
    const root = await pebble.root();
    await until(() => shown(tlsPort, "alpn.example", root), `a certificate\n${proxy.log()}\n${pebble.output()}`);

    // Renewal, with ordinary clients all the while.
    const renewal = proxy.running.acme.order("alpn.example", true);
    let renewed = false;
    void renewal.finally(() => (renewed = true));
    let shownOnes = 0;
    while (!renewed) {
      expect(await shown(tlsPort, "alpn.example", root)).toBeString();
      shownOnes++;
    }
    expect(await renewal).toBe("issued");
    expect(shownOnes).toBeGreaterThan(0);
    expect(proxy.log()).toContain("it was an ACME validation");
  });
});
