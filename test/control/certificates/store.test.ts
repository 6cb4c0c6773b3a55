/** The store on real folders: every way of adding, replacing and removing a pair, and everything that can be wrong. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  lookAtCertificates,
  openCertificates,
  type CertificateSettings,
  type CertificateStore,
} from "../../../src/control/certificates/store.ts";
import { CertificateIndex, type CertificateSet } from "../../../src/data/tls/certificate-set.ts";
import { certificateFileBytesMax, certificateGraceMs } from "../../../src/lib/limits.ts";
import { madeBySelf, madeByUs, put } from "../../support/certificates.ts";

setDefaultTimeout(30_000);

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "aralez-store-"));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  // So that no state of this machine is read.
  mkdirSync(join(folder, "autoconfigs"));
  return folder;
}

interface Opened {
  store: CertificateStore;
  /** every set handed on after the first one */
  sets: CertificateSet[];
  lines: string[];
  settings: { -readonly [K in keyof CertificateSettings]: CertificateSettings[K] };
  /** waits until the names of files that are served are these */
  serves(...names: string[]): Promise<void>;
  until(what: string, fact: () => boolean): Promise<void>;
  /** what a name is served: names of files */
  of(name: string): string[];
}

async function open(
  folder: string | undefined,
  more: Partial<CertificateSettings> = {},
  now = Date.now,
): Promise<Opened> {
  const settings = { ...(folder !== undefined && { proxy_configs: folder }), ...more };
  const sets: CertificateSet[] = [];
  const lines: string[] = [];
  const store = await openCertificates({
    settings: () => settings,
    log: (level, target, text) => lines.push(`${level} ${target} ${text}`),
    onChange: (set) => void sets.push(set),
    now,
  });
  cleanups.push(() => store.stop());
  const until: Opened["until"] = async (what, fact) => {
    const endMs = performance.now() + 20_000;
    while (!fact()) {
      if (performance.now() > endMs) throw new Error(`waited 20 s in vain for ${what}; the log: ${lines.join("\n")}`);
      await Bun.sleep(5);
    }
  };
  const served = () => store.set.pairs.map(({ name }) => name).join();
  return {
    store,
    sets,
    lines,
    settings,
    until,
    serves: (...names) => until(names.join(), () => served() === names.join()),
    of: (name) => new CertificateIndex(store.set).serve(name).pairs.map((pair) => pair.name),
  };
}

/** Every set that was ever handed on holds matching pairs only. */
function expectMatches({ store, sets }: Opened): void {
  for (const { pairs } of [...sets, store.set])
    for (const { certPem, keyPem } of pairs)
      expect(new X509Certificate(certPem).checkPrivateKey(createPrivateKey(keyPem))).toBe(true);
}

const [a, b, c] = ["a.test", "b.test", "c.test"].map((name) => madeByUs([name]));

test("a given pair is shown for the hosts that it is given for, and for none that files cover", async () => {
  const folder = temporaryFolder();
  put(folder, "wild", madeByUs(["*.shop.test"]));
  const { store, of, until } = await open(folder);
  const { crt, key } = madeByUs(["a.test", "*.b.test", "pay.shop.test", "victim.test"]);
  const pair = (hosts?: string[]) => ({ name: "given", crt: Buffer.from(crt), key: Buffer.from(key), hosts });
  store.give([pair(["a.test", "x.b.test", "y.x.b.test", "pay.shop.test", "other.test"])]);
  await until("the pair", () => of("a.test")[0] === "given");
  const names = ["a.test", "x.b.test", "pay.shop.test"];
  expect(names.map((name) => of(name)[0])).toEqual(["given", "given", "wild"]);
  expect(store.set.pairs.find(({ name }) => name === "given")!.names).toEqual(["a.test", "x.b.test"]);
  // The same bytes for other hosts.
  store.give([pair()]);
  await until("all its names", () => of("victim.test")[0] === "given" && of("z.b.test")[0] === "given");
  expect(of("pay.shop.test")[0]).toBe("wild");
});

