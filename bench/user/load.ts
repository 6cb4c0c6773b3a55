/** The load of the user's benchmark: oha, or without it wrk and h2load; two of them side by side where it is mixed. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseH2load, parseH2loadLog } from "../load/h2load-output.ts";
import { wrkReport } from "../load/lua.ts";
import { parseLoad, type LoadResult } from "../load/result.ts";
import { runLoad, type LoadOptions } from "../load/run-load.ts";
import type { UserPart } from "../scenarios.ts";
import { smallBody } from "../site.ts";
import { parseOha } from "./oha.ts";
import { urls, userHost } from "./site.ts";

export interface UserLoadOptions extends LoadOptions {
  readonly tlsPort: number;
  /** whether oha makes the load */
  readonly oha: boolean;
}

/**
 * h2load never ends when a connection is still in its handshake at the end of its time. It and a proxy make at least so many
 * a second, also on a busy machine; a round lasts as long as that takes at least.
 */
const connectsPerSecond = 200;

/** @throws Error when a generator fails or does not end in time */
export async function userLoad(options: UserLoadOptions): Promise<LoadResult> {
  const parts = options.scenario.user!.parts;
  const connects = options.oha ? 0 : parts.reduce((sum, part) => sum + (part.http2 ? part.connections : 0), 0);
  const seconds = Math.max(options.seconds, Math.ceil(connects / connectsPerSecond));
  const at = (part: UserPart, i: number) => run(part, { ...options, seconds }, join(options.folder, `load-${i}`));
  return together(await Promise.all(parts.map(at)));
}

/** Of loads side by side: the latencies are those of the slower part. */
export function together(results: readonly LoadResult[]): LoadResult {
  const most = (of: (result: LoadResult) => number) => Math.max(...results.map(of));
  const sum = (of: (result: LoadResult) => number) => results.reduce((total, result) => total + of(result), 0);
  const whys = results.flatMap(({ why }) => why ?? []);
  return {
    requests: sum(({ requests }) => requests),
    seconds: most(({ seconds }) => seconds),
    p50Ms: most(({ p50Ms }) => p50Ms),
    p99Ms: most(({ p99Ms }) => p99Ms),
    p999Ms: most(({ p999Ms }) => p999Ms),
    errors: sum(({ errors }) => errors),
    ...(whys.length > 0 && { why: whys.join("; ") }),
  };
}

async function run(part: UserPart, options: UserLoadOptions, folder: string): Promise<LoadResult> {
  mkdirSync(folder, { recursive: true });
  const here = { ...options, folder };
  if (options.oha) return parseOha(await runLoad(ohaCommand(part, here), here));
  return part.http2 ? h2load(part, here) : parseLoad(await runLoad(wrkCommand(part, here), here));
}

function ohaCommand({ connections, http2, all }: UserPart, options: UserLoadOptions): string[] {
  const { port, tlsPort, seconds, folder } = options;
  const origin = http2 ? `https://${userHost}:${tlsPort}` : `http://${userHost}:${port}`;
  const file = join(folder, "urls.txt");
  if (all) writeFileSync(file, urls.map((url) => `${origin}${url}\n`).join(""));
  return [
    "oha",
    ...[
      "--no-tui",
      "--output-format",
      "json",
      "--redirect",
      "0",
      "--ipv4",
      "-w",
      "-t",
      "10s",
      "--connect-timeout",
      "10s",
    ],
    ...["-z", `${seconds}s`, "-c", String(connections)],
    ...["--connect-to", `${userHost}:${http2 ? tlsPort : port}:127.0.0.1:${http2 ? tlsPort : port}`],
    ...(http2 ? ["--http2", "--insecure"] : []),
    ...(all ? ["--urls-from-file", file] : [`${origin}/`]),
  ];
}

function wrkCommand({ connections, all }: UserPart, { port, seconds, folder }: UserLoadOptions): string[] {
  const script = join(folder, "load.lua");
  const requests = (all ? urls : ["/"]).map((url) => `wrk.format("GET", "${url}", headers)`);
  writeFileSync(
    script,
    `local headers = { Host = "${userHost}" }
local all
local at = 0
function init()
  all = { ${requests.join(", ")} }
end
function request()
  at = at % #all + 1
  return all[at]
end
${wrkReport}`,
  );
  const url = `http://127.0.0.1:${port}/`;
  return ["wrk", "-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "10s", "-s", script, url];
}

async function h2load({ connections }: UserPart, options: UserLoadOptions): Promise<LoadResult> {
  const { tlsPort, seconds, folder } = options;
  const log = join(folder, "h2load.log");
  rmSync(log, { force: true }); // h2load appends
  const output = await runLoad(
    [
      ...["h2load", "-t1", "-m1", `-c${connections}`, `-D${seconds}`, `--log-file=${log}`],
      ...[`--connect-to=127.0.0.1:${tlsPort}`, `https://${userHost}/`],
    ],
    options,
  );
  const { succeeded: requests, failed, dataBytes, spoken, ...report } = parseH2load(output);
  const { p50Ms, p99Ms, p999Ms } = parseH2loadLog(readFileSync(log, "latin1"), 0);
  const figures = { requests, seconds: report.seconds, p50Ms, p99Ms, p999Ms };
  if (!spoken.endsWith(" h2")) return { ...figures, errors: requests, why: `spoke "${spoken}", not h2` };
  if (failed > 0) return { ...figures, errors: failed, why: `${failed} failed` };
  const whole = smallBody.length;
  const right = dataBytes >= requests * whole && dataBytes <= (requests + connections) * whole;
  return right ? { ...figures, errors: 0 } : { ...figures, errors: requests, why: `${dataBytes} bytes in the bodies` };
}
