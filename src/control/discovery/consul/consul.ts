/** Consul as a source: the services of a list, or every service that is tagged. */
import type { ConsulRules } from "../../../data/routing/discovery-rules.ts";
import { discoveryServicesMax } from "../../../lib/limits.ts";
import { claimsOf } from "../claims.ts";
import { quoted } from "../quoted.ts";
import { addServices } from "../service-routes.ts";
import { nothing, RouteBook, type Brought, type Source } from "../source.ts";
import { Standing, type SourceState } from "../standing.ts";
import { consulTiming, type Timing } from "../timing.ts";
import { Agent, type Environment } from "./agent.ts";
import { BlockingQuery } from "./blocking-query.ts";
import { readInstances, serversOf, type Instance } from "./instances.ts";
import { addTagged, readTagged, serviceTag, type TaggedService } from "./tags.ts";

export interface ConsulOptions {
  readonly rules: ConsulRules;
  readonly env: Environment;
  /** the source that this one replaces: what it knows counts until this one knows better */
  readonly before?: ConsulSource | undefined;
  readonly timing?: Timing;
  routes(): number;
  log(level: "warn" | "info" | "debug", text: string): void;
  onChange(): void;
}

export class ConsulSource implements Source {
  readonly #options: ConsulOptions;
  readonly #agent: Agent;
  readonly #standing: Standing;
  readonly #services = new Map<string, BlockingQuery<Instance[]>>();
  readonly #tagged = new WeakMap<Instance[], TaggedService>();
  /** names of the tagged services; undefined in the list form */
  #catalog: BlockingQuery<string[]> | undefined;
  #remark: string | undefined;
  /** what the source before this one knew */
  readonly #before: ReadonlyMap<string, Instance[] | undefined>;

  constructor(options: ConsulOptions) {
    const { rules, env, routes, log, before } = options;
    this.#options = { ...options, before: undefined };
    const known = before?.known();
    this.#before = known?.services ?? new Map();
    this.#agent = new Agent(rules, env, options.timing ?? consulTiming);
    this.#standing = new Standing({ name: "consul", routes, log });
    if (rules.services) this.#follow(new Set(rules.services.map(({ upstream }) => upstream)), true);
    else {
      this.#catalog = new BlockingQuery({
        agent: this.#agent,
        standing: this.#standing,
        label: "the catalogue",
        target: "/v1/catalog/services",
        before: known?.catalog,
        parse: readCatalog,
        onChange: () => this.#catalogChanged(),
      });
      // In the order of the source before this one.
      const names = new Set(this.#catalog.value ?? []);
      this.#follow(new Set([...this.#before.keys()].filter((name) => names.has(name))).union(names), false);
    }
  }

  get state(): SourceState {
    return this.#standing.state;
  }

  get complete(): boolean {
    return this.#standing.complete;
  }

  brought(): Brought {
    const { services } = this.#options.rules;
    const book = new RouteBook();
    if (this.#remark !== undefined) book.remarks.push(this.#remark);
    if (services) {
      addServices(book, services, ({ upstream }) => serversOf(this.#services.get(upstream)?.value ?? []));
    } else {
      // In the order in which they came (at the start by name): who has a host and path keeps it while it is there.
      const mayClaim = claimsOf(this.#options.rules.hosts);
      for (const [name, { value }] of this.#services) if (value) addTagged(book, name, this.#taggedIn(value), mayClaim);
    }
    return { ...nothing, hosts: book.hosts, remarks: book.remarks };
  }

  /** Most services are the same as at the last change. */
  #taggedIn(instances: Instance[]): TaggedService {
    let tagged = this.#tagged.get(instances);
    if (!tagged) this.#tagged.set(instances, (tagged = readTagged(instances)));
    return tagged;
  }

  /** What it has heard, for the source that replaces it. */
  known(): { catalog: string[] | undefined; services: ReadonlyMap<string, Instance[] | undefined> } {
    const services = new Map([...this.#services].map(([name, { value }]) => [name, value]));
    return { catalog: this.#catalog?.value, services };
  }

  stop(): void {
    this.#catalog?.stop();
    for (const service of this.#services.values()) service.stop();
    this.#agent.close();
  }

  #catalogChanged(): void {
    this.#follow(new Set(this.#catalog?.value ?? []), false);
    this.#options.onChange();
  }

  /** @param passing healthy instances only; the tag form needs the others too, which say where a route is */
  #follow(wanted: ReadonlySet<string>, passing: boolean): void {
    const names = [...wanted].slice(0, discoveryServicesMax);
    this.#remark =
      wanted.size > names.length
        ? `expected at most ${discoveryServicesMax} services, found ${wanted.size}: the rest is left out`
        : undefined;
    for (const [name, service] of this.#services) {
      if (names.includes(name)) continue;
      service.stop();
      this.#services.delete(name);
    }
    this.#agent.questions = names.length;
    for (const name of names) {
      if (this.#services.has(name)) continue;
      const query = new BlockingQuery({
        agent: this.#agent,
        standing: this.#standing,
        label: `service ${quoted(name)}`,
        target: `/v1/health/service/${encodeURIComponent(name)}${passing ? "?passing=1" : ""}`,
        before: this.#before.get(name),
        parse: readInstances,
        onChange: this.#options.onChange,
      });
      this.#services.set(name, query);
    }
  }
}

/** `{NAME: [TAG, …]}` → the names that are tagged for us, sorted. @throws Error when it is of another form */
function readCatalog(json: unknown): string[] {
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw new Error("expected a map of services, found something else");
  for (const tags of Object.values(json))
    if (tags !== null && !Array.isArray(tags)) throw new Error("expected lists of tags, found something else");
  return Object.entries(json)
    .filter(([, tags]) => Array.isArray(tags) && tags.includes(serviceTag))
    .map(([name]) => name)
    .sort();
}
