/** `redirect_to`: answers with prefix + path + query; the last guard, so that limits and auth come first. */
import { withoutTokens } from "./authorization/token.ts";
import type { Guard } from "./guard.ts";
import { pathOf, redirect } from "./to-https.ts";

/** @param prefix checked at load: a URL or a path, without blanks */
export function redirectTo(prefix: string, status: number): Guard {
  const base = prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
  // A token of ours is for this proxy, not for whoever stands at the new place.
  return {
    name: "redirect_to",
    check: ({ target }, { cutsTokens }) => redirect(status, joined(base, cutsTokens ? withoutTokens(target) : target)),
  };
}

/** `redirect_to: /` has no host before the target: `//evil.test` and, to browsers, `/\evil.test` would be one. */
function joined(base: string, target: string): string {
  return base + (base === "" ? pathOf(target).replace(/^[/\\]+/, "/") : pathOf(target));
}
