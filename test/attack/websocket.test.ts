/** Clients that abuse WebSocket upgrades. */
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import net, { type AddressInfo, type Socket } from "node:net";
import { memoryBytes } from "../support/programs.ts";
import { startProxyProcess } from "../support/proxy-process.ts";
import { startProxy, until } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

/** Accepts every upgrade, and then reads or not. */
async function startAccepting(reads: boolean) {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    let head = "";
    const onData = (data: Buffer) => {
      head += data.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      socket.off("data", onData);
      accepted++;
      const key = /sec-websocket-key: (.*)\r\n/i.exec(head)![1];
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      if (reads) socket.resume();
      else socket.pause();
    };
    socket.on("data", onData);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    get accepted() {
      return accepted;
    },
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const rules = (address: string) =>
  `upstreams: { a.test: { paths: { "/": { servers: ["${address}"], healthcheck: false } } } }\n`;
const upgrade = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const version = "Sec-WebSocket-Version: 13\r\n";

const broken: [string, string, number][] = [
  ["without a key", version, 400],
  ["with a key that is not 16 bytes", `${version}Sec-WebSocket-Key: x\r\n`, 400],
  ["with two keys", version + key + key, 400],
  ["without a version", key, 426],
  ["with an old version", `${key}Sec-WebSocket-Version: 12\r\n`, 426],
];
for (const [name, fields, status] of broken) {
  test(`an upgrade ${name} gets ${status}, and no upstream is upgraded for it`, async () => {
    using upstream = await startAccepting(true);
    await using proxy = await startProxy(rules(upstream.address));
    expect((await raw(proxy.port, `${upgrade}${fields}\r\n`, 5_000)).status).toBe(status);
    expect(upstream.accepted).toBe(0);
  });
}

// Bun.serve cannot pause a client, so it is closed; what it had collected is garbage that a busy machine clears late. A
// tunnel pauses it.
test.each([
  ["bun", 1536],
  ["socket", 96],
])(
  "clients that flood an upstream which does not read do not take the proxy's memory (%s)",
  async (engine, mebibytesMax) => {
    using upstream = await startAccepting(false);
    await using proxy = await startProxyProcess(rules(upstream.address), `listener_engine: ${engine}`);
    const before = memoryBytes(proxy.pid, "VmRSS");
    const payload = Buffer.alloc(60_000);
    const frame = Buffer.concat([
      Buffer.from([0x82, 0x80 | 126, payload.length >> 8, payload.length & 255, 0, 0, 0, 0]),
      payload,
    ]);
    let closed = 0;
    const clients = Array.from({ length: 12 }, () => {
      const client = net.connect(proxy.port, "127.0.0.1");
      client.on("error", () => {});
      client.on("close", () => closed++);
      client.write(`${upgrade}${key}${version}\r\n`);
      const flood = () => {
        while (!client.destroyed && client.write(frame));
        if (!client.destroyed) client.once("drain", flood);
      };
      client.once("data", () => {
        client.resume();
        flood();
      });
      return client;
    });
    try {
      if (engine === "bun") await until(() => closed === clients.length, "every flooding client to be closed");
      else {
        let last = -1;
        const sent = () => clients.reduce((sum, client) => sum + client.bytesWritten, 0);
        await until(async () => {
          const steady = sent() === last;
          last = sent();
          await Bun.sleep(300);
          return steady;
        }, "every flooding client to be paused");
        expect(closed).toBe(0);
      }
    } finally {
      for (const client of clients) client.destroy();
    }
    expect(memoryBytes(proxy.pid, "VmHWM") - before).toBeLessThan(mebibytesMax * 1024 * 1024);
  },
  60_000,
);
