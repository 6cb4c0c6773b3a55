/**
 * What a start costs: `bun bench/start.ts [PROGRAM] [--runs N] [--idle SECONDS]`. Time of `--help`, time from the start to
 * the first answer of a server behind it, and memory when nothing happens; medians with the lowest and the highest run.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { environment, residentBytes, tree } from "./processes.ts";
import { median } from "./report.ts";

export interface StartCosts {
  readonly helpMs: readonly number[];
  readonly answerMs: readonly number[];
  /** of the whole tree of processes, as all memory here */
  readonly residentBytes: readonly number[];
  /** what is no page of a file: those of the program's file are shared by all processes that run it */
  readonly anonymousBytes: readonly number[];
}

/** So long a program may take to answer, or to end. */
const patienceMs = 30_000;

/**
 * @param program words that start it
 * @param settings further lines of main.yaml, for example `threads: 2`
 * @throws Error when it gives no answer, or a wrong one
 */
export async function measureStart(
  program: readonly string[],
  { runs, idleSeconds, settings = "" }: { runs: number; idleSeconds: number; settings?: string },
): Promise<StartCosts> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-start-"));
  const origin = Bun.serve({ hostname: "127.0.0.1", port: 0, reusePort: false, fetch: () => new Response("ok") });
  try {
    const costs = { helpMs: [], answerMs: [], residentBytes: [], anonymousBytes: [] } as Record<
      keyof StartCosts,
      number[]
    >;
    const [port, admin] = [freePort(), freePort()];
    writeFileSync(
      join(folder, "main.yaml"),
      `proxy_address_http: 127.0.0.1:${port}\nconfig_address: 127.0.0.1:${admin}\n${settings}\n`,
    );
    const servers = `["127.0.0.1:${origin.port}"]`;
    writeFileSync(
      join(folder, "upstreams.yaml"),
      `upstreams: { DEFAULT: { paths: { "/": { servers: ${servers} } } } }\n`,
    );
    for (let run = 0; run < runs; run++) {
      costs.helpMs.push(await timeToEnd([...program, "--help"], folder));
      await timeToAnswer([...program, "-c", "main.yaml"], folder, port, async (ms, pid) => {
        costs.answerMs.push(ms);
        // Once is enough: it takes a while, and hardly differs.
        if (run > 0) return;
        await Bun.sleep(idleSeconds * 1_000);
        costs.residentBytes.push(residentBytes(pid));
        costs.anonymousBytes.push(anonymousBytes(pid));
      });
    }
    return costs;
  } finally {
    await origin.stop(true);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function timeToEnd(command: string[], cwd: string): Promise<number> {
  const beganMs = performance.now();
  const child = Bun.spawn(command, {
    cwd,
    env: environment(),
    stdio: ["ignore", "ignore", "ignore"],
    timeout: patienceMs,
  });
  const code = await child.exited;
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}`);
  return performance.now() - beganMs;
}

async function timeToAnswer(
  command: string[],
  cwd: string,
  port: number,
  answered: (ms: number, pid: number) => Promise<void>,
): Promise<void> {
  const beganMs = performance.now();
  const child = Bun.spawn(command, { cwd, env: environment(), stdio: ["ignore", "ignore", "ignore"] });
  try {
    for (;;) {
      const text = await fetch(`http://127.0.0.1:${port}/`).then(
        (response) => response.text(),
        () => undefined,
      );
      if (text === "ok") break;
      if (child.exitCode !== null) throw new Error(`${command.join(" ")} ended with ${child.exitCode}`);
      if (performance.now() - beganMs > patienceMs) throw new Error(`${command.join(" ")} gives no answer: ${text}`);
      await Bun.sleep(1);
    }
    await answered(performance.now() - beganMs, child.pid);
  } finally {
    child.kill("SIGTERM");
    await child.exited;
  }
}

function anonymousBytes(pid: number): number {
  const of = (each: number) =>
    Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${each}/status`, "latin1"))?.[1] ?? 0);
  return tree(pid).reduce((sum, each) => sum + of(each) * 1_024, 0);
}

function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  listener.stop(true);
  return listener.port;
}

/** One line for each figure. */
export function showCosts(costs: StartCosts): string {
  const ms = (of: readonly number[]) =>
    `${median(of).toFixed(0)} ms (${Math.min(...of).toFixed(0)} to ${Math.max(...of).toFixed(0)}, ${of.length} runs)`;
  const mebibytes = (of: readonly number[]) => `${(median(of) / 2 ** 20).toFixed(0)} MiB`;
  return [
    `--help            ${ms(costs.helpMs)}`,
    `to first answer   ${ms(costs.answerMs)}`,
    `idle memory       ${mebibytes(costs.residentBytes)} resident, ${mebibytes(costs.anonymousBytes)} of it anonymous`,
  ].join("\n");
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: "string", default: "20" },
      idle: { type: "string", default: "10" },
      settings: { type: "string", default: "" },
    },
  });
  const file = resolve(positionals[0] ?? join(import.meta.dir, "../src/main.ts"));
  if (!existsSync(file)) throw new Error(`Cannot measure "${file}": there is no such file`);
  const program = file.endsWith(".ts") ? [process.execPath, file] : [file];
  const given = { runs: Number(values.runs), idleSeconds: Number(values.idle), settings: values.settings };
  console.log(showCosts(await measureStart(program, given)));
}
