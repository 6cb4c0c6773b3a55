/** `to_https`: plain requests are sent to https, before anything asks for credentials (B1, B5). */
import type { Exchange, OwnReply } from "../exchange.ts";
import { redactTarget } from "../observe/redact.ts";
import { refuse, type Guard } from "./guard.ts";

/**
 * @param status 301, 302, 307 or 308
 * @param tlsPort tells the port of the TLS listener; undefined when there is none: then https is somewhere else, on its own port
 */
export function toHttps(status: number, tlsPort: (() => number) | undefined): Guard {
  return {
    name: "to_https",
    check(exchange) {
      if (isHttps(exchange)) return undefined;
      if (exchange.host === "") return refuse(400, "https needs a Host to redirect to");
      const port = tlsPort?.() ?? 443;
      return redirect(status, `https://${exchange.host}${port === 443 ? "" : `:${port}`}${pathOf(exchange.target)}`);
    },
  };
}

/** The client speaks https to us, or to a trusted proxy in front of us. */
export function isHttps(exchange: Exchange): boolean {
  if (exchange.secure) return true;
  return exchange.trusted && exchange.field("x-forwarded-proto")?.trim().toLowerCase() === "https";
}

/** `OPTIONS *` asks about the server as a whole, for which no URL has a path of its own. */
export function pathOf(target: string): string {
  return target === "*" ? "/" : target;
}

export function redirect(status: number, location: string): OwnReply {
  return refuse(status, `see ${location}`, [["Location", location]], `redirected to ${redactTarget(location)}`);
}
