/** Ends everything in its order: first what brings changes, then what serves, then the admin API, the log last. */
import type { Acme } from "./acme/acme.ts";
import type { Admin } from "./admin/admin.ts";
import type { CertificateStore } from "./certificates/store.ts";
import type { Fleet } from "./fleet.ts";
import type { Journal } from "./journal.ts";
import type { Reloader } from "./reload.ts";
import type { Watching } from "./watch.ts";

export interface ShutDownOptions {
  /** what is open then is cut */
  readonly deadlineMs: number;
  /** keeps accepting for so long */
  readonly graceMs: number;
  /** a successor serves already; told when it can have the addresses that cannot be shared */
  readonly left: (() => void) | undefined;
  readonly fleet: Fleet;
  readonly journal: Journal;
  readonly watching: Watching | undefined;
  readonly acme: Acme;
  readonly certificates: CertificateStore | undefined;
  readonly reloader: Reloader;
  readonly admin: Admin | undefined;
}

export async function shutDown(options: ShutDownOptions): Promise<void> {
  const { deadlineMs, graceMs, left, fleet, journal, watching, acme, certificates, reloader, admin } = options;
  if (graceMs > 0) await Bun.sleep(graceMs);
  // The successor waits for its addresses; without one, /ready says until the end that it is stopping.
  if (left) await admin?.close();
  journal.log.info("proxy", `stopping: ${fleet.listeners.reduce((sum, { open }) => sum + open, 0)} open`);
  watching?.stop();
  const acmeStopped = acme.stop();
  certificates?.stop();
  reloader.stop();
  await fleet.drain(deadlineMs, left);
  await acmeStopped;
  await admin?.close();
  journal.log.info("proxy", "stopped");
  journal.close();
}
