/** A proxy in this process (or by environment in one of its own), on a free port, with its files in a folder of its own. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { settle, type WrittenSettings } from "../../src/config/settings.ts";
import { start } from "../../src/process/start.ts";
import { inChild, startChild, type Served } from "./child-proxy.ts";
import { startTlsTunnel } from "./tls-tunnel.ts";

export interface TestProxy extends AsyncDisposable {
  /** of the plain listener; with `ARALEZ_TLS=1` of a tunnel to the TLS listener */
  readonly port: number;
  /** of the plain listener, always */
  readonly plainPort: number;
  /** of the TLS listener; 0 without one */
  readonly tlsPort: number;
  /** of the admin API; 0 where it is no port of ours */
  readonly adminPort: number;
  readonly url: string;
  readonly folder: string;
  readonly running: Served;
  /** writes upstreams.yaml; the watcher finds it */
  write(rules: string): void;
  /** writes upstreams.yaml and waits until it is in force */
  apply(rules: string): Promise<void>;
  log(): string;
  /** waits until the log holds a line that matches */
  logged(pattern: RegExp): Promise<string>;
}

/** `ARALEZ_ENGINES=socket/fetch`: listener and upstream engine of all tests that name none. */
const [listener_engine, upstream_engine] = (process.env.ARALEZ_ENGINES ?? "auto/auto").split("/") as [
  "auto" | "bun" | "socket",
  "auto" | "fetch" | "socket",
];
const engines = { listener_engine, upstream_engine };

/** `ARALEZ_WORKERS=2`: the proxies of all tests that do not say how many serve with so many workers. */
const threads = Number(process.env.ARALEZ_WORKERS ?? 1);
/** For tests about what each process has for itself: bounds on connections, the connections and sessions it keeps. */
export const oneProcess = { threads: 1 } as const;

/** `ARALEZ_TLS=1`: the tests speak to the TLS port, through a tunnel that does the TLS for them. */
export const overTls = process.env.ARALEZ_TLS === "1";

/** Starts a proxy with these rules. @param settings over the defaults of the tests: quick health checks, log in a file */
export async function startProxy(rules: string, settings: Partial<WrittenSettings> = {}): Promise<TestProxy> {
  const folder = mkdtempSync(join(tmpdir(), "aralez-test-"));
  const rulesFile = join(folder, "upstreams.yaml");
  const logFile = join(folder, "log.txt");
  writeFileSync(rulesFile, rules);
  const written: WrittenSettings = {
    upstreams_conf: rulesFile,
    proxy_address_http: { hostname: "127.0.0.1", port: 0 },
    config_address: { hostname: "127.0.0.1", port: 0 },
    hc_interval: 1,
    log_level: "debug",
    ...engines,
    threads,
    ...(overTls && { proxy_address_tls: { hostname: "127.0.0.1", port: 0 }, proxy_configs: folder }),
    log_file: { path: logFile, sizeMiB: 0, keep: 1, compress: false },
    ...settings,
  };
  let running: Served;
  try {
    running = inChild
      ? await startChild(written, folder)
      : await start({ settings: settle(written, folder), rules: { kind: "files" }, problems: [], env: {} });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
  const urlOf = (name: string) => running.listeners.find((listener) => listener.name === name)?.url;
  const tlsPort = Number(new URL(urlOf("https") ?? "https://127.0.0.1:0").port);
  const tunnel = overTls ? startTlsTunnel(tlsPort) : undefined;
  const url = tunnel ? `http://127.0.0.1:${tunnel.port}` : urlOf("http")!;
  const log = () => (existsSync(logFile) ? readFileSync(logFile, "utf8") : "");
  return {
    port: Number(new URL(url).port),
    plainPort: Number(new URL(urlOf("http")!).port),
    tlsPort,
    adminPort: Number(/:(\d+)$/.exec(urlOf("admin") ?? "")?.[1] ?? 0),
    url,
    folder,
    running,
    write: (text) => writeFileSync(rulesFile, text),
    async apply(text) {
      writeFileSync(rulesFile, text);
      const result = await running.reload();
      if (result.kind === "refused") throw new Error(`refused: ${JSON.stringify(result.problems)}`);
    },
    log,
    logged: (pattern) =>
      until(
        () =>
          log()
            .split("\n")
            .find((line) => pattern.test(line)),
        `a log line like ${pattern}; the log:\n${log()}`,
      ),
    async [Symbol.asyncDispose]() {
      tunnel?.close();
      await running.stop(0);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The same with health checks that a busy machine passes as well: for tests about something else. */
export function startPatientProxy(rules: string, settings: Partial<WrittenSettings> = {}): Promise<TestProxy> {
  return startProxy(rules, { hc_interval: 5, ...settings });
}

/** Waits for a fact. @throws when it has not come after so many seconds */
export async function until<T>(
  fact: () => T | undefined | false | Promise<T | undefined | false>,
  what = "the fact",
  seconds = 15,
): Promise<T> {
  const deadline = performance.now() + seconds * 1_000;
  for (;;) {
    const value = await fact();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`waited ${seconds} s for ${what}`);
    await Bun.sleep(10);
  }
}
