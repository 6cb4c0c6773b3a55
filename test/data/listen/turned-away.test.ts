/** A connection that gets 503 is read on for a moment, and not for longer. */
import { expect, test } from "bun:test";
import { TurnedAway, turnAwayAtOnce } from "../../../src/data/listen/turned-away.ts";
import { lingerBytesMax, lingerMs } from "../../../src/lib/limits.ts";
import type { Transport } from "../../../src/data/wire/transport.ts";

/** Writes down what was done to it. */
class Recorded implements Transport {
  readonly acts: string[] = [];
  write(data: Uint8Array): number {
    this.acts.push(Buffer.from(data).toString("latin1").split("\r\n")[0]!);
    return data.length;
  }
  pause(): void {
    this.acts.push("pause");
  }
  resume(): void {
    this.acts.push("resume");
  }
  end(): void {
    this.acts.push("end");
  }
  shutdown(): void {
    this.acts.push("shutdown");
  }
  terminate(): void {
    this.acts.push("terminate");
  }
}

function begin() {
  const transport = new Recorded();
  let gone = 0;
  const turned = new TurnedAway(transport, () => gone++);
  turned.begin();
  expect(transport.acts.splice(0)).toEqual(["HTTP/1.1 503 Service Unavailable", "shutdown"]);
  return { turned, acts: transport.acts, gone: () => gone };
}

test("it ends in order when the client closes its side", () => {
  const { turned, acts, gone } = begin();
  turned.data(Buffer.from("GET / HTTP/1.1\r\n"));
  turned.end();
  turned.close();
  expect(acts).toEqual(["end"]);
  expect(gone()).toBe(1);
});

test("a client that sends without end is cut", () => {
  const { turned, acts, gone } = begin();
  turned.data(Buffer.alloc(lingerBytesMax));
  expect(acts).toEqual([]);
  turned.data(Buffer.alloc(1));
  turned.data(Buffer.alloc(1));
  expect(acts).toEqual(["terminate"]);
  expect(gone()).toBe(1);
});

test("a client that stays is cut", () => {
  const { turned, acts, gone } = begin();
  const nowMs = performance.now();
  turned.sweep(nowMs);
  expect(acts).toEqual([]);
  turned.sweep(nowMs + lingerMs + 1);
  expect(acts).toEqual(["terminate"]);
  expect(gone()).toBe(1);
});

test("without a descriptor to spare it is closed at once", () => {
  const transport = new Recorded();
  turnAwayAtOnce(transport);
  expect(transport.acts).toEqual(["HTTP/1.1 503 Service Unavailable", "end"]);
});
