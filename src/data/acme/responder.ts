/**
 * Responder: answers the HTTP-01 challenges of pending orders (RFC 8555 8.3) on the plain port, for every host and before
 * routes, redirects and guards. Whatever is no pending token goes on as if it were not there.
 */
import { close } from "../close.ts";
import type { Exchange } from "../exchange.ts";
import { handle, identify } from "../handle.ts";
import type { Plane } from "../plane.ts";
import { readAuthority } from "../routing/host.ts";
import { isToken, type Challenges } from "./challenges.ts";

const prefix = "/.well-known/acme-challenge/";

/** Stands before {@link handle} while ACME is on. */
export function answerOrHandle(plane: Plane, exchange: Exchange, challenges: Challenges): void {
  const token = tokenOf(exchange);
  const found = token === undefined ? undefined : challenges.find(token);
  if (!(found instanceof Promise)) return go(plane, exchange, found);
  found.then((late) => go(plane, exchange, late)).catch((error: unknown) => exchange.fault(error));
}

function go(plane: Plane, exchange: Exchange, keyAuthorization: string | undefined): void {
  if (keyAuthorization === undefined) return handle(plane, exchange);
  identify(plane, exchange);
  exchange.path = exchange.target;
  const fields: [string, string][] = [
    ["Content-Type", "application/octet-stream"],
    ["Cache-Control", "no-store"],
  ];
  const why = "the token of a pending ACME order";
  close(plane, exchange, { status: 200, fields, content: keyAuthorization, why }, "acme");
}

/** @returns undefined for what no validation sends, which then needs no look-up; a Host that is refused is one of these */
function tokenOf({ method, target, authority, body }: Exchange): string | undefined {
  if (!target.startsWith(prefix) || (method !== "GET" && method !== "HEAD") || body) return undefined;
  const token = target.slice(prefix.length);
  if (!isToken(token)) return undefined;
  return authority === undefined || readAuthority(authority) ? token : undefined;
}
