/** Grades: which TLS versions and cipher suites `proxy_tls_grade` allows (contract, section 14; B17). */
import { constants } from "node:crypto";

export type TlsGrade = "high" | "medium" | "unsafe";

/** As Bun's listeners take them. */
export interface GradeOptions {
  /** on the wire: 0x0301 is TLS 1.0, 0x0304 is TLS 1.3 */
  readonly minVersion: number;
  readonly maxVersion: number;
  /** suites of TLS 1.2 and older; those of TLS 1.3 cannot be chosen, and are all good */
  readonly ciphers: string;
  readonly secureOptions: number;
  /** what handshakes are signed with; undefined = all that BoringSSL has, SHA-1 among them */
  readonly sigalgs?: string;
}

const strong = [
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
];

/** The original's medium: AES-128, CBC for clients of 2010, and one suite without forward secrecy. */
const broad = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-SHA",
  "ECDHE-RSA-AES256-SHA",
  "ECDHE-ECDSA-AES128-SHA",
  "ECDHE-RSA-AES128-SHA",
  "AES128-GCM-SHA256",
];

const ciphers: Record<TlsGrade, string> = {
  high: strong.join(":"),
  medium: [...strong, ...broad].join(":"),
  // What is strong stays first, for clients that have it.
  unsafe: [...strong, ...broad, "ALL:!aNULL:!eNULL"].join(":"),
};

/**
 * SHA-1 is left out (RFC 9155). Every kind of key that a pair may have stands here.
 * BUN(1.4.4): only contexts of one certificate heed it; remove when those of two kinds do.
 */
const signatures = [
  "ecdsa_secp256r1_sha256",
  "ed25519",
  "rsa_pss_rsae_sha256",
  "rsa_pkcs1_sha256",
  "ecdsa_secp384r1_sha384",
  "rsa_pss_rsae_sha384",
  "rsa_pkcs1_sha384",
  "ecdsa_secp521r1_sha512",
  "rsa_pss_rsae_sha512",
  "rsa_pkcs1_sha512",
].join(":");

export function gradeOptions(grade: TlsGrade): GradeOptions {
  return {
    minVersion: grade === "unsafe" ? 0x0301 : 0x0303,
    maxVersion: 0x0304,
    ciphers: ciphers[grade],
    // Our order, which puts what is strong first, before the client's.
    secureOptions: constants.SSL_OP_CIPHER_SERVER_PREFERENCE,
    ...(grade !== "unsafe" && { sigalgs: signatures }),
  };
}
