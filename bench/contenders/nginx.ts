/** Nginx as the proxy: one worker, keep-alive to the origin, the same hosts, prefixes and header lines. */
import { join } from "node:path";
import { hosts, prefixes, requestLines, responseLines } from "../site.ts";
import type { Contender, Place, Plan } from "./contender.ts";

export const nginx: Contender = {
  doc: "one worker, proxy buffers as by default (8 × 4 KiB)",
  plan: (place) => planNginx(place, ""),
};

export const nginxLarge: Contender = {
  doc: "the same with proxy buffers of 8 × 128 KiB, for large bodies",
  plan: (place) =>
    planNginx(place, "  proxy_buffer_size 64k;\n  proxy_buffers 8 128k;\n  proxy_busy_buffers_size 256k;\n"),
};

function planNginx({ folder, port, originPort }: Place, buffers: string): Plan {
  const locations = prefixes.map((prefix) => `    location ${prefix} { proxy_pass http://origin; }\n`).join("");
  // Options of a socket may stand once only.
  const listen = (i: number) => `listen 127.0.0.1:${port}${i === 0 ? " backlog=4096" : ""};`;
  const servers = hosts.map((host, i) => `  server {\n    ${listen(i)}\n    server_name ${host};\n${locations}  }\n`);
  const config = `${nginxPreamble(folder)}
http {
${nginxFolders(folder)}  access_log off;
  tcp_nodelay on;
  server_names_hash_max_size 1024;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  upstream origin {
    server 127.0.0.1:${originPort};
    # As many as there are clients: none closes after an answer.
    keepalive 512;
    keepalive_requests 1000000000;
  }
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;
  proxy_set_header X-Forwarded-Port $server_port;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Request-Id $request_id;
${requestLines.map(([name, value]) => `  proxy_set_header ${name} "${value}";\n`).join("")}${responseLines.map(([name, value]) => `  add_header ${name} "${value}" always;\n`).join("")}${buffers}${servers.join("")}}
`;
  return { command: nginxCommand(folder, join(folder, "nginx.conf")), files: { "nginx.conf": config } };
}

/** Everything before `http { … }`: in the foreground, one worker, nothing written outside the folder. */
export function nginxPreamble(folder: string): string {
  // Otherwise the worker is another user than the one who owns the folder.
  const user = process.getuid?.() === 0 ? "user root;\n" : "";
  return `${user}daemon off;
worker_processes 1;
pid ${join(folder, "nginx.pid")};
error_log stderr error;
events { worker_connections 8192; }`;
}

/** For `http { … }`: Debian's nginx would put temporary files under /var/lib. */
export function nginxFolders(folder: string): string {
  const kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  return kinds.map((kind) => `  ${kind}_temp_path ${join(folder, kind)};\n`).join("");
}

export function nginxCommand(folder: string, config: string): string[] {
  return ["nginx", "-e", "stderr", "-p", folder, "-c", config];
}
