/** Field lines for the eyes of an operator: what is probably a secret shows as `***`. */
import { showControls } from "../../lib/log.ts";
import type { FieldLine } from "../body.ts";
import { redactTarget } from "../observe/redact.ts";

const secretName = /auth(?!ority)|cookie|token|key|secret|passw|session|signature|credential/i;
/** Challenges and cookies' attributes are none, but nobody needs a cookie's value. */
const openNames: ReadonlySet<string> = new Set(["www-authenticate"]);

export function maskedLines(lines: readonly FieldLine[]): string[] {
  return lines.map(([name, value]) => {
    const secret = secretName.test(name) && !openNames.has(name.toLowerCase());
    return `${name}: ${secret ? "***" : showControls(redactTarget(value))}`;
  });
}