describe("at the start", () => {
  test("pairs of DIR and DIR/certificates are served, the latter winning by name, the first in name order by default", async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, "certificates"));
    put(folder, "b", b!);
    put(folder, "a", c!);
    put(join(folder, "certificates"), "a", a!);
    const { store, of } = await open(folder);
    expect(store.set.pairs.map(({ name, names, file }) => [name, names[0], file])).toEqual([
      ["a", "a.test", join(folder, "certificates/a.crt")],
      ["b", "b.test", join(folder, "b.crt")],
    ]);
    expect([of("b.test"), of("c.test"), of("")]).toEqual([["b"], ["a"], ["a"]]);
    expect(store.problems).toEqual([]);
  });

  test("pairs of ACME's state are served too, but what people put there wins, unless it has expired", async () => {
    const folder = temporaryFolder();
    const state = join(folder, "autoconfigs/certificates");
    mkdirSync(state);
    put(state, "a", a!);
    put(state, "c", c!);
    put(folder, "c", madeByUs(["c.test"], 10, Date.now() - 20 * 86_400_000));
    const { store } = await open(folder);
    expect(store.set.pairs.map(({ file, state }) => [file, state])).toEqual([
      [join(state, "a.crt"), "valid"],
      [join(state, "c.crt"), "valid"],
    ]);
    put(folder, "a", b!);
    await store.check();
    expect(store.set.pairs[0]!.file).toBe(join(folder, "a.crt"));
  });

  test("a state folder of its own is read instead", async () => {
    const [folder, state] = [temporaryFolder(), temporaryFolder()];
    mkdirSync(join(state, "certificates"));
    put(join(state, "certificates"), "a", a!);
    const { store } = await open(folder, { acme: { state } });
    expect(store.set.pairs.map(({ name }) => name)).toEqual(["a"]);
  });

  test("the single pair of Gazan's main.yaml is served, and watched", async () => {
    const folder = temporaryFolder();
    put(folder, "x", a!);
    renameSync(join(folder, "x.crt"), join(folder, "site.pem"));
    const single = { tls_certificate: join(folder, "site.pem"), tls_key_file: join(folder, "x.key") };
    const opened = await open(undefined, { acme: { state: folder }, ...single });
    expect(opened.store.set.pairs.map(({ name, names }) => [name, names])).toEqual([["site", ["a.test"]]]);
    writeFileSync(single.tls_key_file, b!.key);
    writeFileSync(single.tls_certificate, b!.crt);
    await opened.until("b.test", () => opened.store.set.pairs[0]!.names[0] === "b.test");
  });

  test("that single pair may lie in the folder too, with a key of another name", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "server.crt"), a!.crt);
    writeFileSync(join(folder, "key.pem"), a!.key);
    const single = { tls_certificate: join(folder, "server.crt"), tls_key_file: join(folder, "key.pem") };
    const { store, sets, of } = await open(folder, single);
    for (let look = 0; look < 3; look++) await store.check();
    expect([of("a.test"), sets.length]).toEqual([["server"], 0]);
  });

  test("an empty folder, and a folder that is not there, give a self-signed placeholder and a warning [B16]", async () => {
    const folder = temporaryFolder();
    const { store, lines, serves, sets } = await open(join(folder, "later"), { acme: { state: folder } });
    expect(store.set.pairs.map(({ state, names }) => [state, names])).toEqual([["placeholder", []]]);
    expect(lines.join()).toContain("warn certificates there is no usable certificate in ");
    const { version } = store.set;
    await store.check();
    expect([store.set.version, sets.length]).toEqual([version, 0]);
    mkdirSync(join(folder, "later"));
    put(join(folder, "later"), "a", a!);
    await serves("a");
  });

  test("default_certificate names the default, with or without .crt; an unknown one is told", async () => {
    const folder = temporaryFolder();
    put(folder, "a", a!);
    put(folder, "b", b!);
    const { store, of, settings, lines, sets } = await open(folder, { default_certificate: "b" });
    expect(of("nobody.test")).toEqual(["b"]);
    settings.default_certificate = "b.crt";
    await store.check();
    expect([of("nobody.test"), sets.length]).toEqual([["b"], 0]);
    settings.default_certificate = "x";
    await store.check();
    expect([of("nobody.test"), sets.length]).toEqual([["a"], 1]);
    expect(lines.join()).toContain('default_certificate: there is no usable pair "x"');
  });

  test("RSA and ECDSA for one name are served together", async () => {
    const folder = temporaryFolder();
    put(folder, "a", a!);
    put(folder, "a-rsa", madeBySelf({ kind: "rsa" }));
    const { of } = await open(folder);
    expect(of("a.test")).toEqual(["a", "a-rsa"]);
  });

  test("hundreds of pairs are read, and a change of one is one new set", async () => {
    const folder = temporaryFolder();
    for (let i = 0; i < 400; i++) put(folder, `s${i}`, madeByUs([`s${i}.test`, `*.s${i}.test`]));
    const { store, sets, until, of } = await open(folder);
    expect(store.set.pairs).toHaveLength(400);
    expect(of("www.s399.test")).toEqual(["s399"]);
    put(folder, "s7", madeByUs(["seven.test"]));
    await until("the change", () => of("seven.test")[0] === "s7");
    expect(sets.length).toBe(1);
  });
});

