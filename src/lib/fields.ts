/** HTTP field names and values: which are legal, which belong to one connection only (RFC 9110, RFC 9112). */

/** Fields of one hop, never forwarded (RFC 9110 7.6.1; `keep-alive` and `proxy-connection` by custom). Lower case. */
export const hopByHop: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
  "proxy-authenticate",
  "proxy-authorization",
]);

/** Names that frame a message; configuration may never set them. Lower case. */
export const framing: ReadonlySet<string> = new Set(["content-length", "transfer-encoding", "trailer", "te", "expect"]);

/** Fields that a `Connection` line may not remove: without them the message changes its meaning or its guards. */
const neverNominated: ReadonlySet<string> = new Set(["host", "content-length", "authorization", "cookie", "cdn-loop"]);

/** RFC 9110 5.6.2: token. */
export function isToken(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text);
}

/** RFC 9110 5.5: no CR, LF, NUL or other control characters but tab. */
export function isFieldValue(text: string): boolean {
  // eslint-disable-next-line no-control-regex
  return !/[\x00-\x08\x0a-\x1f\x7f]/.test(text);
}

/**
 * The lower-case names that a `Connection` field nominates as belonging to this hop (RFC 9110 7.6.1).
 * Names that a client must not be able to remove (X-Forwarded-*, Host, credentials) are left out.
 */
export function nominatedBy(connection: string | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined) return undefined;
  let names: Set<string> | undefined;
  for (const part of connection.split(",")) {
    const name = part.trim().toLowerCase();
    if (name === "" || name === "close" || name === "keep-alive" || hopByHop.has(name)) continue;
    if (neverNominated.has(name) || name.startsWith("x-forwarded-") || name === "x-real-ip") continue;
    (names ??= new Set()).add(name);
  }
  return names;
}

/**
 * The protocols of an `Upgrade` field that a proxy may pass on: HTTP/2 and TLS on the same connection would take the
 * requests behind it out of our sight (RFC 9110 7.8, CVE class "h2c smuggling").
 * @returns undefined when none is left
 */
export function passableUpgrade(field: string | undefined): string | undefined {
  if (field === undefined) return undefined;
  const tokens = field.split(",").map((token) => token.trim());
  const passable = tokens.filter((token) => token !== "" && !/^(h2c?|tls\/.*|http\/.*)$/i.test(token));
  return passable.length === 0 ? undefined : passable.join(", ");
}

/** Fields that must not arrive behind a body: they frame, route or authenticate, or say who the client is (RFC 9110 6.5.1). */
const neverTrailing: ReadonlySet<string> = new Set([
  "host",
  "content-length",
  "content-encoding",
  "content-type",
  "content-range",
  "authorization",
  "cookie",
  "set-cookie",
  "cache-control",
  "expect",
  "max-forwards",
  "range",
  "proxy",
  "client-cert",
  "x-client-subject",
  "forwarded",
  "x-real-ip",
  "x-request-id",
  "cdn-loop",
  "location",
  "www-authenticate",
]);

/** The trailers that may go on. @param dropped further lower-case names, by the rules */
export function passableTrailers(
  trailers: readonly (readonly [name: string, value: string])[] | undefined,
  dropped: ReadonlySet<string>,
): readonly (readonly [name: string, value: string])[] {
  return (trailers ?? []).filter(([name]) => {
    const lower = name.toLowerCase();
    return !(
      neverTrailing.has(lower) ||
      hopByHop.has(lower) ||
      dropped.has(lower) ||
      lower.startsWith("x-forwarded-") ||
      lower.startsWith("remote-") ||
      lower.includes("_")
    );
  });
}

/** The trailers that may go on, as lines; "" when there are none. @param dropped further lower-case names, by the rules */
export function trailerLines(
  trailers: readonly (readonly [name: string, value: string])[] | undefined,
  dropped: ReadonlySet<string>,
): string {
  let text = "";
  for (const [name, value] of passableTrailers(trailers, dropped)) text += `${name}: ${value}\r\n`;
  return text;
}

/** True when a comma-separated field holds the token, letter case aside. */
export function hasToken(value: string | undefined, token: string): boolean {
  if (value === undefined) return false;
  if (value.length === token.length) return value.toLowerCase() === token;
  return value.split(",").some((part) => part.trim().toLowerCase() === token);
}
