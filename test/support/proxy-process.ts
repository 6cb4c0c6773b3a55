/** The real program in a process of its own, with its files in a temporary folder: for load and for measurements. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, Started } from "../cli/program.ts";

export interface ProxyProcess extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  readonly url: string;
  readonly folder: string;
  /** writes upstreams.yaml; the watcher finds it */
  write(rules: string): void;
  /** waits until the log holds so many lines that match. @returns all that do */
  logged(pattern: RegExp, count?: number): Promise<string[]>;
  /** what it said on stderr: faults of its own */
  faults(): string;
}

/** @param rules upstreams.yaml  @param settings further lines of main.yaml */
export async function startProxyProcess(rules: string, settings = ""): Promise<ProxyProcess> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-process-"));
  const rulesFile = join(folder, "upstreams.yaml");
  const logFile = join(folder, "log.txt");
  const port = freePort();
  writeFileSync(rulesFile, rules);
  writeFileSync(
    join(folder, "main.yaml"),
    `upstreams_conf: ${rulesFile}\nproxy_address_http: 127.0.0.1:${port}\nhc_interval: 5\nlog_level: info\nlog_file: ${logFile}\n${settings}\n`,
  );
  const program = new Started(["-c", join(folder, "main.yaml")]);
  const end = async () => {
    await program[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  };
  const log = () => {
    try {
      return readFileSync(logFile, "utf8");
    } catch {
      return "";
    }
  };
  try {
    // Not before the first summary: members are known to be up then.
    await program.until("the first rules in force", async () => / in force: /.test(log()) && (await accepts(port)));
  } catch (error) {
    const told = log();
    await end();
    throw new Error(`${(error as Error).message}\nlog: ${told}`);
  }
  return {
    pid: program.pid,
    port,
    url: `http://127.0.0.1:${port}`,
    folder,
    write: (text) => writeFileSync(rulesFile, text),
    logged: (pattern, count = 1) =>
      program.until(`${count} log lines like ${pattern}`, () => {
        const lines = log()
          .split("\n")
          .filter((line) => pattern.test(line));
        return lines.length >= count && lines;
      }),
    faults: () => program.err,
    [Symbol.asyncDispose]: end,
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const tell = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.on("connect", () => tell(true));
    socket.on("error", () => tell(false));
  });
}
