/** Self-signed certificates, made in this process: what the TLS port shows while it has none. */
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { der, derInteger, derOid, derTime, tags } from "../../lib/der.ts";

export interface SelfSigned {
  readonly certPem: string;
  readonly keyPem: string;
  /** milliseconds since 1970 */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface CriticalExtension {
  readonly oid: string;
  /** DER */
  readonly value: Uint8Array;
}

/**
 * A certificate on P-256 that signs itself and may sign nothing else (RFC 5280, RFC 5758).
 * @param names host names and `*.x` wildcards; the first one is the common name
 * @param further critical extensions, their values as DER
 */
export function selfSigned(
  names: readonly string[],
  nowMs: number,
  days = 3650,
  further: readonly CriticalExtension[] = [],
): SelfSigned {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  // A clock that is a little behind must not find it "not yet valid". Whole seconds, as X.509 has them.
  const notBeforeMs = Math.floor(nowMs / 1000) * 1000 - 3_600_000;
  const notAfterMs = notBeforeMs + days * 24 * 3_600_000;
  const ecdsaWithSha256 = der(tags.sequence, derOid("1.2.840.10045.4.3.2"));
  const subject = nameOf(names[0] ?? "localhost");
  const tbs = der(
    tags.sequence,
    der(0xa0, derInteger(Uint8Array.of(2))),
    derInteger(serialNumber()),
    ecdsaWithSha256,
    subject,
    der(tags.sequence, derTime(notBeforeMs), derTime(notAfterMs)),
    subject,
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, der(tags.sequence, ...extensions(names, further))),
  );
  const certificate = der(tags.sequence, tbs, ecdsaWithSha256, bitString(sign("sha256", tbs, privateKey)));
  return {
    certPem: pemOf("CERTIFICATE", certificate),
    keyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    notBeforeMs,
    notAfterMs,
  };
}

/** One PEM block (RFC 7468), with its final line break. */
export function pemOf(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** Positive, and 20 bytes at most (RFC 5280 4.1.2.2). */
function serialNumber(): Uint8Array {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes;
}

function nameOf(commonName: string): Uint8Array {
  const attribute = der(tags.sequence, derOid("2.5.4.3"), der(tags.utf8String, Buffer.from(commonName)));
  return der(tags.sequence, der(tags.set, attribute));
}

function extensions(names: readonly string[], further: readonly CriticalExtension[]): Uint8Array[] {
  const critical = der(tags.boolean, Uint8Array.of(0xff));
  const extension = (oid: string, value: Uint8Array, ...flags: Uint8Array[]) =>
    der(tags.sequence, derOid(oid), ...flags, der(tags.octetString, value));
  const dnsNames = names.map((name) => der(0x82, Buffer.from(name, "latin1")));
  return [
    extension("2.5.29.19", der(tags.sequence), critical), // basicConstraints: not a CA
    extension("2.5.29.15", der(tags.bitString, Uint8Array.of(7, 0x80)), critical), // keyUsage: digitalSignature
    extension("2.5.29.37", der(tags.sequence, derOid("1.3.6.1.5.5.7.3.1"))), // extKeyUsage: serverAuth
    ...(dnsNames.length > 0 ? [extension("2.5.29.17", der(tags.sequence, ...dnsNames))] : []), // subjectAltName
    ...further.map(({ oid, value }) => extension(oid, value, critical)),
  ];
}

function bitString(bytes: Uint8Array): Uint8Array {
  return der(tags.bitString, Uint8Array.of(0), bytes);
}
