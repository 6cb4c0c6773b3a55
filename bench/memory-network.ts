/**
 * MemoryNetwork: `Bun.listen` and `Bun.connect` without a kernel. The proxy runs in it as it is; what it costs there is our
 * own code and the runtime's, without one system call.
 */

/** What the engines use of a socket; all bytes are taken at once. */
class MemorySocket {
  data: unknown = undefined;
  readonly remoteAddress = "127.0.0.1";

  /** @param sent hears how many bytes were written, and their first */
  constructor(readonly sent: (data: Uint8Array, offset: number, length: number) => void) {}

  write(data: Uint8Array | string, offset = 0, length?: number): number {
    const bytes = typeof data === "string" ? Buffer.from(data, "latin1") : data;
    const count = length ?? bytes.length - offset;
    this.sent(bytes, offset, count);
    return count;
  }

  flush(): void {}
  pause(): void {}
  resume(): void {}
  ref(): void {}
  unref(): void {}
  setNoDelay(): void {}
  timeout(): void {}
  end(): void {}
  shutdown(): void {}
  terminate(): void {}
}

type Handlers = Bun.SocketHandler<unknown>;

/** Turns after which the clock is looked at: hashes and signatures come from other threads, in their own time. */
const clientTurnsMax = 200;
const clientWaitMs = 20_000;

/** One client, which asks and waits by turns. */
export class MemoryClient {
  readonly #socket = new MemorySocket((data, offset, length) => {
    this.answered = Buffer.from(data.buffer, data.byteOffset + offset, length);
  });
  /** what was written since the last request; valid until the proxy goes on */
  answered: Buffer | undefined;

  constructor(
    readonly network: MemoryNetwork,
    readonly handlers: Handlers,
  ) {
    void handlers.open!(this.#socket as never);
  }

  /** @returns the answer's bytes. @throws Error when none comes */
  async ask(request: Buffer): Promise<Buffer> {
    this.answered = undefined;
    void this.handlers.data!(this.#socket as never, fresh(request));
    let untilMs = 0;
    for (let turn = 0; ; turn++) {
      this.network.deliver();
      if (this.answered) return this.answered;
      // Promises settle in microtasks; what waits for the loop's next turn is worth one now and then.
      if (turn % 20 === 19) await new Promise<void>((resolve) => setImmediate(resolve));
      else await undefined;
      if (turn < clientTurnsMax) continue;
      const nowMs = performance.now();
      untilMs ||= nowMs + clientWaitMs;
      if (nowMs > untilMs) throw new Error("the proxy in memory does not answer");
    }
  }
}

/** The kernel's buffers are copied into a fresh one for each event, which belongs to whoever gets it. */
function fresh(bytes: Buffer): Buffer<ArrayBuffer> {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

export class MemoryNetwork implements Disposable {
  readonly #listen = Bun.listen;
  readonly #connect = Bun.connect;
  readonly #listeners = new Map<number, Handlers>();
  readonly #asked: { socket: MemorySocket; handlers: Handlers }[] = [];

  /** @param originPort what is connected to it gets `answer` for every write: a request comes in one here */
  constructor(
    readonly originPort: number,
    readonly answer: Buffer,
  ) {
    Object.assign(Bun, {
      listen: (options: { port?: number; socket: Handlers }) => this.#listenAt(options),
      connect: (options: { port?: number; data: unknown; socket: Handlers }) => this.#connectTo(options),
    });
  }

  [Symbol.dispose](): void {
    Object.assign(Bun, { listen: this.#listen, connect: this.#connect });
  }

  client(port: number): MemoryClient {
    const handlers = this.#listeners.get(port);
    if (!handlers) throw new Error(`nothing listens on port ${port} of the network in memory`);
    return new MemoryClient(this, handlers);
  }

  /** The origin answers what it was asked. */
  deliver(): void {
    while (this.#asked.length > 0) {
      const { socket, handlers } = this.#asked.shift()!;
      void handlers.data!(socket as never, fresh(this.answer));
    }
  }

  #listenAt({ port = 0, socket }: { port?: number; socket: Handlers }) {
    this.#listeners.set(port, socket);
    return { port, hostname: "127.0.0.1", stop: () => void this.#listeners.delete(port), ref() {}, unref() {} };
  }

  #connectTo(options: { port?: number; data: unknown; socket: Handlers }): Promise<unknown> {
    if (options.port !== this.originPort) return this.#connect(options as never);
    const { socket: handlers } = options;
    const socket: MemorySocket = new MemorySocket(() => this.#asked.push({ socket, handlers }));
    socket.data = options.data;
    queueMicrotask(() => void handlers.open!(socket as never));
    return Promise.resolve(socket);
  }
}
