/**
 * A server that speaks the Kubernetes API as far as discovery uses it: paged lists, watches from a place in the history,
 * bookmarks, 410 for a place that is gone, bearer tokens, TLS. Lines of a watch are cut anywhere.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { madeBySelf } from "./certificates.ts";

export interface FakeObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
    readonly creationTimestamp?: string;
    resourceVersion?: string;
  };
  readonly [field: string]: unknown;
}

export type Kind = "endpointslices" | "services" | "secrets" | "ingresses";

export type Trouble = "none" | "500" | "hang" | "reset" | "watches fail" | "lines that are no events";

export interface FakeKubernetes extends AsyncDisposable {
  readonly url: string;
  readonly hostPort: string;
  readonly ca: string;
  readonly asked: string[];
  trouble: Trouble;
  /** an answer in place of the usual one: status and text */
  instead: ((target: string, authorization: string) => readonly [number, string] | undefined) | undefined;
  /** tokens that are let in */
  readonly tokens: Set<string>;
  /** versions of EndpointSlices that are served */
  sliceVersions: string[];
  /** objects in one page at most, whatever was asked for */
  pageMax: number;
  bookmarkMs: number;
  readonly patches: { readonly target: string; readonly body: unknown; readonly type: string | undefined }[];
  readonly watches: number;
  put(kind: Kind, object: FakeObject): void;
  remove(kind: Kind, namespace: string, name: string): void;
  get(kind: Kind, namespace: string, name: string): FakeObject | undefined;
  /** the history up to now is forgotten: whoever wants to go on from there gets 410 */
  compact(): void;
  /** ends all watches: cleanly, by a reset, or by an ERROR event of this code */
  endWatches(how: "cleanly" | "reset" | number): void;
  stop(): Promise<void>;
  start(): Promise<void>;
}

interface Event {
  readonly version: number;
  readonly kind: Kind;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: FakeObject;
}

interface Watch {
  readonly response: ServerResponse;
  readonly kind: Kind;
  readonly matches: (object: FakeObject) => boolean;
  readonly timer: NodeJS.Timeout;
}

const kinds: Record<string, Kind> = {
  "/apis/networking.k8s.io/v1 ingresses": "ingresses",
  "/api/v1 services": "services",
  "/api/v1 secrets": "secrets",
};

