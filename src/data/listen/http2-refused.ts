/** The user of a stream that was refused with an answer of our own: what still comes is thrown away. */
import type { Stream, StreamUser } from "../wire/http2/stream.ts";

export function refusedUser(stream: Stream): StreamUser {
  return {
    data: (_, start, end) => stream.consumed(end - start),
    ended() {},
    gone() {},
    writable() {},
    sweep() {},
  };
}
