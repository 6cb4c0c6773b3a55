/**
 * Veil: what of a line may be shown of a file that is not YAML, or names something twice. Its tree does not tell where
 * secrets stand, so only words that are certainly none are seen, and the marks that YAML is made of.
 */
import type { Span } from "./node.ts";

/** Words that the keys of a configuration do not hold, and that nobody would call a secret. */
const plainWords: ReadonlySet<string> = new Set(
  (
    "- --- true false null none basic apikey jwt forward type data creds users keys realm header public_key jwks algorithms " +
    "issuer audience claims copy_headers address weight method path host expect interval timeout rise fall connect " +
    "first_byte idle stream body write auto http https h2 h2c file env consul kubernetes services hostname upstream " +
    "DEFAULT localhost loopback private off error warn info debug trace text json combined all key open high medium unsafe " +
    "require request GET HEAD"
  ).split(" "),
);

/** An IPv4 address with its port, or what stands between blanks and marks. */
const word = /(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.:-])|[^\s{}[\],:"'|>&*!#]+/g;
const addressOrShort = /^(?:\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?|\d{1,3})$/;
/** What a line may begin with: a path, or a host of two labels. A user of `users` is neither. */
const place = /^(?:\/[\w./*-]*|(?:\*|[a-z0-9-]+)(?:\.[a-z0-9-]+)+)$/i;

/** Whether a key may be seen, such as a step of a path: by itself it is no secret. */
export function isSeen(key: string, known: ReadonlySet<string>): boolean {
  return plainWords.has(key) || known.has(key) || place.test(key);
}

/**
 * @param known keys of the configuration
 * @returns the parts of `line` that must not be seen, in order
 */
export function veil(line: string, known: ReadonlySet<string>): Span[] {
  const hidden: { start: number; end: number }[] = [];
  for (const { 0: text, index: start } of line.matchAll(word)) {
    if (plainWords.has(text) || known.has(text) || addressOrShort.test(text)) continue;
    const end = start + text.length;
    const isKey = /^["']?\s*:(?:\s|$)/.test(line.slice(end)) && /^[\s"'{-]*$/.test(line.slice(0, start));
    if (isKey && place.test(text)) continue;
    const last = hidden.at(-1);
    // One secret may hold marks: pieces without a blank or a quote between them are one.
    if (last && !/[\s"']/.test(line.slice(last.end, start))) last.end = end;
    else hidden.push({ start, end });
  }
  return hidden;
}
