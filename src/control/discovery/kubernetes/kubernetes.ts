/** Kubernetes as a source: the services of a list, the Ingresses of our class, or both. */
import type { KubernetesRules, KubernetesServiceRule } from "../../../data/routing/discovery-rules.ts";
import { kubernetesSelectorNamesMax } from "../../../lib/limits.ts";
import { addServices } from "../service-routes.ts";
import { RouteBook, type Brought, type Source } from "../source.ts";
import { Standing, type SourceState } from "../standing.ts";
import { kubernetesTiming, type Timing } from "../timing.ts";
import { Api, type Environment } from "./api.ts";
import { Collection } from "./collection.ts";
import { routesOf } from "./ingress.ts";
import { membersOf, slicesByService } from "./members.ts";
import {
  projectIngress,
  projectSecret,
  projectService,
  projectSlice,
  type IngressFacts,
  type KubernetesObject,
  type SecretFacts,
  type ServiceFacts,
  type SliceFacts,
} from "./objects.ts";
import { IngressStatus } from "./status.ts";

export interface KubernetesOptions {
  readonly rules: KubernetesRules;
  readonly env: Environment;
  /** the source that this one replaces: what it knows counts until this one knows better */
  readonly before?: KubernetesSource | undefined;
  readonly timing?: Timing;
  /** for tests: where a pod's service account is */
  readonly accountFolder?: string | undefined;
  routes(): number;
  log(level: "warn" | "info" | "debug", text: string): void;
  onChange(): void;
}

const groups = {
  slices: ["/apis/discovery.k8s.io/v1", "/apis/discovery.k8s.io/v1beta1"],
  ingresses: ["/apis/networking.k8s.io/v1"],
  core: ["/api/v1"],
};

export class KubernetesSource implements Source {
  readonly #options: KubernetesOptions;
  readonly #api: Api;
  readonly #standing: Standing;
  /** all that are watched, by what they are asked for */
  readonly #collections = new Map<string, Collection<unknown>>();
  readonly #before: ReadonlyMap<string, ReadonlyMap<string, unknown>>;
  readonly #listed: Collection<SliceFacts>[] = [];
  readonly #slices: Collection<SliceFacts>[] = [];
  readonly #services: Collection<ServiceFacts>[] = [];
  readonly #secrets: Collection<SecretFacts>[] = [];
  readonly #ingresses: Collection<IngressFacts>[] = [];
  #status: IngressStatus | undefined;

  constructor(options: KubernetesOptions) {
    const { rules, env, routes, log, before, timing = kubernetesTiming, accountFolder } = options;
    this.#options = { ...options, before: undefined };
    this.#before = before?.known() ?? new Map();
    this.#api = new Api({ rules, env, timing, accountFolder });
    this.#standing = new Standing({ name: "kubernetes", routes, log });
    if (rules.services) this.#followServices(rules.services);
    if (rules.ingress ?? !rules.services) this.#followIngresses();
  }

  get state(): SourceState {
    return this.#standing.state;
  }

  get complete(): boolean {
    return this.#standing.complete;
  }

