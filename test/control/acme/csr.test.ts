/** Certificate signing requests, as openssl reads them. */
import { expect, test } from "bun:test";
import { createPrivateKey, createPublicKey } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { newCertificateKey, signingRequest } from "../../../src/control/acme/csr.ts";
import { challengeCertificate } from "../../../src/control/acme/proof.ts";
import { openssl, temporary } from "../../support/certificates.ts";

test("openssl verifies the request, and finds one name, an empty subject and our key in it", () => {
  using folder = temporary();
  for (const name of ["a.example", `${"l".repeat(63)}.${"o".repeat(63)}.${"n".repeat(63)}.example`]) {
    const keyPem = newCertificateKey();
    writeFileSync(join(folder.path, "csr"), signingRequest(name, keyPem));
    const request = ["req", "-inform", "DER", "-in", "csr"];
    const text = openssl([...request, "-noout", "-text", "-pubkey"], folder.path);
    // openssl 3.0 tells a bad signature on stderr only.
    const { stderr } = Bun.spawnSync(["openssl", ...request, "-verify", "-noout"], { cwd: folder.path });
    expect(stderr.toString()).toContain("verify OK");
    expect(text).toContain(
      createPublicKey(createPrivateKey(keyPem)).export({ type: "spki", format: "pem" }).toString(),
    );
    expect(text).toMatch(/Subject: *\n/);
    expect(text).toContain("prime256v1");
    expect(text).toMatch(new RegExp(`X509v3 Subject Alternative Name: *\n *DNS:${name.replaceAll(".", "\\.")}\n`));
    expect(text).toContain("Signature Algorithm: ecdsa-with-SHA256");
  }
});

test("the certificate of a TLS-ALPN-01 challenge carries its digest in a critical extension (RFC 8737 3)", () => {
  using folder = temporary();
  const { pairs } = challengeCertificate("a.example", "token.thumbprint", Date.now());
  writeFileSync(join(folder.path, "crt"), pairs[0]!.certPem);
  const text = openssl(["x509", "-in", "crt", "-noout", "-text"], folder.path);
  const digest = new Bun.CryptoHasher("sha256").update("token.thumbprint").digest("hex").toUpperCase();
  const der = openssl(["asn1parse", "-in", "crt"], folder.path);
  expect(text).toMatch(/1\.3\.6\.1\.5\.5\.7\.1\.31: critical/);
  expect(text).toContain("DNS:a.example");
  expect(der).toContain(`[HEX DUMP]:0420${digest}`);
});
