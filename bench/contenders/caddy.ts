/** Caddy: one thread of Go code at a time, a site for each host, a handler for each prefix. */
import { join } from "node:path";
import { h2cHost, hosts, idleConnections, prefixes, requestLines, responseLines, socketsHost } from "../site.ts";
import type { Contender, Place, Plan } from "./contender.ts";

export const caddy: Contender = {
  doc: `GOMAXPROCS=1, buffers as by default, ${idleConnections} idle connections to the origin for each route`,
  program: { name: "caddy", from: "Debian: caddy" },
  plan: planCaddy,
};

function planCaddy({ folder, port, originPort, echoPort, tls }: Place): Plan {
  const proxy = (name: string, server: string, versions = "") => `(${name}) {
	reverse_proxy ${server} {
		header_up X-Forwarded-Port ${port}
		header_up X-Real-IP {remote_host}
		header_up X-Request-Id {http.request.uuid}
${requestLines.map(([field, value]) => `\t\theader_up ${field} ${value}\n`).join("")}		transport http {
			compression off
			keepalive_idle_conns_per_host ${idleConnections}
${versions}		}
	}
}
`;
  // Not header_down, which leaves out the answer to an upgrade.
  const answers = responseLines.map(([field, value]) => `\theader ${field} ${value}\n`).join("");
  const handle = (prefix: string) => `	handle ${prefix}* {\n		import origin\n	}\n`;
  const [scheme, pair] = tls ? ["https", `	tls ${tls.certificate} ${tls.key}\n`] : ["http", ""];
  const site = (host: string, content: string) =>
    `${scheme}://${host}:${port} {\n	bind 127.0.0.1\n${pair}${answers}${content}}\n`;
  const sites = [
    ...hosts.map((host) => site(host, prefixes.map(handle).join(""))),
    site(socketsHost, "	import sockets\n"),
    ...(tls ? [site(h2cHost, "	import h2c\n")] : []),
  ];
  const h2c = tls ? proxy("h2c", `h2c://127.0.0.1:${tls.h2cPort}`, "\t\t\tversions h2c 2\n") : "";
  // Otherwise it also listens for HTTP/3, and says so in each answer.
  const protocols = tls ? "	servers {\n		protocols h1 h2\n	}\n" : "";
  const config = `{
	admin off
	auto_https off
	log {
		level ERROR
	}
${protocols}}
${proxy("origin", `127.0.0.1:${originPort}`)}${proxy("sockets", `127.0.0.1:${echoPort}`)}${h2c}${sites.join("")}`;
  // Go's runtime takes a thread for each core otherwise; state would be kept in the home folder.
  const variables = ["GOMAXPROCS=1", `XDG_DATA_HOME=${folder}`, `XDG_CONFIG_HOME=${folder}`];
  return {
    command: ["env", ...variables, "caddy", "run", "--adapter", "caddyfile", "--config", join(folder, "Caddyfile")],
    files: { Caddyfile: config },
  };
}
