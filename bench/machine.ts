/** What was measured, and on what: versions and the machine. */
import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { environment } from "./processes.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** load average of the last minute before the first round: what neighbours do */
  readonly loadBefore: number;
  readonly versions: Readonly<Record<string, string>>;
}

/** @param tree the checkout of Aralez that is measured */
export function describeMachine(tree: string): Machine {
  const versions: Record<string, string> = {
    bun: `Bun ${Bun.version}`,
    nginx: firstLine("nginx", "-v").replace("nginx version: ", ""),
    haproxy: firstLine("haproxy", "-v").replace(/^HAProxy version (\S+).*/, "HAProxy $1"),
    caddy: firstLine("caddy", "version").replace(/^v?([0-9.]+).*/, "Caddy $1"),
    traefik: firstLine("traefik", "version").replace(/^Version:\s+(\S+).*/, "Traefik $1"),
    original: firstLine("aralez-original", "--version").replace(/^aralez /, "the original "),
    oha: firstLine("oha", "--version"),
    wrk: firstLine("wrk", "-v").replace(/ Copyright.*/, ""),
    h2load: firstLine("h2load", "--version"),
    kernel: `Linux ${readFileSync("/proc/sys/kernel/osrelease", "latin1").trim()}`,
    commit: commitOf(tree),
  };
  return {
    cpu: cpus()[0]?.model ?? "unknown CPU",
    cores: cpus().length,
    loadBefore: loadavg()[0]!,
    versions: Object.fromEntries(Object.entries(versions).filter(([, text]) => text !== "")),
  };
}

/** "" when the folder is no checkout. */
function commitOf(tree: string): string {
  const git = Bun.spawnSync(["git", "describe", "--always", "--dirty"], { env: environment(), cwd: tree });
  return git.exitCode === 0 ? `commit ${git.stdout.toString().trim()}` : "";
}

/** Of what a program says about itself; "" when it is not here. */
function firstLine(...command: string[]): string {
  if (!Bun.which(command[0]!, environment())) return "";
  const { stdout, stderr } = Bun.spawnSync(command, { env: environment(), cwd: import.meta.dir });
  return `${stdout}${stderr}`.trim().split("\n")[0]!;
}
