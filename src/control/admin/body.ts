/** Reads the body of an admin request whole: bounded in size and time. */
import type { OwnReply } from "../../data/exchange.ts";
import type { Exchange } from "../../data/exchange.ts";
import { refuse } from "../../data/guards/guard.ts";
import { adminBodyWaitMs } from "../../lib/limits.ts";

/** @returns the bytes, or the refusal */
export function readBody({ body }: Exchange, bytesMax: number): Promise<Uint8Array | OwnReply> {
  if (!body) return Promise.resolve(new Uint8Array(0));
  if (body.length > bytesMax) return Promise.resolve(tooLarge(bytesMax, body.length));
  return new Promise((resolve) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    const finish = (result: Uint8Array | OwnReply) => {
      clearTimeout(timer);
      resolve(result);
    };
    const give = (refusal: OwnReply) => {
      body.cancel();
      finish(refusal);
    };
    const timer = setTimeout(
      () => give(refuse(408, `the request body took longer than ${adminBodyWaitMs / 1000} s`)),
      adminBodyWaitMs,
    );
    body.start({
      write(chunk) {
        bytes += chunk.length;
        // A copy: what was passed on belongs to its source again.
        if (bytes <= bytesMax) chunks.push(new Uint8Array(chunk));
        else give(tooLarge(bytesMax, bytes));
        return bytes <= bytesMax;
      },
      end: () => finish(Buffer.concat(chunks)),
      fail: ({ code, message }) =>
        finish(refuse(code === "client_timeout" ? 408 : 400, "the request body did not arrive whole", [], message)),
    });
  });
}

/** @returns whether {@link readBody} refused */
export function isRefusal(result: Uint8Array | OwnReply): result is OwnReply {
  return "status" in result;
}

function tooLarge(bytesMax: number, found: number): OwnReply {
  return refuse(413, `expected a body of at most ${bytesMax} bytes, found ${found} or more`);
}
