/**
 * The path that matching sees (A4): decoded once, dots resolved, slashes collapsed. Never sent anywhere.
 *
 * `%2f` and `%5c` stay ordinary characters of a segment; `%25` stays as it is, so that nothing decodes twice; bytes
 * from 0x80 are upper-case `%XX`, so that raw and encoded forms meet.
 */

/**
 * @param raw the path of a target as it came, without query; each character one byte (latin1) or already encoded
 * @returns undefined when the path must be refused with 400: a control character, a raw `#`, no leading slash
 */
export function normalisePath(raw: string): string | undefined {
  if (raw.charCodeAt(0) !== SLASH) return undefined;
  let plain = true;
  for (let i = 0; i < raw.length; i++) {
    const code = raw.charCodeAt(i);
    if (code <= 0x20 || code === 0x7f || code === 0x23) {
      if (code !== 0x20) return undefined;
    }
    if (code === PERCENT || code === BACKSLASH || code >= 0x80) plain = false;
    else if (code === SLASH) {
      const next = raw.charCodeAt(i + 1);
      if (next === SLASH || next === DOT) plain = false;
    }
  }
  // Nearly every path is already in normal form.
  if (plain) return raw;
  const decoded = decode(raw);
  return decoded === undefined ? undefined : resolveDots(decoded);
}

/** The same for a path written in the configuration, where characters beyond ASCII are UTF-8. */
export function normalisePathKey(key: string): string | undefined {
  return normalisePath(Buffer.from(key, "utf8").toString("latin1"));
}

/**
 * How a normal path reads to a server that takes `%2f` and `%5c` for separators.
 * @returns undefined when it holds neither
 */
export function readSeparators(path: string): string | undefined {
  if (!path.includes("%2f") && !path.includes("%5c")) return undefined;
  return resolveDots(path.replaceAll("%2f", "/").replaceAll("%5c", "/"));
}

const SLASH = 0x2f;
const BACKSLASH = 0x5c;
const PERCENT = 0x25;
const DOT = 0x2e;

function decode(raw: string): string | undefined {
  let out = "";
  for (let i = 0; i < raw.length; i++) {
    let code = raw.charCodeAt(i);
    if (code === PERCENT) {
      const value = hexPair(raw, i + 1);
      // A stray % is the character itself; keep it apart from what %25 would decode to in a second pass.
      if (value < 0) {
        out += "%25";
        continue;
      }
      i += 2;
      code = value;
      if (code === PERCENT) {
        out += "%25";
        continue;
      }
      if (code === SLASH) {
        out += "%2f";
        continue;
      }
      if (code < 0x20 || code === 0x7f) return undefined;
    }
    if (code === BACKSLASH) out += "%5c";
    else if (code >= 0x80) out += `%${code.toString(16).toUpperCase()}`;
    else out += String.fromCharCode(code);
  }
  return out;
}

function hexPair(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at));
  const low = hexDigit(text.charCodeAt(at + 1));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/** RFC 3986 5.2.4 on a path with its doubled slashes collapsed. */
function resolveDots(path: string): string {
  const out: string[] = [];
  let folder = false;
  for (const segment of path.split("/")) {
    folder = segment === "" || segment === "." || segment === "..";
    if (segment === "..") out.pop();
    else if (!folder) out.push(segment);
  }
  return out.length === 0 ? "/" : `/${out.join("/")}${folder ? "/" : ""}`;
}
