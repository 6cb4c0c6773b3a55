/** Where every reply leaves the pipeline: our own ones get the request id and their one log line. */
import type { Exchange, OwnReply, Reply } from "./exchange.ts";
import { addHsts } from "./headers/hsts.ts";
import { redactTarget } from "./observe/redact.ts";
import type { Plane } from "./plane.ts";

/** @param deniedBy the guard or check that answered; "" = none */
export function close(plane: Plane, exchange: Exchange, reply: Reply, deniedBy: string): void {
  if (!reply.passed) {
    if (exchange.secure && exchange.route?.hsts !== undefined) addHsts(reply.fields, exchange.route.hsts);
    exchange.deniedBy = deniedBy;
    reply.fields.push(["X-Request-Id", exchange.id]);
    if (reply.why !== "") tell(plane, exchange, reply);
  }
  exchange.reply(reply);
}

function tell(plane: Plane, exchange: Exchange, reply: OwnReply): void {
  const level = reply.status >= 500 ? "warn" : "info";
  const member = exchange.member ? `, member: ${exchange.member.endpoint.name}` : "";
  plane.options.log(
    level,
    "answer",
    `${reply.status} ${exchange.method} ${redactTarget(exchange.target)}, host: ${exchange.authority ?? "-"}, route: ${exchange.route?.name ?? "-"}${member}, client: ${exchange.client}, id: ${exchange.id}: ${reply.why}`,
  );
}
