/** A real kube-apiserver on a real etcd: our own manifest applied, service accounts with tokens of their own. */
import { generateKeyPairSync } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { freePort } from "../cli/program.ts";
import { madeBySelf } from "../support/certificates.ts";
import type { KubernetesWorld } from "../support/discovery-scenarios.ts";
import type { FakeObject, Kind } from "../support/kubernetes.ts";
import { until } from "../support/proxy.ts";
import { folderFor, RealProgram } from "./started.ts";

interface Programs {
  readonly etcd: string;
  readonly apiserver: string;
}

const manifest = join(import.meta.dir, "../../config/kubernetes.yaml");

export async function realKubernetes({ etcd, apiserver }: Programs): Promise<KubernetesWorld & { version: string }> {
  const folder = folderFor("kubernetes");
  const file = (name: string) => join(folder.path, name);
  const [client, peer, port] = [freePort(), freePort(), freePort()];
  const { crt, key } = madeBySelf({ names: ["IP:127.0.0.1"], subject: "/CN=kube-apiserver" });
  const accounts = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(file("tls.crt"), crt);
  writeFileSync(file("tls.key"), key);
  writeFileSync(file("sa.key"), accounts.privateKey.export({ type: "pkcs8", format: "pem" }));
  writeFileSync(file("sa.pub"), accounts.publicKey.export({ type: "spki", format: "pem" }));
  writeFileSync(file("tokens.csv"), 'admin-token,admin,1,"system:masters"\n');
  const store = new RealProgram(etcd, [
    `--data-dir=${file("etcd")}`,
    `--listen-client-urls=http://127.0.0.1:${client}`,
    `--advertise-client-urls=http://127.0.0.1:${client}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-cluster=default=http://127.0.0.1:${peer}`,
  ]);
  const api = new RealProgram(apiserver, [
    `--etcd-servers=http://127.0.0.1:${client}`,
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    `--secure-port=${port}`,
    `--tls-cert-file=${file("tls.crt")}`,
    `--tls-private-key-file=${file("tls.key")}`,
    `--cert-dir=${file("certs")}`,
    `--token-auth-file=${file("tokens.csv")}`,
    "--authorization-mode=RBAC",
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-signing-key-file=${file("sa.key")}`,
    `--service-account-key-file=${file("sa.pub")}`,
    "--service-cluster-ip-range=10.96.0.0/16",
  ]);
  const ask = async (method: string, target: string, body?: unknown) => {
    const response = await fetch(`https://127.0.0.1:${port}${target}`, {
      method,
      headers: { Authorization: "Bearer admin-token", "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      tls: { ca: crt },
    });
    return { status: response.status, text: await response.text() };
  };
  const must = async (method: string, target: string, body?: unknown): Promise<Record<string, any>> => {
    const { status, text } = await ask(method, target, body);
    if (status >= 300) throw new Error(`${method} ${target}: ${status} ${text}`);
    return JSON.parse(text);
  };
  const etcdCall = async (call: string, body: object) =>
    (await (
      await fetch(`http://127.0.0.1:${client}/v3/${call}`, { method: "POST", body: JSON.stringify(body) })
    ).json()) as {
      header: { revision: string };
    };
  const ready = async () => (await ask("GET", "/readyz")).status === 200;
  await store.start(async () => (await fetch(`http://127.0.0.1:${client}/health`)).ok);
  await api.start(ready);

  // What our manifest asks for is all that the proxy gets; a Deployment needs nodes, which are not here.
  const slices = (await ask("GET", "/apis/discovery.k8s.io/v1")).status === 200 ? "v1" : "v1beta1";
  for (const document of parseAllDocuments(readFileSync(manifest, "utf8"))) {
    const object = document.toJS() as { apiVersion: string; kind: string; metadata: { namespace?: string } };
    await must("POST", placeOf(object), object);
  }
  for (const name of ["default", "aralez"])
    await until(async () => (await ask("GET", `/api/v1/namespaces/${name}`)).status === 200, `the namespace ${name}`);
  await must("POST", "/api/v1/namespaces/aralez/serviceaccounts", { metadata: { name: "nobody" } });
  const issue = async (account: string) => {
    const target = `/api/v1/namespaces/aralez/serviceaccounts/${account}/token`;
    return (await must("POST", target, { spec: { expirationSeconds: 600 } })).status.token as string;
  };
  writeFileSync(file("token"), await issue("aralez"));
  writeFileSync(file("nobody"), await issue("nobody"));

  const groups: Record<Kind, string> = {
    endpointslices: `/apis/discovery.k8s.io/${slices}`,
    services: "/api/v1",
    secrets: "/api/v1",
    ingresses: "/apis/networking.k8s.io/v1",
  };
  const kinds = { endpointslices: "EndpointSlice", services: "Service", secrets: "Secret", ingresses: "Ingress" };
  const target = (kind: Kind, namespace: string, name = "") =>
    `${groups[kind]}/namespaces/${namespace}/${kind}${name && `/${name}`}`;
  const put = async (kind: Kind, object: FakeObject) => {
    const { namespace, name } = object.metadata;
    const { creationTimestamp: _, ...metadata } = object.metadata;
    const full = { apiVersion: groups[kind].replace(/^\/apis?\//, ""), kind: kinds[kind], ...object, metadata };
    const before = await ask("GET", target(kind, namespace, name));
    if (before.status === 404) return void (await must("POST", target(kind, namespace), full));
    const { metadata: known, spec } = JSON.parse(before.text);
    const kept = { ...full, metadata: { ...metadata, resourceVersion: known.resourceVersion } } as Record<string, any>;
    if (kind === "services") kept.spec = { ...kept.spec, clusterIP: spec.clusterIP };
    await must("PUT", target(kind, namespace, name), kept);
  };
  const rules = (token: string) =>
    `servers: ["127.0.0.1:${port}"], tokenpath: ${file(token)}, ca_file: ${file("tls.crt")}`;
  return {
    version: `${(await must("GET", "/version")).gitVersion}, EndpointSlices ${slices}`,
    rules: rules("token"),
    denied: rules("nobody"),
    host: machineAddress(),
    put,
    async remove(kind, namespace, name) {
      await ask("DELETE", target(kind, namespace, name));
    },
    async get(kind, namespace, name) {
      const { status, text } = await ask("GET", target(kind, namespace, name));
      return status === 200 ? JSON.parse(text) : undefined;
    },
    stop: () => api.stop(),
    start: () => api.start(ready),
    async forget() {
      await api.stop();
      const { header } = await etcdCall("kv/range", { key: "AA==" });
      await etcdCall("kv/compaction", { revision: header.revision, physical: true });
      await api.start(ready);
    },
    async rotate() {
      // Tokens of another key are refused from now on: the one in use is worth nothing.
      const next = generateKeyPairSync("rsa", { modulusLength: 2048 });
      writeFileSync(file("sa.key"), next.privateKey.export({ type: "pkcs8", format: "pem" }));
      writeFileSync(file("sa.pub"), next.publicKey.export({ type: "spki", format: "pem" }));
      await api.stop();
      await api.start(ready);
      writeFileSync(file("token.tmp"), await issue("aralez"));
      await Bun.sleep(1_000);
      renameSync(file("token.tmp"), file("token"));
    },
    async [Symbol.asyncDispose]() {
      await api.stop();
      await store.stop();
      folder[Symbol.dispose]();
    },
  };
}

const plurals: Record<string, string> = { IngressClass: "ingressclasses" };

/** Where objects of this kind are created. */
function placeOf({
  apiVersion,
  kind,
  metadata,
}: {
  apiVersion: string;
  kind: string;
  metadata: { namespace?: string };
}) {
  const group = apiVersion === "v1" ? "/api/v1" : `/apis/${apiVersion}`;
  const place = metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`;
  return `${group}${place}/${plurals[kind] ?? `${kind.toLowerCase()}s`}`;
}

/** @throws Error when this machine has no address but loopback's, which Kubernetes refuses for endpoints */
function machineAddress(): string {
  const found = Object.values(networkInterfaces())
    .flat()
    .find((each) => each && !each.internal && each.family === "IPv4");
  if (!found) throw new Error("Cannot find an address of this machine that is not loopback's");
  return found.address;
}
