/** Under systemd: what the proxy tells its manager, heard on a socket as the manager's own. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { monotonicMicros } from "../../src/lib/libc.ts";
import { takeManager } from "../../src/process/systemd.ts";
import { temporaryFolder } from "../cli/program.ts";
import { NotifySocket } from "../support/notify-socket.ts";
import { isAlive, startService } from "../support/service.ts";

setDefaultTimeout(60_000);

const rules = 'upstreams: { DEFAULT: { paths: { "/": { redirect_to: "https://x.test" } } } }\n';

describe("the manager", () => {
  test("hears READY once the proxy serves, RELOADING and READY at SIGHUP, and STOPPING at SIGTERM", async () => {
    using folder = temporaryFolder();
    using manager = new NotifySocket(join(folder.path, "notify"));
    await using service = await startService(rules, { env: { NOTIFY_SOCKET: manager.name } });
    await manager.line(/^READY=1$/);
    expect(await manager.line(/^STATUS=/)).toContain(`http http://127.0.0.1:${service.port}`);
    expect((await fetch(`http://127.0.0.1:${service.port}/`, { redirect: "manual" })).status).toBe(301);
    expect(manager.heard.join("\n")).not.toContain("WATCHDOG");

    manager.heard.length = 0;
    const beganMicros = monotonicMicros()!;
    service.signal("SIGHUP");
    await manager.line(/^READY=1$/);
    expect(manager.heard[0]).toStartWith("RELOADING=1\n");
    const micros = BigInt(/^MONOTONIC_USEC=(\d+)$/m.exec(manager.heard[0]!)![1]!);
    expect(micros >= beganMicros && micros <= monotonicMicros()!).toBe(true);

    service.signal("SIGTERM");
    await manager.line(/^STOPPING=1$/);
    expect(await service.first.ended()).toBe(0);
  });

  test("on an abstract socket hears from the watchdog, more than once", async () => {
    using manager = new NotifySocket(`@aralez-test-${crypto.randomUUID()}`);
    await using service = await startService(rules, {
      env: { NOTIFY_SOCKET: manager.name, WATCHDOG_USEC: "400000" },
    });
    await manager.line(/^READY=1$/);
    await service.first.until(
      "three signs of life",
      () => manager.heard.filter((text) => text === "WATCHDOG=1").length >= 3,
    );
  });

  test("is told who the main process is after an upgrade, and the watchdog goes over with it", async () => {
    using manager = new NotifySocket(`@aralez-test-${crypto.randomUUID()}`);
    await using service = await startService(rules, {
      env: { NOTIFY_SOCKET: manager.name, WATCHDOG_USEC: "400000" },
    });
    await manager.line(/^READY=1$/);
    manager.heard.length = 0;
    const old = service.pid();
    service.signal("SIGUSR2");
    const next = await service.succeeded(old);
    expect(await manager.line(/^MAINPID=/)).toBe(`MAINPID=${next}`);
    expect(manager.heard.join("\n")).not.toContain("STOPPING");
    await service.first.ended();
    manager.heard.length = 0;
    await manager.line(/^WATCHDOG=1$/);
    expect(isAlive(next)).toBe(true);
  });

  test("is nobody's that was not started by one, and never passed on to other programs", () => {
    const env: Record<string, string | undefined> = { NOTIFY_SOCKET: "/run/x", WATCHDOG_USEC: "30000000" };
    expect(takeManager(env)).toEqual({ socket: "/run/x", watchdogMicros: 30_000_000 });
    expect(env).toEqual({});
    expect(takeManager({})).toBeUndefined();
    expect(takeManager({ NOTIFY_SOCKET: "relative" })).toBeUndefined();
    // The watchdog is another process's.
    expect(takeManager({ NOTIFY_SOCKET: "@a", WATCHDOG_USEC: "1000", WATCHDOG_PID: "1" })).toEqual({
      socket: "@a",
      watchdogMicros: 0,
    });
  });

  test("that has gone keeps nothing from running", async () => {
    await using service = await startService(rules, {
      env: { NOTIFY_SOCKET: "@aralez-nobody", WATCHDOG_USEC: "100000" },
    });
    expect((await fetch(`http://127.0.0.1:${service.port}/`, { redirect: "manual" })).status).toBe(301);
    service.signal("SIGTERM");
    expect(await service.first.ended()).toBe(0);
  });
});

test("the unit file is what systemd takes, and gives no more than one right of root", () => {
  const file = join(import.meta.dir, "../../config/aralez.service");
  const unit = readFileSync(file, "utf8");
  for (const line of [
    "Type=notify",
    "AmbientCapabilities=CAP_NET_BIND_SERVICE",
    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "StateDirectory=aralez",
    "UnsetEnvironment=BUN_OPTIONS BUN_BE_BUN",
    "ExecReload=kill -HUP $MAINPID",
  ])
    expect(unit.split("\n")).toContain(line);
  expect(Number(/^WatchdogSec=(\d+)$/m.exec(unit)?.[1])).toBeGreaterThan(0);
  if (!Bun.which("systemd-analyze")) return console.log("not looked at by systemd-analyze: it is not installed");
  using folder = temporaryFolder();
  const copy = join(folder.path, "aralez.service");
  // The binary need not be installed here.
  Bun.write(copy, unit.replace("/usr/local/bin/aralez", "/bin/true"));
  const { stderr, exitCode } = Bun.spawnSync(["systemd-analyze", "verify", copy]);
  expect({ told: stderr.toString(), exitCode }).toEqual({ told: "", exitCode: 0 });
});
