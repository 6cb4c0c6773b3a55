/** A successor takes over from a running proxy: no request fails, in either order of the two commands (contract, 11.2). */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { channelName, openChannel } from "../../src/process/upgrade/channel.ts";
import { startLoad } from "../support/load-clients.ts";
import { startOrigin } from "../support/origins.ts";
import { until } from "../support/proxy.ts";
import { isAlive, startService, type ServiceProcess } from "../support/service.ts";

setDefaultTimeout(120_000);

const rules = (address: string) =>
  `upstreams: { DEFAULT: { paths: { "/": { servers: ["${address}"], healthcheck: false } } } }\n`;

/** The two `ExecReload` lines of the original's unit. */
async function reloadAsTheOriginal(service: ServiceProcess): Promise<void> {
  process.kill(service.pid(), "SIGQUIT");
  const { code, err } = await service.run("-u", "-d");
  expect({ code, err }).toEqual({ code: 0, err: "" });
}

/** Its manual's order: the successor first. */
async function upgradeAsTheManual(service: ServiceProcess): Promise<void> {
  const old = service.pid();
  const { code, err } = await service.run("-u", "-d");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  // It must still be there for the second command.
  process.kill(old, "SIGQUIT");
}

async function upgradeByVerb(service: ServiceProcess): Promise<void> {
  const { code, out } = await service.run("upgrade");
  expect({ code, out }).toEqual({ code: 0, out: `upgraded: process ${service.pid()} serves\n` });
}

async function upgradeBySignal(service: ServiceProcess): Promise<void> {
  const old = service.pid();
  service.signal("SIGUSR2");
  await service.succeeded(old);
}

describe("under load of kept and new connections no request fails [27]", () => {
  for (const [name, upgrade, threads] of [
    ["kill -QUIT OLD, then aralez -u -d [27]", reloadAsTheOriginal, 1],
    ["aralez -u -d, then kill -QUIT OLD", upgradeAsTheManual, 1],
    ["aralez upgrade", upgradeByVerb, 1],
    ["SIGUSR2", upgradeBySignal, 1],
    ["kill -QUIT OLD, then aralez -u -d, with three workers", reloadAsTheOriginal, 3],
    ["aralez upgrade, with two workers", upgradeByVerb, 2],
  ] as const) {
    test(name, async () => {
      await using up = await startOrigin((_, response) => void response.end("ok"));
      await using service = await startService(rules(up.address), { settings: `threads: ${threads}` });
      await using load = startLoad("http", service.port, "a.test", 8, 8);
      const pids = [service.pid()];
      for (let turn = 0; turn < 3; turn++) {
        await upgrade(service);
        const pid = service.pid();
        // The moment the command returns, the pid file names who serves.
        expect(isAlive(pid) && !pids.includes(pid)).toBe(true);
        pids.push(pid);
        await until(() => !isAlive(pids.at(-2)!), "the end of the predecessor", 60);
      }
      const outcome = await load.end();
      console.log(`${name}: ${JSON.stringify(outcome)}`);
      expect(outcome.failures).toEqual({});
      expect(outcome.answered).toBeGreaterThan(100);
      expect(await service.first.ended()).toBe(0);
      // The admin API went over too.
      await until(
        () =>
          fetch(`http://127.0.0.1:${service.adminPort}/health`).then(
            (answer) => answer.ok,
            () => false,
          ),
        "the admin API of the successor",
      );
      expect(service.log()).not.toMatch(/ (?:WARN|ERROR) /);
    });
  }
});

describe("a successor that does not come up", () => {
  test("by an error in its files: the running process goes on, and says why", async () => {
    await using up = await startOrigin((_, response) => void response.end("ok"));
    await using service = await startService(rules(up.address));
    const pid = service.pid();
    await using load = startLoad("http", service.port, "a.test", 4, 4);
    const good = readFileSync(service.mainFile, "utf8");
    appendFileSync(service.mainFile, "log_levle: info\n");
    const verb = await service.run("upgrade");
    expect(verb.code).toBe(1);
    expect(verb.err).toContain("log_level");
    service.signal("SIGUSR2");
    await service.logged(/ERROR process - upgrade failed, this process goes on: process \d+ ended with code 1/);
    // A port that another one has is only found after the take-over has begun.
    await using taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    writeFileSync(
      service.mainFile,
      good.replace(/^proxy_address_http.*$/m, `proxy_address_http: 127.0.0.1:${taken.port}`),
    );
    const { code, err } = await service.run("upgrade");
    expect(code).toBe(1);
    expect(err).toContain(`Cannot upgrade: Cannot listen on 127.0.0.1:${taken.port}: address already in use`);
    await service.logged(/did not take over, this process goes on: Cannot listen on/);
    writeFileSync(service.mainFile, good);
    expect(service.pid()).toBe(pid);
    // And once the files are right, it works.
    await upgradeByVerb(service);
    expect((await load.end()).failures).toEqual({});
  });

  test("after SIGQUIT: it serves for ten seconds, then drains and ends", async () => {
    await using up = await startOrigin((_, response) => void response.end("ok"));
    await using service = await startService(rules(up.address));
    const beganMs = performance.now();
    service.signal("SIGQUIT");
    // Not at once: a successor may be on its way.
    await service.logged(/serving on for at most 10 s/);
    expect((await fetch(`http://127.0.0.1:${service.port}/`)).status).toBe(200);
    service.signal("SIGQUIT");
    expect(await service.first.ended()).toBe(0);
    expect(performance.now() - beganMs).toBeGreaterThan(9_000);
    expect(existsSync(join(service.folder, "pid"))).toBe(false);
  });
});

