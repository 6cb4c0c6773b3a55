/** Foreign programs the tests run against the proxy, and what Linux tells about a process. */
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { until } from "./proxy.ts";

/** Full versions of the long tests: `ARALEZ_LONG=1`. */
export const long = process.env.ARALEZ_LONG === "1";

/** Where Debian keeps them. */
const packages = {
  nginx: "nginx-light",
  wrk: "wrk",
  openssl: "openssl",
  node: "nodejs",
  chromium: "chromium",
  h2load: "nghttp2-client",
  nghttp: "nghttp2-client",
  nghttpd: "nghttp2-server",
  go: "golang-go",
  testssl: "testssl.sh",
  curl: "curl",
  buildah: "buildah",
  debootstrap: "debootstrap",
  "qemu-aarch64-static": "qemu-user-static",
  readelf: "binutils",
  unshare: "util-linux",
  nsenter: "util-linux",
  ip: "iproute2",
  chown: "coreutils",
  chroot: "coreutils",
  "apt-get": "apt",
  "dpkg-deb": "dpkg",
  pip: "python3-pip",
} as const;

export type ProgramName = keyof typeof packages;

/** @throws an error that names the Debian package: a missing program fails the test, since a skipped one would prove nothing */
export function pathOf(name: ProgramName): string {
  const found = Bun.which(name, { PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` });
  if (found) return found;
  throw new Error(
    `Cannot find the program "${name}": this test needs the Debian package ${packages[name]} (apt-get install ${packages[name]})`,
  );
}

/** A program that runs until it is disposed of. */
export class Program implements AsyncDisposable {
  readonly #child;
  readonly #collected: Promise<void[]>;
  output = "";

  /** @param env added to this process's environment */
  constructor(name: ProgramName, args: readonly string[], env: Record<string, string> = {}) {
    const child = Bun.spawn([pathOf(name), ...args], {
      cwd: tmpdir(),
      env: { ...process.env, ...env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    this.#child = child;
    this.#collected = Promise.all([this.#collect(child.stdout), this.#collect(child.stderr)]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** @returns the exit code, once it has ended and its output is whole */
  async end(): Promise<number> {
    await this.#collected;
    return this.#child.exited;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Waits for a fact about it. @throws when it ends first */
  until<T>(
    what: string,
    fact: () => T | undefined | false | Promise<T | undefined | false>,
    seconds?: number,
  ): Promise<T> {
    return until(
      async () => {
        const found = await fact();
        if ((found === undefined || found === false) && this.ended)
          throw new Error(`it ended before ${what}: ${this.output}`);
        return found;
      },
      what,
      seconds,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 5_000);
    await this.#child.exited;
    clearTimeout(timer);
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) this.output += decoder.decode(bytes, { stream: true });
  }
}

/** What one run of wrk found. */
export interface Load {
  readonly requests: number;
  readonly requestsPerSecond: number;
  /** failed to connect, read or write, or no answer in time */
  readonly socketErrors: number;
  /** answers outside 2xx and 3xx */
  readonly refusals: number;
  readonly output: string;
}

/** Reads wrk's report. @throws when it is none */
export function readLoad(output: string): Load {
  const total = /^\s*(\d+) requests in /m.exec(output);
  const rate = /^Requests\/sec:\s*([\d.]+)/m.exec(output);
  if (!total || !rate) throw new Error(`wrk gave no report: ${output}`);
  const socket = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output);
  return {
    requests: Number(total[1]),
    requestsPerSecond: Number(rate[1]),
    socketErrors: socket ? socket.slice(1).reduce((sum, n) => sum + Number(n), 0) : 0,
    refusals: Number(/Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0),
    output,
  };
}

/** @param connections kept alive, all busy at once */
export function startWrk(url: string, connections: number, seconds: number): Program {
  return new Program("wrk", [`-c${connections}`, "-t1", `-d${seconds}s`, "--timeout", "20s", url]);
}

/** A line of /proc/PID/status in bytes: `VmRSS` resident now, `VmHWM` its peak. */
export function memoryBytes(pid: number, line: "VmRSS" | "VmHWM"): number {
  const found = new RegExp(`^${line}:\\s+(\\d+) kB`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  if (!found) throw new Error(`Cannot read ${line} of process ${pid}: it has none`);
  return Number(found[1]) * 1024;
}

/** Open file descriptors of a process. */
export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
