/** Ingress: the rules of Ingress objects as routes (networking.k8s.io/v1), and the certificates that they name. */
import type { ServerRule } from "../../../config/shape.ts";
import { canonicalHost } from "../../../data/routing/names.ts";
import { normalisePathKey } from "../../../data/routing/path.ts";
import { defaultHost, type PathRules } from "../../../data/routing/rules.ts";
import type { GivenPair } from "../../certificates/store.ts";
import { claimsOf, notOfHosts } from "../claims.ts";
import { quoted } from "../quoted.ts";
import { RouteBook, type Brought } from "../source.ts";
import { WrittenSettings } from "../written-settings.ts";
import { membersOf } from "./members.ts";
import type { BackendFacts, IngressFacts, PathFacts, SecretFacts, ServiceFacts, SliceFacts } from "./objects.ts";

/** What is known of a cluster. Keys are NAMESPACE/NAME. */
export interface Cluster {
  readonly ingresses: readonly IngressFacts[];
  readonly services: ReadonlyMap<string, ServiceFacts>;
  readonly slices: ReadonlyMap<string, readonly SliceFacts[]>;
  readonly secrets: ReadonlyMap<string, SecretFacts>;
  /** hosts that may be claimed; undefined = all */
  readonly hosts?: readonly string[] | undefined;
}

/** The older Ingress comes first: nobody takes a host and path away from another by creating one more. */
export function byAge(a: IngressFacts, b: IngressFacts): number {
  const keyOf = ({ created, namespace, name }: IngressFacts) => `${created || "~"} ${namespace}/${name}`;
  return keyOf(a) < keyOf(b) ? -1 : 1;
}

export function routesOf(cluster: Cluster): Brought {
  const book = new RouteBook();
  const pairs = new Map<string, Omit<GivenPair, "hosts"> & { hosts: Set<string> }>();
  const mayClaim = claimsOf(cluster.hosts);
  for (const ingress of cluster.ingresses.toSorted(byAge)) {
    new Reading(ingress, cluster, book, mayClaim).routes();
    for (const secret of ingress.secrets) {
      const name = `${ingress.namespace}/${secret.name}`;
      const found = cluster.secrets.get(name);
      if (!found) {
        book.remarks.push(`${nameOf(ingress)}: there is no TLS secret ${quoted(name)}`);
        continue;
      }
      const hosts = hostsFor(ingress, secret.hosts).filter((host) => host === defaultHost || mayClaim(host));
      const known = pairs.get(name);
      if (known) for (const host of hosts) known.hosts.add(host);
      else pairs.set(name, { ...pairOf(name, found), hosts: new Set(hosts) });
    }
  }
  const given = [...pairs.values()].map(({ hosts, ...pair }): GivenPair => {
    const all = hosts.has(defaultHost) && mayClaim(defaultHost);
    return all ? pair : { ...pair, hosts: [...hosts].filter((host) => host !== defaultHost).sort() };
  });
  return { hosts: book.hosts, pairs: given, remarks: book.remarks };
}

/** The hosts that a secret of an Ingress is for; DEFAULT among them where it is for whoever comes. */
function hostsFor({ rules, defaultBackend }: IngressFacts, written: readonly string[]): string[] {
  const hosts = written.length > 0 ? written : rules.map(({ host }) => host);
  if (written.length === 0 && defaultBackend) return [...hosts.flatMap(canonical), defaultHost];
  return hosts.flatMap(canonical);
}

function canonical(host: string): string[] {
  try {
    return [host === "" ? defaultHost : canonicalHost(host)];
  } catch {
    return [];
  }
}

function pairOf(name: string, { crt, key }: SecretFacts): GivenPair {
  return { name: `kubernetes:${name}`, crt: Buffer.from(crt, "base64"), key: Buffer.from(key, "base64") };
}

function nameOf({ namespace, name }: IngressFacts): string {
  return `ingress ${quoted(`${namespace}/${name}`)}`;
}

