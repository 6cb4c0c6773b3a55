/** The load: the generator that a scenario asks for, on its own core, and what it found. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { host, prefix, socketsHost } from "../site.ts";
import { userLoad, type UserLoadOptions } from "../user/load.ts";
import type { ClientOptions } from "./client.ts";
import { h2load } from "./h2load.ts";
import { luaScript } from "./lua.ts";
import { parseLoad, type LoadResult } from "./result.ts";
import { runLoad, type LoadOptions } from "./run-load.ts";

/** @throws Error when the generator fails or does not end in time */
export async function load(options: UserLoadOptions): Promise<LoadResult> {
  const { tool = "wrk", user } = options.scenario;
  if (user) return userLoad(options);
  if (tool === "h2load") return h2load(options);
  return parseLoad(await runLoad(tool === "wrk" ? wrk(options) : ownClient(options), options));
}

function wrk({ port, scenario, seconds, folder }: LoadOptions): string[] {
  const script = join(folder, "load.lua");
  writeFileSync(script, luaScript(scenario));
  const url = `http://127.0.0.1:${port}${prefix}${scenario.target}`;
  return ["wrk", "-t1", `-c${scenario.connections}`, `-d${seconds}s`, "--timeout", "10s", "-s", script, url];
}

function ownClient({ port, scenario, seconds }: LoadOptions): string[] {
  const { tool, connections, messageBytes = 0 } = scenario;
  const place =
    tool === "websocket" ? { host: socketsHost, target: "/echo" } : { host, target: prefix + scenario.target };
  const options: ClientOptions = { port, seconds, connections, messageBytes, ...place };
  return [process.execPath, join(import.meta.dir, `${tool}.ts`), JSON.stringify(options)];
}
