/** What main.yaml means once loaded. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadSettings } from "../../src/config/load-settings.ts";
import { settingKeys } from "../../src/config/settings.ts";
import { errorsOf, rulesOf, settingsOf, warningsOf } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "aralez-settings-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("keys", () => {
  test("all of Pingora's are accepted, each with a note", () => {
    const pingora = Object.entries(settingKeys).filter(([, { about }]) => about.ignored && !about.wanted);
    const loaded = settingsOf(pingora.map(([name]) => `${name}: 1\n`).join(""));
    expect(loaded.settings).toBeDefined();
    expect(warningsOf(loaded)).toEqual([]);
    expect(loaded.problems.map((problem) => problem.path)).toEqual(pingora.map(([name]) => name));
  });
  test("those not offered yet load with one warning each; a typo in one is an error", () => {
    const wanted = ["cache_size_mb", "cache_ttl", "log_pattern", "log_structured", "acme_dns_provider"];
    expect(
      warningsOf(settingsOf(wanted.map((name) => `${name}: 1\n`).join(""))).map((problem) => problem.path),
    ).toEqual(wanted);
    expect(errorsOf(settingsOf("cache_tll: 1\n"))).toEqual(["1:1 unknown key `cache_tll`"]);
  });
  test("what Pingora took from the kernel is in force without a remark", () => {
    expect(settingsOf("tcp_keepalive_idle: 5\ntcp_keepalive_count: 2\nhc_interval: 1\n").problems).toEqual([]);
  });
  test("an unknown log_level is info, with a note", () => {
    const loaded = settingsOf("log_level: verbose\n");
    expect(loaded.settings!.log_level).toBe("info");
    expect(loaded.problems).toMatchObject([{ severity: "note", line: 1, message: expect.stringContaining("verbose") }]);
  });
  test("log_level and access_log may be off, with and without quotes", () => {
    expect(settingsOf('log_level: off\naccess_log: "off"\n').settings).toMatchObject({
      log_level: "off",
      access_log: "off",
    });
  });
  test("the forms of log_file that were ever documented are understood", () => {
    const file = (text: string) => settingsOf(`log_file: ${text}\n`).settings?.log_file;
    const rotated = { path: "/l.log", sizeMiB: 20, keep: 3, compress: true };
    expect(file("/l.log")).toEqual({ path: "/l.log", sizeMiB: 0, keep: 5, compress: false });
    expect(file('"/l.log, sizeMB=20, keep=3, compress"')).toEqual(rotated);
    expect(file('"/l.log, 20, 3, compress"')).toEqual(rotated);
    expect(errorsOf(settingsOf('log_file: "/l.log, size=20"\n'))).toEqual([
      '1:11 unknown option "size=20": expected sizeMB=N, keep=N or compress',
    ]);
  });
  test("JWT_KEY wins over a master_key that would be an error, and agrees with one that names it", () => {
    expect(settingsOf('master_key: ""\n', { JWT_KEY: "k-from-env" })).toMatchObject({
      settings: { master_key: "k-from-env" },
    });
    expect(settingsOf("master_key: {env: JWT_KEY}\n", { JWT_KEY: "k-from-env" })).toMatchObject({
      settings: { master_key: "k-from-env" },
      problems: [],
    });
    expect(errorsOf(settingsOf("master_key: {env: JWT_KEY}\n"))).toEqual([
      "1:1 the environment variable JWT_KEY is not set",
    ]);
    expect(errorsOf(settingsOf('master_key: ""\n'))).toEqual([
      "1:13 empty credentials are refused: anybody could present them",
    ]);
  });
});

describe("files", () => {
  test("main.yaml that is missing is a problem, not an exception", () => {
    const { settings, problems } = loadSettings({ file: join(folder, "none.yaml"), text: undefined }, {});
    expect(settings).toBeUndefined();
    expect(problems).toMatchObject([{ severity: "error", message: expect.stringContaining("there is no such file") }]);
  });
  test("main.yaml may hold comments only, but not nothing", () => {
    expect(settingsOf("# all defaults\n")).toMatchObject({ settings: { hc_interval: 2 }, problems: [] });
    expect(errorsOf(settingsOf(""))).toEqual(["1:1 the file is empty"]);
  });
  test("names are relative to the folder of main.yaml; one found only in the current folder is used, with a note", () => {
    writeFileSync(join(folder, "main.yaml"), "upstreams_conf: routes.yaml\nca_file: package.json\n");
    const near = loadSettings({ file: join(folder, "main.yaml"), text: "upstreams_conf: routes.yaml\n" }, {});
    expect(near.settings!.upstreams_conf).toBe(join(folder, "routes.yaml"));
    const far = loadSettings(
      { file: join(folder, "main.yaml"), text: "log_level: info\nupstreams_conf: package.json\n" },
      {},
    );
    expect(far.settings!.upstreams_conf).toBe(join(process.cwd(), "package.json"));
    expect(far.problems).toMatchObject([
      { severity: "note", line: 2, column: 17, message: expect.stringContaining("current folder") },
    ]);
  });
  test("a PEM file that is not there, or is something else, is an error", () => {
    writeFileSync(join(folder, "no.pem"), "hello");
    const of = (name: string) =>
      errorsOf(loadSettings({ file: join(folder, "main.yaml"), text: `ca_file: ${name}\n` }, {})).join();
    expect(of("gone.pem")).toContain('cannot read "gone.pem": there is no such file');
    expect(of("no.pem")).toContain('expected PEM in "no.pem"');
    writeFileSync(join(folder, "key.pem"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    expect(of("key.pem")).toContain('expected a CERTIFICATE in "key.pem", found PRIVATE KEY');
  });
  test("a single certificate of Gazan's needs both of its files", () => {
    const told = (text: string) => settingsOf(text).problems.map(({ message }) => message.split("; ").at(-1));
    expect(told("tls_certificate: a.crt\ntls_key_file: a.key\n")).toEqual(["they are served all the same"]);
    expect(told("tls_key_file: a.key\n")).toEqual(["one without the other is ignored"]);
  });
});

describe("the TLS port", () => {
  test("has defaults, and is off without an address", () => {
    expect(settingsOf("log_level: info\n").settings).toMatchObject({
      proxy_tls_grade: "medium",
      client_auth: "require",
      http2: true,
      http3: false,
    });
    expect(settingsOf("log_level: info\n").settings!.proxy_address_tls).toBeUndefined();
    const set = settingsOf("proxy_address_tls: ':8443'\nproxy_configs: etc\nproxy_tls_grade: HIGH\n");
    expect(set.problems).toEqual([]);
    expect(set.settings).toMatchObject({
      proxy_address_tls: { hostname: "::", port: 8443 },
      proxy_configs: "/nonexistent/aralez/etc",
      proxy_tls_grade: "high",
    });
  });
  test("misspelt keys and values are errors that say what was meant", () => {
    const problems = settingsOf("proxy_adress_tls: ':1'\nclient_auth: requird\nhttp2: maybe\n").problems;
    expect(problems.map(({ suggestion }) => suggestion)).toEqual(["proxy_address_tls", "require", undefined]);
  });
  test("client certificates need the socket engine, HTTP/3 a single process", () => {
    writeFileSync(join(folder, "ca.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    const authority = `client_ca: ${folder}/ca.pem\n`;
    expect(errorsOf(settingsOf(authority))).toEqual([]);
    expect(errorsOf(settingsOf(`${authority}listener_engine: bun\n`)).join()).toContain(
      "client_ca needs the socket engine",
    );
    const bun = settingsOf("listener_engine: bun\n").settings!;
    const host = `upstreams:\n  a.test:\n    client_ca: ${folder}/ca.pem\n    paths: {"/": {servers: ["127.0.0.1:1"]}}\n`;
    expect(errorsOf(rulesOf(host, { settings: bun })).join()).toContain("3:16 client_ca needs the socket engine");
    expect(errorsOf(rulesOf(host))).toEqual([]);
    expect(errorsOf(settingsOf("http3: true\nthreads: 2\n")).join()).toContain("http3 needs threads: 1");
    expect(errorsOf(settingsOf("http3: true\nthreads: 1\n"))).toEqual([]);
  });
});

describe("acme", () => {
  const acmeOf = (text: string) => settingsOf(`acme: ${text}\n`);

  test("names a directory, an address and names, in the form in which they are matched", () => {
    const { settings, problems } = acmeOf(
      "{directory: letsencrypt-staging, email: a@b.test, domains: [Shop.Test., bücher.test]}",
    );
    expect(problems).toEqual([]);
    expect(settings!.acme).toEqual({
      directory: "letsencrypt-staging",
      email: "a@b.test",
      domains: ["shop.test", "xn--bcher-kva.test"],
    });
  });

  test("refuses what could not work", () => {
    expect(errorsOf(acmeOf("{directory: 'http://ca.test/dir'}")).join()).toContain(
      "letsencrypt-staging or an https URL",
    );
    expect(errorsOf(acmeOf("{email: nobody}")).join()).toContain("expected an e-mail address");
    expect(errorsOf(acmeOf("{domains: ['*.shop.test']}")).join()).toContain("can only be proved by DNS");
    for (const name of ["../x", "127.0.0.1", "a b", "''"])
      expect(errorsOf(acmeOf(`{domains: [${name}]}`)).join()).toContain("expected a DNS name");
    expect(errorsOf(acmeOf("{hosts: some}")).join()).toContain("expected all");
    const alpn = "{challenge: tls-alpn-01}";
    expect(errorsOf(acmeOf(alpn)).join()).toContain("tls-alpn-01 needs proxy_address_tls on the socket engine");
    expect(errorsOf(acmeOf(`${alpn}\nproxy_address_tls: ':8443'\nlistener_engine: bun`)).length).toBe(1);
    expect(errorsOf(acmeOf(`${alpn}\nproxy_address_tls: ':8443'`))).toEqual([]);
  });
});