/** One Ingress. */
class Reading {
  readonly #settings: PathRules;

  constructor(
    readonly ingress: IngressFacts,
    readonly cluster: Cluster,
    readonly book: RouteBook,
    readonly mayClaim: (host: string) => boolean,
  ) {
    this.#settings = this.#readAnnotations();
  }

  routes(): void {
    const { rules, defaultBackend } = this.ingress;
    for (const { host, paths } of rules) {
      const name = this.#host(host);
      if (name === undefined) continue;
      for (const path of paths) this.#path(name, path);
      // What no path of the host answers goes to the default backend, if there is one.
      const whole = paths.some((path) => path.path === "/" && path.type !== "Exact");
      if (defaultBackend && !whole) this.#add(name, "/", false, defaultBackend);
    }
    if (!defaultBackend || rules.some(({ host }) => host === "")) return;
    const name = this.#host("");
    if (name !== undefined) this.#add(name, "/", false, defaultBackend);
  }

  #path(host: string, { path, type, backend }: PathFacts): void {
    const normal = path.startsWith("/") && !/[?#\x00-\x1f\x7f]/.test(path) ? normalisePathKey(path) : undefined;
    if (normal === undefined) return this.#remark(`path ${quoted(path)} is not a path beginning with "/"`);
    if (!backend) this.#remark(`path ${quoted(path)} has no Service behind it, and answers 503`);
    if (type === "Exact") this.#add(host, normal, true, backend);
    // A prefix matches by segments, with a final slash or without.
    else this.#add(host, normal.replace(/(.)\/$/, "$1"), false, backend);
  }

  #add(host: string, path: string, exact: boolean, backend: BackendFacts | undefined): void {
    // A closed route has no members already.
    const servers = this.#settings.servers ?? (backend ? this.#members(backend) : []);
    this.book.add(host, path, exact, { ...this.#settings, servers }, nameOf(this.ingress));
  }

  #members({ service, port }: BackendFacts): ServerRule[] {
    const key = `${this.ingress.namespace}/${service}`;
    const found = this.cluster.services.get(key);
    if (!found) {
      this.#remark(`there is no Service ${quoted(service)}: its paths answer 503`);
      return [];
    }
    const known = found.ports.find((other) => (typeof port === "number" ? other.port === port : other.name === port));
    if (!known) {
      this.#remark(`the Service ${quoted(service)} has no port ${quoted(String(port))}: its paths answer 503`);
      return [];
    }
    return membersOf(this.cluster.slices.get(key) ?? [], ({ name }) => name === known.name);
  }

  #host(written: string): string | undefined {
    try {
      const host = written === "" ? defaultHost : canonicalHost(written);
      if (this.mayClaim(host)) return host;
      this.#remark(notOfHosts(host));
    } catch (error) {
      this.#remark((error as Error).message);
    }
    return undefined;
  }

  #readAnnotations(): PathRules {
    const settings = new WrittenSettings();
    for (const [name, text] of Object.entries(this.ingress.annotations)) {
      const label = `annotation ${quoted(name, "")}`;
      const key = name.slice("aralez.rs/".length);
      if (key === "rate_limit" || key === "x4xx_limit") settings.limit(key, text, label);
      else if (key === "client_headers" || key === "server_headers") settings.headers(key, readList(text), label);
      else this.#remark(`${label} is unknown`);
    }
    for (const remark of settings.remarks) this.#remark(remark);
    return settings.closed ? { servers: [] } : settings.rules;
  }

  #remark(text: string): void {
    this.book.remarks.push(`${nameOf(this.ingress)}: ${text}`);
  }
}

/** A JSON list of texts; anything else is one text, which a header's shape will refuse with a reason. */
function readList(text: string): unknown[] {
  try {
    const list = JSON.parse(text) as unknown;
    if (Array.isArray(list)) return list;
  } catch {}
  return [text];
}
