/** The contenders of the user's benchmark, in the order they are measured in: the same two routes for each. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { environment } from "../processes.ts";
import { nginxCommand, nginxFolders, nginxPreamble } from "../contenders/nginx.ts";
import { userAralez, userAralezBun, userOriginal } from "./aralez.ts";
import type { UserContender, UserPlace, UserPlan } from "./contender.ts";
import { idleConnections, routes, userHost, type UserRoute } from "./site.ts";

const nginx: UserContender = {
  doc: `WORKERS workers, ${idleConnections} idle connections to each group of servers`,
  program: { name: "nginx", from: "Debian: nginx-light" },
  plan({ folder, plainPort, tlsPort, serverPorts, certificate, workers }) {
    const upstream = ({ servers }: UserRoute) => `  upstream group${servers} {
${serverPorts
  .slice(0, servers)
  .map((port) => `    server 127.0.0.1:${port};\n`)
  .join("")}    keepalive ${idleConnections};
    keepalive_requests 1000000000;
  }
`;
    const location = ({ path, servers, responseLines }: UserRoute) => `    location ${path} {
${responseLines.map(([name, value]) => `      add_header ${name} "${value}" always;\n`).join("")}      proxy_pass http://group${servers};
    }
`;
    // As Aralez does: each worker accepts for itself.
    const options = `${workers > 1 ? " reuseport" : ""} backlog=4096`;
    const config = `${nginxPreamble(folder, workers)}
http {
${nginxFolders(folder)}  access_log off;
  tcp_nodelay on;
  keepalive_requests 1000000000;
${routes.map(upstream).join("")}  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  server {
    listen 127.0.0.1:${plainPort}${options};
    listen 127.0.0.1:${tlsPort} ssl http2${options};
    server_name ${userHost};
    ssl_certificate ${certificate.certificate};
    ssl_certificate_key ${certificate.key};
    ssl_protocols TLSv1.2 TLSv1.3;
${routes.map(location).join("")}  }
}
`;
    return { command: nginxCommand(folder, join(folder, "nginx.conf")), files: { "nginx.conf": config } };
  },
};

const haproxy: UserContender = {
  doc: `WORKERS threads, ${idleConnections} idle connections to each server, one health check of each every 2 s`,
  program: { name: "haproxy", from: "Debian: haproxy" },
  plan({ folder, plainPort, tlsPort, serverPorts, certificate, workers }) {
    const backend = ({ servers, responseLines }: UserRoute) => `backend group${servers}
  balance roundrobin
${responseLines.map(([name, value]) => `  http-response set-header ${name} ${value}\n`).join("")}${serverPorts
      .slice(0, servers)
      .map((port, i) => `  server s${i} 127.0.0.1:${port} check pool-max-conn ${idleConnections}\n`)
      .join("")}`;
    const [root, ping] = routes as [UserRoute, UserRoute];
    const config = `global
  nbthread ${workers}
  maxconn 8192
  # The key lies beside the certificate.
  ssl-load-extra-del-ext
defaults
  mode http
  backlog 4096
  http-reuse always
  timeout connect 5s
  timeout client 75s
  timeout server 60s
frontend site
  bind 127.0.0.1:${plainPort}
  bind 127.0.0.1:${tlsPort} ssl crt ${certificate.certificate} alpn h2,http/1.1 ssl-min-ver TLSv1.2
  http-request set-header X-Forwarded-For %[src]
  use_backend group${ping.servers} if { path ${ping.path} } or { path_beg ${ping.path}/ }
  default_backend group${root.servers}
${routes.map(backend).join("")}`;
    return {
      command: ["haproxy", "-db", "-q", "-f", join(folder, "haproxy.cfg")],
      files: { "haproxy.cfg": config },
    };
  },
};

const caddy: UserContender = {
  doc: `GOMAXPROCS=WORKERS, ${idleConnections} idle connections to each server, servers in turn`,
  program: { name: "caddy", from: "Debian: caddy" },
  plan({ folder, plainPort, tlsPort, serverPorts, certificate, workers }) {
    const handle = ({ path, servers, responseLines }: UserRoute) => `	handle ${path}* {
${responseLines.map(([name, value]) => `		header ${name} ${value}\n`).join("")}		reverse_proxy ${serverPorts
      .slice(0, servers)
      .map((port) => `127.0.0.1:${port}`)
      .join(" ")} {
			lb_policy round_robin
			transport http {
				compression off
				keepalive_idle_conns_per_host ${idleConnections}
			}
		}
	}
`;
    const handles = routes.map(handle).join("");
    const { certificate: file, key } = certificate;
    const config = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
	servers {
		protocols h1 h2
	}
}
http://${userHost}:${plainPort} {
	bind 127.0.0.1
${handles}}
https://${userHost}:${tlsPort} {
	bind 127.0.0.1
	tls ${file} ${key}
${handles}}
`;
    // State would be kept in the home folder.
    const variables = [`GOMAXPROCS=${workers}`, `XDG_DATA_HOME=${folder}`, `XDG_CONFIG_HOME=${folder}`];
    return {
      command: ["env", ...variables, "caddy", "run", "--adapter", "caddyfile", "--config", join(folder, "Caddyfile")],
      files: { Caddyfile: config },
    };
  },
};

const traefik: UserContender = {
  doc: `GOMAXPROCS=WORKERS, ${idleConnections} idle connections to each server`,
  program: { name: "traefik", from: "built from its source: go build ./cmd/traefik" },
  plan: planTraefik,
};

function planTraefik({ folder, plainPort, tlsPort, serverPorts, certificate, workers }: UserPlace): UserPlan {
  const router = ({ path, servers }: UserRoute, tls: boolean) => `    group${servers}${tls ? "-tls" : ""}:
      entryPoints: [${tls ? "tls" : "plain"}]
      rule: "Host(\`${userHost}\`) && PathPrefix(\`${path}\`)"
      service: group${servers}
      middlewares: [group${servers}]
${tls ? "      tls: {}\n" : ""}`;
  const service = ({ servers }: UserRoute) => `    group${servers}:
      loadBalancer:
        serversTransport: kept
        servers:
${serverPorts
  .slice(0, servers)
  .map((port) => `          - url: "http://127.0.0.1:${port}"\n`)
  .join("")}`;
  const middleware = ({ servers, responseLines }: UserRoute) => `    group${servers}:
      headers:
        customResponseHeaders:
${responseLines.map(([name, value]) => `          ${name}: "${value}"\n`).join("")}`;
  const settings = `global:
  checkNewVersion: false
  sendAnonymousUsage: false
log:
  level: ERROR
entryPoints:
  plain:
    address: "127.0.0.1:${plainPort}"
  tls:
    address: "127.0.0.1:${tlsPort}"
providers:
  file:
    filename: ${join(folder, "dynamic.yaml")}
    watch: false
`;
  const rules = `http:
  routers:
${routes.map((route) => router(route, false) + router(route, true)).join("")}  services:
${routes.map(service).join("")}  middlewares:
${routes.map(middleware).join("")}  serversTransports:
    kept:
      maxIdleConnsPerHost: ${idleConnections}
tls:
  certificates:
    - certFile: ${certificate.certificate}
      keyFile: ${certificate.key}
`;
  return {
    command: ["env", `GOMAXPROCS=${workers}`, "traefik", `--configFile=${join(folder, "traefik.yaml")}`],
    files: { "traefik.yaml": settings, "dynamic.yaml": rules },
  };
}

export const userContenders = {
  aralez: userAralez,
  "aralez-bun": userAralezBun,
  nginx,
  haproxy,
  caddy,
  traefik,
  original: userOriginal,
} satisfies Record<string, UserContender>;

export type UserContenderName = keyof typeof userContenders;

export function isUserContender(name: string): name is UserContenderName {
  return Object.hasOwn(userContenders, name);
}

/** What is missing on this machine to run it. @returns undefined when nothing is */
export function missingUserProgram(name: UserContenderName, binary: string): string | undefined {
  const { program }: UserContender = userContenders[name];
  if (!program) return existsSync(binary) ? undefined : `${binary} (npm run build)`;
  return Bun.which(program.name, environment()) ? undefined : `${program.name} (${program.from})`;
}
