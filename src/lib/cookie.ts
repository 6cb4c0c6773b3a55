/** Cookies: reading one by its exact name from a Cookie field (RFC 6265 5.4). */

/**
 * The value of the first cookie with exactly this name, or undefined. `xname=` never answers for `name`.
 * @param field the Cookie field; several lines joined with `; `.
 */
export function readCookie(field: string | undefined, name: string): string | undefined {
  if (field === undefined) return undefined;
  let at = 0;
  while (at < field.length) {
    let end = field.indexOf(";", at);
    if (end < 0) end = field.length;
    let start = at;
    while (start < end && (field.charCodeAt(start) === 32 || field.charCodeAt(start) === 9)) start++;
    if (field.startsWith(name, start) && field.charCodeAt(start + name.length) === 61) {
      const value = field.slice(start + name.length + 1, end).trim();
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
    at = end + 1;
  }
  return undefined;
}
