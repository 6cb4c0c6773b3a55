/** Instances of a service, as Consul's `/v1/health/service/NAME` tells them. */
import { isIP } from "node:net";
import type { ServerRule } from "../../../config/shape.ts";
import { isHostName, showAddress } from "../../../lib/address.ts";
import { discoveryMembersMax } from "../../../lib/limits.ts";
import { sortedServers } from "../source.ts";

export interface Instance {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** of an instance whose checks pass; 0 = it wants no requests */
  readonly weight: number;
  readonly passing: boolean;
  readonly tags: readonly string[];
}

/**
 * A service's own address comes before its node's. One that has no port or no address of ours is left out.
 * @throws Error when it is no list of instances: that would look like nobody being there
 */
export function readInstances(json: unknown): Instance[] {
  if (!Array.isArray(json)) throw new Error("expected a list of instances, found something else");
  return json.flatMap((entry) => readInstance(entry as Entry | null) ?? []).sort((a, b) => (a.id < b.id ? -1 : 1));
}

interface Entry {
  Node?: { Node?: unknown; Address?: unknown };
  Service?: { ID?: unknown; Address?: unknown; Port?: unknown; Tags?: unknown; Weights?: { Passing?: unknown } | null };
  Checks?: { Status?: unknown }[] | null;
}

function readInstance(entry: Entry | null): Instance | undefined {
  const { Node: node, Service: service, Checks: checks } = entry ?? {};
  const host = textOf(service?.Address) || textOf(node?.Address);
  const port = service?.Port;
  if (!service || typeof port !== "number") throw new Error("expected an instance of a service, found something else");
  if (!isHost(host) || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  const weight = service.Weights?.Passing;
  return {
    id: `${textOf(service.ID)} ${textOf(node?.Node)}`,
    host: host.toLowerCase(),
    port,
    weight: typeof weight === "number" && weight >= 0 ? weight : 1,
    passing: (Array.isArray(checks) ? checks : []).every((check) => check?.Status === "passing"),
    tags: (Array.isArray(service.Tags) ? service.Tags : []).filter(isOurs),
  };
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** Other tags are not kept. */
function isOurs(tag: unknown): tag is string {
  return typeof tag === "string" && tag.startsWith("aralez.");
}

function isHost(host: string): boolean {
  return isIP(host) !== 0 || isHostName(host);
}

const weightMax = 256;

/** The members that instances make: the passing ones, their weights brought into our range. */
export function serversOf(instances: readonly Instance[]): ServerRule[] {
  const usable = instances.filter(({ passing, weight }) => passing && weight > 0).slice(0, discoveryMembersMax);
  const most = Math.max(1, ...usable.map(({ weight }) => weight));
  const scale = most > weightMax ? weightMax / most : 1;
  const servers = usable.map(({ host, port, weight }): ServerRule => ({
    address: { host, port },
    weight: Math.max(1, Math.round(weight * scale)),
  }));
  return sortedServers(servers, ({ address }) => showAddress(address));
}
