/**
 * What kind of field a decoded line is: legal or not, and whether the message cares for its name (RFC 9113 8.2, 8.3). An
 * entry of an HPACK table is looked at once, when it is made, and not again each time it is named.
 */
import { classes, SP, TAB, TOKEN, UNDERSCORE, VALUE } from "../byte-classes.ts";
import { isAt } from "../head-bytes.ts";

/** The low bits say which name it is. */
export const NAME = 31;
export const METHOD_FIELD = 1;
export const SCHEME_FIELD = 2;
export const AUTHORITY_FIELD = 3;
export const PATH_FIELD = 4;
export const STATUS_FIELD = 5;
export const PROTOCOL_FIELD = 6;
/** the pseudo-fields are 1 to 7 */
export const UNKNOWN_PSEUDO = 7;
export const HOST_FIELD = 8;
export const COOKIE_FIELD = 9;
export const LENGTH_FIELD = 10;
export const TE_FIELD = 11;
/** of one connection only, so of no HTTP/2 message (RFC 9113 8.2.2) */
export const CONNECTION_FIELD = 12;
export const EXPECT_FIELD = 13;
export const UPGRADE_FIELD = 14;

/** the name is no token or has a capital letter, or the value has what no value may have (RFC 9113 8.2.1) */
export const BAD = 32;
/** the name holds `_` */
export const UNDERSCORED = 64;
/** never to be put into a table, by whoever passes it on (RFC 7541 7.1.3) */
export const SENSITIVE = 128;

/** The kind of bytes[name, nameEnd) with the value bytes[value, valueEnd). */
export function kindOf(bytes: Buffer, name: number, nameEnd: number, value: number, valueEnd: number): number {
  return nameKind(bytes, name, nameEnd) | valueKind(bytes, value, valueEnd);
}

function nameKind(bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length === 0) return BAD;
  if (bytes[start] === 58) return pseudoKind(bytes, start, length);
  let kind = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    const bits = classes[byte]!;
    if ((bits & TOKEN) === 0 || (byte >= 65 && byte <= 90)) return BAD;
    if ((bits & UNDERSCORE) !== 0) kind = UNDERSCORED;
  }
  return kind | knownName(bytes, start, length);
}

function pseudoKind(bytes: Buffer, at: number, length: number): number {
  switch (length) {
    case 5:
      if (isAt(bytes, at, ":path")) return PATH_FIELD;
      break;
    case 7:
      if (isAt(bytes, at, ":method")) return METHOD_FIELD;
      if (isAt(bytes, at, ":scheme")) return SCHEME_FIELD;
      if (isAt(bytes, at, ":status")) return STATUS_FIELD;
      break;
    case 9:
      if (isAt(bytes, at, ":protocol")) return PROTOCOL_FIELD;
      break;
    case 10:
      if (isAt(bytes, at, ":authority")) return AUTHORITY_FIELD;
      break;
  }
  return UNKNOWN_PSEUDO;
}

function knownName(bytes: Buffer, at: number, length: number): number {
  switch (length) {
    case 2:
      return isAt(bytes, at, "te") ? TE_FIELD : 0;
    case 4:
      return isAt(bytes, at, "host") ? HOST_FIELD : 0;
    case 6:
      if (isAt(bytes, at, "cookie")) return COOKIE_FIELD;
      return isAt(bytes, at, "expect") ? EXPECT_FIELD : 0;
    case 7:
      return isAt(bytes, at, "upgrade") ? UPGRADE_FIELD : 0;
    case 10:
      return isAt(bytes, at, "connection") || isAt(bytes, at, "keep-alive") ? CONNECTION_FIELD : 0;
    case 14:
      return isAt(bytes, at, "content-length") ? LENGTH_FIELD : 0;
    case 16:
      return isAt(bytes, at, "proxy-connection") ? CONNECTION_FIELD : 0;
    case 17:
      return isAt(bytes, at, "transfer-encoding") ? CONNECTION_FIELD : 0;
  }
  return 0;
}

/** RFC 9113 8.2.1, and RFC 9110 5.5: what HTTP/1.1 could not carry either is refused here. */
function valueKind(bytes: Buffer, start: number, end: number): number {
  if (start === end) return 0;
  const first = bytes[start]!;
  const last = bytes[end - 1]!;
  if (first === SP || first === TAB || last === SP || last === TAB) return BAD;
  for (let at = start; at < end; at++) if ((classes[bytes[at]!]! & VALUE) === 0) return BAD;
  return 0;
}