export async function startKubernetes(): Promise<FakeKubernetes> {
  const { crt, key } = madeBySelf({ names: ["IP:127.0.0.1", "DNS:localhost"], subject: "/CN=kube" });
  const objects = new Map<Kind, Map<string, FakeObject>>();
  const storeOf = (kind: Kind) => objects.get(kind) ?? objects.set(kind, new Map()).get(kind)!;
  const history: Event[] = [];
  let version = 100;
  let compacted = 0;
  const watches = new Set<Watch>();
  const server = createServer({ cert: crt, key }, (request, response) => answer(request, response));
  let port = 0;

  function record(kind: Kind, type: Event["type"], object: FakeObject): void {
    const event = { version: ++version, kind, type, object };
    object.metadata.resourceVersion = String(version);
    history.push(event);
    for (const watch of watches)
      if (watch.kind === kind && watch.matches(object)) send(watch.response, { type, object });
  }

  /** In pieces that have nothing to do with lines. */
  function send(response: ServerResponse, event: object): void {
    if (response.writableEnded || response.destroyed) return;
    const bytes = Buffer.from(`${JSON.stringify(event)}\n`);
    for (let at = 0; at < bytes.length;) {
      const size = 1 + Math.floor(Math.random() * 40);
      response.write(bytes.subarray(at, at + size));
      at += size;
    }
  }

  const fake: FakeKubernetes = {
    url: "",
    hostPort: "",
    ca: crt,
    asked: [],
    trouble: "none",
    instead: undefined,
    tokens: new Set(["good-token"]),
    sliceVersions: ["v1"],
    pageMax: 500,
    bookmarkMs: 0,
    patches: [],
    get watches() {
      return watches.size;
    },
    put(kind, object) {
      const id = `${object.metadata.namespace}/${object.metadata.name}`;
      const known = storeOf(kind).has(id);
      const copy = structuredClone(object);
      storeOf(kind).set(id, copy);
      record(kind, known ? "MODIFIED" : "ADDED", copy);
    },
    remove(kind, namespace, name) {
      const object = storeOf(kind).get(`${namespace}/${name}`);
      if (!object) return;
      storeOf(kind).delete(`${namespace}/${name}`);
      record(kind, "DELETED", structuredClone(object));
    },
    get: (kind, namespace, name) => storeOf(kind).get(`${namespace}/${name}`),
    compact() {
      compacted = version;
      history.length = 0;
    },
    endWatches(how) {
      for (const watch of [...watches]) {
        const { response } = watch;
        watches.delete(watch);
        if (how === "reset") response.socket?.destroy();
        else {
          if (how !== "cleanly")
            send(response, { type: "ERROR", object: { kind: "Status", code: how, message: `status ${how}` } });
          response.end();
        }
      }
    },
    async stop() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
    start: () => listen(port),
    [Symbol.asyncDispose]: () => fake.stop(),
  };

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, "https://kube");
    fake.asked.push(request.url!);
    const watching = url.searchParams.get("watch") === "1";
    const said = fake.instead?.(request.url!, request.headers.authorization ?? "");
    if (said) return void response.writeHead(said[0], { "Content-Type": "application/json" }).end(said[1]);
    if (fake.trouble === "hang") return;
    if (fake.trouble === "reset") return void request.socket.destroy();
    if (fake.trouble === "500" || (fake.trouble === "watches fail" && watching))
      return status(response, 500, "etcdserver: leader changed");
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    if (token === undefined || !fake.tokens.has(token)) return status(response, 401, "Unauthorized");
    if (request.method === "PATCH") return void patch(request, response, url.pathname);
    const [, prefix = "", namespace, plural = "", name] =
      /^(.*?\/v1(?:beta1)?)(?:\/namespaces\/([^/]+))?\/([a-z]+)(?:\/([^/]+))?$/.exec(url.pathname) ?? [];
    const kind = kindOf(prefix, plural);
    if (!kind) return status(response, 404, "the server could not find the requested resource");
    if (name !== undefined) {
      const found = storeOf(kind).get(`${namespace}/${name}`);
      return found ? json(response, 200, found) : status(response, 404, `${plural} "${name}" not found`);
    }
    const matches = selectorOf(url.searchParams, namespace);
    if (watching) watch(response, url.searchParams, kind, matches);
    else list(response, url.searchParams, kind, matches);
  }

  function kindOf(prefix: string, plural: string): Kind | undefined {
    const [, slices] = /^\/apis\/discovery\.k8s\.io\/(v1|v1beta1)$/.exec(prefix) ?? [];
    if (slices !== undefined && plural === "endpointslices")
      return fake.sliceVersions.includes(slices) ? "endpointslices" : undefined;
    return kinds[`${prefix} ${plural}`];
  }

  function list(response: ServerResponse, query: URLSearchParams, kind: Kind, matches: Watch["matches"]): void {
    const all = [...storeOf(kind).values()].filter(matches);
    const from = Number(query.get("continue") ?? 0);
    const to = from + Math.min(Number(query.get("limit") ?? 500), fake.pageMax);
    json(response, 200, {
      kind: "List",
      metadata: { resourceVersion: String(version), ...(to < all.length && { continue: String(to) }) },
      items: all.slice(from, to),
    });
  }

  function watch(response: ServerResponse, query: URLSearchParams, kind: Kind, matches: Watch["matches"]): void {
    const from = Number(query.get("resourceVersion"));
    if (from < compacted) return status(response, 410, "too old resource version");
    response.writeHead(200, { "Content-Type": "application/json", "Transfer-Encoding": "chunked" });
    response.flushHeaders();
    if (fake.trouble === "lines that are no events") return void response.end('{"type":\n');
    for (const event of history)
      if (event.version > from && event.kind === kind && matches(event.object))
        send(response, { type: event.type, object: event.object });
    const bookmark = () =>
      send(response, { type: "BOOKMARK", object: { metadata: { resourceVersion: String(version) } } });
    const timer = fake.bookmarkMs > 0 ? setInterval(bookmark, fake.bookmarkMs) : setTimeout(() => {}, 0);
    const end = setTimeout(() => response.end(), Number(query.get("timeoutSeconds")) * 1000);
    const entry = { response, kind, matches, timer };
    watches.add(entry);
    response.on("close", () => {
      clearInterval(timer);
      clearTimeout(end);
      watches.delete(entry);
    });
  }

  async function patch(request: IncomingMessage, response: ServerResponse, target: string): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as { status: unknown };
    fake.patches.push({ target, body, type: request.headers["content-type"] });
    const [, namespace, name] = /\/namespaces\/([^/]+)\/ingresses\/([^/]+)\/status$/.exec(target) ?? [];
    const found = storeOf("ingresses").get(`${namespace}/${name}`);
    if (!found) return status(response, 404, "not found");
    fake.put("ingresses", { ...found, status: body.status });
    json(response, 200, found);
  }

  function listen(on: number): Promise<void> {
    return new Promise<void>((resolve, reject) => server.once("error", reject).listen(on, "127.0.0.1", resolve));
  }

  await listen(0);
  port = (server.address() as AddressInfo).port;
  return Object.assign(fake, { url: `https://127.0.0.1:${port}`, hostPort: `127.0.0.1:${port}` });
}

