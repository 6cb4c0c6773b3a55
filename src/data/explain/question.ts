/** A question to `explain`: the request that is asked about, read from a URL and field lines as curl takes them. */
import { isIP } from "node:net";
import { normaliseIp } from "../../lib/address.ts";
import { isToken } from "../../lib/fields.ts";
import { explainFieldsMax, explainUrlCharsMax } from "../../lib/limits.ts";
import type { FieldLine } from "../body.ts";

export interface Question {
  readonly method: string;
  readonly secure: boolean;
  /** Host */
  readonly authority: string | undefined;
  /** path and query as written */
  readonly target: string;
  readonly fields: readonly FieldLine[];
  /** IP of the peer that would connect */
  readonly peer: string;
}

/** The question cannot be understood; the message says what was expected. */
export class BadQuestion extends Error {}

/**
 * @param url `http://` where it names no scheme; without a host there must be a field Host
 * @param lines "Name: value"; an empty Host means a request without one
 * @param peer default: this machine
 * @throws BadQuestion
 */
export function readQuestion(method: string, url: string, lines: readonly string[], peer = "127.0.0.1"): Question {
  if (!isToken(method)) throw new BadQuestion(`expected a method such as GET, found "${method}"`);
  if (url.length > explainUrlCharsMax)
    throw new BadQuestion(`expected a URL of at most ${explainUrlCharsMax} characters`);
  if (lines.length > explainFieldsMax) throw new BadQuestion(`expected at most ${explainFieldsMax} fields`);
  const address = normaliseIp(peer);
  if (isIP(address) === 0) throw new BadQuestion(`expected the client's IP address, found "${peer}"`);
  const fields = lines.map(readField);
  const named = fields.find(([name]) => name.toLowerCase() === "host")?.[1];
  const { secure, authority, target } = readUrl(url);
  if (authority === undefined && named === undefined)
    throw new BadQuestion(`expected a URL with a host, such as "http://a.test/", or a field Host; found "${url}"`);
  return {
    method,
    secure,
    authority: (named ?? authority) || undefined,
    target,
    peer: address,
    fields: fields.filter(([name]) => name.toLowerCase() !== "host"),
  };
}

function readUrl(url: string): { secure: boolean; authority: string | undefined; target: string } {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase();
  if (scheme !== undefined && !["http", "https", "ws", "wss"].includes(scheme))
    throw new BadQuestion(`expected a URL of http or https, found "${url}"`);
  // Whatever a URL parser would tidy up is what is asked about: the target stays as written, as with curl --path-as-is.
  const rest = (scheme === undefined ? url : url.slice(scheme.length + 3)).replace(/#.*$/s, "");
  const path = rest.search(/[/?]/);
  const authority = path < 0 ? rest : rest.slice(0, path);
  const target = path < 0 ? "/" : rest.slice(path);
  return {
    secure: scheme === "https" || scheme === "wss",
    authority: authority === "" ? undefined : authority,
    // Browsers send what lies beyond ASCII as UTF-8, and a blank as %20.
    target: (target.startsWith("?") ? `/${target}` : target).replace(/[^\x21-\x7e]/gu, encodeURIComponent),
  };
}

function readField(line: string): FieldLine {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(0, colon)).trim();
  if (!isToken(name) || /[\r\n\0]/.test(line)) throw new BadQuestion(`expected a field "Name: value", found "${line}"`);
  return [name, line.slice(colon + 1).trim()];
}
