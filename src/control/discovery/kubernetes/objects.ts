/** What is kept of Kubernetes' objects: only what routes are made of, checked field by field. */
import { isIP } from "node:net";
import { isHostName, type Protocol } from "../../../lib/address.ts";

export interface KubernetesObject {
  metadata?: {
    name?: string;
    namespace?: string;
    resourceVersion?: string;
    creationTimestamp?: string;
    labels?: Record<string, string> | null;
    annotations?: Record<string, string> | null;
  };
  spec?: unknown;
  status?: unknown;
  /** any other field, which nobody has checked */
  [field: string]: unknown;
}

export interface SliceFacts {
  /** NAMESPACE/NAME of the Service */
  readonly service: string;
  readonly ports: readonly { readonly name: string; readonly port: number; readonly protocol?: Protocol }[];
  readonly endpoints: readonly EndpointFacts[];
}

export interface EndpointFacts {
  readonly hosts: readonly string[];
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
}

export interface ServiceFacts {
  /** port number → its name, "" when it has none */
  readonly ports: readonly { readonly port: number; readonly name: string }[];
  /** what clients outside the cluster reach it by */
  readonly external: readonly StatusAddress[];
}

export interface StatusAddress {
  readonly ip?: string;
  readonly hostname?: string;
}

export interface SecretFacts {
  /** base64 */
  readonly crt: string;
  readonly key: string;
}

export interface IngressFacts {
  readonly namespace: string;
  readonly name: string;
  /** RFC 3339; "" = unknown */
  readonly created: string;
  /** of `aralez.rs/…` */
  readonly annotations: Readonly<Record<string, string>>;
  readonly defaultBackend: BackendFacts | undefined;
  readonly rules: readonly { readonly host: string; readonly paths: readonly PathFacts[] }[];
  /** names of TLS secrets, and the hosts that each is for; none = all that the Ingress has */
  readonly secrets: readonly { readonly name: string; readonly hosts: readonly string[] }[];
  readonly addresses: readonly StatusAddress[];
}

export interface PathFacts {
  readonly path: string;
  readonly type: string;
  readonly backend: BackendFacts | undefined;
}

/** @param port a number, or the name of one */
export interface BackendFacts {
  readonly service: string;
  readonly port: number | string;
}

type Fields = Record<string, unknown>;

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.map(fieldsOf) : [];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function portOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535 ? value : undefined;
}

const appProtocols: Readonly<Record<string, Protocol>> = {
  https: "https",
  "kubernetes.io/h2c": "h2c",
  "kubernetes.io/wss": "https",
};

/** discovery.k8s.io/v1 EndpointSlice; v1beta1 has the same in the fields that are read. */
export function projectSlice({ metadata, addressType, ports, endpoints }: KubernetesObject): SliceFacts | undefined {
  const service = metadata?.labels?.["kubernetes.io/service-name"];
  if (service === undefined || addressType === "FQDN") return undefined;
  return {
    service: `${metadata?.namespace ?? ""}/${service}`,
    ports: listOf(ports).flatMap(({ name, port, protocol, appProtocol }) => {
      const number = portOf(port);
      if (number === undefined || (protocol !== undefined && protocol !== null && protocol !== "TCP")) return [];
      const known = appProtocols[textOf(appProtocol)];
      return { name: textOf(name), port: number, ...(known && { protocol: known }) };
    }),
    endpoints: listOf(endpoints).map(({ addresses, conditions }) => {
      const { ready, serving, terminating } = fieldsOf(conditions);
      return {
        hosts: (Array.isArray(addresses) ? addresses : []).filter(
          (host) => typeof host === "string" && isIP(host) !== 0,
        ),
        // Unknown counts as ready; what is left out follows from it (EndpointConditions).
        ready: ready !== false,
        serving: typeof serving === "boolean" ? serving : ready !== false,
        terminating: terminating === true,
      };
    }),
  };
}

export function projectService({ spec, status }: KubernetesObject): ServiceFacts {
  const { ports, externalIPs } = fieldsOf(spec);
  const { ingress } = fieldsOf(fieldsOf(status).loadBalancer);
  const balanced = addressesOf(ingress);
  const given = (Array.isArray(externalIPs) ? externalIPs : []).filter((ip) => isIP(textOf(ip)) !== 0);
  return {
    ports: listOf(ports).flatMap(({ port, name }) => {
      const number = portOf(port);
      return number === undefined ? [] : { port: number, name: textOf(name) };
    }),
    external: balanced.length > 0 ? balanced : given.map((ip: string) => ({ ip })),
  };
}

export function projectSecret({ type, data }: KubernetesObject): SecretFacts | undefined {
  const { "tls.crt": crt, "tls.key": key } = fieldsOf(data);
  if (type !== "kubernetes.io/tls" || typeof crt !== "string" || typeof key !== "string") return undefined;
  return { crt, key };
}

/** @param className the class that is ours, as `ingressClassName` or in the annotation that came before it */
export function projectIngress(object: KubernetesObject, className: string): IngressFacts | undefined {
  const { metadata, spec, status } = object;
  const { ingressClassName, defaultBackend, rules, tls } = fieldsOf(spec);
  const annotations = fieldsOf(metadata?.annotations);
  if ((ingressClassName ?? annotations["kubernetes.io/ingress.class"]) !== className) return undefined;
  const ours = Object.entries(annotations).filter(
    (entry): entry is [string, string] => entry[0].startsWith("aralez.rs/") && typeof entry[1] === "string",
  );
  return {
    namespace: metadata?.namespace ?? "",
    name: metadata?.name ?? "",
    created: textOf(metadata?.creationTimestamp),
    annotations: Object.fromEntries(ours),
    defaultBackend: backendOf(defaultBackend),
    rules: listOf(rules).map(({ host, http }) => ({
      host: textOf(host),
      paths: listOf(fieldsOf(http).paths).map(({ path, pathType, backend }) => ({
        path: textOf(path) || "/",
        type: textOf(pathType),
        backend: backendOf(backend),
      })),
    })),
    secrets: listOf(tls).flatMap(({ secretName, hosts }) => {
      const names = (Array.isArray(hosts) ? hosts : []).filter((host) => typeof host === "string");
      return textOf(secretName) === "" ? [] : { name: textOf(secretName), hosts: names };
    }),
    addresses: addressesOf(fieldsOf(fieldsOf(status).loadBalancer).ingress),
  };
}

/** @returns undefined for what is no Service (a `resource`) */
function backendOf(value: unknown): BackendFacts | undefined {
  const { name, port } = fieldsOf(fieldsOf(value).service);
  const { number, name: portName } = fieldsOf(port);
  const wanted = portOf(number) ?? (textOf(portName) || undefined);
  return textOf(name) === "" || wanted === undefined ? undefined : { service: textOf(name), port: wanted };
}

function addressesOf(value: unknown): StatusAddress[] {
  return listOf(value).flatMap(({ ip, hostname }) => {
    if (isIP(textOf(ip)) !== 0) return { ip: textOf(ip) };
    return isHostName(textOf(hostname)) ? { hostname: textOf(hostname) } : [];
  });
}
