/** What runs without a verb: the proxy by its configuration files, or the demo when there are none. */
import { resolve } from "node:path";
import type { Settings } from "../config/settings.ts";
import { daemonReadyWaitMs } from "../lib/limits.ts";
import { findConfiguration } from "./find-configuration.ts";
import { raiseRequestLimit } from "./request-limit.ts";
import { textOf, type Call } from "./verb.ts";

export async function run(call: Call): Promise<number> {
  const { flags, env } = call;
  if (flags.version) return (await import("./version.ts")).run({ ...call, flags: {} });
  if (flags.test) return (await import("./validate.ts")).run(call);
  const found = findConfiguration(textOf(call, "conf"), env);
  raiseRequestLimit(env);
  if (found === undefined) {
    if (!flags.daemon && !flags.upgrade) return (await import("./demo.ts")).run(call);
    console.error("aralez: there is no main.yaml, and the demo only runs in the foreground: name a file with -c");
    return 1;
  }

  const { loadSettings } = await import("../config/load-settings.ts");
  const { renderProblems } = await import("../config/problem.ts");
  const { serve } = await import("./serve.ts");
  const mainFile = resolve(found);
  const { settings, problems, stickySecondsLegacy } = loadSettings({ file: mainFile, text: undefined }, env);
  if (!settings) {
    console.error(renderProblems(problems));
    return 1;
  }
  const { isInPlace } = await import("../process/daemon.ts");
  if ((flags.daemon || settings.daemon) && !isInPlace(env)) return startInBackground(settings);
  const upgrade = flags.upgrade === true;
  return serve({ settings, rules: { kind: "files" }, problems, stickySecondsLegacy, mainFile, env, upgrade });
}

/** Starts the daemon and waits until it serves. @returns the exit code of the caller */
async function startInBackground(settings: Settings): Promise<number> {
  const { startDaemon } = await import("../process/daemon.ts");
  const waitMs = (settings.daemon_ready_timeout_seconds ?? daemonReadyWaitMs / 1000) * 1000;
  if (settings.log_file === undefined && settings.error_log === undefined)
    console.error("aralez: a daemon has no standard output: set log_file, or its log is lost");
  const { failure, code } = await startDaemon(process.argv.slice(2), waitMs);
  if (failure !== undefined) console.error(failure);
  return code;
}
