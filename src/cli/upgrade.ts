/** The verb `upgrade`: the running proxy is succeeded by the program that lies on the disk now. */
import { resolve } from "node:path";
import { upgradeReadyWaitMs } from "../lib/limits.ts";
import { accountWanted } from "../process/privileges.ts";
import { callChannel, channelName } from "../process/upgrade/channel.ts";
import { findConfiguration } from "./find-configuration.ts";
import { textOf, type Call } from "./verb.ts";

/** @returns 0 when the successor serves, 1 when there is none: the running process goes on then */
export async function run(call: Call): Promise<number> {
  const file = findConfiguration(textOf(call, "conf"), call.env);
  if (file === undefined) throw new Error("Cannot upgrade: there is no main.yaml; name the running proxy's with -c");
  const { loadSettings } = await import("../config/load-settings.ts");
  const { renderProblems } = await import("../config/problem.ts");
  const mainFile = resolve(file);
  const { settings, problems } = loadSettings({ file: mainFile, text: undefined }, call.env);
  if (!settings) throw new Error(`Cannot upgrade:\n${renderProblems(problems)}`);
  const uid = accountWanted(settings.runuser, settings.rungroup)?.uid ?? process.geteuid!();
  const channel = await callChannel(channelName(settings.upgrade_sock ?? mainFile, uid));
  if (!channel) throw new Error(`Cannot upgrade: no proxy runs with "${mainFile}" as this user (uid ${uid})`);
  channel.send({ kind: "upgrade" });
  const answer = await channel.next(2 * upgradeReadyWaitMs);
  channel.close();
  if (answer?.kind === "upgraded") {
    console.log(`upgraded: process ${answer.pid} serves`);
    return 0;
  }
  const why = answer?.kind === "refused" ? answer.why : "the running process gave no answer";
  console.error(`aralez: Cannot upgrade: ${why}`);
  return 1;
}
