/** The HTTP/2 side of health questions: a request by node:http2, and the bare preface that tells h2c from silence. */
import { connect, type ClientHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import type { Errand } from "./errand.ts";
import { userAgent, type Question } from "./http1.ts";

/**
 * Asks one request.
 * @param secure the connection is TLS
 * @returns its status, or undefined when a working HTTP/2 server refused the stream (gRPC servers do, without a status)
 * @throws Error with the short cause
 */
export function askHttp2(
  errand: Errand,
  socket: Socket,
  question: Question,
  secure: boolean,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const closed = () => reject(new Error("closed the connection without answering"));
    const session: ClientHttp2Session = connect("http://upstream", { createConnection: () => socket });
    errand.atEnd(() => session.destroy());
    let greeted = false;
    session.once("remoteSettings", () => (greeted = true));
    session.on("error", (error) => reject(greeted ? error : new Error("does not speak HTTP/2")));
    session.once("close", closed);
    const stream = session.request(
      {
        ":method": question.method,
        ":path": question.path,
        ":scheme": secure ? "https" : "http",
        ":authority": question.host,
        "user-agent": userAgent,
        accept: "*/*",
      },
      { endStream: true },
    );
    stream.once("response", (head) => resolve(Number(head[":status"])));
    stream.on("error", () => {});
    stream.once("close", () => {
      if (greeted && !session.destroyed && !session.closed && !socket.destroyed) resolve(undefined);
    });
  });
}

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");

/** @returns whether the server greets the connection preface as HTTP/2 asks (RFC 9113, section 3.4). */
export function greetsHttp2(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length >= 9) resolve(isSettings(bytes));
    });
    socket.once("close", () => resolve(false));
    if (socket.destroyed) resolve(false);
    socket.write(preface);
  });
}

/** True for bytes that begin with a SETTINGS frame: what every HTTP/2 server sends first. */
export function isSettings(bytes: Buffer): boolean {
  if (bytes.length < 9) return false;
  const length = bytes.readUIntBE(0, 3);
  return bytes[3] === 4 && (bytes[4]! & 1) === 0 && length % 6 === 0 && length <= 16_384 && bytes.readUInt32BE(5) === 0;
}
