/** Aralez, from this checkout or from another one, in a process of its own as a user runs it. */
import { join } from "node:path";
import { hosts, prefixes, requestLines, responseLines } from "../site.ts";
import type { Contender, Place, Plan } from "./contender.ts";

export const aralez: Contender = {
  doc: "this checkout (or --tree DIR), one process, logs off; no health checks, since nginx makes none",
  plan: (place) => planAralez(place, place.tree, withoutChecks),
};

export const aralezFetch: Contender = {
  doc: "the same on Bun's own engines: listener_engine bun, upstream_engine fetch",
  plan: (place) =>
    planAralez(place, place.tree, { ...withoutChecks, settings: "listener_engine: bun\nupstream_engine: fetch\n" }),
};

export const aralezChecks: Contender = {
  doc: "the same with health checks as by default: each route asks its server every 2 s, also while others are measured",
  plan: (place) => planAralez(place, place.tree, {}),
};

export const baseline: Contender = {
  doc: "the checkout of --baseline DIR, set up as aralez: for a before and after",
  plan(place) {
    if (place.baseline === undefined) throw new Error('The contender "baseline" needs --baseline DIR');
    return planAralez(place, place.baseline, withoutChecks);
  },
};

/** Further lines, each with its line end: what tells one contender of this kind from another. */
interface Lines {
  /** main.yaml */
  readonly settings?: string;
  /** top level of upstreams.yaml */
  readonly rules?: string;
}

const withoutChecks: Lines = { rules: "healthcheck: false\n" };

function planAralez({ folder, port, originPort }: Place, tree: string, { settings = "", rules = "" }: Lines): Plan {
  const main = `proxy_address_http: 127.0.0.1:${port}
upstreams_conf: upstreams.yaml
# A unix socket: the default port may be in use.
config_address: unix:${join(folder, "admin.sock")}
log_level: error
access_log: off
graceful_shutdown_timeout_seconds: 1
${settings}`;
  const lines = (name: string, list: typeof requestLines) =>
    `${name}:\n${list.map(([field, value]) => `  - "${field}: ${value}"\n`).join("")}`;
  const paths = prefixes.map((prefix) => `      "${prefix}": {servers: ["127.0.0.1:${originPort}"]}\n`).join("");
  const upstreams = `provider: file
${rules}${lines("server_headers", requestLines)}${lines("client_headers", responseLines)}upstreams:
${hosts.map((host) => `  ${host}:\n    paths:\n${paths}`).join("")}`;
  return {
    command: [process.execPath, "run", join(tree, "src/main.ts"), "-c", join(folder, "main.yaml")],
    files: { "main.yaml": main, "upstreams.yaml": upstreams },
    cwd: tree,
  };
}
