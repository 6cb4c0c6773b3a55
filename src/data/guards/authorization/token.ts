/** Where a token stands in a request: `Authorization: Bearer`, or the query's `araleztoken` or `gazantoken`. */

const names: ReadonlySet<string> = new Set(["araleztoken", "gazantoken"]);

/** RFC 6750 2.1. @returns undefined for another scheme, or more than one line */
export function bearerOf(field: string | undefined): string | undefined {
  return field === undefined ? undefined : /^bearer +([^\s,]+)$/i.exec(field)?.[1];
}

/** The values of our token parameters, decoded, in order; more than one is for the caller to refuse. */
export function queryTokens(target: string): string[] {
  const query = target.indexOf("?");
  if (query < 0) return [];
  const found: string[] = [];
  for (const parameter of target.slice(query + 1).split("&")) {
    const equals = parameter.indexOf("=");
    if (isToken(parameter, equals)) found.push(equals < 0 ? "" : decode(parameter.slice(equals + 1)));
  }
  return found;
}

/** The target without our token parameters; every other byte of it stays (A4, B3). */
export function withoutTokens(target: string): string {
  const query = target.indexOf("?");
  if (query < 0) return target;
  const parameters = target.slice(query + 1).split("&");
  const kept = parameters.filter((parameter) => !isToken(parameter, parameter.indexOf("=")));
  if (kept.length === parameters.length) return target;
  return kept.length === 0 ? target.slice(0, query) : `${target.slice(0, query + 1)}${kept.join("&")}`;
}

/** Whatever the case or encoding of its name: an upstream may read it as the same. */
function isToken(parameter: string, equals: number): boolean {
  const name = equals < 0 ? parameter : parameter.slice(0, equals);
  return names.has((name.includes("%") ? decode(name) : name).toLowerCase());
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