test("-u without a running process starts as usual", async () => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using service = await startService(rules(up.address), { args: ["-u"] });
  await service.logged(/there is no running process to take over from: starting as usual/);
  expect((await fetch(`http://127.0.0.1:${service.port}/`)).status).toBe(200);
});

test("what runs on the old process ends there: a long answer, while new requests go to the new one", async () => {
  let finish: (() => void) | undefined;
  await using up = await startOrigin((request, response) => {
    if (request.url !== "/long") return void response.end("ok");
    response.write("first");
    finish = () => response.end("last");
  });
  await using service = await startService(rules(up.address));
  const old = service.pid();
  const socket = connect(service.port, "127.0.0.1");
  let text = "";
  socket.on("data", (data) => (text += data.toString("latin1")));
  socket.write("GET /long HTTP/1.1\r\nHost: a.test\r\n\r\n");
  await until(() => text.includes("first"), "the first half");
  service.signal("SIGUSR2");
  const next = await service.succeeded(old);
  expect(isAlive(old)).toBe(true);
  expect((await fetch(`http://127.0.0.1:${service.port}/`)).status).toBe(200);
  // A SIGQUIT that comes late cuts nothing short.
  process.kill(old, "SIGQUIT");
  await Bun.sleep(200);
  expect(isAlive(old)).toBe(true);
  finish!();
  await until(() => text.includes("last"), "the second half");
  await until(() => !isAlive(old), "the end of the old process");
  expect(service.pid()).toBe(next);
  socket.destroy();
});

test("a SIGQUIT by the new pid file does not end the successor that has just taken over", async () => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using service = await startService(rules(up.address));
  expect((await service.run("-u", "-d")).code).toBe(0);
  const pid = service.pid();
  process.kill(pid, "SIGQUIT");
  await service.logged(new RegExp(`SIGQUIT was meant for process ${service.first.pid}`));
  expect(isAlive(pid)).toBe(true);
  expect((await fetch(`http://127.0.0.1:${service.port}/`)).status).toBe(200);
});

test("two successors at once: one takes over, the other one is refused", async () => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using service = await startService(rules(up.address));
  const both = await Promise.all([service.run("-u", "-d"), service.run("-u", "-d")]);
  const codes = both.map(({ code }) => code).sort();
  // One after the other is as good, where the machine is slow.
  if (codes[1] === 1)
    expect(both.map(({ err }) => err).join("")).toContain("Cannot take over from the running process:");
  expect(codes[0]).toBe(0);
  expect((await fetch(`http://127.0.0.1:${service.port}/`)).status).toBe(200);
});

test("somebody else on the channel is not listened to", async () => {
  await using up = await startOrigin((_, response) => void response.end("ok"));
  await using service = await startService(rules(up.address));
  const name = channelName(service.mainFile, process.geteuid!());
  expect(() => openChannel(name, () => {})).toThrow();
  // Nonsense ends the connection and nothing else.
  for (const line of [
    "nonsense\n",
    '{"kind":"no"}\n',
    `${"x".repeat(100_000)}\n`,
    '{"kind":"take","pid":1,"version":"x"}\n',
  ]) {
    const closed = Promise.withResolvers<void>();
    const socket = await Bun.connect({ unix: name, socket: { data() {}, close: () => closed.resolve() } });
    socket.write(line);
    if (line.includes("take")) socket.end();
    await closed.promise;
  }
  await service.logged(/process 1 did not take over, this process goes on: it ended before it was ready/);
  expect((await fetch(`http://127.0.0.1:${service.port}/`)).status).toBe(200);
  await upgradeByVerb(service);
});
