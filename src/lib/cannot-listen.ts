/** Why an address cannot be listened on, and what to do about it. */
import { showListen, type ListenAddress } from "./address.ts";
import { describe } from "./cause.ts";
import { showPortOwner } from "./port-owner.ts";

/**
 * @param key of main.yaml, where several could be meant
 * @returns "Cannot listen on …", ready to print: for a port that is taken with its owner, for a right that is missing with the
 * ways out
 */
export function cannotListen(address: ListenAddress, error: unknown, what = "listen", key = ""): string {
  const { code } = error as NodeJS.ErrnoException;
  const text = `Cannot ${what} on ${showListen(address)}${key && ` (${key})`}: ${describe(error)}`;
  if ("unix" in address) return text;
  if (code === "EADDRINUSE") {
    const owner = showPortOwner(address.hostname, address.port);
    return owner === "" ? text : `${text} by ${owner}`;
  }
  if (code !== "EACCES" || address.port >= 1024) return text;
  return (
    `${text}: ports below 1024 need a right. Three ways out: AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd ` +
    `unit (config/aralez.service has it); start as root with runuser and rungroup; or a port from 1024 up`
  );
}

/**
 * Listeners of one program may share a port, so that a successor can join them (SO_REUSEPORT). A second copy that is none
 * would join as silently, and take its part of the connections: it is found out by a listener that shares nothing.
 * @throws the error of Bun.listen, EADDRINUSE when somebody is there
 */
export function refuseSecondCopy(address: ListenAddress): void {
  if ("unix" in address || address.port === 0) return;
  Bun.listen({ ...address, exclusive: true, socket: { data() {} } }).stop(true);
}
