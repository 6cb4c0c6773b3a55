/** Claims: which hosts may be claimed by those who may register a service or create an Ingress (the key `hosts`). */
import { canonicalHost } from "../../data/routing/names.ts";
import { quoted } from "./quoted.ts";

/**
 * @param written hosts and patterns: `*.x` stands for every name below x, and every wildcard there; undefined = all hosts
 * @returns whether a host, canonical, may be claimed
 */
export function claimsOf(written: readonly string[] | undefined): (host: string) => boolean {
  if (written === undefined) return () => true;
  const hosts = new Set(written.map(canonicalHost));
  const below = [...hosts].filter((host) => host.startsWith("*.")).map((host) => host.slice(1));
  return (host) =>
    hosts.has(host) || below.some((suffix) => host.replace(/^\*/, "x").endsWith(suffix) && host !== `*${suffix}`);
}

export function notOfHosts(host: string): string {
  return `host ${quoted(host)} is none of \`hosts\`: it is no route`;
}
