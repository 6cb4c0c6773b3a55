/** HAProxy: one thread, routes by a prefix tree over host and path, the same header lines, one health check. */
import { join } from "node:path";
import { group, suite } from "../certificate.ts";
import { h2cHost, hosts, idleConnections, prefixes, requestLines, responseLines, socketsHost } from "../site.ts";
import type { Contender, Place, Plan, TlsPlace } from "./contender.ts";

export const haproxy: Contender = {
  doc: `one thread, buffers as by default, ${idleConnections} idle connections to the origin, one health check every 2 s`,
  program: { name: "haproxy", from: "Debian: haproxy" },
  plan: planHaproxy,
};

function planHaproxy({ folder, port, originPort, echoPort, tls }: Place): Plan {
  const set = (side: string, name: string, value: string) => `  http-${side} set-header ${name} ${value}\n`;
  const config = `global
  nbthread 1
  # Each takes two open files; 20,000 are common.
  maxconn 8192
${tls ? "  # The key lies beside the certificate.\n  ssl-load-extra-del-ext\n" : ""}defaults
  mode http
  backlog 4096
  http-reuse always
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout tunnel 1h
frontend site
  bind 127.0.0.1:${port}${tls ? spokenBy(tls) : ""}
${set("request", "X-Forwarded-For", "%[src]")}${set("request", "X-Forwarded-Proto", tls ? "https" : "http")}${set("request", "X-Forwarded-Host", "%[req.hdr(host)]")}${set("request", "X-Forwarded-Port", "%[dst_port]")}${set("request", "X-Real-IP", "%[src]")}${set("request", "X-Request-Id", "%[uuid()]")}${requestLines.map(([name, value]) => set("request", name, value)).join("")}${responseLines.map(([name, value]) => set("response", name, value)).join("")}  use_backend %[base,map_beg(${join(folder, "routes.map")})]
backend origin
  option httpchk HEAD /health
  server origin 127.0.0.1:${originPort} check pool-max-conn ${idleConnections}
backend sockets
  server echo 127.0.0.1:${echoPort}
${tls ? h2cBackend(tls) : ""}`;
  const routes = hosts.flatMap((host) => prefixes.map((prefix) => `${host}${prefix} origin\n`));
  if (tls) routes.push(`${h2cHost}/ h2c\n`);
  return {
    command: ["haproxy", "-db", "-q", "-f", join(folder, "haproxy.cfg")],
    files: { "haproxy.cfg": config, "routes.map": `${routes.join("")}${socketsHost}/ sockets\n` },
  };
}

function spokenBy({ certificate }: TlsPlace): string {
  return ` ssl crt ${certificate} alpn h2,http/1.1 ssl-min-ver TLSv1.2 ciphersuites ${suite} curves ${group}`;
}

function h2cBackend({ h2cPort }: TlsPlace): string {
  return `backend h2c
  server h2c 127.0.0.1:${h2cPort} proto h2 pool-max-conn ${idleConnections}
`;
}
