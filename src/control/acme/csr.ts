/** Certificate signing requests (RFC 2986) for one name and an ECDSA key of their own. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { der, derInteger, derOid, tags } from "../../lib/der.ts";

/** @returns PKCS#8 PEM of a new key on P-256 */
export function newCertificateKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/**
 * The subject is empty: the name stands in the extension that alone counts (RFC 8555 7.4, RFC 6125 6.4.4).
 * @param keyPem on P-256
 * @returns DER
 */
export function signingRequest(name: string, keyPem: string): Uint8Array {
  const key = createPrivateKey(keyPem);
  const publicKey = createPublicKey(key as KeyObject).export({ type: "spki", format: "der" });
  const dnsName = der(0x82, Buffer.from(name, "latin1"));
  const subjectAltName = der(tags.sequence, derOid("2.5.29.17"), der(tags.octetString, der(tags.sequence, dnsName)));
  const extensionRequest = der(
    tags.sequence,
    derOid("1.2.840.113549.1.9.14"),
    der(tags.set, der(tags.sequence, subjectAltName)),
  );
  const info = der(
    tags.sequence,
    derInteger(Uint8Array.of(0)),
    der(tags.sequence),
    publicKey,
    der(0xa0, extensionRequest),
  );
  const signature = der(tags.bitString, Uint8Array.of(0), sign("sha256", info, key));
  return der(tags.sequence, info, der(tags.sequence, derOid("1.2.840.10045.4.3.2")), signature);
}