describe("while it runs", () => {
  test("a pair is added, replaced in place, replaced by renames, and removed; each time one line says so", async () => {
    const folder = temporaryFolder();
    put(folder, "a", a!);
    const opened = await open(folder);
    const { serves, lines, of, until } = opened;
    put(folder, "b", b!);
    await serves("a", "b");
    expect(lines.at(-1)).toMatch(/^info certificates added: b \(b\.test, ECDSA, until \d{4}-\d\d-\d\d\)$/);
    put(folder, "b", c!);
    await until("in place", () => of("c.test")[0] === "b");
    expect(lines.at(-1)).toMatch(/^info certificates replaced: b \(c\.test, /);
    put(folder, ".new", b!);
    renameSync(join(folder, ".new.crt"), join(folder, "b.crt"));
    renameSync(join(folder, ".new.key"), join(folder, "b.key"));
    await until("by renames", () => of("b.test")[0] === "b");
    unlinkSync(join(folder, "b.crt"));
    unlinkSync(join(folder, "b.key"));
    await serves("a");
    expect(lines.at(-1)).toBe("info certificates removed: b (b.test)");
    expect(lines.filter((line) => !line.startsWith("info"))).toEqual([]);
    expectMatches(opened);
  });

  test("the ..data symlink of a Kubernetes secret is swapped", async () => {
    const folder = temporaryFolder();
    const version = (name: string, made: typeof a) => {
      mkdirSync(join(folder, name));
      put(join(folder, name), "tls", made!);
      symlinkSync(name, join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    };
    version("..1", a);
    for (const file of ["tls.crt", "tls.key"]) symlinkSync(join("..data", file), join(folder, file));
    const opened = await open(folder);
    expect(opened.of("")).toEqual(["tls"]);
    for (const [i, made, name] of [
      [2, b, "b.test"],
      [3, c, "c.test"],
    ] as const) {
      version(`..${i}`, made);
      await opened.until(name, () => opened.store.set.pairs[0]!.names[0] === name);
    }
    expect(opened.sets).toHaveLength(2);
    expect(opened.lines.filter((line) => !line.startsWith("info"))).toEqual([]);
    expectMatches(opened);
  });

  test("a pair whose files are links into another folder, as certbot's, is renewed there", async () => {
    const [folder, live] = [temporaryFolder(), temporaryFolder()];
    put(live, "one", a!);
    for (const end of ["crt", "key"]) symlinkSync(join(live, `one.${end}`), join(folder, `site.${end}`));
    const { until, store } = await open(folder);
    put(live, "one", b!);
    await until("b.test", () => store.set.pairs[0]!.names[0] === "b.test");
  });

  test("two files that are replaced one after the other are never served mixed, and not reported", async () => {
    const folder = temporaryFolder();
    put(folder, "a", a!);
    const opened = await open(folder);
    for (let round = 0; round < 6; round++) {
      const next = madeByUs([`r${round}.test`]);
      const order = round % 2 === 0 ? (["crt", "key"] as const) : (["key", "crt"] as const);
      writeFileSync(join(folder, `a.${order[0]}`), next[order[0]]);
      await Bun.sleep(150);
      writeFileSync(join(folder, `a.${order[1]}`), next[order[1]]);
      await opened.until(`round ${round}`, () => opened.store.set.pairs[0]!.names[0] === `r${round}.test`);
    }
    expect(opened.sets).toHaveLength(6);
    expect(opened.lines.filter((line) => !line.startsWith("info certificates replaced"))).toHaveLength(1);
    expect(opened.store.problems).toEqual([]);
    expectMatches(opened);
  });

  test("written in small pieces, hundreds of them, a pair appears once and whole", async () => {
    const folder = temporaryFolder();
    const opened = await open(folder);
    put(folder, "a", { crt: "", key: "" });
    for (const end of ["crt", "key"] as const) {
      for (const piece of a![end].match(/[\s\S]{1,8}/g)!) {
        appendFileSync(join(folder, `a.${end}`), piece);
        await Bun.sleep(1);
      }
    }
    await opened.serves("a");
    expect(opened.sets).toHaveLength(1);
    expect(opened.lines.filter((line) => line.startsWith("error"))).toEqual([]);
  });

  test("a burst of changes ends in a few sets, the last of which is right", async () => {
    const folder = temporaryFolder();
    const opened = await open(folder);
    for (let i = 0; i < 200; i++) put(folder, `s${i % 100}`, madeByUs([`s${i}.test`]));
    await opened.until("the last one", () => opened.of("s199.test")[0] === "s99");
    expect(opened.store.set.pairs.map(({ names }) => names[0]).sort()).toEqual(
      Array.from({ length: 100 }, (_, i) => `s${i + 100}.test`).sort(),
    );
    expect(opened.sets.length).toBeLessThan(20);
    expectMatches(opened);
  });

  test("the same bytes again, other files and a touched file change nothing", async () => {
    const folder = temporaryFolder();
    put(folder, "a", a!);
    const { store, sets, lines } = await open(folder);
    const told = lines.length;
    put(folder, "a", a!);
    utimesSync(join(folder, "a.crt"), 1, 1);
    writeFileSync(join(folder, "notes.txt"), "x");
    writeFileSync(join(folder, ".a.crt.swp"), "x");
    await store.check();
    expect([sets.length, lines.length]).toEqual([0, told]);
  });

  test("a whole folder that is replaced by another one", async () => {
    const folder = temporaryFolder();
    const certificates = join(folder, "certificates");
    mkdirSync(certificates);
    put(certificates, "a", a!);
    const opened = await open(folder);
    mkdirSync(join(folder, "new"));
    put(join(folder, "new"), "b", b!);
    renameSync(certificates, join(folder, "old"));
    renameSync(join(folder, "new"), certificates);
    await opened.serves("b");
    put(certificates, "c", c!);
    await opened.serves("b", "c");
    expect(opened.lines.filter((line) => !line.startsWith("info"))).toEqual([]);
  });

  test("what the last listener throws does not stop the store", async () => {
    const folder = temporaryFolder();
    const lines: string[] = [];
    const store = await openCertificates({
      settings: () => ({ proxy_configs: folder }),
      log: (level, _target, text) => lines.push(`${level} ${text}`),
      onChange: () => {
        throw new Error("no room");
      },
    });
    put(folder, "a", a!);
    await store.check();
    store.stop();
    expect(lines.join("\n")).toContain("error a listener refused the new set: Error: no room");
    expect(store.set.pairs[0]!.name).toBe("a");
  });

  test("after stop nothing is handed on any more", async () => {
    const folder = temporaryFolder();
    const { store, sets } = await open(folder);
    const check = (put(folder, "a", a!), store.check());
    store.stop();
    await check;
    await Bun.sleep(200);
    expect(sets).toEqual([]);
  });
});

describe("what is wrong is named, and disturbs nothing else", () => {
  /** Pairs next to a good one, each wrong in its way. */
  const wrong: Record<string, { break(folder: string): void; says: RegExp; level?: string }> = {
    "a key of another certificate": {
      break: (folder) => put(folder, "bad", { crt: b!.crt, key: c!.key }),
      says: /bad\.crt": the key beside it belongs to another certificate/,
    },
    "an empty certificate": { break: (folder) => put(folder, "bad", { ...b!, crt: "" }), says: /bad\.crt".*0 bytes/ },
    "a half-written key": {
      break: (folder) => put(folder, "bad", { ...b!, key: b!.key.slice(0, 90) }),
      says: /bad\.key": the block BEGIN PRIVATE KEY has no END/,
    },
    "a huge file": {
      break: (folder) => put(folder, "bad", { ...b!, crt: b!.crt + " ".repeat(certificateFileBytesMax) }),
      says: /bad\.crt": expected at most 262144 bytes/,
    },
    "a folder named like a certificate": {
      break: (folder) => (
        put(folder, "bad", b!),
        unlinkSync(join(folder, "bad.crt")),
        mkdirSync(join(folder, "bad.crt"))
      ),
      says: /bad\.crt": expected a file, found a folder/,
    },
    "a FIFO named like a key": {
      break: (folder) => (
        put(folder, "bad", b!),
        unlinkSync(join(folder, "bad.key")),
        execFileSync("mkfifo", [join(folder, "bad.key")])
      ),
      says: /bad\.key": expected a file, found something else/,
    },
    "a link into nowhere": {
      break: (folder) => (
        put(folder, "bad", b!),
        unlinkSync(join(folder, "bad.key")),
        symlinkSync("nowhere", join(folder, "bad.key"))
      ),
      says: /bad\.key": there is no such file/,
      level: "info",
    },
    "a link to itself": {
      break: (folder) => (
        put(folder, "bad", b!),
        unlinkSync(join(folder, "bad.key")),
        symlinkSync("bad.key", join(folder, "bad.key"))
      ),
      says: /bad\.key": its symbolic links lead in a circle/,
    },
    "a certificate without its key": {
      break: (folder) => writeFileSync(join(folder, "bad.crt"), b!.crt),
      says: /bad\.key": there is no such file/,
      level: "info",
    },
  };

  for (const [what, { break: spoil, says, level = "error" }] of Object.entries(wrong)) {
    test(`${what}: at the start, and while it runs`, async () => {
      const folder = temporaryFolder();
      put(folder, "good", a!);
      const opened = await open(folder);
      spoil(folder);
      const told = () => opened.lines.filter((line) => says.test(line));
      await opened.until(what, () => told().length > 0);
      expect(told().map((line) => line.split(" ")[0])).toEqual([level]);
      expect(opened.of("a.test")).toEqual(["good"]);
      await opened.store.check();
      expect(told()).toHaveLength(1);

      const restarted = await open(folder);
      expect(restarted.lines.filter((line) => says.test(line))).toHaveLength(1);
      expect(restarted.store.set.pairs.map(({ name }) => name)).toEqual(["good"]);
      expect(restarted.store.problems.map(({ severity, file }) => [severity, file.startsWith(folder)])).toEqual([
        [level === "error" ? "error" : "note", true],
      ]);
    });
  }

  test("a pair that turns bad keeps its last good version, says so once, and is mended", async () => {
    const folder = temporaryFolder();
    put(folder, "a", a!);
    const opened = await open(folder);
    writeFileSync(join(folder, "a.key"), "nonsense");
    await opened.until("the report", () => opened.store.problems.length === 1);
    expect(opened.lines.at(-1)).toMatch(/^warn certificates Cannot use ".*a\.key": .*is served on$/);
    expect([opened.of("a.test"), opened.sets.length]).toEqual([["a"], 0]);
    writeFileSync(join(folder, "a.key"), a!.key);
    await opened.until("the mending", () => opened.store.problems.length === 0);
    expect(opened.lines.at(-1)).toContain("is in order again");
    expect(opened.sets).toEqual([]);
  });

  test("a pair that turns bad and whose files then go is no longer served", async () => {
    const folder = temporaryFolder();
    put(folder, "a", a!);
    put(folder, "b", b!);
    const opened = await open(folder);
    writeFileSync(join(folder, "b.key"), "nonsense");
    await opened.until("the report", () => opened.store.problems.length === 1);
    unlinkSync(join(folder, "b.key"));
    await opened.store.check();
    expect(opened.store.set.pairs).toHaveLength(2);
    unlinkSync(join(folder, "b.crt"));
    await opened.serves("a");
  });

  test("an expired pair is served with a warning; it does not take the place of a valid one", async () => {
    const folder = temporaryFolder();
    const old = madeByUs(["b.test"], 10, Date.now() - 20 * 86_400_000);
    put(folder, "a", a!);
    put(folder, "old", old);
    const opened = await open(folder);
    expect(opened.of("b.test")).toEqual(["old"]);
    expect(opened.lines.filter((line) => line.startsWith("warn"))).toHaveLength(1);
    expect(opened.lines.join("\n")).toMatch(/warn certificates ".*old\.crt" expired on .*, and is served on/);
    put(folder, "a", old);
    await opened.until("the report", () =>
      opened.lines.some((line) => /a\.crt": it expired on .* is served on/.test(line)),
    );
    expect(opened.of("a.test")).toEqual(["a"]);
  });

  test("an unlistable folder keeps what it had", async () => {
    const folder = temporaryFolder();
    const certificates = join(folder, "certificates");
    mkdirSync(certificates);
    put(certificates, "a", a!);
    const opened = await open(folder);
    renameSync(certificates, join(folder, "kept"));
    writeFileSync(certificates, "a file");
    await opened.until("the report", () => opened.store.problems.length === 1);
    await Bun.sleep(500);
    await opened.store.check();
    expect(opened.of("a.test")).toEqual(["a"]);
    expect(opened.lines.join("\n")).toContain("a part of its path is not a folder; its certificates stay as they are");
  });
});

test("no sequence of changes on a disk, at whatever moments, ever hands on a mixed pair", async () => {
  const folder = temporaryFolder();
  const names = ["p", "q", "r"];
  const versions = Array.from({ length: 8 }, (_, i) => madeByUs([`v${i}.test`]));
  for (const name of names) put(folder, name, versions[0]!);
  const opened = await open(folder);
  let seed = 7;
  const next = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (let step = 0; step < 250; step++) {
    const end = next(2) === 0 ? "crt" : "key";
    const text = versions[next(versions.length)]![end];
    const file = join(folder, `${names[next(names.length)]!}.${end}`);
    const action = next(5);
    if (action === 0) writeFileSync(file, text.slice(0, next(text.length)));
    else if (action === 1) rmSync(file, { force: true });
    else if (action === 2) {
      writeFileSync(join(folder, "aside"), text);
      rmSync(file, { force: true });
      renameSync(join(folder, "aside"), file);
    } else writeFileSync(file, text);
    if (next(3) > 0) await Bun.sleep(next(40));
  }
  for (const [i, name] of names.entries()) {
    for (const end of ["crt", "key"]) rmSync(join(folder, `${name}.${end}`), { force: true });
    put(folder, name, versions[i + 1]!);
  }
  const served = () => opened.store.set.pairs.map((pair) => `${pair.name} ${pair.names.join()}`).join();
  await opened.until("the last versions", () => served() === "p v1.test,q v2.test,r v3.test");
  expectMatches(opened);
  expect(opened.sets.length).toBeGreaterThan(0);
});

test("the clock alone changes what is served: a reminder, then an expired pair", async () => {
  const folder = temporaryFolder();
  let nowMs = Date.now();
  put(folder, "a", madeByUs(["a.test"], 20));
  const opened = await open(folder, {}, () => nowMs);
  expect(opened.lines.at(-1)).toMatch(/^warn certificates certificate a \(a\.test\) expires in 19 days, on /);
  nowMs += 10 * 86_400_000;
  await opened.store.check();
  expect(opened.lines.at(-1)).toContain("expires in 9 days");
  nowMs += 11 * 86_400_000;
  await opened.store.check();
  expect(opened.store.set.pairs[0]!.state).toBe("expired");
  expect(opened.sets).toHaveLength(1);
});

test("a single look waits for files that are being written", async () => {
  const folder = temporaryFolder();
  put(folder, "a", { crt: a!.crt, key: b!.key });
  const looking = lookAtCertificates({ proxy_configs: folder });
  await Bun.sleep(certificateGraceMs / 5);
  copyFileSync(join(folder, "a.key"), join(folder, "old"));
  writeFileSync(join(folder, "a.key"), a!.key);
  expect(await looking).toMatchObject({ problems: [], views: [{ state: "valid" }] });
});
