/** The separate static file listener (`file_server_address`): one folder, no routes, no guards. */
import type { Exchange, Reply } from "../exchange.ts";
import type { FileTree } from "../forward/files.ts";
import type { PlaneOptions } from "../plane.ts";

/** Answers one exchange of the file listener; refusals get their one log line. */
export function handleFiles(tree: FileTree, exchange: Exchange, log: PlaneOptions["log"]): void {
  answer(tree, exchange, log).then(
    (reply) => exchange.reply(reply),
    (error: unknown) => exchange.fault(error),
  );
}

async function answer(tree: FileTree, exchange: Exchange, log: PlaneOptions["log"]): Promise<Reply> {
  exchange.id = crypto.randomUUID();
  exchange.client = exchange.peer;
  const query = exchange.target.indexOf("?");
  const reply = await tree.answer(exchange, query < 0 ? exchange.target : exchange.target.slice(0, query));
  if (reply.why !== "")
    log("info", "files", `${reply.status} ${exchange.method} client: ${exchange.client}: ${reply.why}`);
  return reply;
}
