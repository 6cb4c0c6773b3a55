/** The log: levels, harmless lines, and sinks that stay bounded whatever the disk or the reader does. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { logLineCharsMax, logQueueLinesMax } from "../../src/lib/limits.ts";
import { LogSink, openLogSinks } from "../../src/lib/log-sink.ts";
import { FileTarget, type LogTarget } from "../../src/lib/log-target.ts";
import { Log } from "../../src/lib/log.ts";

setDefaultTimeout(60_000);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "aralez-log-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const inFolder = (name: string) => join(folder, name);
const read = (name: string) => (existsSync(inFolder(name)) ? readFileSync(inFolder(name), "utf8") : "");
const logFile = (name: string, more = {}) => ({ path: inFolder(name), sizeMiB: 0, keep: 5, compress: false, ...more });

async function until(what: string, fact: () => boolean): Promise<void> {
  const deadline = performance.now() + 25_000;
  while (!fact()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await Bun.sleep(5);
  }
}

function collect() {
  const lines: string[] = [];
  return { lines, sink: { write: (line: string) => void lines.push(line) } };
}

describe("a line", () => {
  test("is local time, level, target and message", () => {
    const { lines, sink } = collect();
    const before = new Date();
    new Log("info", sink).warn("config", "two words");
    const parts = /^(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d) WARN config - two words$/.exec(lines[0]!)!;
    const [year, month, day, hour, minute, second] = parts.slice(1).map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    expect(Math.abs(new Date(year, month - 1, day, hour, minute, second).getTime() - before.getTime())).toBeLessThan(
      60_000,
    );
  });

  test("is written for its level and the graver ones, and for none when off", () => {
    const names = ["error", "warn", "info", "debug", "trace"] as const;
    const written = (level: (typeof names)[number] | "off") => {
      const { lines, sink } = collect();
      const log = new Log("off", sink);
      log.level = level;
      for (const name of names) log[name]("t", name);
      expect(log.level).toBe(level);
      return lines.length;
    };
    expect([written("off"), ...names.map(written)]).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("cannot be forged by line breaks, escape sequences or turned text", () => {
    const { lines, sink } = collect();
    new Log("info", sink).info("t", "a\r\n2026-01-01 00:00:00 ERROR fake - b\x1b[2J\0\t\x7f\x9b\u2028\u202eç 日本");
    expect(lines[0]).toEndWith(
      "t - a\\r\\n2026-01-01 00:00:00 ERROR fake - b\\x1b[2J\\x00\\t\\x7f\\x9b\\u2028\\u202eç 日本",
    );
  });

  test("has a greatest length", () => {
    const { lines, sink } = collect();
    const log = new Log("info", sink);
    log.info("t", "x".repeat(10_000_000));
    log.info("t", "\x01".repeat(logLineCharsMax));
    for (const line of lines) {
      expect(line.length).toBe(logLineCharsMax);
      expect(line).toEndWith("…");
    }
  });

  test("goes to the error log when it is a warning or an error, and only there", () => {
    const [out, errors] = [collect(), collect()];
    const log = new Log("trace", { out: out.sink, errors: errors.sink });
    for (const name of ["error", "warn", "info", "debug", "trace"] as const) log[name]("t", name);
    expect(errors.lines.map((line) => line.split(" ")[2])).toEqual(["ERROR", "WARN"]);
    expect(out.lines.map((line) => line.split(" ")[2])).toEqual(["INFO", "DEBUG", "TRACE"]);
  });
});

describe("a log file", () => {
  test("is made with mode 0640 and appended to", async () => {
    writeFileSync(inFolder("append.log"), "old\n");
    const sinks = openLogSinks(logFile("append.log"), logFile("errors.log"));
    const log = new Log("info", sinks.log);
    log.info("t", "one");
    sinks.access.write("access");
    log.error("t", "bad");
    await until(
      "the lines are written",
      () => read("append.log").endsWith("access\n") && read("errors.log").endsWith("bad\n"),
    );
    expect(read("append.log")).toMatch(/^old\n.* INFO t - one\naccess\n$/);
    expect(read("errors.log").trim().split("\n")).toHaveLength(1);
    expect(statSync(inFolder("errors.log")).mode & 0o777 & ~0o640).toBe(0);
    sinks.close();
  });

  test("named twice is one sink", () => {
    const sinks = openLogSinks(logFile("both.log"), logFile("both.log"));
    expect(sinks.log.out).toBe(sinks.log.errors);
    sinks.close();
  });

  test("has all lines after flushSync, without waiting", () => {
    const sink = new LogSink(new FileTarget(logFile("sync.log")));
    for (let i = 0; i < 5_000; i++) sink.write(`line ${i}`);
    sink.flushSync();
    expect(read("sync.log").trim().split("\n")).toEqual(Array.from({ length: 5_000 }, (_, i) => `line ${i}`));
    sink.close();
    sink.write("after the end");
    sink.close();
  });

  test("that was moved away is made anew on reopen, and soon even without", async () => {
    const sink = new LogSink(new FileTarget(logFile("moved.log")));
    sink.write("one");
    sink.flushSync();
    renameSync(inFolder("moved.log"), inFolder("moved.log.old"));
    sink.write("two");
    sink.reopen();
    sink.write("three");
    sink.flushSync();
    expect([read("moved.log.old"), read("moved.log")]).toEqual(["one\ntwo\n", "three\n"]);
    rmSync(inFolder("moved.log"));
    await until("a new file", () => {
      sink.write("four");
      sink.flushSync();
      return read("moved.log").endsWith("four\n");
    });
    sink.close();
  });

  test("rotates by size, loses no line, and keeps so many", () => {
    const sink = new LogSink(new FileTarget(logFile("size.log", { sizeMiB: 1, keep: 2 })));
    const line = (i: number) => `${i}`.padStart(1023, ".");
    for (let i = 0; i < 3_500; i++) sink.write(line(i));
    sink.close();
    expect(
      readdirSync(folder)
        .filter((name) => name.startsWith("size.log"))
        .sort(),
    ).toEqual(["size.log", "size.log.1", "size.log.2"]);
    const kept = ["size.log.2", "size.log.1", "size.log"].map(read);
    for (const text of kept) expect(text.length).toBeLessThanOrEqual(1024 * 1024);
    const numbers = kept
      .join("")
      .trim()
      .split("\n")
      .map((text) => Number(text.replace(/^\.+/, "")));
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => 3_500 - numbers.length + i));
    expect(numbers.length).toBeGreaterThan(2_000);
  });

  test("is compressed after it was rotated, if asked for", async () => {
    const sink = new LogSink(new FileTarget(logFile("gz.log", { sizeMiB: 1, keep: 3, compress: true })));
    const names = () =>
      readdirSync(folder)
        .filter((name) => name.startsWith("gz.log"))
        .sort();
    for (let i = 0; i < 1_100; i++) sink.write("a".repeat(1023));
    sink.flushSync();
    await until("the first archive", () => names().join() === "gz.log,gz.log.1.gz");
    for (let i = 0; i < 1_100; i++) sink.write("b".repeat(1023));
    sink.flushSync();
    await until("the second archive", () => names().join() === "gz.log,gz.log.1.gz,gz.log.2.gz");
    sink.close();
    expect(gunzipSync(readFileSync(inFolder("gz.log.2.gz"))).toString()).toStartWith("aaaa");
    expect(statSync(inFolder("gz.log.1.gz")).mode & 0o777 & ~0o640).toBe(0);
  });

  test("that several write to is rotated by one of them, and no line is lost or torn", async () => {
    const file = logFile("many.log", { sizeMiB: 1, keep: 9, compress: true });
    const followers: LogSink[] = [];
    const reopen = () => followers.forEach((sink) => sink.reopen());
    const leader = new LogSink(new FileTarget(file, "leads", reopen));
    for (let i = 0; i < 2; i++) followers.push(new LogSink(new FileTarget(file, "follows")));
    const names = () => readdirSync(folder).filter((name) => name.startsWith("many.log"));
    leader.write("begun");
    for (let i = 0; i < 1_500; i++) for (const sink of followers) sink.write(`${i} `.padEnd(511, "."));
    for (const sink of followers) sink.flushSync();
    await until("the archive", () => names().join() === "many.log,many.log.1.gz");
    for (const sink of [leader, ...followers]) sink.close();
    const lines = (gunzipSync(readFileSync(inFolder("many.log.1.gz"))).toString() + read("many.log"))
      .trim()
      .split("\n");
    expect(lines).toHaveLength(3_001);
    for (let i = 0; i < 1_500; i++) expect(lines.filter((line) => line.startsWith(`${i} .`))).toHaveLength(2);
  });

  test("that is a pipe with several writers gets whole lines", async () => {
    const script = `
      const { openLogSinks } = await import(${JSON.stringify(join(import.meta.dir, "../../src/lib/log-sink.ts"))});
      const sinks = openLogSinks(undefined, undefined, "follows");
      const letter = process.argv[1];
      for (let i = 0; i < 8_000; i++) {
        sinks.access.write(letter.repeat(1 + (i % 700)) + "!");
        if (i % 100 === 0) await Bun.sleep(1);
      }
      sinks.close();`;
    const shell = '{ "$0" -e "$1" a & "$0" -e "$1" b & "$0" -e "$1" c & wait; } | cat';
    const child = Bun.spawn(["sh", "-c", shell, process.execPath, script], { stdout: "pipe", stderr: "inherit" });
    const lines = (await child.stdout.text()).trimEnd().split("\n");
    const torn = lines.filter((line) => !/^(a+|b+|c+)!$/.test(line) && !line.includes(" lines dropped"));
    expect(torn).toEqual([]);
    expect(lines.length).toBeGreaterThan(1_000);
  });

  test("that cannot be written is complained of once, kept in memory, and written as soon as it can be", async () => {
    const complaints: string[] = [];
    const sink = new LogSink(new FileTarget(logFile("late/x.log")), (text) => complaints.push(text));
    for (let i = 0; i < 100; i++) {
      sink.write(`line ${i}`);
      sink.flushSync();
    }
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toContain(`cannot write the log to "${inFolder("late/x.log")}": ENOENT`);
    mkdirSync(inFolder("late"));
    await until("the lines are written", () => read("late/x.log").split("\n").length === 101);
    expect(read("late/x.log").split("\n")[99]).toBe("line 99");
    sink.close();
  });

  test("on a full disk throws nothing into the caller and drops what is too much", () => {
    const complaints: string[] = [];
    const sink = new LogSink(new FileTarget({ path: "/dev/full", sizeMiB: 1, keep: 1, compress: false }), (text) =>
      complaints.push(text),
    );
    for (let i = 0; i < logQueueLinesMax * 2; i++) sink.write("x".repeat(100));
    sink.close();
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toContain("ENOSPC");
  });

  test.skipIf(process.getuid?.() === 0)("whose folder forbids rotation goes on growing", () => {
    mkdirSync(inFolder("fixed"));
    writeFileSync(inFolder("fixed/x.log"), "");
    chmodSync(inFolder("fixed"), 0o500);
    const sink = new LogSink(new FileTarget(logFile("fixed/x.log", { sizeMiB: 1 })));
    for (let i = 0; i < 1_500; i++) sink.write("x".repeat(1023));
    sink.close();
    expect(statSync(inFolder("fixed/x.log")).size).toBeGreaterThan(1_500 * 1024);
    chmodSync(inFolder("fixed"), 0o700);
  });
});

describe("a slow reader", () => {
  /** Takes `room` bytes, then nothing until given more. */
  class Slow implements LogTarget {
    readonly name = "slow";
    text = "";
    constructor(public room: number) {}
    write(bytes: Uint8Array): number {
      const taken = Math.min(this.room, bytes.length);
      this.room -= taken;
      this.text += Buffer.from(bytes.subarray(0, taken)).toString();
      return taken;
    }
    reopen(): void {}
    close(): void {}
  }

  test("costs lines, not memory, and is told how many", async () => {
    const target = new Slow(1_000);
    const sink = new LogSink(target);
    const total = logQueueLinesMax + 5_000;
    for (let i = 0; i < total; i++) sink.write(`line ${i}`);
    target.room = Number.POSITIVE_INFINITY;
    await until("everything is written", () => /\d+ lines dropped\n$/.test(target.text));
    const lines = target.text.trim().split("\n");
    const dropped = Number(/WARN log - (\d+) lines dropped$/.exec(lines.pop()!)![1]);
    expect(lines).toEqual(Array.from({ length: total - dropped }, (_, i) => `line ${i}`));
    expect(dropped).toBeGreaterThanOrEqual(5_000);
    sink.write("and on it goes");
    sink.close();
    expect(target.text).toEndWith("and on it goes\n");
  });

  test("of very long lines is bounded by their size", () => {
    const target = new Slow(0);
    const sink = new LogSink(target);
    for (let i = 0; i < 10_000; i++) sink.write("x".repeat(8_000));
    target.room = Number.POSITIVE_INFINITY;
    sink.close();
    expect(target.text.length).toBeLessThan(10 * 1024 * 1024);
    expect(target.text).toContain("lines dropped");
  });

  const logger = (body: string) => `
    const { openLogSinks } = await import(${JSON.stringify(join(import.meta.dir, "../../src/lib/log-sink.ts"))});
    const sinks = openLogSinks(undefined, undefined);
    ${body}`;

  test("at the other end of standard output does not stop the process", async () => {
    const script = logger(`
      for (let i = 0; i < 40_000; i++) sinks.access.write("line " + i);
      process.stderr.write("alive\\n");
      process.stdin.once("end", () => process.exit(0)).resume();`);
    // A pipe made by the shell: Bun.spawn's own is a socket, and is read ahead.
    const shell = 'mkfifo "$2"; "$0" -e "$1" | { read go < "$2"; cat; }';
    const child = Bun.spawn(["sh", "-c", shell, process.execPath, script, inFolder("gate")], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    const alive = await child.stderr.getReader().read();
    expect(new TextDecoder().decode(alive.value)).toBe("alive\n");
    writeFileSync(inFolder("gate"), "go\n");
    let text = "";
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (/lines dropped\n$/.test(text)) child.stdin.end();
    }
    await child.exited;
    const lines = text.trim().split("\n");
    const dropped = Number(/ WARN log - (\d+) lines dropped$/.exec(lines.pop()!)?.[1]);
    expect(lines).toEqual(Array.from({ length: 40_000 - dropped }, (_, i) => `line ${i}`));
  });

  test("that has gone ends nothing but the log", async () => {
    const script = logger(`
      process.stdin.once("data", () => {
        for (let i = 0; i < 100; i++) sinks.access.write("line " + i);
        sinks.flushSync();
        process.stderr.write("still here\\n", () => process.exit(0));
      });
      process.stderr.write("ready\\n");`);
    const child = Bun.spawn(["sh", "-c", 'exec "$0" -e "$1" | true', process.execPath, script], {
      stdin: "pipe",
      stderr: "pipe",
    });
    const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value ?? "";
    expect(text).toBe("ready\n");
    child.stdin.write("go\n");
    await child.stdin.flush();
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    child.stdin.end();
    expect(text).toMatch(/cannot write the log to standard output: EPIPE/);
    expect(text).toContain("still here\n");
  });

  test("at a natural end still gets every line", async () => {
    const child = Bun.spawn(
      [process.execPath, "-e", logger(`for (let i = 0; i < 100; i++) sinks.access.write("line " + i);`)],
      { stdout: "pipe" },
    );
    expect((await child.stdout.text()).trim().split("\n")).toHaveLength(100);
  });
});
