/** The ports that workers share: chosen before they start, and refused when somebody else listens there. */
import type { Settings } from "../config/settings.ts";
import type { Predecessor } from "../control/fleet.ts";
import { StartError } from "../control/start-error.ts";
import { showListen, type ListenAddress } from "../lib/address.ts";
import { cannotListen } from "../lib/cannot-listen.ts";

const keys = ["proxy_address_http", "proxy_address_tls", "file_server_address"] as const;

/**
 * With SO_REUSEPORT a second copy of the proxy would start silently and take its share of the connections; a listener that
 * does not share is refused where anybody listens already.
 * @param predecessor on whose ports the workers may listen beside it
 * @returns the settings of those addresses, with a port where the system was to choose one
 * @throws StartError
 */
export function reservePorts(settings: Settings, predecessor: Predecessor | undefined): Partial<Settings> {
  const reserved: Partial<Record<(typeof keys)[number], ListenAddress>> = {};
  const probes: Bun.TCPSocketListener[] = [];
  try {
    for (const key of keys) {
      const address = settings[key];
      if (!address) continue;
      // All are kept until the last one is there: two of ours on one port would be the same mistake.
      if ("unix" in address) throw new StartError(cannotShare(address));
      if (predecessor?.ports.has(address.port)) continue;
      const probe = listenAlone(address);
      probes.push(probe);
      reserved[key] = { hostname: address.hostname, port: probe.port };
    }
  } finally {
    for (const probe of probes) probe.stop(true);
  }
  return reserved;
}

function cannotShare(address: ListenAddress): string {
  return `Cannot listen on ${showListen(address)}: workers cannot share a unix socket, which needs \`threads: 1\``;
}

function listenAlone(address: Exclude<ListenAddress, { unix: string }>): Bun.TCPSocketListener {
  try {
    return Bun.listen({ hostname: address.hostname, port: address.port, exclusive: true, socket: { data() {} } });
  } catch (error) {
    throw new StartError(cannotListen(address, error));
  }
}
