/** The ports that workers share: chosen before they start, and refused when somebody else listens there. */
import type { Settings } from "../config/settings.ts";
import { StartError } from "../control/start-error.ts";
import { showListen, type ListenAddress } from "../lib/address.ts";
import { describe } from "../lib/cause.ts";

const keys = ["proxy_address_http", "proxy_address_tls", "file_server_address"] as const;

/**
 * With SO_REUSEPORT a second copy of the proxy would start silently and take its share of the connections; a listener that
 * does not share is refused where anybody listens already.
 * @returns the settings of those addresses, with a port where the system was to choose one
 * @throws StartError
 */
export function reservePorts(settings: Settings): Partial<Settings> {
  const reserved: Partial<Record<(typeof keys)[number], ListenAddress>> = {};
  for (const key of keys) {
    const address = settings[key];
    if (address) reserved[key] = reserve(address);
  }
  return reserved;
}

function reserve(address: ListenAddress): ListenAddress {
  if ("unix" in address)
    throw new StartError(
      `Cannot listen on ${showListen(address)}: workers cannot share a unix socket, which needs \`threads: 1\``,
    );
  const { hostname, port } = address;
  try {
    const listener = Bun.listen({ hostname, port, exclusive: true, socket: { data() {} } });
    listener.stop(true);
    return { hostname, port: listener.port };
  } catch (error) {
    throw new StartError(`Cannot listen on ${showListen(address)}: ${describe(error)}`);
  }
}
