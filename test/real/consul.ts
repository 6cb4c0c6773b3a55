/** A real Consul: one server with access control, whose state survives a restart. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../cli/program.ts";
import type { FakeInstance } from "../support/consul.ts";
import type { ConsulWorld } from "../support/discovery-scenarios.ts";
import { until } from "../support/proxy.ts";
import { folderFor, RealProgram } from "./started.ts";

const token = crypto.randomUUID();

/** @param path of the program */
export async function realConsul(path: string): Promise<ConsulWorld> {
  const folder = folderFor("consul");
  const ports = { http: freePort(), dns: -1, grpc: -1, serf_lan: freePort(), serf_wan: -1, server: freePort() };
  mkdirSync(join(folder.path, "data"));
  const config = {
    server: true,
    bootstrap_expect: 1,
    bind_addr: "127.0.0.1",
    client_addr: "127.0.0.1",
    data_dir: join(folder.path, "data"),
    node_name: "agent",
    ports,
    // The name of 1.8; later releases understand it too, with a warning.
    acl: { enabled: true, default_policy: "deny", tokens: { master: token } },
    performance: { raft_multiplier: 1 },
  };
  writeFileSync(join(folder.path, "consul.json"), JSON.stringify(config));
  const program = new RealProgram(path, ["agent", `-config-file=${join(folder.path, "consul.json")}`]);
  const url = `http://127.0.0.1:${ports.http}`;
  const call = async (target: string, body: unknown): Promise<void> => {
    const headers = { "X-Consul-Token": token };
    // A server that has just started may have no leader for a moment.
    await until(async () => {
      const response = await fetch(url + target, { method: "PUT", headers, body: JSON.stringify(body) });
      const text = await response.text();
      if (response.status !== 200 && !/leader|not found/i.test(text))
        throw new Error(`${target}: ${response.status} ${text}`);
      return response.status === 200;
    }, target);
  };
  const ready = async () => {
    const response = await fetch(`${url}/v1/catalog/nodes`, { headers: { "X-Consul-Token": token } });
    return response.status === 200 && ((await response.json()) as unknown[]).length > 0;
  };
  await program.start(ready);
  const known = new Map<string, Set<string>>();
  return {
    rules: `servers: ["${url}"], token: ${token}`,
    denied: `servers: ["${url}"], token: ${crypto.randomUUID()}`,
    async set(service, instances = []) {
      for (const instance of instances) await call("/v1/catalog/register", registration(service, instance));
      const now = new Set(instances.map(({ id }) => id));
      for (const ServiceID of known.get(service) ?? [])
        if (!now.has(ServiceID)) await call("/v1/catalog/deregister", { Node: "outside", ServiceID });
      known.set(service, now);
    },
    stop: () => program.stop(),
    start: () => program.start(ready),
    async [Symbol.asyncDispose]() {
      await program.stop();
      folder[Symbol.dispose]();
    },
  };
}

function registration(service: string, { id, address, port, tags, status = "passing", weight = 1 }: FakeInstance) {
  return {
    Node: "outside",
    Address: "127.0.0.1",
    SkipNodeUpdate: false,
    Service: {
      ID: id,
      Service: service,
      Address: address,
      Port: port,
      Tags: tags,
      Weights: { Passing: weight, Warning: 1 },
    },
    Checks: [{ Node: "outside", CheckID: `service:${id}`, Name: id, ServiceID: id, Status: status }],
  };
}
