/** Opens a connection to an endpoint: every address of its name in turn, within one time. */
import { describe } from "../../lib/cause.ts";
import { names } from "../../lib/resolve.ts";
import { Failure } from "../failure.ts";
import type { Endpoint } from "../upstream/endpoint.ts";
import { dial, type DialedSocket, type SocketEvents, type UpstreamTls } from "../wire/dial.ts";

/**
 * @param connectMs for all addresses together, TLS included; 0 = no bound
 * @param signal gives it up
 * @throws Failure of the last address that was tried
 */
export async function connectTo(
  { address, name }: Endpoint,
  tls: UpstreamTls | undefined,
  connectMs: number,
  events: SocketEvents,
  signal?: AbortSignal,
): Promise<DialedSocket> {
  const options = { ...(tls && { tls }), ...(signal && { signal }), events };
  if ("unix" in address) return dial({ ...options, connect: address, connectMs });
  const deadlineMs = connectMs > 0 ? performance.now() + connectMs : Infinity;
  let addresses: readonly string[];
  try {
    addresses = await names.resolve(address.host);
  } catch (error) {
    throw new Failure("name_not_found", `${name}: ${describe(error)}`);
  }
  let last: Failure | undefined;
  for (const hostname of addresses) {
    const leftMs = deadlineMs === Infinity ? 0 : Math.max(1, deadlineMs - performance.now());
    try {
      return await dial({ ...options, connect: { hostname, port: address.port }, connectMs: leftMs });
    } catch (error) {
      last = error as Failure;
      if (last.code !== "connect_refused") break;
    }
  }
  throw last ?? new Failure("name_not_found", `${name}: the name has no address`);
}
