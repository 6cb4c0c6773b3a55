/** Aralez, from this checkout or from another one, in a process of its own as a user runs it. */
import { join } from "node:path";
import { h2cHost, hosts, idleConnections, prefixes, requestLines, responseLines, socketsHost } from "../site.ts";
import type { Contender, Place, Plan, TlsPlace } from "./contender.ts";

export const aralez: Contender = {
  doc: "this checkout (or --tree DIR), one process, logs off, one health check every 2 s",
  plan: (place) => planAralez(place, place.tree, usualLines(place)),
};

export const aralezFetch: Contender = {
  doc: "the same on Bun's own engines: listener_engine bun, upstream_engine fetch",
  plan: (place) =>
    planAralez(place, place.tree, { ...oneCheck, settings: "listener_engine: bun\nupstream_engine: fetch\n" }),
};

export const aralezBun: Contender = {
  doc: "the same with Bun.serve for clients only: listener_engine bun",
  plan: (place) => planAralez(place, place.tree, { ...oneCheck, settings: "listener_engine: bun\n" }),
};

export const aralezChecks: Contender = {
  doc: "the same with health checks as by default: each route asks its server every 2 s, also while others are measured",
  plan: (place) => planAralez(place, place.tree, {}),
};

export const baseline: Contender = {
  doc: "the checkout of --baseline DIR, set up as aralez: for a before and after",
  plan(place) {
    if (place.baseline === undefined) throw new Error('The contender "baseline" needs --baseline DIR');
    return planAralez(place, place.baseline, usualLines(place));
  },
};

/** Further lines, each with its line end: what tells one contender of this kind from another. */
export interface Lines {
  /** main.yaml */
  readonly settings?: string;
  /** top level of upstreams.yaml */
  readonly rules?: string;
  /** access_log; default off */
  readonly accessLog?: string;
  /** each path, beside `servers`: `strip_prefix: true` */
  readonly path?: string;
}

/** All routes ask for the same, so that their one server is asked once for all of them. */
export const oneCheckRule = "healthcheck: { method: HEAD, path: /health, host: origin.bench.test }\n";
/** … and by one name: it belongs to a check too, and is each host's own otherwise. For each path. */
export const oneCheckName = "server_name: origin.bench.test";
const oneCheck: Lines = { rules: oneCheckRule, path: oneCheckName };

/** On the TLS port `auto` may be the other engine. */
function usualLines({ tls }: Place): Lines {
  return tls ? { ...oneCheck, settings: "listener_engine: socket\n" } : oneCheck;
}

export function planAralez(place: Place, tree: string, lines: Lines): Plan {
  const { folder, port, originPort, echoPort, tls } = place;
  const { settings = "", rules = "", accessLog = "off", path = "" } = lines;
  const main = `${tls ? tlsAddresses(port, tls) : `proxy_address_http: 127.0.0.1:${port}\n`}upstreams_conf: upstreams.yaml
# A unix socket: the default port may be in use.
config_address: unix:${join(folder, "admin.sock")}
log_level: error
access_log: ${accessLog}
upstream_keepalive_pool_size: ${idleConnections}
graceful_shutdown_timeout_seconds: 1
${settings}`;
  const headers = (name: string, list: typeof requestLines) =>
    `${name}:\n${list.map(([field, value]) => `  - "${field}: ${value}"\n`).join("")}`;
  const more = path && `, ${path}`;
  const route = (key: string) => `      "${key}": { servers: ["127.0.0.1:${originPort}"]${more} }\n`;
  const paths = prefixes.map(route).join("");
  const upstreams = `provider: file
${rules}${headers("server_headers", requestLines)}${headers("client_headers", responseLines)}upstreams:
${hosts.map((host) => `  ${host}:\n    paths:\n${paths}`).join("")}  ${socketsHost}:
    paths:
      "/": { servers: ["127.0.0.1:${echoPort}"], healthcheck: false }
${tls ? h2cUpstream(tls) : ""}`;
  return {
    command: [process.execPath, "run", join(tree, "src/main.ts"), "-c", join(folder, "main.yaml")],
    files: { "main.yaml": main, "upstreams.yaml": upstreams },
    cwd: tree,
  };
}

function tlsAddresses(port: number, { folder, plainPort }: TlsPlace): string {
  return `proxy_address_http: 127.0.0.1:${plainPort}
proxy_address_tls: 127.0.0.1:${port}
proxy_configs: ${folder}
`;
}

function h2cUpstream({ h2cPort }: TlsPlace): string {
  return `  ${h2cHost}:
    paths:
      "/": { servers: ["h2c://127.0.0.1:${h2cPort}"], healthcheck: false }
`;
}
