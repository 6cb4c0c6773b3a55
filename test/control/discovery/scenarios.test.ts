/** The scenarios of discovery against the servers of the tests; test/real runs the same against the real ones. */
import { describe, test } from "bun:test";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startConsul } from "../../support/consul.ts";
import {
  consulScenarios,
  kubernetesScenarios,
  type ConsulWorld,
  type KubernetesWorld,
} from "../../support/discovery-scenarios.ts";
import { startKubernetes } from "../../support/kubernetes.ts";

async function consulWorld(): Promise<ConsulWorld> {
  const consul = await startConsul();
  consul.token = "right";
  return {
    rules: `servers: ["${consul.url}"], token: right`,
    denied: `servers: ["${consul.url}"], token: wrong`,
    set: async (name, instances) => consul.set(name, instances),
    stop: consul.stop,
    start: consul.start,
    [Symbol.asyncDispose]: consul.stop,
  };
}

async function kubernetesWorld(): Promise<KubernetesWorld> {
  const kube = await startKubernetes();
  const folder = mkdtempSync(join(tmpdir(), "aralez-kube-"));
  writeFileSync(join(folder, "token"), "good-token");
  writeFileSync(join(folder, "denied"), "bad-token");
  writeFileSync(join(folder, "ca.crt"), kube.ca);
  const rules = (token: string) =>
    `servers: ["${kube.hostPort}"], tokenpath: ${folder}/${token}, ca_file: ${folder}/ca.crt`;
  return {
    rules: rules("token"),
    denied: rules("denied"),
    host: "127.0.0.1",
    put: async (kind, object) => kube.put(kind, object),
    remove: async (kind, namespace, name) => kube.remove(kind, namespace, name),
    get: async (kind, namespace, name) => kube.get(kind, namespace, name),
    stop: kube.stop,
    start: kube.start,
    async forget() {
      kube.endWatches("reset");
      kube.compact();
    },
    async rotate() {
      kube.tokens.clear();
      kube.tokens.add("next-token");
      kube.endWatches("reset");
      writeFileSync(join(folder, "token.tmp"), "next-token");
      renameSync(join(folder, "token.tmp"), join(folder, "token"));
    },
    async [Symbol.asyncDispose]() {
      await kube.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

describe("Consul:", () => {
  for (const [name, run] of Object.entries(consulScenarios))
    test(name, async () => {
      await using world = await consulWorld();
      await run(world);
    });
});

describe("Kubernetes:", () => {
  for (const [name, run] of Object.entries(kubernetesScenarios))
    test(name, async () => {
      await using world = await kubernetesWorld();
      await run(world);
    });
});
