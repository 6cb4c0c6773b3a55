/** ACME Renewal Information (RFC 9773): when a server would like a certificate to be renewed. */
import { X509Certificate } from "node:crypto";
import { oidBytes, readDer } from "../../lib/der.ts";
import { acmeRenewalInfoMs, acmeRenewalInfoMsMax, acmeRenewalInfoMsMin } from "../../lib/limits.ts";
import type { AcmeClient } from "./client.ts";
import type { Window } from "./schedule.ts";

export interface RenewalInfo {
  /** undefined where the server says nothing */
  readonly window: Window | undefined;
  /** when to ask again, milliseconds since 1970 */
  readonly checkMs: number;
}

const authorityKeyIdentifier = oidBytes("2.5.29.35");

/**
 * The unique identifier of a certificate (RFC 9773 4.1): its issuer's key and its serial number.
 * @param certPem leaf first
 * @returns undefined when it names no key of an issuer
 */
export function certificateId(certPem: string): string | undefined {
  const [certificate] = readDer(new X509Certificate(certPem).raw);
  const [tbs] = readDer(certificate!.body);
  const fields = readDer(tbs!.body);
  const serial = fields[fields[0]?.tag === 0xa0 ? 1 : 0];
  const extensions = fields.find(({ tag }) => tag === 0xa3);
  const [list] = extensions ? readDer(extensions.body) : [];
  for (const extension of list ? readDer(list.body) : []) {
    const [id, ...rest] = readDer(extension.body);
    if (!id || Buffer.compare(id.body, authorityKeyIdentifier) !== 0) continue;
    const [identifier] = readDer(rest.at(-1)!.body);
    const key = readDer(identifier!.body).find(({ tag }) => tag === 0x80);
    if (key && serial) return `${base64url(key.body)}.${base64url(serial.body)}`;
  }
  return undefined;
}

/** @param id from {@link certificateId}. @throws AcmeError */
export async function askRenewalInfo(client: AcmeClient, id: string | undefined, nowMs: number): Promise<RenewalInfo> {
  const { renewalInfo } = await client.directory();
  if (renewalInfo === undefined || id === undefined)
    return { window: undefined, checkMs: nowMs + acmeRenewalInfoMsMax };
  const answer = await client.get("Cannot read the renewal information", `${renewalInfo.replace(/\/$/, "")}/${id}`);
  const askedMs = answer.retryAfterMs ?? acmeRenewalInfoMs;
  const waitMs = Math.min(Math.max(askedMs, acmeRenewalInfoMsMin), acmeRenewalInfoMsMax);
  return { window: windowOf(answer.body.suggestedWindow), checkMs: nowMs + waitMs };
}

function windowOf(value: unknown): Window | undefined {
  const { start, end } = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const [startMs, endMs] = [Date.parse(String(start)), Date.parse(String(end))];
  return startMs <= endMs ? { startMs, endMs } : undefined;
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}
