/** What systemd would hear: a datagram socket with a path or an abstract name, which node:dgram cannot open. */
import { dlopen, ptr } from "bun:ffi";
import { libc } from "../../src/lib/libc.ts";
import { until } from "./proxy.ts";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;

const { symbols } = dlopen("libc.so.6", { recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" } });

export class NotifySocket implements Disposable {
  readonly #fd: number;
  readonly #timer: Timer;
  /** one entry for each datagram */
  readonly heard: string[] = [];

  /** @param name a path, or "@" and an abstract name */
  constructor(readonly name: string) {
    const path = Buffer.from(name, "utf8");
    if (name.startsWith("@")) path[0] = 0;
    const address = Buffer.concat([Buffer.from([AF_UNIX, 0]), path, Buffer.alloc(name.startsWith("@") ? 0 : 1)]);
    this.#fd = libc()!.socket(AF_UNIX, SOCK_DGRAM, 0);
    if (libc()!.bind(this.#fd, ptr(address), address.length) !== 0) throw new Error(`Cannot bind "${name}"`);
    this.#timer = setInterval(() => this.#read(), 5);
  }

  /** Waits for a datagram with such a line. */
  line(pattern: RegExp): Promise<string> {
    return until(
      () => this.heard.flatMap((text) => text.split("\n")).find((line) => pattern.test(line)),
      `a notification like ${pattern}, among ${JSON.stringify(this.heard)}`,
    );
  }

  #read(): void {
    const buffer = Buffer.alloc(4096);
    for (;;) {
      const length = Number(symbols.recv(this.#fd, ptr(buffer), buffer.length, MSG_DONTWAIT));
      if (length < 0) return;
      this.heard.push(buffer.toString("utf8", 0, length));
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    libc()!.close(this.#fd);
  }
}
