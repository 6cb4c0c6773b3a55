/** The daemon: whoever starts it is told whether it serves, and what is wrong otherwise. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { channelName, openChannel } from "../../src/process/upgrade/channel.ts";
import { freePort, run, temporaryFolder } from "../cli/program.ts";
import { until } from "../support/proxy.ts";
import { isAlive } from "../support/service.ts";

setDefaultTimeout(60_000);

const rules = 'upstreams: { DEFAULT: { paths: { "/": { redirect_to: "https://x.test" } } } }\n';

function configure(folder: string, more: string, port = freePort()): number {
  writeFileSync(
    join(folder, "main.yaml"),
    `proxy_address_http: 127.0.0.1:${port}\nconfig_address: 127.0.0.1:${freePort()}\npid_file: ${folder}/pid\nlog_file: ${folder}/log\n${more}`,
  );
  writeFileSync(join(folder, "upstreams.yaml"), rules);
  return port;
}

/** Ends the daemon of a folder. */
async function end(folder: string): Promise<void> {
  const pid = Number(readFileSync(join(folder, "pid"), "utf8"));
  process.kill(pid, "SIGTERM");
  await until(() => !isAlive(pid), "the end of the daemon");
}

async function statusOf(port: number): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port}/`, { redirect: "manual" })).status;
}

describe("-d", () => {
  for (const [how, args, more] of [
    ["the flag", ["-d"], ""],
    ["`daemon: true`", [], "daemon: true\n"],
  ] as const) {
    test(`by ${how}: the caller ends with 0 when it serves, in a session of its own, and it obeys SIGTERM`, async () => {
      using folder = temporaryFolder();
      const port = configure(folder.path, more);
      const { code, out, err } = await run([...args, "-c", "main.yaml"], { cwd: folder.path });
      expect({ code, out, err }).toEqual({ code: 0, out: "", err: "" });
      // No waiting: it said that it serves.
      expect(await statusOf(port)).toBe(301);
      const pid = Number(readFileSync(join(folder.path, "pid"), "utf8"));
      const [, , session] = readFileSync(`/proc/${pid}/stat`, "utf8")
        .replace(/^.*\) \S+ /, "")
        .split(" ");
      expect(Number(session)).toBe(pid);
      await end(folder.path);
      expect(existsSync(join(folder.path, "pid"))).toBe(false);
      expect(readFileSync(join(folder.path, "log"), "utf8")).toContain("stopped");
    });
  }

  test("a port that is taken: the caller ends with 1 and the daemon's words", async () => {
    using folder = temporaryFolder();
    await using up = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    configure(folder.path, "", up.port);
    const { code, err } = await run(["-d", "-c", "main.yaml"], { cwd: folder.path });
    expect(code).toBe(1);
    expect(err).toContain(`Cannot listen on 127.0.0.1:${up.port}: address already in use by`);
    expect(err).toContain(`(pid ${process.pid})`);
    expect(existsSync(join(folder.path, "pid"))).toBe(false);
  });

  test("rules with errors: the caller shows them", async () => {
    using folder = temporaryFolder();
    configure(folder.path, "");
    writeFileSync(join(folder.path, "upstreams.yaml"), rules.replace("paths", "pahts"));
    const { code, err } = await run(["-d", "-c", "main.yaml"], { cwd: folder.path });
    expect(code).toBe(1);
    expect(err).toContain("pahts");
  });

  test("a second one is refused while the first runs", async () => {
    using folder = temporaryFolder();
    const port = configure(folder.path, "");
    expect((await run(["-d", "-c", "main.yaml"], { cwd: folder.path })).code).toBe(0);
    const { code, err } = await run(["-d", "-c", "main.yaml"], { cwd: folder.path });
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("still runs") });
    expect(await statusOf(port)).toBe(301);
    await end(folder.path);
  });

  test("without log_file the caller is told that the log is lost; without a file there is no daemon", async () => {
    using folder = temporaryFolder();
    configure(folder.path, "");
    const main = join(folder.path, "main.yaml");
    writeFileSync(main, readFileSync(main, "utf8").replace(/^log_file.*\n/m, ""));
    const told = await run(["-d", "-c", "main.yaml"], { cwd: folder.path });
    expect({ code: told.code, err: told.err }).toEqual({ code: 0, err: expect.stringContaining("set log_file") });
    await end(folder.path);
    using empty = temporaryFolder();
    const { code, err } = await run(["-d"], { cwd: empty.path, env: { ARALEZ_CONFIG: "" } });
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("the demo only runs in the foreground") });
  });

  test("daemon_ready_timeout_seconds ends one that does not come to serve", async () => {
    using folder = temporaryFolder();
    configure(folder.path, "daemon_ready_timeout_seconds: 1\n");
    const mainFile = join(folder.path, "main.yaml");
    // It is to take over from a process that says nothing.
    const mute = openChannel(channelName(mainFile, process.geteuid!()), () => {});
    const { code, err } = await run(["-u", "-d", "-c", mainFile]);
    mute.close();
    expect({ code, err }).toEqual({ code: 1, err: "the daemon was not ready after 1 s and was ended\n" });
  });
});

test("working_directory is where it works, and is named when it is not there", async () => {
  using folder = temporaryFolder();
  using other = temporaryFolder();
  configure(folder.path, `working_directory: ${other.path}\n`);
  expect((await run(["-d", "-c", join(folder.path, "main.yaml")])).code).toBe(0);
  const pid = Number(readFileSync(join(folder.path, "pid"), "utf8"));
  expect(readFileSync(`/proc/${pid}/environ`, "latin1")).toContain("ARALEZ_DAEMON=1");
  expect(
    Bun.spawnSync(["readlink", `/proc/${pid}/cwd`])
      .stdout.toString()
      .trim(),
  ).toBe(other.path);
  await end(folder.path);
  configure(folder.path, "working_directory: /no/such/folder\n");
  const { code, err } = await run(["-c", join(folder.path, "main.yaml")]);
  expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining('Cannot work in "/no/such/folder"') });
});
