/** Host: strict reading of the Host field or `:authority`, before anything else looks at a request. */
import { isIPv6 } from "node:net";
import { hostsKnownMax } from "../../lib/limits.ts";

export interface Authority {
  /** lower case, no final dot; an IPv6 literal in its compressed form, with brackets */
  readonly host: string;
  /** digits, or "" */
  readonly port: string;
}

/**
 * RFC 9110 7.2, RFC 3986 3.2 without userinfo. A comma (two Host lines joined), blank, `%` or `@` is refused: the same
 * text must not mean another host to the next server.
 * @returns undefined when it must be refused with 400
 */
export function readAuthority(field: string): Authority | undefined {
  let read = known.get(field);
  if (read) return read;
  read = parse(field);
  if (!read) return undefined;
  // Whatever fills it is a valid Host, and goes as a whole: a few names make nearly all requests.
  if (known.size >= hostsKnownMax) known.clear();
  known.set(field, read);
  return read;
}

const known = new Map<string, Authority>();

function parse(field: string): Authority | undefined {
  let end = field.length;
  let port = "";
  const colon = field.lastIndexOf(":");
  if (colon >= 0 && !field.endsWith("]")) {
    port = field.slice(colon + 1);
    if (!/^[0-9]{0,5}$/.test(port) || Number(port) > 65_535) return undefined;
    end = colon;
  }
  let host = field.slice(0, end);
  if (host.startsWith("[")) {
    // Rules hold IPv6 hosts in their one compressed form.
    return /^\[[0-9A-Fa-f:.]+\]$/.test(host) && isIPv6(host.slice(1, -1))
      ? { host: new URL(`http://${host}`).hostname, port }
      : undefined;
  }
  if (!/^[A-Za-z0-9._~-]{1,254}$/.test(host)) return undefined;
  if (host.endsWith(".")) host = host.slice(0, -1);
  return host === "" || host.startsWith(".") ? undefined : { host: host.toLowerCase(), port };
}
