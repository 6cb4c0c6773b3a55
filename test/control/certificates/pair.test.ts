/** One pair of files, as people really have them: read, mended where that is safe, refused with a reason otherwise. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { X509Certificate, createPrivateKey } from "node:crypto";
import { isFault, readPair, type UsablePair } from "../../../src/control/certificates/pair.ts";
import { keyKinds, madeByChain, madeBySelf, openssl, temporary } from "../../support/certificates.ts";

setDefaultTimeout(30_000);

const bytes = (text: string) => Buffer.from(text, "latin1");
const read = (crt: string, key: string) => readPair(bytes(crt), bytes(key));

function usable(crt: string, key: string): UsablePair {
  const pair = read(crt, key);
  if (isFault(pair)) throw new Error(`expected a usable pair, found: ${pair.message}`);
  return pair;
}

function fault(crt: string, key: string): string {
  const pair = read(crt, key);
  if (!isFault(pair)) throw new Error("expected a fault, found a usable pair");
  return `${pair.which}:${pair.line} ${pair.message}`;
}

const ecdsa = madeBySelf({});
const rsa = madeBySelf({ kind: "rsa", subject: "/CN=r.test", names: [] });
const chain = madeByChain();

/** Nothing but a matching pair may ever come out. */
function expectMatch({ certPem, keyPem }: UsablePair): void {
  expect(new X509Certificate(certPem).checkPrivateKey(createPrivateKey(keyPem))).toBe(true);
}

