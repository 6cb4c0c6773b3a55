/** Where every reply leaves the pipeline: our own ones get the request id and their one log line. */
import { logLineCharsMax } from "../lib/limits.ts";
import { clip } from "../lib/log.ts";
import type { Exchange, OwnReply, Reply } from "./exchange.ts";
import { addHsts } from "./headers/hsts.ts";
import { explainCommand } from "./observe/explain-command.ts";
import { redactTarget } from "./observe/redact.ts";
import type { Plane } from "./plane.ts";

/** Time, level and part that speaks, before a message. */
const logPrefixCharsMax = 64;

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
  const text = `${reply.status} ${exchange.method} ${redactTarget(exchange.target)}, host: ${exchange.authority ?? "-"}, route: ${exchange.route?.name ?? "-"}${member}, client: ${exchange.client}, id: ${exchange.id}: ${reply.why}`;
  plane.options.log(level, "answer", withHint(plane, exchange, reply.status, text));
}

/** A line of the log about a 502, 503 or 504 ends with the command that tells more. */
export function withHint({ options }: Plane, exchange: Exchange, status: number, text: string): string {
  const { mainFile } = options;
  if (mainFile === undefined || (status !== 502 && status !== 503 && status !== 504)) return text;
  const command = explainCommand(exchange, mainFile);
  // The line is bounded, and a client's long target may not push the command out of it.
  return `${clip(text, Math.max(0, logLineCharsMax - logPrefixCharsMax - command.length))}; ${command}`;
}
