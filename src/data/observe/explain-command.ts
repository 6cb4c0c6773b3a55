/** The `aralez explain …` that ends the log line of a failed request: whoever reads it need only paste it. */
import { explainTargetCharsMax } from "../../lib/limits.ts";
import type { Exchange } from "../exchange.ts";
import { redactTarget } from "./redact.ts";

/**
 * Made of what a client sent, for a shell: nothing but harmless characters stands between its quotes.
 * @param mainFile for `-c`
 */
export function explainCommand(exchange: Exchange, mainFile: string): string {
  const { method, secure, host, hostPort, client } = exchange;
  const target = clipTarget(redactTarget(exchange.target));
  const port = hostPort === "" ? "" : `:${hostPort}`;
  const url = quoted(`http${secure ? "s" : ""}://${host}${port}${target}`);
  // The client decides about address lists and limits; one on a unix socket has none.
  const from = client === "" ? "" : ` --client ${quoted(client)}`;
  const named = host === "" ? " -H 'Host:'" : "";
  return `aralez explain -c ${quotedFile(mainFile)}${from}${named} ${quoted(method)} ${url}`;
}

/** A half escape at the cut would be another character. */
function clipTarget(target: string): string {
  return target.length <= explainTargetCharsMax ? target : target.slice(0, explainTargetCharsMax).replace(/%.?$/, "");
}

/** What might end the quotes or mean something to a terminal is percent-encoded, which leads to the same route. */
function quoted(text: string): string {
  const safe = text.replace(/[^A-Za-z0-9\-._~:/?#[\]@!$&()*+,;=%]/g, (char) =>
    [...Buffer.from(char, "latin1")].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
  );
  return /^[A-Za-z0-9\-._:/]+$/.test(safe) ? safe : `'${safe}'`;
}

/** Our own configuration's name: as it is, but quoted. */
function quotedFile(file: string): string {
  return /^[A-Za-z0-9\-._/]+$/.test(file) ? file : `'${file.replaceAll("'", `'\\''`)}'`;
}
