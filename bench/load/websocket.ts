/**
 * Load generator: WebSockets that send a message as soon as the one before came back. Frames are made once; their mask is
 * zero (RFC 6455 5.3 leaves the choice to the client), so the bytes are the same in both directions. Each message carries
 * its number, and what comes back must be that message in one frame.
 */
import { createHash } from "node:crypto";
import { responseLines } from "../site.ts";
import { clientOptions, Tally } from "./client.ts";

const { port, seconds, connections, host, target, messageBytes } = clientOptions();
const key = "dGhlIHNhbXBsZSBub25jZQ==";
const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
const request = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`;
const binary = 0x82;
const masked = 0x80;
/** RFC 6455 5.2: 126 announces a length of 16 bits. */
const lengthBytes = messageBytes < 126 ? [messageBytes] : [126, messageBytes >> 8, messageBytes & 0xff];
const answerHead = Buffer.from([binary, ...lengthBytes]);
const answerBytes = answerHead.length + messageBytes;
const openWaitMs = 10_000;

/** One WebSocket, as the data of its socket. */
class Client {
  readonly frame: Buffer;
  readonly numberAt: number;
  socket: Bun.Socket<Client> | undefined;
  head = "";
  open = false;
  number = 0;
  sentMs = 0;
  unsent = 0;
  /** bytes of the answer so far; `start` holds the first of them until header and number are complete */
  got = 0;
  readonly start = Buffer.alloc(answerHead.length + 4);

  constructor() {
    const mask = [0, 0, 0, 0];
    const header = [binary, masked | lengthBytes[0]!, ...lengthBytes.slice(1), ...mask];
    this.numberAt = header.length;
    this.frame = Buffer.concat([Buffer.from(header), Buffer.alloc(messageBytes, "x")]);
  }

  send(): void {
    this.number = (this.number + 1) >>> 0;
    this.frame.writeUInt32BE(this.number, this.numberAt);
    this.sentMs = performance.now();
    this.unsent = this.frame.length;
    this.flush();
  }

  flush(): void {
    const written = this.socket!.write(this.frame, this.frame.length - this.unsent, this.unsent);
    if (written > 0) this.unsent -= written;
  }

  data(chunk: Buffer): void {
    if (!this.open) return this.readHead(chunk);
    const { start, got } = this;
    if (got < start.length) chunk.copy(start, got, 0, start.length - got);
    this.got += chunk.length;
    if (this.got < answerBytes) return;
    const expected = start.readUInt32BE(answerHead.length) === this.number && start.indexOf(answerHead) === 0;
    if (this.got > answerBytes || !expected) return stop("a message came back changed");
    this.got = 0;
    stallMs = Math.max(stallMs, performance.now() - this.sentMs);
    tally!.latencies.add(performance.now() - this.sentMs);
    this.send();
  }

  readHead(chunk: Buffer): void {
    this.head += chunk.toString("latin1");
    const end = this.head.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.head.toLowerCase();
    const lines = [["sec-websocket-accept", accept] as const, ...responseLines];
    const absent = lines.find(([name, value]) => !head.includes(`\r\n${name}: ${value}\r\n`.toLowerCase()));
    if (!head.startsWith("http/1.1 101 ") || absent || end + 4 !== head.length)
      return stop(`${absent ? `no ${absent[0]}` : "no 101"} in the answer: ${this.head}`);
    this.open = true;
    if (--opening === 0) startAll();
  }
}

const socket: Bun.SocketHandler<Client> = {
  open(it) {
    it.data.socket = it;
    it.write(request);
  },
  data: (it, chunk) => it.data.data(chunk as Buffer),
  drain: (it) => void (it.data.unsent > 0 && it.data.flush()),
  close: () => stop("a connection was closed"),
  connectError: (_, error) => stop(error.message),
};

let opening = connections;
let tally: Tally | undefined;
let stallMs = 0;
const clients = Array.from({ length: connections }, () => new Client());

/** The clock begins when all are open. */
function startAll(): void {
  tally = new Tally();
  for (const client of clients) client.send();
  setTimeout(() => {
    for (const client of clients) stallMs = Math.max(stallMs, performance.now() - client.sentMs);
    tally!.report(stallMs);
  }, seconds * 1000);
}

function stop(why: string): never {
  process.stderr.write(`${why}\n`);
  process.exit(1);
}

for (const data of clients) Bun.connect({ hostname: "127.0.0.1", port, data, socket }).catch(() => {});
setTimeout(() => tally || stop(`${opening} connections were not open after ${openWaitMs / 1000} s`), openWaitMs);
