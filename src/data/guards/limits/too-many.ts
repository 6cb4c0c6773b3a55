/** The answer of every limit: 429 (RFC 6585 4) that says when to come again. */
import type { OwnReply } from "../../exchange.ts";
import { limitWindowMs } from "../../../lib/limits.ts";
import { refuse } from "../guard.ts";

/**
 * 429 with the fields of draft-ietf-httpapi-ratelimit-headers-07.
 * @param most allowed in a window
 * @param leftMs until the window ends
 */
export function tooMany(key: string, most: number, leftMs: number): OwnReply {
  const seconds = String(Math.max(1, Math.ceil(leftMs / 1000)));
  return refuse(
    429,
    "too many requests, try again in a moment",
    [
      ["Retry-After", seconds],
      ["RateLimit-Limit", String(most)],
      ["RateLimit-Remaining", "0"],
      ["RateLimit-Reset", seconds],
      ["RateLimit-Policy", `${most};w=${limitWindowMs / 1000}`],
    ],
    `more than \`${key}: ${most}\``,
  );
}
