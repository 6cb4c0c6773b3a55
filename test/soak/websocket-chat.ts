/** Clients of the WebSocket soak: each keeps messages on their way to an echo and checks every byte that comes back. */

export const webSockets = 50;
const messageBytes = 16 * 1024;

/** One WebSocket that keeps some messages on their way, and compares every byte that comes back. */
class Chatter {
  /** messages that have come back */
  echoed = 0;
  /** the longest wait for one */
  longestMs = 0;
  fault = "";
  #progressMs = performance.now();
  #heard = 0;
  #head: string | undefined = "";
  #unsent: Buffer | undefined;
  #sent = 0;
  readonly #frame: Buffer;
  readonly #expected: Buffer;
  #socket: Bun.Socket | undefined;

  constructor(
    index: number,
    readonly inFlight: number,
  ) {
    // Of its own, so that a byte of another WebSocket would show.
    const payload = Buffer.from(Array.from({ length: messageBytes }, (_, at) => (at * 7 + index * 13) % 251));
    const head = [0x82, 126, messageBytes >> 8, messageBytes & 255];
    this.#expected = Buffer.concat([Buffer.from(head), payload]);
    head[1] = 0x80 | 126;
    // A masking key of zeros leaves the payload as it is.
    this.#frame = Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
  }

  async start(port: number, path: string): Promise<void> {
    this.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        open(socket) {
          socket.write(
            `GET ${path} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
          );
        },
        data: (_, chunk) => this.#take(chunk),
        drain: () => this.#send(),
        close: () => void (this.fault ||= "closed"),
      },
    });
  }

  end(): void {
    this.look();
    this.fault ||= "ended";
    this.#socket?.terminate();
  }

  /** Takes the wait under way into account. */
  look(): void {
    this.longestMs = Math.max(this.longestMs, performance.now() - this.#progressMs);
  }

  #take(chunk: Buffer): void {
    if (this.#head !== undefined) {
      this.#head += chunk.toString("latin1");
      const end = this.#head.indexOf("\r\n\r\n");
      if (end < 0) return;
      if (!this.#head.startsWith("HTTP/1.1 101 ")) this.fault ||= this.#head.slice(0, 100);
      this.#head = undefined;
      this.#progressMs = performance.now();
      return this.#send();
    }
    for (let at = 0; at < chunk.length;) {
      const from = this.#heard % this.#expected.length;
      const bytes = Math.min(chunk.length - at, this.#expected.length - from);
      if (chunk.compare(this.#expected, from, from + bytes, at, at + bytes) !== 0) this.fault ||= "wrong bytes";
      at += bytes;
      this.#heard += bytes;
      if (this.#heard % this.#expected.length === 0) this.#echo();
    }
    this.#send();
  }

  #echo(): void {
    this.look();
    this.#progressMs = performance.now();
    this.echoed++;
  }

  #send(): void {
    while (this.fault === "" && (this.#unsent || this.#sent - this.echoed < this.inFlight)) {
      if (!this.#unsent) this.#sent++;
      const bytes = this.#unsent ?? this.#frame;
      const taken = this.#socket!.write(bytes);
      if (taken < 0) return;
      this.#unsent = taken < bytes.length ? bytes.subarray(taken) : undefined;
      if (this.#unsent) return;
    }
  }
}

export interface Rate {
  perSecond: number;
  longestMs: number;
  /** messages of the WebSocket that got the fewest */
  fewest: number;
  faults: string[];
}

/** Runs all WebSockets at once. @param port of 127.0.0.1 */
export async function chat(port: number, inFlight: number, forSeconds: number, path = "/"): Promise<Rate> {
  const chatters = Array.from({ length: webSockets }, (_, index) => new Chatter(index, inFlight));
  const begunMs = performance.now();
  await Promise.all(chatters.map((chatter) => chatter.start(port, path)));
  await Bun.sleep(forSeconds * 1000);
  const faults = chatters.map(({ fault }) => fault).filter((fault) => fault !== "");
  for (const chatter of chatters) chatter.end();
  const echoed = chatters.map((chatter) => chatter.echoed);
  return {
    perSecond: (echoed.reduce((sum, n) => sum + n, 0) / (performance.now() - begunMs)) * 1000,
    longestMs: Math.max(...chatters.map(({ longestMs }) => longestMs)),
    fewest: Math.min(...echoed),
    faults,
  };
}
