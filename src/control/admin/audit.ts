/** Where every admin reply leaves: it gets the request's id, and what was asked for with a key has a line in the log. */
import type { AdminRequest } from "./endpoint.ts";
import type { OwnReply } from "../../data/exchange.ts";
import { redactTarget } from "../../data/observe/redact.ts";
import type { PlaneOptions } from "../../data/plane.ts";

export function close(
  { log }: { readonly log: PlaneOptions["log"] },
  { exchange, path, keyBy }: AdminRequest,
  reply: OwnReply,
): void {
  reply.fields.push(["X-Request-Id", exchange.id]);
  if (reply.why !== "") {
    const { status } = reply;
    const key = keyBy === undefined ? "without key" : `key by ${keyBy}`;
    // What is asked about there may hold the credentials of a request.
    const shown = path === "/explain" ? path : redactTarget(exchange.target);
    const client = exchange.client === "" ? "unix socket" : exchange.client;
    log(
      status >= 400 ? "warn" : "info",
      "admin",
      `${status} ${exchange.method} ${shown}, client: ${client}, ${key}, id: ${exchange.id}: ${reply.why}`,
    );
  }
  exchange.reply(reply);
}
