/** What the access log says about one exchange. */
import type { Exchange } from "../exchange.ts";
import type { Ending } from "../plane.ts";
import type { AccessRecord } from "./access-log.ts";

export function recordOf(exchange: Exchange, { status, bytesOut, cut, grpcStatus }: Ending): AccessRecord {
  return {
    timeMs: Date.now(),
    status,
    method: exchange.method,
    target: exchange.target,
    host: exchange.authority ?? "",
    peer: exchange.peer,
    client: exchange.client,
    version: exchange.version,
    secure: exchange.secure,
    userAgent: exchange.field("user-agent") ?? "",
    referer: exchange.field("referer") ?? "",
    bytesOut,
    bytesIn: exchange.bytesIn,
    durationMs: performance.now() - exchange.startedMs,
    ...(exchange.upstreamMs !== undefined && { upstreamMs: exchange.upstreamMs }),
    route: exchange.route?.name ?? "",
    upstream: exchange.member?.endpoint.name ?? "",
    requestId: exchange.id,
    deniedBy: exchange.deniedBy,
    cut,
    ...(grpcStatus !== undefined && { grpcStatus }),
    ...(exchange.user !== "" && { user: exchange.user }),
  };
}
