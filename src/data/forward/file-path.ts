/** The path of a static file, read from a target: decoded once, dots resolved, and nothing that could mislead a disk. */

export interface FilePath {
  /** names below the root; no separators, no dots-only names */
  readonly segments: readonly string[];
  /** asked as a folder: the path ends in a slash or in dots */
  readonly folder: boolean;
}

/** Why a path names no file. `bad` is a request nobody sends by mistake (400), `hidden` one that must find nothing (404). */
export type PathFault = "bad" | "hidden";

/**
 * @param raw path without query, each character one byte or already percent-encoded, beginning with "/"
 * @returns the names, or why there are none. Going above the root stays at the root (RFC 3986 5.2.4), as matching does.
 */
export function readFilePath(raw: string): FilePath | PathFault {
  const segments: string[] = [];
  let folder = false;
  for (const part of raw.split("/")) {
    const name = decodeSegment(part);
    if (name === undefined) return "bad";
    folder = name === "" || name === "." || name === "..";
    if (name === "..") segments.pop();
    else if (folder) continue;
    else if (name.includes("/") || name.includes("\\")) return "hidden";
    // Dotfiles hold secrets (.env, .git); only RFC 8615's folder is meant for everyone.
    else if (name.startsWith(".") && !(name === ".well-known" && segments.length === 0)) return "hidden";
    else segments.push(name);
  }
  return { segments, folder };
}

const percent = 0x25;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @returns undefined for bad escapes, control characters and what is not UTF-8 (overlong forms included) */
function decodeSegment(raw: string): string | undefined {
  let plain = true;
  for (let i = 0; i < raw.length; i++) {
    const code = raw.charCodeAt(i);
    if (code < 0x20 || code === 0x7f) return undefined;
    if (code === percent || code >= 0x80) plain = false;
  }
  if (plain) return raw;
  const bytes = new Uint8Array(raw.length);
  let length = 0;
  for (let i = 0; i < raw.length; i++) {
    let code = raw.charCodeAt(i);
    if (code > 0xff) return undefined;
    if (code === percent) {
      const pair = raw.slice(i + 1, i + 3);
      if (!hexPair.test(pair)) return undefined;
      code = parseInt(pair, 16);
      if (code < 0x20 || code === 0x7f) return undefined;
      i += 2;
    }
    bytes[length++] = code;
  }
  try {
    return utf8.decode(bytes.subarray(0, length));
  } catch {
    return undefined;
  }
}

const hexPair = /^[0-9a-fA-F]{2}$/;
