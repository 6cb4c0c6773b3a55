/** What runs without a verb: the proxy by its configuration files, or the demo when there are none. */
import { resolve } from "node:path";
import type { Settings } from "../config/settings.ts";
import { findConfiguration } from "./find-configuration.ts";
import { raiseRequestLimit } from "./request-limit.ts";
import { textOf, type Call } from "./verb.ts";

export async function run(call: Call): Promise<number> {
  const { flags, env } = call;
  if (flags.version) return (await import("./version.ts")).run({ ...call, flags: {} });
  if (flags.test) return (await import("./validate.ts")).run(call);
  if (flags.upgrade) {
    console.error(
      "aralez: --upgrade is not in this release: stop the running proxy (SIGTERM drains it), then start this one",
    );
    return 1;
  }
  const found = findConfiguration(textOf(call, "conf"), env);
  raiseRequestLimit(env);
  if (flags.daemon) console.error("aralez: --daemon is not in this release: staying in the foreground");
  if (found === undefined) return (await import("./demo.ts")).run(call);

  const { loadSettings } = await import("../config/load-settings.ts");
  const { renderProblems } = await import("../config/problem.ts");
  const { serve } = await import("./serve.ts");
  const mainFile = resolve(found);
  const { settings, problems, stickySecondsLegacy } = loadSettings({ file: mainFile, text: undefined }, env);
  if (!settings) {
    console.error(renderProblems(problems));
    return 1;
  }
  const refusal = privilegeRefusal(settings, process.getuid?.());
  if (refusal !== undefined) {
    console.error(`aralez: ${refusal}`);
    return 1;
  }
  return serve({ settings, rules: { kind: "files" }, problems, stickySecondsLegacy, mainFile, env });
}

/**
 * Dropping privileges is not in this release. Running on as root although the file says not to would be worse than
 * not running.
 * @param uid of this process
 * @returns why it must not start, or undefined
 */
export function privilegeRefusal({ runuser, rungroup }: Settings, uid: number | undefined): string | undefined {
  if (uid !== 0 || (runuser === undefined && rungroup === undefined)) return undefined;
  return (
    `Cannot become user "${runuser}" and group "${rungroup}": dropping root is not in this release, and running on as root ` +
    "is not what runuser asks for. Start as that user (a port from 1024 up, or CAP_NET_BIND_SERVICE), or remove " +
    "runuser and rungroup"
  );
}
