/** A client that sends bytes as they are and shows what came back. */
import net from "node:net";

export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
  /** header lines by lower-case name, in order */
  readonly fields: readonly (readonly [string, string])[];
  /** how the connection ended, or "open" */
  readonly ended: "open" | "end" | "reset";
}

/**
 * Sends `bytes` on a new connection and reads one answer: until its framing says it is complete, or the connection ends.
 * @param port of 127.0.0.1
 */
export function raw(port: number, bytes: string | Uint8Array, waitMs = 10_000): Promise<RawAnswer> {
  return rawOn(net.connect(port, "127.0.0.1"), "connect", bytes, waitMs);
}

/** The same on a socket of any kind. @param opened the event that says it can be written to */
export function rawOn(
  socket: net.Socket,
  opened: "connect" | "secureConnect",
  bytes: string | Uint8Array,
  waitMs = 10_000,
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const timer = setTimeout(() => finish("open"), waitMs);
    const finish = (ended: RawAnswer["ended"]) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(read(received, ended));
    };
    socket.on(opened, () => socket.write(bytes));
    socket.on("data", (data) => {
      received = Buffer.concat([received, data as Buffer]);
      if (complete(received, typeof bytes === "string" && bytes.startsWith("HEAD "))) finish("open");
    });
    socket.on("end", () => finish("end"));
    socket.on("error", (error: NodeJS.ErrnoException) =>
      error.code === "ECONNRESET" || error.code === "EPIPE" ? finish("reset") : reject(error),
    );
  });
}

function read(bytes: Buffer, ended: RawAnswer["ended"]): RawAnswer {
  const text = bytes.toString("latin1");
  const split = text.indexOf("\r\n\r\n");
  const head = split < 0 ? text : text.slice(0, split);
  const [first = "", ...lines] = head.split("\r\n");
  const fields = lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
  });
  return {
    status: Number(first.split(" ")[1] ?? 0),
    head,
    body: split < 0 ? "" : text.slice(split + 4),
    fields,
    ended,
  };
}

function complete(bytes: Buffer, headOnly: boolean): boolean {
  const text = bytes.toString("latin1");
  const split = text.indexOf("\r\n\r\n");
  if (split < 0) return false;
  const head = text.slice(0, split).toLowerCase();
  if (headOnly || /^http\/1\.1 (1\d\d|204|304)/.test(head)) return true;
  const length = /\r\ncontent-length: *(\d+)/.exec(head);
  if (length) return text.length - split - 4 >= Number(length[1]);
  return head.includes("transfer-encoding: chunked") && text.endsWith("0\r\n\r\n");
}
