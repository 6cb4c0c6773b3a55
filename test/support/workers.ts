/** The real program with workers, in a process of its own, and what can be seen of them from outside. */
import { readFileSync } from "node:fs";
import { freePort } from "../cli/program.ts";
import { startProxyProcess, type ProxyProcess } from "./proxy-process.ts";
import { until } from "./proxy.ts";
import { readScrape, type Scrape } from "./scrape.ts";

export const adminKey = "a-master-key-of-more-than-32-characters";

export interface Worker {
  readonly worker: number;
  readonly pid: number;
  readonly state: string;
  readonly version: string;
  readonly restarts: number;
  readonly requests_open: number;
}

export interface WorkersProcess extends ProxyProcess {
  readonly adminPort: number;
  /** asks the admin API, with the key */
  admin(path: string, init?: RequestInit): Promise<Response>;
  workers(): Promise<Worker[]>;
  /** waits until all serve, under this version if one is given */
  serving(version?: string): Promise<Worker[]>;
  scrape(): Promise<Scrape>;
}

/** @param rules upstreams.yaml  @param settings further lines of main.yaml */
export async function startWorkers(count: number, rules: string, settings = ""): Promise<WorkersProcess> {
  const adminPort = freePort();
  const more = `threads: ${count}\nconfig_address: 127.0.0.1:${adminPort}\nmaster_key: ${adminKey}\n${settings}`;
  const proxy = await startProxyProcess(rules, more);
  const admin = (path: string, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${adminPort}${path}`, { ...init, headers: { "x-api-key": adminKey }, keepalive: false });
  const workers = async () => ((await (await admin("/status")).json()) as { workers: Worker[] }).workers;
  return {
    ...proxy,
    adminPort,
    admin,
    workers,
    serving: (version) =>
      until(
        async () => {
          const all = await workers();
          const isReady = (one: Worker) => one.state === "serving" && (version ?? one.version) === one.version;
          return all.every(isReady) && all;
        },
        `workers that serve ${version ?? ""}`,
        60,
      ),
    scrape: async () => readScrape(await (await admin("/metrics")).text()),
  };
}

/** Processes that this one has started and that have not ended. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return text.split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** A process that has ended and that nobody has asked about yet does not count. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