  brought(): Brought {
    const { rules } = this.#options;
    const book = new RouteBook();
    if (rules.services) {
      const slices = slicesByService(merged(this.#listed).values());
      addServices(book, rules.services, (service) => {
        const { upstream, port } = service;
        const found = slices.get(`${this.#namespaceOf(service)}/${upstream}`) ?? [];
        return membersOf(
          found,
          (other) => port === undefined || (typeof port === "number" ? other.port === port : other.name === port),
        );
      });
    }
    const { remarks } = book;
    const ingress = this.#ingressRoutes();
    for (const [host, { paths, exact }] of ingress?.hosts ?? []) {
      for (const [path, own] of paths) book.add(host, path, false, own, "an ingress");
      for (const [path, own] of exact) book.add(host, path, true, own, "an ingress");
    }
    return { hosts: book.hosts, pairs: ingress?.pairs ?? [], remarks: [...remarks, ...(ingress?.remarks ?? [])] };
  }

  /** What it has heard, for the source that replaces it. */
  known(): ReadonlyMap<string, ReadonlyMap<string, unknown>> {
    const listed = [...this.#collections].filter(([, { known }]) => known);
    return new Map(listed.map(([key, { items }]) => [key, items]));
  }

  stop(): void {
    this.#status?.stop();
    for (const collection of this.#collections.values()) collection.stop();
    this.#api.close();
  }

  /** Nothing while a kind is unknown: an Ingress without its Services would look like one whose Services are gone. */
  #ingressRoutes(): Brought | undefined {
    if (this.#ingresses.length === 0) return undefined;
    const kinds = [...this.#ingresses, ...this.#slices, ...this.#services, ...this.#secrets];
    if (!kinds.every(({ known }) => known)) return undefined;
    return routesOf({
      ingresses: [...merged(this.#ingresses).values()],
      services: merged(this.#services),
      slices: slicesByService(merged(this.#slices).values()),
      secrets: merged(this.#secrets),
      hosts: this.#options.rules.hosts,
    });
  }

  #namespaceOf({ namespace }: KubernetesServiceRule): string {
    return namespace ?? this.#api.ownNamespace;
  }

  #followServices(services: readonly KubernetesServiceRule[]): void {
    const names = new Map<string, Set<string>>();
    for (const service of services) {
      const namespace = this.#namespaceOf(service);
      names.set(namespace, (names.get(namespace) ?? new Set()).add(service.upstream));
    }
    for (const [namespace, wanted] of names) {
      const few = wanted.size <= kubernetesSelectorNamesMax;
      const selector = `kubernetes.io/service-name in (${[...wanted].sort().join(",")})`;
      this.#listed.push(
        this.#follow("endpointslices", groups.slices, namespace, projectSlice, {
          selector: few ? `labelSelector=${encodeURIComponent(selector)}` : undefined,
        }),
      );
    }
  }

  #followIngresses(): void {
    const { namespaces = [], ingress_class: ours = "aralez", publish } = this.#options.rules;
    const project = (object: KubernetesObject) => projectIngress(object, ours);
    for (const namespace of namespaces.length === 0 ? [undefined] : new Set(namespaces)) {
      const tlsOnly = `fieldSelector=${encodeURIComponent("type=kubernetes.io/tls")}`;
      this.#ingresses.push(this.#follow("ingresses", groups.ingresses, namespace, project));
      this.#services.push(this.#follow("services", groups.core, namespace, projectService));
      this.#slices.push(this.#follow("endpointslices", groups.slices, namespace, projectSlice));
      this.#secrets.push(this.#follow("secrets", groups.core, namespace, projectSecret, { selector: tlsOnly }));
    }
    this.#status = new IngressStatus({
      api: this.#api,
      env: this.#options.env,
      publish,
      ingresses: () => merged(this.#ingresses).values(),
      log: this.#options.log,
    });
  }

  /** @param namespace undefined = all of them */
  #follow<T>(
    kind: string,
    prefixes: readonly string[],
    namespace: string | undefined,
    project: (object: KubernetesObject) => T | undefined,
    { selector }: { selector?: string | undefined } = {},
  ): Collection<T> {
    const place = namespace === undefined ? kind : `namespaces/${encodeURIComponent(namespace)}/${kind}`;
    const key = `${place}?${selector ?? ""}`;
    const collection = new Collection<T>({
      api: this.#api,
      standing: this.#standing,
      label: key.length > 100 ? place : key.replace(/\?$/, ""),
      paths: prefixes.map((prefix) => `${prefix}/${place}`),
      selector,
      project,
      onChange: () => this.#changed(),
      before: this.#before.get(key) as ReadonlyMap<string, T> | undefined,
    });
    this.#collections.set(key, collection);
    return collection;
  }

  #changed(): void {
    this.#options.onChange();
    this.#status?.poke();
  }
}

function merged<T>(collections: readonly Collection<T>[]): ReadonlyMap<string, T> {
  if (collections.length === 1) return collections[0]!.items;
  return new Map(collections.flatMap(({ items }) => [...items]));
}
