/** The identifier that a server knows a certificate by. */
import { expect, test } from "bun:test";
import { certificateId } from "../../../src/control/acme/renewal-info.ts";
import { madeByUs } from "../../support/certificates.ts";
import { pemOf } from "../../../src/control/certificates/self-signed.ts";
import { generateKeyPairSync, sign } from "node:crypto";
import { der, derInteger, derOid, derTime, tags } from "../../../src/lib/der.ts";

/** A certificate with the serial number and issuer's key of RFC 9773 4.1. */
function certificateOfTheRfc(): string {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const algorithm = der(tags.sequence, derOid("1.2.840.10045.4.3.2"));
  const keyIdentifier = Buffer.from("69885b6b87464041e1b37b847ba0ae2cde01c8d4", "hex");
  const value = der(tags.octetString, der(tags.sequence, der(0x80, keyIdentifier)));
  const tbs = der(
    tags.sequence,
    der(0xa0, derInteger(Uint8Array.of(2))),
    derInteger(Buffer.from("87654321", "hex")),
    algorithm,
    der(tags.sequence),
    der(tags.sequence, derTime(0), derTime(4e12)),
    der(tags.sequence),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, der(tags.sequence, der(tags.sequence, derOid("2.5.29.35"), value))),
  );
  const signature = der(tags.bitString, Uint8Array.of(0), sign("sha256", tbs, privateKey));
  return pemOf("CERTIFICATE", der(tags.sequence, tbs, algorithm, signature));
}

test("is made of the issuer's key and the serial number, as in RFC 9773 4.1", () => {
  expect(certificateId(certificateOfTheRfc())).toBe("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
});

test("is missing where a certificate does not name its issuer's key", () => {
  expect(certificateId(madeByUs(["a.test"]).crt)).toBeUndefined();
});
