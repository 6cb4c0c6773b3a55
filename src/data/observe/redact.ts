/** Redaction: secrets that clients put into a target's query are not for the log. */

/** Parameters whose values are secrets: our own tokens and keys, and the usual names of others'. Lower case. */
const secretNames: ReadonlySet<string> = new Set([
  "araleztoken",
  "gazantoken",
  "master_key",
  "key",
  "token",
  "access_token",
  "refresh_token",
  "id_token",
  "id_token_hint",
  "api_key",
  "apikey",
  "api-key",
  "x-api-key",
  "password",
  "passwd",
  "pwd",
  "secret",
  "client_secret",
  "client_assertion",
  "signature",
  "sig",
  "x-amz-signature",
  "x-amz-security-token",
  "x-goog-signature",
  "jwt",
  "auth",
  "authorization",
]);

/**
 * Puts `***` for the values of secret parameters, whatever the case or encoding of their names.
 * @param target a path with its query, or a whole URL (Referer)
 * @returns the same string when there is nothing to hide
 */
export function redactTarget(target: string): string {
  const query = target.indexOf("?");
  if (query < 0) return target;
  let out = "";
  let copied = 0;
  for (let start = query + 1; start <= target.length;) {
    const end = endOfParameter(target, start);
    const equals = target.indexOf("=", start);
    if (equals >= 0 && equals < end && isSecret(target.slice(start, equals))) {
      out += `${target.slice(copied, equals + 1)}***`;
      copied = end;
    }
    // Without another "=" no parameter has a value; this also keeps the search from being quadratic.
    if (equals < 0) break;
    start = end + 1;
  }
  return copied === 0 ? target : out + target.slice(copied);
}

/** `;` parts parameters for some servers, and a second `?` for careless writers of links. */
function endOfParameter(target: string, start: number): number {
  for (let i = start; i < target.length; i++) {
    const code = target.charCodeAt(i);
    if (code === 0x26 || code === 0x3b || code === 0x3f || code === 0x23) return i;
  }
  return target.length;
}

function isSecret(name: string): boolean {
  return secretNames.has((name.includes("%") ? decode(name) : name).toLowerCase());
}

/** Byte by byte: a name with one bad escape must not hide the rest of it. */
function decode(name: string): string {
  return name.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}
