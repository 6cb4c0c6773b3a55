/** Aralez as it is shipped, one compiled program, and the original; both read the same upstreams.yaml. */
import { dirname, join } from "node:path";
import type { UserContender, UserPlace, UserPlan } from "./contender.ts";
import { idleConnections, routes, userHost } from "./site.ts";

export const userAralez: UserContender = {
  doc: "the compiled program (npm run build), threads: WORKERS, everything else as by default",
  plan: (place) => planAralez(place, ""),
};

export const userAralezBun: UserContender = {
  doc: "the same with listener_engine: bun, on both ports",
  plan: (place) => planAralez(place, "listener_engine: bun\n"),
};

export const userOriginal: UserContender = {
  doc: "the original, threads: WORKERS",
  program: {
    name: "aralez-original",
    from: "cargo install aralez --root DIR, then DIR/bin/aralez under this name in PATH",
  },
  plan(place) {
    const { folder, adminPort, workers } = place;
    // It wants an address for its API, and would put its files into /tmp.
    const settings = `threads: ${workers}
config_address: 127.0.0.1:${adminPort}
config_api_enabled: false
log_level: error
hc_method: HEAD
hc_interval: 5
pid_file: ${join(folder, "aralez.pid")}
error_log: ${join(folder, "error.log")}
upgrade_sock: ${join(folder, "upgrade.sock")}
`;
    return {
      command: ["aralez-original", "-c", join(folder, "main.yaml")],
      files: { "main.yaml": `${settings}${common(place)}`, "upstreams.yaml": upstreams(place) },
    };
  },
};

function planAralez(place: UserPlace, settings: string): UserPlan {
  const { folder, workers, binary } = place;
  const main = `threads: ${workers}
# A unix socket: the default port may be in use.
config_address: unix:${join(folder, "admin.sock")}
log_level: error
graceful_shutdown_timeout_seconds: 1
${settings}${common(place)}`;
  return {
    command: [binary, "-c", join(folder, "main.yaml")],
    files: { "main.yaml": main, "upstreams.yaml": upstreams(place) },
    processes: workers,
  };
}

function common({ folder, plainPort, tlsPort, certificate }: UserPlace): string {
  return `proxy_address_http: 127.0.0.1:${plainPort}
proxy_address_tls: 127.0.0.1:${tlsPort}
proxy_configs: ${dirname(certificate.folder)}
upstreams_conf: ${join(folder, "upstreams.yaml")}
upstream_keepalive_pool_size: ${idleConnections}
`;
}

function upstreams({ serverPorts }: UserPlace): string {
  const paths = routes.map(({ path, servers, responseLines }) => {
    const lines = responseLines.map(([name, value]) => `          - "${name}:${value}"\n`).join("");
    const addresses = serverPorts.slice(0, servers).map((port) => `          - "127.0.0.1:${port}"\n`);
    return `      "${path}":\n        client_headers:\n${lines}        servers:\n${addresses.join("")}`;
  });
  return `provider: file\nupstreams:\n  ${userHost}:\n    paths:\n${paths.join("")}`;
}
