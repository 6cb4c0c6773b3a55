/** Reads `Authorization: Basic …` (RFC 7617), strictly: what two readers could take differently is refused. */
import { credentialCharsMax } from "../../../lib/limits.ts";

export interface BasicCredentials {
  readonly user: string;
  /** as they came, in whatever encoding the client chose */
  readonly password: Uint8Array;
}

/** @returns undefined for anything that is not one pair of one scheme `Basic`; two lines arrive joined by a comma */
export function readBasic(field: string): BasicCredentials | undefined {
  if (field.length > credentialCharsMax) return undefined;
  const text = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(field)?.[1];
  if (text === undefined || text.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(text, "base64");
  const colon = bytes.indexOf(0x3a);
  if (colon < 0) return undefined;
  return { user: bytes.toString("utf8", 0, colon), password: bytes.subarray(colon + 1) };
}
