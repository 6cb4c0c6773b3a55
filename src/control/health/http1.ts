/** Asks one HTTP/1.1 request over a fresh connection and reads the status of its answer (RFC 9112). */
import type { Socket } from "node:net";
import { probeBodyBytesMax, probeDrainMs } from "../../lib/limits.ts";
import type { Errand } from "./errand.ts";

export interface Question {
  readonly method: string;
  readonly path: string;
  readonly host: string;
}

export interface StatusLine {
  /** "1.1" or "1.0" */
  readonly version: string;
  readonly status: number;
}

/** The server spoke, but not HTTP/1. */
export class NotHttpError extends Error {
  /** @param first the first bytes it sent */
  constructor(readonly first: Buffer) {
    super("answered something that is not HTTP");
  }
}

const unanswered = "closed the connection without answering";

/** The product name our own questions carry. */
export const userAgent = "aralez-healthcheck";

/**
 * Sends the request and waits for the final status. Of the body as much is read as comes quickly, so that the server
 * sees a clean end; the connection is the errand's to close.
 * @throws NotHttpError, or Error with the short cause
 */
export async function askHttp1(errand: Errand, socket: Socket, question: Question): Promise<StatusLine> {
  const answer = Promise.withResolvers<StatusLine>();
  const drained = Promise.withResolvers<void>();
  let bytes: Buffer = Buffer.alloc(0);
  let headRead = false;
  let bodyBytesLeft = 0;
  const read = (chunk: Buffer) => {
    if (headRead) return count(chunk.length);
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
    try {
      const head = finalHead(bytes, false);
      if (!head) {
        if (bytes.length > probeBodyBytesMax) throw new Error("answered with too long a head");
        return;
      }
      headRead = true;
      answer.resolve(head);
      bodyBytesLeft = bodyBytes(question.method, head);
      count(bytes.length - head.bytes);
    } catch (error) {
      answer.reject(error);
    }
  };
  const count = (length: number) => {
    bodyBytesLeft -= length;
    if (bodyBytesLeft <= 0) drained.resolve();
  };
  socket.on("data", read);
  // A close that meets our request is EPIPE or a reset, by chance of timing.
  socket.once("error", (error: Error & { code?: string }) =>
    answer.reject(error.code === "EPIPE" ? new Error(unanswered) : error),
  );
  socket.once("close", () => {
    drained.resolve();
    if (headRead) return;
    try {
      finalHead(bytes, true);
      answer.reject(new Error(unanswered));
    } catch (error) {
      answer.reject(error);
    }
  });
  if (socket.destroyed) answer.reject(new Error(unanswered));
  socket.write(requestHead(question));
  const { version, status } = await answer.promise;
  await Promise.race([drained.promise, errand.sleep(probeDrainMs)]);
  return { version, status };
}

function requestHead({ method, path, host }: Question): string {
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `Host: ${host}`,
    `User-Agent: ${userAgent}`,
    "Accept: */*",
    "Connection: close",
  ];
  // RFC 9110, section 8.6: a method that anticipates content says when there is none.
  if (method === "POST" || method === "PUT" || method === "PATCH") lines.push("Content-Length: 0");
  return `${lines.join("\r\n")}\r\n\r\n`;
}

interface Head extends StatusLine {
  /** bytes up to the end of this head */
  readonly bytes: number;
  readonly fields: string;
}

/** @returns the first head that is not 1xx; undefined while it is incomplete. @throws NotHttpError */
function finalHead(bytes: Buffer, ended: boolean): Head | undefined {
  for (let from = 0; ;) {
    const start = bytes.toString("latin1", from, from + 12);
    if (
      !start.startsWith("HTTP/1.".slice(0, start.length)) ||
      (start.length === 12 && !/^HTTP\/1\.[01] [1-9]\d\d$/.test(start))
    ) {
      // Nine bytes are an HTTP/2 frame header: enough to tell what it was.
      if (bytes.length >= 9 || ended) throw new NotHttpError(bytes);
      return undefined;
    }
    const end = bytes.indexOf("\r\n\r\n", from, "latin1");
    if (end < 0) return undefined;
    const status = Number(start.slice(9));
    const fields = bytes.toString("latin1", from, end + 2);
    if (status >= 200 || status === 101) return { version: start.slice(5, 8), status, bytes: end + 4, fields };
    from = end + 4;
  }
}

function bodyBytes(method: string, { status, fields }: Head): number {
  if (method === "HEAD" || status === 204 || status === 304) return 0;
  const length = Number(/\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n/i.exec(fields)?.[1] ?? Infinity);
  return Math.min(length, probeBodyBytesMax);
}
