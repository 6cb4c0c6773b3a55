/** Quotes what a source has sent: short, on one line, so that it can stand in the log. */
import { discoveryQuotedCharsMax } from "../../lib/limits.ts";

export function quoted(text: string, quote = '"'): string {
  const line = text.replace(/[\x00-\x1f\x7f]+/g, " ");
  const short = line.length > discoveryQuotedCharsMax ? `${line.slice(0, discoveryQuotedCharsMax - 1)}…` : line;
  return `${quote}${short}${quote}`;
}
