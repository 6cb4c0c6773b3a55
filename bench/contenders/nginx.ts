/** Nginx as the proxy: one worker, keep-alive to the origin, the same hosts, prefixes and header lines. */
import { join } from "node:path";
import {
  h2cHost,
  hosts,
  idleConnections,
  idleConnectionsLarge,
  prefixes,
  requestLines,
  responseLines,
  socketsHost,
} from "../site.ts";
import type { Contender, Place, Plan, TlsPlace } from "./contender.ts";

const program = { name: "nginx", from: "Debian: nginx-light" };

export const nginx: Contender = {
  doc: `one worker, buffers as by default, ${idleConnections} idle connections to the origin`,
  program,
  plan: (place) => planNginx(place, idleConnections, ""),
};

export const nginxLarge: Contender = {
  doc: `the same with proxy buffers of 8 × 128 KiB, requests passed on unbuffered, ${idleConnectionsLarge} idle connections`,
  program,
  plan: (place) => planNginx(place, idleConnectionsLarge, largeBuffers),
};

const largeBuffers = `  proxy_buffer_size 64k;
  proxy_buffers 8 128k;
  proxy_busy_buffers_size 256k;
  proxy_request_buffering off;
  client_body_buffer_size 256k;
`;

function planNginx({ folder, port, originPort, echoPort, tls }: Place, keepalive: number, buffers: string): Plan {
  const locations = prefixes.map((prefix) => `    location ${prefix} { proxy_pass http://origin; }\n`).join("");
  // Options of a socket may stand once only.
  const spoken = tls ? " ssl http2" : "";
  const listen = (i: number) => `listen 127.0.0.1:${port}${spoken}${i === 0 ? " backlog=4096" : ""};`;
  const servers = hosts.map((host, i) => `  server {\n    ${listen(i)}\n    server_name ${host};\n${locations}  }\n`);
  const config = `${nginxPreamble(folder)}
http {
${nginxFolders(folder)}  access_log off;
  tcp_nodelay on;
  server_names_hash_max_size 1024;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  client_max_body_size 0;
  upstream origin {
    server 127.0.0.1:${originPort};
    keepalive ${keepalive};
    keepalive_requests 1000000000;
  }
${tls ? tlsLines(tls, keepalive) : ""}  proxy_http_version 1.1;
  proxy_set_header Connection "";
${requestHeaders("  ")}${responseLines.map(([name, value]) => `  add_header ${name} "${value}" always;\n`).join("")}${buffers}${servers.join("")}  server {
    ${listen(1)}
    server_name ${socketsHost};
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $http_connection;
${requestHeaders("    ")}    location / { proxy_pass http://127.0.0.1:${echoPort}; }
  }
${tls ? h2cServer(listen(1)) : ""}}
`;
  return { command: nginxCommand(folder, join(folder, "nginx.conf")), files: { "nginx.conf": config } };
}

/** Of the versions, 1.22 would leave out TLS 1.3. */
function tlsLines({ certificate, key, h2cPort }: TlsPlace, keepalive: number): string {
  return `  upstream h2c {
    server 127.0.0.1:${h2cPort};
    keepalive ${keepalive};
    keepalive_requests 1000000000;
  }
  ssl_certificate ${certificate};
  ssl_certificate_key ${key};
  ssl_protocols TLSv1.2 TLSv1.3;
`;
}

/** nginx speaks HTTP/2 to upstreams by grpc_pass only, which takes any request. */
function h2cServer(listen: string): string {
  return `  server {
    ${listen}
    server_name ${h2cHost};
${requestHeaders("    ", "grpc_set_header")}    location / { grpc_pass grpc://h2c; }
  }
`;
}

/** A block with one such line inherits none. */
function requestHeaders(indent: string, directive = "proxy_set_header"): string {
  const lines = [
    ["Host", "$http_host"],
    ["X-Forwarded-For", "$remote_addr"],
    ["X-Forwarded-Proto", "$scheme"],
    ["X-Forwarded-Host", "$http_host"],
    ["X-Forwarded-Port", "$server_port"],
    ["X-Real-IP", "$remote_addr"],
    ["X-Request-Id", "$request_id"],
    ...requestLines.map(([name, value]) => [name, `"${value}"`]),
  ];
  return lines.map(([name, value]) => `${indent}${directive} ${name} ${value};\n`).join("");
}

/** Everything before `http { … }`: in the foreground, nothing written outside the folder. */
export function nginxPreamble(folder: string, workers = 1): string {
  // Otherwise the worker is another user than the one who owns the folder.
  const user = process.getuid?.() === 0 ? "user root;\n" : "";
  return `${user}daemon off;
worker_processes ${workers};
pid ${join(folder, "nginx.pid")};
error_log stderr error;
events { worker_connections 16384; }`;
}

/** For `http { … }`: Debian's nginx would put temporary files under /var/lib. */
export function nginxFolders(folder: string): string {
  const kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return kinds.map((kind) => `  ${kind}_temp_path ${join(folder, kind)};\n`).join("");
}

export function nginxCommand(folder: string, config: string): string[] {
  return ["nginx", "-e", "stderr", "-p", folder, "-c", config];
}
