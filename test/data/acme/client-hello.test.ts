/** What a client offers by ALPN, read from its first bytes. */
import { expect, test } from "bun:test";
import { connect } from "node:tls";
import { offersProtocol } from "../../../src/data/tls/client-hello.ts";

/** The first bytes that node's client sends. */
function helloOf(ALPNProtocols: string[] | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const listener = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, bytes) {
          resolve(Buffer.from(bytes));
          socket.terminate();
          listener.stop(true);
        },
      },
    });
    const socket = connect({
      host: "127.0.0.1",
      port: listener.port,
      servername: "a.example",
      ...(ALPNProtocols && { ALPNProtocols }),
    });
    socket.on("error", () => {}).setTimeout(20_000, () => reject(new Error("no ClientHello")));
  });
}

test("a real ClientHello says what it offers", async () => {
  expect(offersProtocol(await helloOf(["acme-tls/1"]), "acme-tls/1")).toBe(true);
  expect(offersProtocol(await helloOf(["h2", "http/1.1", "acme-tls/1"]), "acme-tls/1")).toBe(true);
  expect(offersProtocol(await helloOf(["h2", "http/1.1"]), "acme-tls/1")).toBe(false);
  expect(offersProtocol(await helloOf(undefined), "acme-tls/1")).toBe(false);
});

test("what has not all come is waited for; what is none, or lies about its lengths, offers nothing", async () => {
  const hello = await helloOf(["acme-tls/1"]);
  for (let length = 0; length < hello.length; length++)
    expect(offersProtocol(hello.subarray(0, length), "acme-tls/1")).toBeUndefined();
  expect(offersProtocol(Buffer.from("GET / HTTP/1.1\r\n\r\n"), "acme-tls/1")).toBe(false);
  // Every byte of the head and of the lengths behind it wrong, one at a time: no throw, no endless loop.
  for (let at = 0; at < hello.length; at++) {
    const broken = Buffer.from(hello);
    broken[at] = broken[at]! ^ 0xff;
    expect([true, false, undefined]).toContain(offersProtocol(broken, "acme-tls/1"));
  }
});
