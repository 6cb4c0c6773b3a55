/** The lock between replicas. */
import { describe, expect, setSystemTime, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FolderLock } from "../../../src/control/acme/lock.ts";
import { temporary } from "../../support/certificates.ts";
import { until } from "../../support/proxy.ts";

describe("the lock", () => {
  test("is held by one at a time, and free again at once", () => {
    using folder = temporary();
    const file = join(folder.path, "state", "acme.lock");
    const [a, b] = [new FolderLock(file), new FolderLock(file)];
    expect([a.acquire(), b.acquire(), a.acquire(), b.acquire()]).toEqual([true, false, true, false]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    b.release();
    expect(b.acquire()).toBe(false);
    a.release();
    expect(b.acquire()).toBe(true);
    b.release();
    expect(readdirSync(join(folder.path, "state"))).toEqual([]);
  });

  test("of a process of this machine that has exited is taken at once, whatever its age", async () => {
    using folder = temporary();
    const file = join(folder.path, "acme.lock");
    const lock = JSON.stringify(join(import.meta.dir, "../../../src/control/acme/lock.ts"));
    const script = `const { FolderLock } = await import(${lock}); new FolderLock(${JSON.stringify(file)}).acquire(); process.kill(process.pid, "SIGKILL")`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdout: "ignore", stderr: "inherit" });
    await child.exited;
    expect(JSON.parse(readFileSync(file, "utf8")).pid).toBe(child.pid);
    const mine = new FolderLock(file);
    expect(mine.acquire()).toBe(true);
    expect(JSON.parse(readFileSync(file, "utf8")).pid).toBe(process.pid);
    mine.release();
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test("of another machine is left alone, even with a clock that is years off", () => {
    using folder = temporary();
    const file = join(folder.path, "acme.lock");
    const text = JSON.stringify({ id: "x", host: "elsewhere", pids: "other", pid: 1 });
    writeFileSync(file, text);
    setSystemTime(new Date("2040-01-01"));
    try {
      expect(new FolderLock(file).acquire()).toBe(false);
    } finally {
      setSystemTime();
    }
    expect(readFileSync(file, "utf8")).toBe(text);
  });

  test("is taken from another machine that has not touched it for a minute of our own clock", async () => {
    using folder = temporary();
    const file = join(folder.path, "acme.lock");
    writeFileSync(file, JSON.stringify({ id: "x", host: "elsewhere", pids: "other", pid: 1 }));
    const mine = new FolderLock(file);
    expect(mine.acquire()).toBe(false);
    const real = performance.now.bind(performance);
    performance.now = () => real() + 60_000;
    try {
      expect(await until(() => mine.acquire())).toBe(true);
    } finally {
      performance.now = real;
    }
    mine.release();
  });
});
