/** What SIGHUP does with main.yaml: the keys that may change take effect, the others are told to need a restart. */
import { loadSettings } from "../config/load-settings.ts";
import { renderProblem, type Problem } from "../config/problem.ts";
import type { Settings } from "../config/settings.ts";
import type { PlaneOptions } from "../data/plane.ts";

export interface Reread {
  /** with what may change applied; undefined when nothing may be changed */
  readonly settings?: Settings;
  readonly problems: readonly Problem[];
  /** keys that have changed and need a restart */
  readonly needRestart: readonly string[];
}

/** @param mainFile absent when there is none: then nothing changes */
export function rereadSettings(
  mainFile: string | undefined,
  env: Record<string, string | undefined>,
  before: Settings,
  log: PlaneOptions["log"],
): Reread {
  if (mainFile === undefined) return { problems: [], needRestart: [] };
  const { settings: after, problems } = loadSettings({ file: mainFile, text: undefined }, env);
  for (const problem of problems) tellProblem(problem, log);
  if (!after) {
    log("error", "config", `${mainFile} has errors: the running settings stay`);
    return { problems, needRestart: [] };
  }
  const { settings, needRestart } = applyReloadable(before, after);
  if (needRestart.length > 0)
    log("warn", "config", `changed in main.yaml but needs a restart: ${needRestart.join(", ")}`);
  return { settings, problems, needRestart };
}

const reloadable = [
  "log_level",
  "access_log",
  "access_log_format",
  "log_file",
  "error_log",
  "hc_method",
  "hc_interval",
  "trusted_proxies",
  "admin_read",
  "client_timeouts",
  "upstream_keepalive_timeout",
  "max_connections",
  "max_upstream_connections",
  "keepalive_requests",
  "default_certificate",
  "acme",
  "graceful_shutdown_timeout_seconds",
] as const satisfies readonly (keyof Settings)[];

function applyReloadable(before: Settings, after: Settings): { settings: Settings; needRestart: string[] } {
  const settings = { ...before };
  for (const key of reloadable) Object.assign(settings, { [key]: after[key] });
  const keys = new Set(Object.keys({ ...before, ...after })) as Set<keyof Settings>;
  const needRestart = [...keys].filter((key) => !reloadable.includes(key as never) && differ(before, after, key));
  return { settings, needRestart };
}

/** Whether a key has another value. */
export function differ(before: Settings, after: Settings, key: keyof Settings): boolean {
  return JSON.stringify(before[key]) !== JSON.stringify(after[key]);
}

export function tellProblem(problem: Problem, log: PlaneOptions["log"]): void {
  const level = problem.severity === "error" ? "error" : problem.severity === "warning" ? "warn" : "info";
  log(level, "config", renderProblem(problem).split("\n")[0]!);
}
