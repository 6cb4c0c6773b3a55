/**
 * Discovery: the sources that the rules select. They are asked all the time; what changes is told at most ten times a
 * second, and goes into force through `control/reload` like everything else. A source that fails takes nothing away.
 */
import type { Rules } from "../../data/routing/rules.ts";
import { discoveryEveryMs, discoveryFirstWaitMs, discoveryRemarksMax, discoveryShareMax } from "../../lib/limits.ts";
import { ConsulSource } from "./consul/consul.ts";
import { KubernetesSource } from "./kubernetes/kubernetes.ts";
import { merge } from "./merge.ts";
import type { GivenPair } from "../certificates/store.ts";
import type { Brought, Source } from "./source.ts";
import type { SourceState } from "./standing.ts";
import type { Timing } from "./timing.ts";

export interface DiscoveryOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  log(level: "error" | "warn" | "info" | "debug", target: string, text: string): void;
  /** brings what has changed into force; never called twice at a time */
  onChange(): Promise<unknown>;
  /** for tests */
  readonly timing?: Timing;
  readonly accountFolder?: string;
}

/** Rules with all that sources bring, not in force yet. */
export interface Found {
  readonly rules: Rules;
  readonly pairs: readonly GivenPair[];
  /** how many of the routes came from each source */
  readonly routes: ReadonlyMap<SourceName, number>;
  readonly remarks: readonly string[];
}

interface Running {
  readonly source: Source;
  /** the section it was made from */
  readonly section: string;
  /** routes of it in force */
  routes: number;
}

type SourceName = SourceState["name"];

export class Discovery {
  readonly #options: DiscoveryOptions;
  readonly #running = new Map<SourceName, Running>();
  #pairs: readonly GivenPair[] = [];
  #remarks = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #applying = false;
  #again = false;
  #lastMs = Number.NEGATIVE_INFINITY;
  #gapMs = discoveryEveryMs;
  #stopped = false;

  constructor(options: DiscoveryOptions) {
    this.#options = options;
  }

  /** One for each source that the rules select. */
  get states(): readonly SourceState[] {
    return [...this.#running.values()].map(({ source }) => source.state);
  }

  /** The certificates that go with what is in force. */
  get pairs(): readonly GivenPair[] {
    return this.#pairs;
  }

  /** Starts, replaces and ends sources until they are those of the rules. What a replaced one knew is handed on. */
  follow(rules: Rules): void {
    const providers = rules.provider ?? ["file"];
    for (const name of ["consul", "kubernetes"] as const) {
      const running = this.#running.get(name);
      const section = providers.includes(name) ? JSON.stringify(rules[name] ?? {}) : undefined;
      if (running?.section === section || this.#stopped) continue;
      this.#running.delete(name);
      if (section !== undefined) this.#start(name, section, rules, running);
      running?.source.stop();
    }
  }

  /** The rules as written, with all that the sources bring; the very same object where there are none. */
  find(rules: Rules): Found {
    const brought = new Map<SourceName, Brought>();
    for (const name of new Set(rules.provider)) {
      const running = name === "file" ? undefined : this.#running.get(name);
      if (running && name !== "file") brought.set(name, running.source.brought());
    }
    const merged = merge(rules, brought);
    const own = [...brought].flatMap(([name, { remarks }]) => remarks.map((remark) => `${name}: ${remark}`));
    return {
      rules: merged.rules,
      pairs: [...brought.values()].flatMap(({ pairs }) => pairs),
      routes: new Map([...brought].map(([name, { hosts }]) => [name, countRoutes(hosts)])),
      remarks: [...own, ...merged.remarks],
    };
  }

  /** It is in force now. */
  use({ pairs, routes, remarks }: Found): void {
    this.#pairs = pairs;
    for (const [name, running] of this.#running) running.routes = routes.get(name) ?? 0;
    this.#tell(remarks);
  }

  /** Waits until every source has said everything once, but not for long: one that is down must not hold up the start. */
  async settled(): Promise<void> {
    const untilMs = performance.now() + discoveryFirstWaitMs;
    const complete = () => [...this.#running.values()].every(({ source }) => source.complete);
    while (!complete() && !this.#stopped && performance.now() < untilMs) await Bun.sleep(10);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const { source } of this.#running.values()) source.stop();
  }

  #start(name: SourceName, section: string, rules: Rules, before: Running | undefined): void {
    const { env, timing, accountFolder } = this.#options;
    const shared = {
      env,
      timing,
      routes: () => this.#running.get(name)?.routes ?? 0,
      log: (level: "warn" | "info" | "debug", text: string) => this.#options.log(level, name, text),
      onChange: () => this.#changed(),
    };
    const known = before?.source;
    const source =
      name === "consul"
        ? new ConsulSource({
            ...shared,
            rules: rules.consul ?? {},
            before: known instanceof ConsulSource ? known : undefined,
          })
        : new KubernetesSource({
            ...shared,
            accountFolder,
            rules: rules.kubernetes ?? {},
            before: known instanceof KubernetesSource ? known : undefined,
          });
    this.#running.set(name, { source, section, routes: before?.routes ?? 0 });
  }

  /** The first change after a quiet moment goes at once, those that follow closely go together. */
  #changed(): void {
    this.#again = true;
    if (this.#timer || this.#applying || this.#stopped) return;
    const waitMs = Math.max(0, this.#lastMs + this.#gapMs - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#apply();
    }, waitMs);
  }

  async #apply(): Promise<void> {
    this.#applying = true;
    this.#again = false;
    this.#lastMs = performance.now();
    try {
      await this.#options.onChange();
    } catch (error) {
      this.#options.log("error", "discovery", `${(error as Error).stack ?? error}`);
    }
    const tookMs = performance.now() - this.#lastMs;
    this.#gapMs = Math.max(discoveryEveryMs, tookMs / discoveryShareMax);
    this.#applying = false;
    if (this.#again) this.#changed();
  }

  /** Each remark once, for as long as it lasts. */
  #tell(remarks: readonly string[]): void {
    const shown = new Set([...new Set(remarks)].slice(0, discoveryRemarksMax));
    const left = new Set(remarks).size - shown.size;
    if (left > 0) shown.add(`${left >= 10 ? "many" : "some"} more remarks on what sources say are not shown`);
    for (const remark of shown) if (!this.#remarks.has(remark)) this.#options.log("warn", "discovery", remark);
    this.#remarks = shown;
  }
}

function countRoutes(hosts: Brought["hosts"]): number {
  return [...hosts.values()].reduce((sum, { paths, exact }) => sum + paths.size + exact.size, 0);
}
