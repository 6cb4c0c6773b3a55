/** What systemd is told (sd_notify(3)): ready, reloading, stopping, who the main process is, and that we are alive. */
import { ptr } from "bun:ffi";
import { libc, monotonicMicros } from "../lib/libc.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;

/** Where the manager listens and how often it wants to hear from us; a successor is given it too. */
export interface Manager {
  /** a path, or "@" and an abstract name */
  readonly socket: string;
  /** 0 = no watchdog */
  readonly watchdogMicros: number;
}

/**
 * Takes the manager out of the environment, so that no process started from here speaks in our name.
 * @returns undefined when we were not started by one
 */
export function takeManager(env: Record<string, string | undefined>): Manager | undefined {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC, WATCHDOG_PID } = env;
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) delete env[name];
  if (socket === undefined || !/^[/@]./.test(socket)) return undefined;
  const isOurs = WATCHDOG_PID === undefined || Number(WATCHDOG_PID) === process.pid;
  const micros = Number(WATCHDOG_USEC);
  return { socket, watchdogMicros: isOurs && Number.isSafeInteger(micros) && micros > 0 ? micros : 0 };
}

export class Notifier {
  #watchdog: NodeJS.Timeout | undefined;

  /** @param manager undefined = there is nobody to tell */
  constructor(readonly manager: Manager | undefined) {}

  /** @param status one line for `systemctl status` */
  ready(status: string): void {
    this.#send(`READY=1\nSTATUS=${oneLine(status)}`);
    const micros = this.manager?.watchdogMicros ?? 0;
    if (micros === 0 || this.#watchdog) return;
    // By the event loop itself: one that stands still is what the watchdog is for.
    this.#watchdog = setInterval(() => this.#send("WATCHDOG=1"), micros / 2_000).unref();
    this.#send("WATCHDOG=1");
  }

  /** To be followed by {@link ready}. */
  reloading(): void {
    const micros = monotonicMicros();
    this.#send(`RELOADING=1${micros === undefined ? "" : `\nMONOTONIC_USEC=${micros}`}\nSTATUS=Reloading`);
  }

  stopping(): void {
    this.#send("STOPPING=1\nSTATUS=Finishing open requests");
  }

  /** From now on another process is the service. */
  handOver(pid: number): void {
    clearInterval(this.#watchdog);
    this.#send(`MAINPID=${pid}`);
  }

  /** Without the manager listening there is nothing to be done, so nothing is reported. */
  #send(text: string): void {
    const library = libc();
    if (!this.manager || !library) return;
    const name = Buffer.from(this.manager.socket, "utf8");
    const address = Buffer.alloc(2 + name.length + 1);
    address.writeUInt16LE(AF_UNIX, 0);
    name.copy(address, 2);
    const isAbstract = this.manager.socket.startsWith("@");
    if (isAbstract) address[2] = 0;
    const fd = library.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    const message = Buffer.from(text, "utf8");
    const length = isAbstract ? address.length - 1 : address.length;
    library.sendto(fd, ptr(message), message.length, MSG_NOSIGNAL | MSG_DONTWAIT, ptr(address), length);
    library.close(fd);
  }
}

function oneLine(text: string): string {
  return text.replace(/[\x00-\x1f\x7f]+/g, " ");
}
