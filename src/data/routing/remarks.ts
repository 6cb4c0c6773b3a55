/** Remarks on rules that are well formed: sections without effect, credentials that cannot work. */
import { find, mapAt, type Entry, type MapNode, type Path } from "../../config/node.ts";
import type { Report } from "../../config/report.ts";
import type { Settings } from "../../config/settings.ts";
import type { AuthorizationRule } from "../guards/authorization/rules.ts";
import { providerNames, type HostRules, type Rules } from "./rules.ts";

/** RFC 7518 3.2 wants 32 bytes for HS256; the original's manual shows 16 and more. */
const jwtSecretBytesMin = 16;

/** The providers as far as they can be read; all of them while the value is wrong, so that nothing is judged by it. */
export function selectedProviders(root: MapNode): readonly string[] {
  const value = root.entries.get("provider")?.value;
  if (!value) return ["file"];
  const words = (value.kind === "list" ? value.items : [value]).map((item) =>
    item.kind === "scalar" ? String(item.value) : "",
  );
  return words.length > 0 && words.every((word) => (providerNames as readonly string[]).includes(word))
    ? words
    : providerNames;
}

/** Sections of providers that are not selected are checked, and have no effect. */
export function dropUnselected(rules: Rules): Rules {
  const { upstreams, consul, kubernetes, ...rest } = rules;
  const selected = rules.provider ?? ["file"];
  return {
    ...rest,
    ...(upstreams && selected.includes("file") && { upstreams }),
    ...(consul && selected.includes("consul") && { consul }),
    ...(kubernetes && selected.includes("kubernetes") && { kubernetes }),
  };
}

/** Remarks on the main file, before its values are checked. */
export function remarkRules(root: MapNode, providers: readonly string[], report: Report): void {
  const sections = { upstreams: "file", consul: "consul", kubernetes: "kubernetes" } as const;
  for (const [section, provider] of Object.entries(sections)) {
    const entry = root.entries.get(section);
    if (!entry || providers.includes(provider)) continue;
    const name = section === "upstreams" ? "the hosts of this file are" : `the section \`${section}\` is`;
    report.add(
      "note",
      "ignored",
      entry.at,
      [section],
      `${name} checked and ignored: \`provider\` is ${providers.join(", ")}`,
    );
  }
  if (providers.includes("file")) oppositeOrder(root, report);
}

/** `authorization: {type: none}` */
function isNone({ value }: Entry): boolean {
  const type = value.kind === "map" ? value.entries.get("type")?.value : undefined;
  return type?.kind === "scalar" && type.value === "none";
}

/** In the original the global `authorization` overrides a path's; a file may have relied on it. */
function oppositeOrder(root: MapNode, report: Report): void {
  const top = root.entries.get("authorization");
  if (!top || isNone(top)) return;
  for (const [name, { value: host }] of mapAt(root, "upstreams")?.entries ?? []) {
    for (const [key, { value: rules }] of mapAt(host, "paths")?.entries ?? []) {
      const own = rules.kind === "map" ? rules.entries.get("authorization") : undefined;
      if (!own) continue;
      const message =
        "this path's own `authorization` wins over the one at the top level; in the original it was the other way round";
      report.add("warning", "advice", own.at, ["upstreams", name, "paths", key, "authorization"], message, {
        once: "opposite order",
      });
    }
  }
}

/** A `jwt` rule needs a key that can verify something; a secret too short for that is taken out. */
export function inspectAuthorizations(
  rules: Pick<Rules, "authorization" | "upstreams" | "consul" | "kubernetes">,
  root: MapNode,
  settings: Settings,
  report: Report,
): void {
  const inspect = (holder: { authorization?: AuthorizationRule | undefined }, path: Path) => {
    if (holder.authorization?.type === "jwt") inspectJwt(holder.authorization, [...path, "authorization"]);
  };
  const inspectJwt = (rule: AuthorizationRule & { type: "jwt" }, path: Path) => {
    const { at } = find(root, path);
    const other = rule.public_key ?? rule.jwks ?? settings.master_key;
    const written = rule.data === undefined ? undefined : Buffer.byteLength(rule.data);
    const short = written !== undefined && written < jwtSecretBytesMin;
    if (short) {
      delete (rule as { data?: string }).data;
      const message = `expected a jwt secret of at least ${jwtSecretBytesMin} bytes, found ${written}: it is not used`;
      report.add("warning", "advice", find(root, [...path, "data"]).at, [...path, "data"], message, {
        once: "short jwt",
      });
    }
    if (rule.data === undefined && other === undefined) {
      report.error(
        "conflict",
        at,
        path,
        "no usable key: jwt needs `data`, `public_key`, `jwks`, or `master_key` in main.yaml",
        { once: "no jwt key" },
      );
    } else if (written === undefined && rule.public_key === undefined && rule.jwks === undefined) {
      report.add("warning", "slip", at, path, "jwt without `data`: tokens are verified by `master_key`", {
        once: "jwt without data",
      });
    }
    const shared = rule.public_key === undefined && rule.jwks === undefined;
    const bytes = settings.master_key === undefined ? Infinity : Buffer.byteLength(settings.master_key);
    if (shared && bytes < jwtSecretBytesMin) {
      const message = `tokens signed with \`master_key\` pass here, and its ${bytes} bytes could be found out by trying: give it at least ${jwtSecretBytesMin}`;
      report.add("warning", "advice", at, path, message, { once: "short master key" });
    }
  };
  inspect(rules, []);
  for (const [name, host] of Object.entries(rules.upstreams ?? {}) as [string, HostRules][]) {
    inspect(host, ["upstreams", name]);
    for (const [key, path] of Object.entries(host.paths)) inspect(path, ["upstreams", name, "paths", key]);
  }
  for (const section of ["consul", "kubernetes"] as const) {
    for (const [i, service] of (rules[section]?.services ?? []).entries()) inspect(service, [section, "services", i]);
  }
}

/** A host with `client_ca` needs a listener that can see a client's certificate. */
export function inspectClientAuthorities(
  hosts: Record<string, HostRules>,
  root: MapNode,
  settings: Settings,
  report: Report,
): void {
  if (settings.listener_engine !== "bun") return;
  for (const [name, host] of Object.entries(hosts)) {
    const path = ["upstreams", name, "client_ca"];
    const message =
      "client_ca needs the socket engine: Bun.serve does not show a client's certificate, so remove listener_engine: bun from main.yaml";
    if (host.client_ca !== undefined)
      report.error("conflict", find(root, path).at, path, message, { once: "client_ca" });
  }
}

/** Stickiness without `master_key`: its cookies are signed with a key that a restart forgets. */
export function isSticky(rules: Rules): boolean {
  if (rules.sticky_sessions) return true;
  const services = [...(rules.consul?.services ?? []), ...(rules.kubernetes?.services ?? [])];
  if (services.some((service) => service.sticky_sessions)) return true;
  return Object.values(rules.upstreams ?? {}).some(
    (host) => host.sticky_sessions || Object.values(host.paths).some((path) => path.sticky_sessions),
  );
}