function selectorOf(query: URLSearchParams, namespace: string | undefined): (object: FakeObject) => boolean {
  const [, label, names] = /^(\S+) in \((.*)\)$/.exec(query.get("labelSelector") ?? "") ?? [];
  const type = /^type=(.*)$/.exec(query.get("fieldSelector") ?? "")?.[1];
  return (object) =>
    (namespace === undefined || object.metadata.namespace === namespace) &&
    (label === undefined || names!.split(",").includes(object.metadata.labels?.[label] ?? "")) &&
    (type === undefined || object.type === type);
}

function json(response: ServerResponse, code: number, body: unknown): void {
  response.writeHead(code, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

function status(response: ServerResponse, code: number, message: string): void {
  json(response, code, { kind: "Status", status: "Failure", code, message });
}

/** @param ports name → number  @param hosts addresses of ready endpoints, or endpoints as they are */
export function slice(
  service: string,
  ports: Record<string, number>,
  hosts: readonly (string | object)[],
  {
    namespace = "default",
    name = `${service}-1`,
    appProtocol,
  }: { namespace?: string; name?: string; appProtocol?: string } = {},
): FakeObject {
  return {
    metadata: { name, namespace, labels: { "kubernetes.io/service-name": service } },
    addressType: "IPv4",
    ports: Object.entries(ports).map(([port, number]) => ({ name: port, port: number, protocol: "TCP", appProtocol })),
    endpoints: hosts.map((host) =>
      typeof host === "string" ? { addresses: [host], conditions: { ready: true } } : host,
    ),
  };
}

export function service(name: string, ports: Record<string, number>, namespace = "default"): FakeObject {
  return {
    metadata: { name, namespace },
    spec: { ports: Object.entries(ports).map(([port, number]) => ({ name: port, port: number })) },
  };
}

export interface IngressPath {
  readonly path?: string;
  readonly pathType?: "Exact" | "Prefix" | "ImplementationSpecific";
  readonly service: string;
  readonly port: number | string;
}

export function ingress(
  name: string,
  hosts: Record<string, readonly IngressPath[]>,
  more: {
    namespace?: string;
    className?: string;
    created?: string;
    annotations?: Record<string, string>;
    /** names of secrets, or secrets with the hosts that they are for */
    tls?: readonly (string | { secretName: string; hosts?: readonly string[] })[];
    defaultBackend?: { service: string; port: number | string };
  } = {},
): FakeObject {
  const backend = ({ service: to, port }: { service: string; port: number | string }) => ({
    service: { name: to, port: typeof port === "number" ? { number: port } : { name: port } },
  });
  return {
    metadata: {
      name,
      namespace: more.namespace ?? "default",
      creationTimestamp: more.created ?? "2026-01-01T00:00:00Z",
      annotations: more.annotations ?? {},
    },
    spec: {
      ingressClassName: more.className ?? "aralez",
      ...(more.defaultBackend && { defaultBackend: backend(more.defaultBackend) }),
      tls: (more.tls ?? []).map((secret) => (typeof secret === "string" ? { secretName: secret } : secret)),
      rules: Object.entries(hosts).map(([host, paths]) => ({
        ...(host !== "" && { host }),
        http: {
          paths: paths.map(({ path, pathType = "Prefix", ...to }) => ({ path, pathType, backend: backend(to) })),
        },
      })),
    },
  };
}
