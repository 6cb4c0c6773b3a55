/** What the fidelity cases stand on: an origin that plays a script and keeps every byte, and a client that speaks by hand. */
import net from "node:net";
import { startRawOrigin } from "../support/origins.ts";
import { until } from "../support/proxy.ts";

/** Called when a connection has said more. @param said everything it has said so far, latin1 */
export type Script = (socket: net.Socket, said: string) => void;

export interface Stage extends AsyncDisposable {
  readonly address: string;
  /** all bytes that came since the last `play`, latin1, connection by connection */
  readonly heard: string;
  /** forgets what was heard, and answers with this from now on */
  play(script: Script): void;
}

/** One origin for all cases: each plays its own script. */
export async function startStage(): Promise<Stage> {
  let script: Script = () => {};
  let connections: { socket: net.Socket; said: string }[] = [];
  const origin = await startRawOrigin((socket, data) => {
    let connection = connections.find((known) => known.socket === socket);
    if (!connection) connections.push((connection = { socket, said: "" }));
    connection.said += data.toString("latin1");
    script(socket, connection.said);
  });
  return {
    address: origin.address,
    get heard() {
      return connections.map(({ said }) => said).join("");
    },
    play(next) {
      connections = [];
      script = next;
    },
    [Symbol.asyncDispose]: () => origin[Symbol.asyncDispose](),
  };
}

/**
 * A script that answers a whole request and closes: no case may find a connection of the one before.
 * @param answer latin1, `Connection: close` left to this function
 */
export function answering(answer: string): Script {
  const closing = answer.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
  return (socket, said) => {
    if (isWhole(said) && !socket.writableEnded) socket.end(Buffer.from(closing, "latin1"));
  };
}

export const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** Whether a request has arrived to its end, trailers included. */
export function isWhole(said: string): boolean {
  const end = said.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const head = said.slice(0, end);
  const body = said.slice(end + 4);
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) return /(^|\r\n)0\r\n([^\r\n]+\r\n)*\r\n$/.test(body);
  return body.length >= Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
}

export interface Heard {
  text: string;
  /** "open" while it is; "reset" also stands for a connection that broke otherwise */
  ended: "open" | "end" | "reset";
}

export interface Talk extends Disposable {
  readonly heard: Heard;
  write(bytes: string): void;
  /** sends FIN and goes on reading */
  halfClose(): void;
  /** waits until it holds, or the connection has ended. @returns whether it holds @throws after a long while */
  until(enough: (text: string) => boolean): Promise<boolean>;
  /** the same, for what may never come. @returns false when it did not within `waitMs` */
  within(waitMs: number, enough: (text: string) => boolean): Promise<boolean>;
}

/** A connection that is open for both sides until it is disposed of. @param port of 127.0.0.1 */
export async function startTalk(port: number): Promise<Talk> {
  const heard: Heard = { text: "", ended: "open" };
  const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("data", (data) => (heard.text += data.toString("latin1")));
  socket.on("end", () => (heard.ended = "end"));
  socket.on("error", () => (heard.ended = "reset"));
  await new Promise((resolve) => socket.once("connect", resolve).once("error", resolve));
  return {
    heard,
    write: (bytes) => void socket.write(Buffer.from(bytes, "latin1")),
    halfClose: () => void socket.end(),
    until: (enough) =>
      until(
        () => (enough(heard.text) ? { holds: true } : heard.ended !== "open" && { holds: false }),
        `more than ${JSON.stringify(heard.text.slice(0, 500))}`,
      ).then(({ holds }) => holds),
    async within(waitMs, enough) {
      const deadline = performance.now() + waitMs;
      while (!enough(heard.text) && heard.ended === "open" && performance.now() < deadline) await Bun.sleep(5);
      return enough(heard.text);
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

/** Whether an answer to anything but HEAD has arrived to the end that its own framing gives it; 1xx are skipped. */
export function isAnswered(text: string): boolean {
  const { head, body } = finalAnswer(text);
  if (head === "") return false;
  if (/^HTTP\/1\.1 (204|304)/.test(head)) return true;
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length !== undefined) return body.length >= Number(length);
  return /\r\ntransfer-encoding: *chunked/i.test(head) && /(^|\r\n)0\r\n([^\r\n]+\r\n)*\r\n$/.test(body);
}

/** The first answer of a connection that is not interim; "" where none has come. */
export function finalAnswer(text: string): { head: string; body: string } {
  let rest = text;
  for (;;) {
    const end = rest.indexOf("\r\n\r\n");
    if (end < 0) return { head: "", body: "" };
    const head = rest.slice(0, end);
    rest = rest.slice(end + 4);
    if (!/^HTTP\/1\.1 1\d\d/.test(head)) return { head, body: rest };
  }
}
