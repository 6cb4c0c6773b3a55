/** The verb `certs`. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { madeByChain, madeByUs, put } from "../support/certificates.ts";
import { run, temporaryFolder } from "./program.ts";

// Bun's default of 5 s is short for a process that starts on a busy machine.
setDefaultTimeout(30_000);

const main = "proxy_address_tls: 127.0.0.1:8443\nproxy_configs: .\n";

function rulesFor(...hosts: string[]): string {
  const host = (name: string) => `  "${name}":\n    paths:\n      "/": {servers: ["127.0.0.1:8001"]}\n`;
  return `upstreams:\n${hosts.map(host).join("")}`;
}

/** A configuration whose hosts are `hosts`. */
function configured(hosts: string[], text = main): { path: string; certificates: string } & Disposable {
  const folder = temporaryFolder();
  const certificates = join(folder.path, "certificates");
  mkdirSync(certificates);
  mkdirSync(join(folder.path, "autoconfigs"));
  writeFileSync(join(folder.path, "main.yaml"), text);
  writeFileSync(join(folder.path, "upstreams.yaml"), rulesFor(...hosts));
  return { ...folder, certificates, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

describe("certs", () => {
  test("lists names, issuer, days left, file and state, and exits 0 when every host is covered", async () => {
    using folder = configured(["chain.test", "www.a.test", "*.a.test", "DEFAULT"]);
    put(folder.certificates, "chain", madeByChain());
    put(folder.certificates, "a", madeByUs(["a.test", "*.a.test"], 42));
    const { code, out, err } = await run(["certs", "-c", "main.yaml"], { cwd: folder.path });
    const rows = out
      .trimEnd()
      .split("\n")
      .map((line) => line.split(/ {2,}/));
    expect(rows).toEqual([
      ["NAME", "STATE", "DAYS", "ISSUER", "HOSTS", "FILE"],
      ["a (default)", "valid", "41", "itself", "a.test, *.a.test", join(folder.certificates, "a.crt")],
      ["chain", "valid", "89", "Test Intermediate, Tests", "chain.test", join(folder.certificates, "chain.crt")],
    ]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
  });

  test("names the hosts that no certificate covers, and exits 1: a wildcard covers one label", async () => {
    using folder = configured(["a.test", "x.a.test", "x.y.a.test", "*.a.test", "*.b.test", "DEFAULT"]);
    put(folder.certificates, "a", madeByUs(["*.a.test"]));
    const { code, out } = await run(["certs", "-c", "main.yaml"], { cwd: folder.path });
    expect(out).toContain("Hosts that no certificate covers: a.test, x.y.a.test, *.b.test\n");
    expect(code).toBe(1);
  });

  test("shows what is wrong with each pair, exits 1, and says the same as JSON, without any key", async () => {
    using folder = configured(["a.test"]);
    const a = madeByUs(["a.test"]);
    put(folder.certificates, "a", a);
    put(folder.certificates, "bad", { crt: a.crt, key: "nonsense" });
    put(folder.certificates, "old", madeByUs(["old.test"], 10, Date.now() - 15 * 86_400_000));
    writeFileSync(join(folder.certificates, "ca.crt"), a.crt);
    const { code, out } = await run(["certs", "-c", "main.yaml"], { cwd: folder.path });
    expect(code).toBe(1);
    expect(out).toMatch(/^bad +bad +- +- +- +\/.*bad\.crt$/m);
    expect(out).toMatch(/^old +expired +-6 /m);
    expect(out).toMatch(/^ca +incomplete /m);
    expect(out).toMatch(/^error: Cannot use ".*bad\.key": expected PEM, found 8 characters/m);
    expect(out).toMatch(/^warning: ".*old\.crt" expired on /m);

    const json = await run(["certs", "-c", "main.yaml", "--json"], { cwd: folder.path });
    expect(json.code).toBe(1);
    expect(json.out).not.toContain("PRIVATE");
    expect(json.out).not.toContain("BEGIN CERTIFICATE");
    const listing = JSON.parse(json.out);
    expect(listing).toMatchObject({ ok: false, tls: true, uncovered: [] });
    expect(listing.certificates.map(({ name, state }: { name: string; state: string }) => [name, state])).toEqual([
      ["a", "valid"],
      ["bad", "bad"],
      ["ca", "incomplete"],
      ["old", "expired"],
    ]);
    expect(listing.certificates[0]).toMatchObject({
      names: ["a.test"],
      issuer: "itself",
      kind: "ecdsa",
      default: true,
    });
    for (const { message } of listing.problems) expect(out).toContain(message);
  });

  test("a lone .crt, such as that of a CA, is no reason to exit 1", async () => {
    using folder = configured(["a.test"]);
    put(folder.certificates, "a", madeByUs(["a.test"]));
    writeFileSync(join(folder.certificates, "ca.crt"), madeByUs(["x.test"]).crt);
    expect((await run(["certs", "-c", "main.yaml"], { cwd: folder.path })).code).toBe(0);
  });

  test("without a TLS port uncovered hosts are listed, and no reason to exit 1", async () => {
    using folder = configured(["a.test"], "proxy_configs: .\n");
    const { code, out } = await run(["certs", "-c", "main.yaml"], { cwd: folder.path });
    expect(out).toContain("There are no certificates");
    expect(out).toContain("There is no TLS port: proxy_address_tls is not set.");
    expect(out).toContain("Hosts that no certificate covers: a.test");
    expect(code).toBe(0);
  });

  test("exits 1 where nothing can be compared: rules with errors, a main.yaml with errors, none at all", async () => {
    using folder = configured(["a.test"]);
    put(folder.certificates, "a", madeByUs(["a.test"]));
    writeFileSync(join(folder.path, "upstreams.yaml"), "upstreams: [\n");
    const rules = await run(["certs", "-c", "main.yaml"], { cwd: folder.path });
    expect(rules.out).toContain("Hosts are not compared: the rules have errors");
    writeFileSync(join(folder.path, "main.yaml"), "proxy_config: .\n");
    const settings = await run(["certs", "-c", "main.yaml"], { cwd: folder.path });
    expect(settings.err).toContain("did you mean `proxy_configs`?");
    const none = await run(["certs", "-c", "gone.yaml"], { cwd: folder.path });
    expect(none.err).toContain("gone.yaml");
    expect([rules.code, settings.code, none.code]).toEqual([1, 1, 1]);
    expect((await run(["certs", "--jsn"], { cwd: folder.path })).code).toBe(2);
  });

  test("shows how far ACME is with each name: fetched, failed and why, not begun", async () => {
    using folder = configured(
      ["a.test", "b.test", "c.test", "mine.test"],
      `${main}acme: {hosts: all, directory: 'https://ca.test/dir'}\n`,
    );
    const state = join(folder.path, "autoconfigs");
    for (const part of ["certificates", "orders"]) mkdirSync(join(state, part));
    put(folder.certificates, "mine", madeByUs(["mine.test"]));
    put(join(state, "certificates"), "a.test", madeByUs(["a.test"], 90));
    const [triedMs, nextTryMs] = [Date.now(), Date.now() + 5 * 3_600_000];
    const trouble = "b.test: http-01 failed: no route to host (connection)";
    const record = { failures: 2, trouble, triedMs, nextTryMs };
    writeFileSync(join(state, "orders", "b.test.json"), JSON.stringify(record));
    const { code, out } = await run(["certs", "-c", "main.yaml"], { cwd: folder.path });
    const day = new Date(Date.now() + 60 * 86_400_000).toISOString().slice(0, 8);
    expect(out).toMatch(new RegExp(`^a\\.test +valid +${day}\\d\\d +- +-$`, "m"));
    const next = new Date(nextTryMs).toISOString().slice(0, 16);
    expect(out).toMatch(new RegExp(`^b\\.test +failed +- +${next}Z +b\\.test: http-01 failed: no route to host`, "m"));
    expect(out).toMatch(/^c\.test +waiting +- +- +-$/m);
    expect(out).not.toMatch(/^mine\.test +/m);
    expect(out).toContain("Hosts that no certificate covers: b.test, c.test");
    expect(code).toBe(1);
    const { acme } = JSON.parse((await run(["certs", "-c", "main.yaml", "--json"], { cwd: folder.path })).out);
    expect(acme.map(({ name, state: found }: { name: string; state: string }) => [name, found])).toEqual([
      ["a.test", "valid"],
      ["b.test", "failed"],
      ["c.test", "waiting"],
    ]);
  });
});
