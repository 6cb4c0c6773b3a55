/** Caddy: one thread of Go code at a time, a site for each host, a handler for each prefix. */
import { join } from "node:path";
import { hosts, idleConnections, prefixes, requestLines, responseLines, socketsHost } from "../site.ts";
import type { Contender, Place, Plan } from "./contender.ts";

export const caddy: Contender = {
  doc: `GOMAXPROCS=1, buffers as by default, ${idleConnections} idle connections to the origin for each route`,
  program: { name: "caddy", package: "caddy" },
  plan: planCaddy,
};

function planCaddy({ folder, port, originPort, echoPort }: Place): Plan {
  const proxy = (name: string, server: number) => `(${name}) {
	reverse_proxy 127.0.0.1:${server} {
		header_up X-Forwarded-Port ${port}
		header_up X-Real-IP {remote_host}
		header_up X-Request-Id {http.request.uuid}
${requestLines.map(([field, value]) => `\t\theader_up ${field} ${value}\n`).join("")}		transport http {
			compression off
			keepalive_idle_conns_per_host ${idleConnections}
		}
	}
}
`;
  // Not header_down, which leaves out the answer to an upgrade.
  const answers = responseLines.map(([field, value]) => `\theader ${field} ${value}\n`).join("");
  const handle = (prefix: string) => `	handle ${prefix}* {\n		import origin\n	}\n`;
  const site = (host: string, content: string) => `http://${host}:${port} {\n	bind 127.0.0.1\n${answers}${content}}\n`;
  const config = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
}
${proxy("origin", originPort)}${proxy("sockets", echoPort)}${hosts.map((host) => site(host, prefixes.map(handle).join(""))).join("")}${site(socketsHost, "	import sockets\n")}`;
  // Go's runtime takes a thread for each core otherwise; state would be kept in the home folder.
  const variables = ["GOMAXPROCS=1", `XDG_DATA_HOME=${folder}`, `XDG_CONFIG_HOME=${folder}`];
  return {
    command: ["env", ...variables, "caddy", "run", "--adapter", "caddyfile", "--config", join(folder, "Caddyfile")],
    files: { Caddyfile: config },
  };
}
