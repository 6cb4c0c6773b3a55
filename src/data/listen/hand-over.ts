/** Hand-over: who gets the new connections of a port that a process and its successor share, and how to leave it without losing any. */
import {
  dropBeginnings,
  listeningSockets,
  steerTo,
  steerToAll,
  waitingConnections,
} from "../../lib/listening-sockets.ts";
import { handOverLookMs, handOverOverlapMs, handOverQueueWaitMs } from "../../lib/limits.ts";

/** A port and how many sockets of one program listen on it, in however many processes. */
export interface PortShare {
  readonly port: number;
  readonly sockets: number;
}

/** New connections of a port go to `count` of its sockets, from index `first` on in the order of their `listen()`; 0 = to all. */
export interface Steer {
  readonly port: number;
  readonly first: number;
  readonly count: number;
}

/** @returns how many sockets of this process listen on each of the ports */
export function sharesOf(ports: readonly number[]): PortShare[] {
  return ports.map((port) => ({ port, sockets: listeningSockets(port).length })).filter(({ sockets }) => sockets > 0);
}

/** Any process with a socket of the port can say it for all of them. */
export function steerHere({ port, first, count }: Steer): void {
  const [own] = listeningSockets(port);
  if (own === undefined) return;
  if (count > 0) steerTo(own, first, count);
  else steerToAll(own);
}

/**
 * New connections go elsewhere by now: waits until nobody waits to be accepted. A handshake of TCP that began with us also
 * ends with us, so it takes a moment, and then until the queues are empty; they always are soon, unless this process stands
 * still.
 */
export async function becomeQuiet(ports: readonly number[]): Promise<void> {
  const sockets = ports.flatMap(listeningSockets);
  await Bun.sleep(handOverOverlapMs);
  sockets.forEach(dropBeginnings);
  const untilMs = performance.now() + handOverQueueWaitMs;
  for (let quiet = 0; quiet < 3 && performance.now() < untilMs;) {
    await Bun.sleep(handOverLookMs);
    quiet = sockets.some((fd) => waitingConnections(fd) > 0) ? 0 : quiet + 1;
  }
}
