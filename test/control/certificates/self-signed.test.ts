/** The certificate made in this process, seen by openssl. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { X509Certificate } from "node:crypto";
import { selfSigned } from "../../../src/control/certificates/self-signed.ts";
import { isFault, readPair } from "../../../src/control/certificates/pair.ts";
import { openssl, temporary } from "../../support/certificates.ts";

setDefaultTimeout(30_000);

test("openssl reads it, verifies its signature and finds it fit for a server of its name", () => {
  using folder = temporary();
  const { certPem, keyPem } = selfSigned(["a.test", "*.b.test"], Date.now());
  writeFileSync(`${folder.path}/c`, certPem);
  writeFileSync(`${folder.path}/k`, keyPem);
  for (const name of ["a.test", "x.b.test"]) {
    const verify = ["verify", "-x509_strict", "-check_ss_sig", "-CAfile", "c", "-verify_hostname", name];
    expect(openssl([...verify, "-purpose", "sslserver", "c"], folder.path)).toContain("c: OK");
  }
  const text = openssl(["x509", "-in", "c", "-noout", "-text"], folder.path);
  expect(text).toContain("Version: 3");
  expect(text).toContain("DNS:a.test, DNS:*.b.test");
  expect(text).toContain("CA:FALSE");
  expect(openssl(["x509", "-in", "c", "-noout", "-pubkey"], folder.path)).toBe(
    openssl(["pkey", "-in", "k", "-pubout"], folder.path),
  );
});

test("a client that trusts it speaks to a server that has it", async () => {
  const { certPem, keyPem } = selfSigned(["localhost"], Date.now());
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert: certPem, key: keyPem },
    fetch: () => new Response("hello"),
  });
  const asked = await fetch(`https://localhost:${server.port}/`, { tls: { ca: certPem } });
  expect(await asked.text()).toBe("hello");
});

test("it is valid from an hour ago for as long as was asked, also beyond 2050, and each one is another", () => {
  const now = Date.UTC(2049, 0, 1);
  const made = selfSigned(["a.test"], now, 3650);
  const { validFromDate, validToDate } = new X509Certificate(made.certPem);
  expect(validFromDate.getTime()).toBe(made.notBeforeMs);
  expect(validToDate.getTime()).toBe(made.notAfterMs);
  expect(made.notBeforeMs).toBeLessThan(now);
  expect(new Date(made.notAfterMs).getUTCFullYear()).toBe(2058);
  const serials = new Set(
    Array.from({ length: 20 }, () => new X509Certificate(selfSigned([], now).certPem).serialNumber),
  );
  expect(serials.size).toBe(20);
});

test("our own reader of pairs takes it, with its names", () => {
  const { certPem, keyPem } = selfSigned(["localhost", "*.localhost"], Date.now());
  const pair = readPair(Buffer.from(certPem), Buffer.from(keyPem));
  expect(isFault(pair) ? pair.message : pair.names).toEqual(["localhost", "*.localhost"]);
});
