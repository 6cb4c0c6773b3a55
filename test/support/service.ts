/** The program as a service: with a pid file that names whoever runs by now, which upgrades replace. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, Started, freePort, type Result } from "../cli/program.ts";
import { until } from "./proxy.ts";

export interface ServiceProcess extends AsyncDisposable {
  readonly folder: string;
  readonly mainFile: string;
  readonly port: number;
  readonly adminPort: number;
  /** the process that was started first; others are not its children */
  readonly first: Started;
  /** the number in the pid file; 0 while there is none */
  pid(): number;
  signal(name: NodeJS.Signals): void;
  log(): string;
  logged(pattern: RegExp): Promise<string>;
  /** Runs the program with `-c` and this configuration. */
  run(...args: string[]): Promise<Result>;
  /** Waits for another process in the pid file. @returns its number */
  succeeded(pid: number): Promise<number>;
}

export interface ServiceOptions {
  /** further lines of main.yaml */
  settings?: string;
  env?: Record<string, string>;
  /** beside `-c` */
  args?: string[];
  /** puts more files into its folder before it starts */
  prepare?(folder: string): void;
}

export async function startService(
  rules: string,
  { settings = "", env = {}, args = [], prepare }: ServiceOptions = {},
): Promise<ServiceProcess> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-service-"));
  const mainFile = join(folder, "main.yaml");
  const [pidFile, logFile] = [join(folder, "pid"), join(folder, "log.txt")];
  const [port, adminPort] = [freePort(), freePort()];
  writeFileSync(join(folder, "upstreams.yaml"), rules);
  writeFileSync(
    mainFile,
    `proxy_address_http: 127.0.0.1:${port}\nconfig_address: 127.0.0.1:${adminPort}\npid_file: ${pidFile}\nlog_file: ${logFile}\n${settings}\n`,
  );
  prepare?.(folder);
  const first = new Started(["-c", mainFile, ...args], { env });
  const text = (file: string) => (existsSync(file) ? readFileSync(file, "utf8") : "");
  const pid = () => Number(text(pidFile));
  const service: ServiceProcess = {
    folder,
    mainFile,
    port,
    adminPort,
    first,
    pid,
    signal: (name) => void process.kill(pid(), name),
    log: () => text(logFile),
    logged: (pattern) =>
      until(
        () =>
          text(logFile)
            .split("\n")
            .find((line) => pattern.test(line)),
        `a log line like ${pattern}`,
      ),
    run: (...more) => run([...more, "-c", mainFile]),
    succeeded: (before) =>
      until(() => pid() !== before && isAlive(pid()) && pid(), "another process in the pid file", 60),
    async [Symbol.asyncDispose]() {
      const last = pid();
      if (last > 0 && isAlive(last)) process.kill(last, "SIGKILL");
      await first[Symbol.asyncDispose]();
      await until(() => !isAlive(last), "the end of the last process");
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await first.until("its pid file", () => pid() === first.pid && / in force: /.test(service.log()));
  } catch (error) {
    const told = service.log();
    await service[Symbol.asyncDispose]();
    throw new Error(`${(error as Error).message}\nlog: ${told}`);
  }
  return service;
}

/** A process that has ended and whose parent has not asked for it yet does not live. */
export function isAlive(pid: number): boolean {
  if (!(pid > 0)) return false;
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** A supervisor has no other children than its workers. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
}
