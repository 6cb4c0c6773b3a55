/** The pid file: locked, never through a symlink, and removed by nobody but whom it names. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chownSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PidFile } from "../../src/process/pid-file.ts";
import { freePort, run, Started, temporaryFolder } from "../cli/program.ts";
import { startService } from "../support/service.ts";

setDefaultTimeout(60_000);

const rules = 'upstreams: { DEFAULT: { paths: { "/": { redirect_to: "https://x.test" } } } }\n';

describe("a pid file", () => {
  test("names this process, and goes with it", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "pid");
    const file = PidFile.open(path);
    expect(file.pid).toBeUndefined();
    expect(file.take()).toBe(true);
    expect(readFileSync(path, "utf8")).toBe(`${process.pid}\n`);
    file.remove();
    expect(existsSync(path)).toBe(false);
  });

  test("of a process that died is taken over, whatever number it holds", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "pid");
    // Number 1 always runs: only the lock tells that it is not the holder.
    writeFileSync(path, "1\n");
    const file = PidFile.open(path);
    expect(file.pid).toBe(1);
    expect(file.take()).toBe(true);
    expect(file.pid).toBe(process.pid);
    file.remove();
  });

  test("that another one has locked cannot be taken, and is not removed", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "pid");
    const [holder, other] = [PidFile.open(path), PidFile.open(path)];
    expect(holder.take()).toBe(true);
    expect(other.take()).toBe(false);
    other.remove();
    expect(readFileSync(path, "utf8")).toBe(`${process.pid}\n`);
    holder.remove();
  });

  test("that its holder removed meanwhile is made anew", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "pid");
    const [holder, other] = [PidFile.open(path), PidFile.open(path)];
    holder.take();
    holder.remove();
    expect(other.take()).toBe(true);
    expect(readFileSync(path, "utf8")).toBe(`${process.pid}\n`);
    other.remove();
    expect(existsSync(path)).toBe(false);
  });

  test("left to a successor stays", () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "pid");
    const file = PidFile.open(path);
    file.take();
    file.leave();
    file.remove();
    expect(existsSync(path)).toBe(true);
  });

  test("that is a symlink, a folder or in no folder is refused by name", () => {
    using folder = temporaryFolder();
    const target = join(folder.path, "precious");
    writeFileSync(target, "keep me");
    symlinkSync(target, join(folder.path, "link"));
    symlinkSync(join(folder.path, "nowhere"), join(folder.path, "dangling"));
    mkdirSync(join(folder.path, "folder"));
    for (const [name, why] of [
      ["link", "it is a symlink"],
      ["dangling", "it is a symlink"],
      ["folder", ""],
      ["no/such", "no such file"],
    ] as const)
      expect(() => PidFile.open(join(folder.path, name))).toThrow(
        new RegExp(`^Cannot open "${join(folder.path, name)}" \\(pid_file\\): .*${why}`),
      );
    expect(readFileSync(target, "utf8")).toBe("keep me");
  });
});

test("a file that holds something else, or is another user's, is left alone", () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "pid");
  writeFileSync(path, "precious\n");
  const file = PidFile.open(path);
  expect(() => file.take()).toThrow(`Cannot write "${path}" (pid_file): it holds something else than a process id`);
  file.remove();
  expect(readFileSync(path, "utf8")).toBe("precious\n");
  if (process.getuid?.() !== 0) return;
  chownSync(path, 12345, 12345);
  expect(() => PidFile.open(path)).toThrow(`Cannot open "${path}" (pid_file): it belongs to user 12345`);
  expect(PidFile.open(path, 12345).pid).toBeUndefined();
});

describe("the program", () => {
  test("writes it, refuses a second copy by the holder's number, and removes it", async () => {
    await using service = await startService(rules);
    expect(service.pid()).toBe(service.first.pid);
    const { code, err } = await service.run();
    expect(code).toBe(1);
    expect(err).toContain(`Cannot start: process ${service.first.pid} holds "${service.folder}/pid" (pid_file)`);
    expect(service.pid()).toBe(service.first.pid);
    service.first.kill("SIGTERM");
    expect(await service.first.ended()).toBe(0);
    expect(existsSync(join(service.folder, "pid"))).toBe(false);
  });

  test("that cannot start leaves none behind", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "pid");
    await using up = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    writeFileSync(join(folder.path, "main.yaml"), `proxy_address_http: 127.0.0.1:${up.port}\npid_file: ${path}\n`);
    writeFileSync(join(folder.path, "upstreams.yaml"), rules);
    expect((await run(["-c", "main.yaml"], { cwd: folder.path })).code).toBe(1);
    expect(existsSync(path)).toBe(false);
  });

  test("without the key writes none in the foreground", async () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, "main.yaml"), `proxy_address_http: 127.0.0.1:${freePort()}\n`);
    writeFileSync(join(folder.path, "upstreams.yaml"), rules);
    const before = existsSync("/tmp/aralez.pid");
    await using program = new Started(["-c", "main.yaml"], { cwd: folder.path });
    await program.until("the summary", () => program.out.includes("in force"));
    expect(existsSync("/tmp/aralez.pid")).toBe(before);
  });
});
