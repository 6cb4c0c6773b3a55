/** OfflinePlane: a data plane made of the configuration files that serves nobody: for questions about what it would do. */
import { readFileSync } from "node:fs";
import type { Settings } from "../config/settings.ts";
import type { Forwarder } from "../data/forward/forwarder.ts";
import { Plane } from "../data/plane.ts";
import { compile, type HealthTarget } from "../data/routing/compile.ts";
import type { Rules } from "../data/routing/rules.ts";
import type { Pool } from "../data/upstream/pool.ts";
import { stickyKey } from "../data/upstream/sticky.ts";
import { AddressSet } from "../lib/address.ts";
import { explainChecksWaitMs } from "../lib/limits.ts";
import { HealthMonitor } from "./health/monitor.ts";
import { compileSettings } from "./compile-on.ts";

export interface OfflinePlane {
  readonly plane: Plane;
  /** Asks the members of one pool, once, as a proxy that starts would. */
  check(pool: Pool): Promise<void>;
}

/** @throws Error when the rules cannot be compiled: a folder or PEM file that cannot be read */
export function offlinePlane(rules: Rules, settings: Settings, warn: (text: string) => void): OfflinePlane {
  const plane = new Plane({
    forwarder: nowhere,
    tunnels: nowhere,
    trustedProxies: new AddressSet(settings.trusted_proxies),
    loopMark: "aralez",
    retryAfterSeconds: Math.max(1, Math.ceil(settings.hc_interval)),
    log: () => {},
    ended: () => {},
  });
  const { table, targets } = compile(rules, {
    ...compileSettings(settings, stickyKey(settings.master_key)),
    readCa: (file) => readFileSync(file, "utf8"),
    ledger: plane.ledger,
    guardState: plane.guardState,
    forwarder: () => nowhere,
    version: "of the files",
    warn,
  });
  plane.table = table;
  return { plane, check: (pool) => check(plane, pool, targets) };
}

async function check({ ledger }: Plane, pool: Pool, targets: readonly HealthTarget[]): Promise<void> {
  const keys = new Set(pool.members.map(({ healthKey }) => healthKey));
  const monitor = new HealthMonitor({
    onFact: (fact) => void ledger.apply(fact, performance.now()),
    onDetected: (name, wire) => void (wire && ledger.detected(name, wire)),
    log: () => {},
  });
  monitor.follow(targets.filter(({ key }) => keys.has(key)));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const enough = new Promise<void>((resolve) => (timer = setTimeout(resolve, explainChecksWaitMs)));
  await Promise.race([monitor.settled(), enough]);
  clearTimeout(timer);
  monitor.stop();
}

/** Nothing is forwarded here. */
export const nowhere: Forwarder = {
  forward() {
    throw new Error("this plane serves nobody");
  },
  sweep() {},
  close() {},
};
