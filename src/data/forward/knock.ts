/**
 * Knock: a bare connect that tells whether an endpoint can be reached, and how fast.
 *
 * fetch neither bounds its own connect (134 s) nor says when it is through, so an endpoint that has not been heard from
 * lately is knocked at first: a dead one is then a connect failure with nothing sent, which any method may repeat.
 */
import net from "node:net";
import { describe } from "../../lib/cause.ts";
import { descriptorsLeft } from "../../lib/descriptors.ts";
import { names } from "../../lib/resolve.ts";
import { Failure } from "../failure.ts";
import type { Endpoint } from "../upstream/endpoint.ts";

/**
 * Tries all addresses of the endpoint's name, one after another.
 * @param connectMs for all of them together; 0 = no bound of our own
 * @throws Failure connect_timeout, connect_refused or name_not_found
 */
export async function knock(endpoint: Endpoint, connectMs: number): Promise<void> {
  const { address, name } = endpoint;
  const deadlineMs = connectMs > 0 ? performance.now() + connectMs : Infinity;
  let last: Failure | undefined;
  for (const to of "unix" in address ? [{ path: address.unix }] : await addressesOf(address.host, address.port, name)) {
    last = await connectOnce(to, deadlineMs, name, connectMs);
    if (!last) {
      endpoint.heardMs = performance.now();
      return;
    }
    if (last.code === "connect_timeout") break;
  }
  throw last ?? new Failure("name_not_found", `${name}: the name has no address`);
}

async function addressesOf(host: string, port: number, name: string): Promise<net.NetConnectOpts[]> {
  try {
    return (await names.resolve(host)).map((ip) => ({ host: ip, port }));
  } catch (error) {
    throw new Failure("name_not_found", `${name}: ${describe(error)}`);
  }
}

/** @returns undefined when it connected */
function connectOnce(
  to: net.NetConnectOpts,
  deadlineMs: number,
  name: string,
  connectMs: number,
): Promise<Failure | undefined> {
  return new Promise((resolve) => {
    // BUN(1.4.4): a connect by Bun.connect cannot be given up and holds its descriptor for two minutes; remove when it can.
    const socket = net.connect(to);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const finish = (failure?: Failure) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(failure);
    };
    if (deadlineMs !== Infinity) {
      const failure = () =>
        finish(new Failure("connect_timeout", `${name}: no connection within ${connectMs / 1000} s`));
      timer = setTimeout(failure, Math.max(0, deadlineMs - performance.now()));
    }
    socket.once("connect", () => finish());
    socket.on("error", (error) =>
      finish(
        descriptorsLeft()
          ? new Failure("connect_refused", `${name}: ${describe(error)}`)
          : new Failure("upstream_busy", `${name}: too many open files`),
      ),
    );
  });
}
