/** Secured: what a listener knows of a client's TLS connection once its handshake is done. */
import { X509Certificate } from "node:crypto";

export interface Secured {
  /** the name asked for by SNI, in lower case; "" without one */
  readonly serverName: string;
  /** id of the {@link ClientPolicy} that the connection was made under; "" = no client certificate was asked for */
  readonly policy: string;
  /** the client's certificate, verified against the policy's authority and valid at the handshake */
  readonly client: ClientCertificate | undefined;
  /** why a certificate that was shown is not accepted; "" when none was shown, or a good one */
  readonly problem: string;
}

/** As upstreams are told. */
export interface ClientCertificate {
  /** `Client-Cert`: the certificate in DER, as a byte sequence of structured fields (RFC 9440 2.2) */
  readonly field: string;
  /** `X-Client-Subject`: its subject by RFC 4514, in ASCII */
  readonly subject: string;
  /** milliseconds since 1970 */
  readonly notAfterMs: number;
}

/** @throws Error when the bytes are no certificate */
export function describeClient(der: Uint8Array): ClientCertificate {
  const certificate = new X509Certificate(der);
  return {
    field: `:${Buffer.from(der).toString("base64")}:`,
    subject: showSubject(certificate.subject),
    notAfterMs: Date.parse(certificate.validTo),
  };
}

/**
 * RFC 4514 2.1: the last name first, separated by commas.
 * @param lines one relative name a line, as node:crypto gives them: special characters and controls are escaped already
 */
function showSubject(lines: string): string {
  const names = lines.split("\n").map((line) => line.replaceAll(" + ", "+"));
  return names
    .reverse()
    .join(",")
    .replace(/[^\x20-\x7e]/gu, escapeBytes);
}

/** RFC 4514 2.4: each byte of UTF-8 in hexadecimal. A field value cannot hold other characters for sure. */
function escapeBytes(character: string): string {
  return [...Buffer.from(character)].map((byte) => `\\${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
}