describe("is read", () => {
  test("names, kind, validity and issuer", () => {
    const pair = usable(ecdsa.crt, ecdsa.key);
    expectMatch(pair);
    expect(pair).toMatchObject({ kind: "ecdsa", names: ["a.test"], issuer: "itself", chainLength: 1, warnings: [] });
    expect(Math.round((pair.notAfterMs - pair.notBeforeMs) / 86_400_000)).toBe(90);
    expect(usable(rsa.crt, rsa.key)).toMatchObject({ kind: "rsa", names: ["r.test"] });
    expect(usable(chain.crt, chain.key)).toMatchObject({ issuer: "Test Intermediate, Tests", chainLength: 2 });
  });

  test("every kind of name: capitals, wildcards, addresses, the common name; none twice, none that is no host", () => {
    const names = ["DNS:B.test", "DNS:*.b.test", "IP:10.0.0.1", "IP:2001:db8::1", "URI:http://evil.test", "DNS:b.test"];
    const made = madeBySelf({ names: [...names, "email:a@b.test"], subject: "/CN=C.test/O=x" });
    expect(usable(made.crt, made.key).names).toEqual(["b.test", "*.b.test", "10.0.0.1", "2001:db8::1", "c.test"]);
    const nobody = madeBySelf({ names: [], subject: "/CN=My own server" });
    const pair = usable(nobody.crt, nobody.key);
    expect(pair.names).toEqual([]);
    expect(pair.warnings.join()).toContain("names no host");
  });

  test("a name cannot be smuggled in through the text of another one", () => {
    using folder = temporary();
    const config = [
      "[req]\ndistinguished_name=name\nx509_extensions=more\n[name]\n[more]\nsubjectAltName=@names",
      "[names]\nDNS.1=a.test\nURI.1=http://x/, DNS:evil.test",
    ].join("\n");
    writeFileSync(`${folder.path}/config`, config);
    const made = madeBySelf({ names: [], extra: ["-config", `${folder.path}/config`] });
    expect(new X509Certificate(made.crt).subjectAltName).toContain("DNS:evil.test");
    expect(usable(made.crt, made.key).names).toEqual(["a.test"]);
  });

  for (const kind of ["p521", "ed25519"] as const) {
    test(`a key of kind ${kind}`, () => {
      const made = madeBySelf({ kind });
      expect(usable(made.crt, made.key).kind).toBe(kind === "p521" ? "ecdsa" : kind);
    });
  }

  test("CRLF, a byte order mark, text around the blocks, no final line break, keys in their older forms", async () => {
    const plain = usable(ecdsa.crt, ecdsa.key);
    const windows = (text: string) => `\xef\xbb\xbf${text.replaceAll("\n", "\r\n")}`;
    const around = (text: string) => `subject=/CN=ä\n\n${text}\ntrailing words`;
    expect(usable(windows(ecdsa.crt), windows(ecdsa.key))).toEqual(plain);
    expect(usable(around(ecdsa.crt), around(ecdsa.key))).toEqual(plain);
    expect(usable(ecdsa.crt.trimEnd(), ecdsa.key.trimEnd())).toEqual(plain);
    expect(usable(ecdsa.crt + ecdsa.key, ecdsa.key)).toEqual(plain);
    using folder = temporary();
    openssl(["ecparam", "-name", "prime256v1", "-genkey", "-out", "k"], folder.path);
    openssl(["req", "-x509", "-key", "k", "-out", "c", "-subj", "/CN=a.test"], folder.path);
    const file = (name: string) => Bun.file(`${folder.path}/${name}`).text();
    const key = await file("k");
    expect(key).toContain("EC PARAMETERS");
    expect(usable(await file("c"), key).kind).toBe("ecdsa");
  });

  test("a chain in the wrong order is put in order, with a warning; strangers in it are left out", () => {
    const right = usable(chain.crt, chain.key);
    expect(right.warnings).toEqual([]);
    const full = usable(chain.leaf + chain.intermediate + chain.root, chain.key);
    expect(full).toMatchObject({ chainLength: 3, warnings: [] });
    for (const order of [
      chain.intermediate + chain.leaf + chain.root,
      chain.root + chain.intermediate + chain.leaf,
      chain.leaf + chain.root + chain.intermediate,
    ]) {
      const mended = usable(order, chain.key);
      expect(mended).toMatchObject({ certPem: full.certPem, id: full.id });
      expect(mended.warnings.join()).toContain("not in order");
    }
    const stranger = usable(chain.leaf + ecdsa.crt + chain.intermediate, chain.key);
    expect(stranger.certPem).toBe(right.certPem);
    expect(stranger.warnings.join()).toContain("1 of its 3 certificates is no part of its chain");
  });

  test("a certificate that is not meant for servers draws a warning", () => {
    const made = madeBySelf({ extra: ["-addext", "extendedKeyUsage=clientAuth"] });
    expect(usable(made.crt, made.key).warnings.join()).toContain("not meant for servers");
  });

  test("the id tells versions apart, and is the same for the same certificate in another spelling", () => {
    expect(usable(ecdsa.crt.replaceAll("\n", "\r\n"), ecdsa.key).id).toBe(usable(ecdsa.crt, ecdsa.key).id);
    expect(usable(chain.leaf, chain.key).id).not.toBe(usable(chain.crt, chain.key).id);
  });
});

