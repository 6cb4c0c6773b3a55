/**
 * Steering: which of several listening sockets of one port gets new connections (SO_REUSEPORT, socket(7)). Without it the
 * kernel spreads them over all, and resets those that wait in the queue of one that closes.
 */
import { dropBeginnings, listeningSockets, steerTo, steerToAll } from "../../lib/listening-sockets.ts";

export interface Steering {
  /** All new connections go to the listener that was opened last. */
  toNewest(): void;
  /** The kernel spreads them again, over what listeners there are. */
  end(): void;
}

/**
 * @param port of this process's own listeners
 * @param shared other processes listen on it too: whose sockets come in between is not known here, so the old ones turn
 *   beginnings of connections away instead, and their clients come again to another socket after a second
 * @returns undefined where the system does not offer it: then a change of listeners may reset a few connections
 */
export function steerNewConnections(port: number, shared = false): Steering | undefined {
  const before = listeningSockets(port);
  if (before.length === 0) return undefined;
  let attached: number | undefined;
  return {
    toNewest() {
      if (shared) return before.forEach(dropBeginnings);
      // Sockets stand in the order of their listen(); the newest is the last.
      const [newest] = listeningSockets(port).filter((fd) => !before.includes(fd));
      if (newest === undefined || !steerTo(newest, before.length, 1)) return;
      attached = newest;
    },
    end() {
      if (attached !== undefined) steerToAll(attached);
    },
  };
}
