/** Says in a few words why a connection, a TLS handshake, a look-up or a request failed. */
import { causeCharsMax } from "./limits.ts";

// Node's, BoringSSL's and Bun's own codes. Bun's fetch used CamelCase codes until 1.3; they stay for its other clients.
const words: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ConnectionRefused: "connection refused",
  ECONNRESET: "connection reset",
  ConnectionReset: "connection reset",
  ECONNABORTED: "connection aborted",
  ConnectionClosed: "connection closed",
  EPIPE: "connection closed while sending",
  FailedToOpenSocket: "cannot connect",
  EHOSTUNREACH: "no route to host",
  EHOSTDOWN: "host is down",
  ENETUNREACH: "network unreachable",
  ENETDOWN: "network is down",
  EADDRNOTAVAIL: "no free local port",
  EADDRINUSE: "address already in use",
  EMFILE: "too many open files",
  ENFILE: "too many open files in the system",
  ENOENT: "no such file or socket",
  ENOTSOCK: "not a socket",
  EACCES: "permission denied",
  EPERM: "permission denied",
  ETIMEDOUT: "timed out",
  ConnectionTimeout: "timed out",
  Timeout: "timed out",
  TimeoutError: "timed out",
  AbortError: "aborted",
  ABORT_ERR: "aborted",
  ENOTFOUND: "name not found",
  DNS_ENOTFOUND: "name not found",
  ENODATA: "name not found",
  EAI_NONAME: "name not found",
  EAI_NODATA: "name not found",
  EAI_AGAIN: "name server did not answer",
  ESERVFAIL: "name server failed",
  DNS_ESERVFAIL: "name server failed",
  DNS_ETIMEOUT: "name server did not answer",
  EPROTO: "TLS: the handshake failed",
  DEPTH_ZERO_SELF_SIGNED_CERT: "certificate: self-signed certificate",
  SELF_SIGNED_CERT_IN_CHAIN: "certificate: self-signed certificate in its chain",
  CERT_HAS_EXPIRED: "certificate: expired",
  CERT_NOT_YET_VALID: "certificate: not valid yet",
  CERT_REVOKED: "certificate: revoked",
  CERT_REJECTED: "certificate: rejected",
  CERT_UNTRUSTED: "certificate: not trusted",
  CERT_SIGNATURE_FAILURE: "certificate: bad signature",
  CERT_CHAIN_TOO_LONG: "certificate: chain too long",
  INVALID_CA: "certificate: its issuer may not sign certificates",
  INVALID_PURPOSE: "certificate: not for a server",
  UNABLE_TO_GET_ISSUER_CERT: "certificate: unknown issuer",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "certificate: unknown issuer",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "certificate: unknown issuer",
  HOSTNAME_MISMATCH: "certificate: not for this name",
  ERR_TLS_CERT_ALTNAME_INVALID: "certificate: not for this name",
  ERR_SSL_WRONG_VERSION_NUMBER: "TLS: the server does not speak TLS",
  ERR_SSL_HTTP_REQUEST: "TLS: the server does not speak TLS",
};

/**
 * A short cause for logs and status, without names of functions or libraries: "connection refused",
 * "certificate: expired". Never shown to a client.
 * @param error whatever was thrown; an unknown error gives the first line of its message
 */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return shorten(String(error));
  // A connect to several addresses fails with all their errors at once; the last one is as good as any.
  if (error instanceof AggregateError && error.errors.length > 0) return describe(error.errors.at(-1));
  const { code, host, message } = error as Error & { code?: unknown; host?: unknown };
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return misnamed(host, message);
  if (code === "ECONNRESET" && message.includes("before secure TLS"))
    return "closed the connection in the TLS handshake";
  const known = words[String(code)] ?? words[error.name];
  if (known) return known;
  if (typeof code === "string" && code.startsWith("ERR_SSL_")) return tlsTrouble(code.slice("ERR_SSL_".length));
  if (error.cause instanceof Error) return describe(error.cause);
  return shorten(message || error.name);
}

/** `… Host: other.test. is not in the cert's altnames: DNS:up.test` */
function misnamed(host: unknown, message: string): string {
  const name = typeof host === "string" ? host : (/(?:Host|IP): (\S+?)\.? is not in/.exec(message)?.[1] ?? "");
  return name === "" ? words.ERR_TLS_CERT_ALTNAME_INVALID! : `certificate: not for the name "${name}"`;
}

function tlsTrouble(reason: string): string {
  const alert = /ALERT_(.+)$/.exec(reason)?.[1];
  if (alert) return `TLS: the server refused the handshake (${inWords(alert)})`;
  return `TLS: ${inWords(reason)}`;
}

function inWords(constant: string): string {
  return constant.toLowerCase().replaceAll("_", " ");
}

function shorten(text: string): string {
  const line = text
    .split("\n", 1)[0]!
    .replace(/[\x00-\x1f\x7f]+/g, " ")
    .trim();
  if (line === "") return "unknown error";
  return line.length > causeCharsMax ? `${line.slice(0, causeCharsMax - 1)}…` : line;
}