describe("is refused, with the reason and the line", () => {
  test("a key that belongs to another certificate", () => {
    expect(fault(ecdsa.crt, rsa.key)).toBe(
      "crt:1 the key beside it belongs to another certificate (this one is of a.test)",
    );
    expect(fault(chain.intermediate, chain.key)).toContain("belongs to another certificate");
  });

  test("an encrypted key, in both of its forms", () => {
    using folder = temporary();
    const key = `${folder.path}/k`;
    writeFileSync(key, ecdsa.key);
    const traditional = openssl(["ec", "-in", key, "-aes128", "-passout", "pass:secret"]);
    const pkcs8 = openssl(["pkcs8", "-topk8", "-in", key, "-passout", "pass:secret"]);
    expect(traditional).toContain("ENCRYPTED");
    for (const encrypted of [traditional, pkcs8])
      expect(fault(ecdsa.crt, encrypted)).toStartWith("key:1 the key is encrypted");
  });

  test("empty files, other text, binary forms, UTF-16, the two files swapped, a public key", () => {
    using folder = temporary();
    writeFileSync(`${folder.path}/c`, ecdsa.crt);
    openssl(["x509", "-in", "c", "-outform", "der", "-out", "d"], folder.path);
    const der = readFileSync(`${folder.path}/d`).toString("latin1");
    const publicKey = openssl(["x509", "-in", "c", "-noout", "-pubkey"], folder.path);
    const wide = Buffer.from(`\ufeff${ecdsa.crt}`, "utf16le").toString("latin1");
    expect(fault("", ecdsa.key)).toBe("crt:1 expected PEM, found 0 bytes");
    expect(fault(ecdsa.crt, "")).toBe("key:1 expected PEM, found 0 bytes");
    expect(fault("hello", ecdsa.key)).toContain('expected PEM, found 5 characters without "-----BEGIN"');
    expect(fault(der, ecdsa.key)).toContain("found binary data");
    expect(fault(wide, ecdsa.key)).toContain("UTF-16");
    expect(fault(ecdsa.key, ecdsa.crt)).toContain("are the two files swapped?");
    expect(fault(ecdsa.crt, chain.crt)).toContain("are the two files swapped?");
    expect(fault(ecdsa.crt, publicKey)).toBe("key:1 expected a PRIVATE KEY, found a PUBLIC KEY");
  });

  test("keys that clients would refuse, or that TLS cannot use", () => {
    const small = madeBySelf({ kind: "rsa1024" });
    expect(fault(small.crt, small.key)).toContain("expected an RSA key of 2048 to 8192 bits, found 1024");
    for (const kind of ["secp256k1", "rsaPss"] as const satisfies (keyof typeof keyKinds)[]) {
      const made = madeBySelf({ kind });
      expect(fault(made.crt, made.key)).toStartWith("key:1 ");
    }
  });

  test("damage inside a block, with the line it begins in", () => {
    const damaged = (text: string) => text.replace(/\n.{12}/, "\nAAAAAAAAAAAA");
    expect(fault(damaged(ecdsa.crt), ecdsa.key)).toStartWith("crt:1 the CERTIFICATE block that begins here");
    expect(fault(ecdsa.crt, damaged(ecdsa.key))).toStartWith("key:1 the PRIVATE KEY that begins here");
    const line = chain.leaf.split("\n").length;
    expect(fault(chain.leaf + damaged(chain.intermediate), chain.key)).toStartWith(`crt:${line} `);
    expect(fault(ecdsa.crt.repeat(17), ecdsa.key)).toContain("at most 16 certificates, found 17");
  });
});

test("a file cut anywhere is refused as half written, unless it ends between two certificates", () => {
  const whole = usable(chain.crt, chain.key);
  const accepted: number[] = [];
  for (let end = 0; end <= chain.crt.length; end++) {
    const pair = read(chain.crt.slice(0, end), chain.key);
    if (isFault(pair)) continue;
    accepted.push(end);
    expectMatch(pair);
    expect(whole.certPem).toStartWith(pair.certPem);
  }
  // With the final line break and without it.
  const [leaf, all] = [chain.leaf.length, chain.crt.length];
  expect(accepted).toEqual([leaf - 1, leaf, all - 1, all]);
  for (let end = 0; end < chain.key.length - 1; end++)
    expect(isFault(read(chain.crt, chain.key.slice(0, end)))).toBe(true);
});

test("no secret is in what is said about a key", () => {
  const secret = ecdsa.key.split("\n")[1]!;
  for (const key of [ecdsa.key.slice(0, 100), ecdsa.key.replace("-----END", "----END"), `${ecdsa.key.slice(0, -30)}`]) {
    const pair = read(ecdsa.crt, key);
    expect(JSON.stringify(pair)).not.toContain(secret.slice(0, 20));
  }
});
