import { describe, expect, test } from "bun:test";
import type { Body, BodySink } from "../../src/data/body.ts";
import { Failure } from "../../src/data/failure.ts";
import { KeptBody } from "../../src/data/forward/kept-body.ts";
import { StreamBody, streamOf } from "../../src/data/forward/stream-body.ts";

/** A source that gives its chunks one by one and honours pauses. */
class ChunkBody implements Body {
  readonly length = -1;
  started = 0;
  cancelled = false;
  pushed = 0;
  #sink!: BodySink;
  #paused = false;
  #next = 0;
  constructor(
    readonly chunks: string[],
    readonly failure?: Failure,
  ) {}
  start(sink: BodySink) {
    this.started++;
    this.#sink = sink;
    this.#flow();
  }
  resume() {
    if (!this.#paused) return;
    this.#paused = false;
    this.#flow();
  }
  cancel() {
    this.cancelled = true;
  }
  #flow() {
    while (!this.#paused && this.#next <= this.chunks.length) {
      const chunk = this.chunks[this.#next++];
      if (chunk === undefined) return this.failure ? this.#sink.fail(this.failure) : this.#sink.end();
      this.pushed++;
      this.#paused = !this.#sink.write(Buffer.from(chunk));
    }
  }
}

/** Takes chunks, pausing after each when asked to. */
class Taker implements BodySink {
  text = "";
  over: "no" | "end" | "fail" = "no";
  constructor(readonly pausing = false) {}
  write(chunk: Uint8Array) {
    this.text += Buffer.from(chunk).toString();
    return !this.pausing;
  }
  end() {
    this.over = "end";
  }
  fail() {
    this.over = "fail";
  }
}

describe("a kept body", () => {
  test("gives every try the whole of it, from one reading of the source", () => {
    const source = new ChunkBody(["ab", "cd", "ef"]);
    const kept = new KeptBody(source, 100);
    for (let i = 0; i < 3; i++) {
      const taker = new Taker();
      kept.attempt().start(taker);
      expect(taker).toMatchObject({ text: "abcdef", over: "end" });
    }
    expect(source.started).toBe(1);
    expect(kept.repeatable).toBe(true);
  });
  test("goes on with the live source where the first try stopped", () => {
    const source = new ChunkBody(["ab", "cd", "ef"]);
    const kept = new KeptBody(source, 100);
    const first = kept.attempt();
    first.start(new Taker(true));
    expect(source.pushed).toBe(1);
    first.cancel();
    expect(source.cancelled).toBe(false);
    const taker = new Taker();
    kept.attempt().start(taker);
    expect(taker).toMatchObject({ text: "abcdef", over: "end" });
  });
  test("stops being repeatable beyond its bound, and still arrives whole", () => {
    const kept = new KeptBody(new ChunkBody(["ab", "cd", "ef"]), 3);
    const taker = new Taker();
    kept.attempt().start(taker);
    expect(taker).toMatchObject({ text: "abcdef", over: "end" });
    expect(kept.repeatable).toBe(false);
  });
  test("keeps one first chunk of any size: it is in memory anyway", () => {
    const kept = new KeptBody(new ChunkBody(["a".repeat(1000)]), 10);
    kept.attempt().start(new Taker());
    expect(kept.repeatable).toBe(true);
  });
  test("pauses its source with the try, and resumes it", () => {
    const source = new ChunkBody(["ab", "cd", "ef", "gh"]);
    const kept = new KeptBody(source, 3);
    const taker = new Taker(true);
    const body = kept.attempt();
    body.start(taker);
    for (let i = 1; i <= 4; i++) {
      expect(source.pushed).toBe(i);
      body.resume();
    }
    expect(taker).toMatchObject({ text: "abcdefgh", over: "end" });
  });
  test("passes a cut on to the try, and is not repeatable then", () => {
    const kept = new KeptBody(new ChunkBody(["ab"], new Failure("client_gone", "gone")), 100);
    const taker = new Taker();
    kept.attempt().start(taker);
    expect(taker).toMatchObject({ text: "ab", over: "fail" });
    expect(kept.repeatable).toBe(false);
  });
  test("every split, pause pattern and number of tries gives the same bytes", () => {
    let seed = 3;
    const random = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
    for (let round = 0; round < 2000; round++) {
      const chunks = Array.from({ length: random(6) }, () => "x".repeat(random(5) + 1));
      const kept = new KeptBody(new ChunkBody(chunks), random(12));
      for (let tries = 0; tries < 3 && kept.repeatable; tries++) {
        const taker = new Taker(random(2) === 0);
        const body = kept.attempt();
        body.start(taker);
        const stopAfter = tries < 2 ? random(4) : 100;
        for (let i = 0; i < stopAfter && taker.over === "no"; i++) body.resume();
        if (taker.over === "end") expect(taker.text).toBe(chunks.join(""));
        else expect(chunks.join("").startsWith(taker.text)).toBe(true);
        if (tries === 2) expect(taker.over).toBe("end");
      }
    }
  });
});

describe("a stream as a body", () => {
  const options = {
    length: -1,
    silenceMs: 0,
    onSilence: "body_timeout",
    onCut: "body_cut",
    source: "the test",
  } as const;
  const stream = (...chunks: string[]) =>
    new ReadableStream<Uint8Array>({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(Buffer.from(chunk));
        controller.close();
      },
    });
  const outcome = (body: Body) =>
    new Promise<string>((resolve) => {
      let text = "";
      body.start({
        write: (chunk) => ((text += Buffer.from(chunk).toString()), true),
        end: () => resolve(text),
        fail: (failure) => resolve(`${failure.code} after ${text}`),
      });
    });

  test("arrives whole", async () => expect(await outcome(new StreamBody(stream("a", "b"), options))).toBe("ab"));
  test("shorter than its Content-Length is cut, not complete", async () =>
    expect(await outcome(new StreamBody(stream("a", "b"), { ...options, length: 3 }))).toBe("body_cut after ab"));
  test("longer than its Content-Length is cut too", async () =>
    expect(await outcome(new StreamBody(stream("a", "b"), { ...options, length: 1 }))).toBe("body_cut after ab"));
  test("silent for too long fails with its code", async () => {
    const silent = new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(Buffer.from("a")) });
    expect(await outcome(new StreamBody(silent, { ...options, silenceMs: 50 }))).toBe("body_timeout after a");
  });
  test("becomes a stream again, one chunk at a time", async () => {
    const source = new ChunkBody(["a", "b", "c"]);
    const reader = streamOf(source).getReader();
    expect(source.started).toBe(0);
    expect(Buffer.from((await reader.read()).value!).toString()).toBe("a");
    expect(source.pushed).toBeLessThanOrEqual(2);
    expect(Buffer.from((await reader.read()).value!).toString()).toBe("b");
    await reader.cancel();
    expect(source.cancelled).toBe(true);
  });
  test("that fails, fails as a stream too", async () => {
    const reader = streamOf(new ChunkBody(["a"], new Failure("body_cut", "cut"))).getReader();
    await reader.read();
    expect(reader.read()).rejects.toBeInstanceOf(Failure);
  });
});
