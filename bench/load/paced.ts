/** Latency at a fixed rate, by h2load: what a client waits while the proxy has room. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { h2loadRequest } from "./h2load.ts";
import { parseH2loadLog, type PacedLoad } from "./h2load-output.ts";
import { runLoad, type LoadOptions } from "./run-load.ts";

/**
 * h2load's clock ticks every 10 ms: a client with more than 100 requests a second sends several at each tick, and waits
 * for itself. So the rate is made of clients below that, which begin spread over one tick. In HTTP/2 each stream of a
 * client stands for one request at each tick.
 */
const ratePerStream = 100;
const tickMs = 10;
/** Clients connect meanwhile, and nothing is evenly spread yet. */
const settleSeconds = 1;

/** @param rate requests a second. @throws Error when h2load fails or got no answer */
export async function pacedLoad(rate: number, options: LoadOptions): Promise<PacedLoad> {
  const log = join(options.folder, "h2load.log");
  const { streams = 1 } = options.scenario;
  const clients = Math.ceil(rate / (ratePerStream * streams));
  const seconds = options.seconds + settleSeconds;
  rmSync(log, { force: true }); // h2load appends
  await runLoad(
    [
      ...[
        "h2load",
        "-t1",
        `-m${streams}`,
        `-c${clients}`,
        `-n${Math.round(rate * seconds)}`,
        `--rps=${rate / clients}`,
      ],
      ...[`-r${Math.ceil(clients / tickMs)}`, "--rate-period=1ms"],
      `--log-file=${log}`,
      ...h2loadRequest(options),
    ],
    // A proxy that does not keep up makes h2load take longer; far too long is an error.
    { ...options, seconds: seconds * 4 },
  );
  return parseH2loadLog(readFileSync(log, "latin1"), settleSeconds);
}
