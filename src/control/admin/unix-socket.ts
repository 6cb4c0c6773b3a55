/** Listening on a path: what a crashed process has left there goes, what somebody listens on stays. */
import { lstatSync, unlinkSync } from "node:fs";

/** Makes way for a socket at `path`. @throws Error with code EADDRINUSE when somebody listens there, or it is no socket */
export async function clearStaleSocket(path: string): Promise<void> {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (!stats) return;
  if (!stats.isSocket()) throw new Error("there is a file at this path that is no socket");
  if (await isAnswered(path)) throw Object.assign(new Error("somebody listens there"), { code: "EADDRINUSE" });
  // Whatever was put there meanwhile stays.
  if (lstatSync(path, { throwIfNoEntry: false })?.ino === stats.ino) unlinkSync(path);
}

/** Only the refusal of a connection says that nobody is there. */
async function isAnswered(unix: string): Promise<boolean> {
  try {
    const socket = await Bun.connect({ unix, socket: { data() {}, error() {}, connectError() {} } });
    socket.end();
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ECONNREFUSED";
  }
}

/** Runs `listen`, whose sockets nobody but this user may open. */
export function withPrivateFiles<T>(listen: () => T): T {
  const before = process.umask(0o177);
  try {
    return listen();
  } finally {
    process.umask(before);
  }
}
