/**
 * Load generator: a new connection for each request, `connections` at a time, in turn from 16 addresses of the loopback
 * network, so that no port is short while the ones before wait in TIME_WAIT. wrk can't choose its address.
 */
import { smallBody } from "../site.ts";
import { clientOptions, Tally } from "./client.ts";

const { port, seconds, connections, host, target } = clientOptions();
const sources = Array.from({ length: 16 }, (_, i) => `127.0.0.${i + 2}`);
const request = Buffer.from(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
const expectedStart = Buffer.from("HTTP/1.1 200 ");
const expectedEnd = Buffer.from(`\r\n\r\n${smallBody}`);
const tally = new Tally();
let next = 0;

/** One request, as the data of its socket. */
class Call {
  readonly beganMs = performance.now();
  received: Buffer | undefined;
  over = false;

  finish(why: string | undefined): void {
    if (this.over) return;
    this.over = true;
    if (why === undefined) tally.latencies.add(performance.now() - this.beganMs);
    else tally.fail(why);
    begin();
  }

  /** @returns what is wrong with the whole answer */
  verdict(): string | undefined {
    const { received } = this;
    if (!received) return "the connection was closed without an answer";
    const start = received.subarray(0, expectedStart.length);
    const end = received.subarray(-expectedEnd.length);
    return start.equals(expectedStart) && end.equals(expectedEnd) ? undefined : received.toString("latin1");
  }
}

const socket: Bun.SocketHandler<Call> = {
  open: (it) => void it.write(request),
  data(it, chunk) {
    const { received } = it.data;
    it.data.received = received ? Buffer.concat([received, chunk]) : (chunk as Buffer);
  },
  end(it) {
    it.end();
    it.data.finish(it.data.verdict());
  },
  close: (it, error) => it.data.finish(error ? error.message : it.data.verdict()),
  connectError: (it, error) => it.data.finish(error.message),
};

function begin(): void {
  const localAddress = sources[next++ % sources.length]!;
  // `localAddress` is node:net's word; Bun's types do not have it yet.
  const options = { hostname: "127.0.0.1", port, localAddress, allowHalfOpen: true, data: new Call(), socket };
  Bun.connect(options).catch(() => {}); // connectError has told already
}

for (let i = 0; i < connections; i++) begin();
setTimeout(() => tally.report(), seconds * 1000);
