/** Ports that change hands: who gets their new connections, and how a process leaves one without losing any. */
import {
  dropBeginnings,
  listeningSockets,
  steerTo,
  steerToAll,
  waitingConnections,
} from "../../lib/listening-sockets.ts";
import { handOverLookMs, handOverOverlapMs, handOverQueueWaitMs } from "../../lib/limits.ts";
import type { PortShare } from "./channel.ts";

/** @returns how many sockets of this process listen on each of the ports */
export function sharesOf(ports: readonly number[]): PortShare[] {
  return ports.map((port) => ({ port, sockets: listeningSockets(port).length })).filter(({ sockets }) => sockets > 0);
}

/** A successor opens its sockets: what comes stays here until it is ready. */
export function hold(ports: readonly number[]): void {
  for (const port of ports) {
    const own = listeningSockets(port);
    if (own.length > 0) steerTo(own[0]!, 0, own.length);
  }
}

/** The successor is ready: what comes is its, on the ports that it has too. */
export function give(ports: readonly number[], theirs: readonly PortShare[]): void {
  for (const port of ports) {
    const own = listeningSockets(port);
    const share = theirs.find((one) => one.port === port);
    // Sockets stand in the order of their listen(), so that theirs come after all of ours.
    if (own.length > 0 && share) steerTo(own[0]!, own.length, share.sockets);
  }
}

/** Nobody is to be preferred any more. */
export function release(ports: readonly number[]): void {
  for (const port of ports) {
    const [own] = listeningSockets(port);
    if (own !== undefined) steerToAll(own);
  }
}

/**
 * After {@link give}: waits until nobody waits to be accepted. A handshake of TCP that began with us also ends with us, so
 * it takes a moment, and then until the queues are empty; they always are soon, unless this process stands still.
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
