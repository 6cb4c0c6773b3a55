/** The verb `explain`, and the log lines that lead to it. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, origin, run, Started, temporaryFolder } from "./program.ts";

// Bun's default of 5 s is short for a process that starts on a busy machine.
setDefaultTimeout(60_000);

function configured(
  rules: string,
  main = "upstreams_conf: upstreams.yaml\n",
): { path: string; file: string } & Disposable {
  const folder = temporaryFolder();
  const file = join(folder.path, "main.yaml");
  writeFileSync(file, main);
  writeFileSync(join(folder.path, "upstreams.yaml"), rules);
  return { ...folder, file, [Symbol.dispose]: () => folder[Symbol.dispose]() };
}

describe("explain", () => {
  test("asks the members of the route, and shows which one would be asked first", async () => {
    using up = origin("up");
    const dead = freePort();
    using folder = configured(
      `upstreams: { a.test: { paths: { "/": { servers: ["127.0.0.1:${dead}", "127.0.0.1:${up.port}"] } } } }`,
    );
    const { code, out, err } = await run(["explain", "-c", folder.file, "http://a.test/x?token=geheim"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain(`→ forwarded to 127.0.0.1:${up.port}`);
    expect(out).toMatch(new RegExp(`127\\.0\\.0\\.1:${dead} +down +not asked`));
    expect(out).toMatch(new RegExp(`127\\.0\\.0\\.1:${up.port} +up +asked first +http`));
    expect(out).not.toContain("geheim");
    const unasked = await run(["explain", "-c", folder.file, "--no-check", "--json", "post", "a.test"]);
    const { request, members } = JSON.parse(unasked.out);
    expect(request).toEqual({ method: "POST", url: "http://a.test/", client: "127.0.0.1" });
    expect(members.map(({ state }: { state: string }) => state)).toEqual(["unknown", "unknown"]);
  });

  test("takes fields and the client's address", async () => {
    using folder = configured(
      `upstreams: { a.test: { paths: { "/": { servers: ["127.0.0.1:1"], allow: [10.0.0.0/8], authorization: { type: apikey, data: k1 } } } } }`,
    );
    const ask = (...more: string[]) => run(["explain", "-c", folder.file, "--no-check", "http://a.test/", ...more]);
    expect((await ask()).out).toContain("→ answered here: 403");
    expect((await ask("--client", "10.1.2.3")).out).toContain("→ answered here: 401, apikey: no key");
    const good = await ask("--client", "10.1.2.3", "-H", "x-api-key: k1", "-H", "X-Other: 1");
    expect(good.out).toContain("→ forwarded to 127.0.0.1:1");
    expect(good.out).toContain("X-Api-Key: ***".toLowerCase());
    expect(good.out).toContain("X-Other: 1");
  });

  test("shows the errors of a configuration, and how it is used", async () => {
    using folder = configured("upstreams: { a.test: { pathes: {} } }");
    const broken = await run(["explain", "-c", folder.file, "http://a.test/"]);
    expect(broken.code).toBe(1);
    expect(broken.err).toContain("pathes");
    for (const args of [["http://a.test/", "-H", "nonsense"], ["GET", "http://a.test/", "x"], ["ftp://a.test/"], []]) {
      const { code, err } = await run(["explain", "-c", folder.file, ...args]);
      expect(code).toBe(2);
      expect(err).toContain("aralez help explain");
    }
  });
});

describe("a running proxy", () => {
  const key = "0123456789abcdef0123456789abcdef";
  const stage = (admin: string | number) => {
    const files = `upstreams: { a.test: { paths: { "/": { servers: ["127.0.0.1:${freePort()}"] } } } }`;
    const address = typeof admin === "string" ? admin : `127.0.0.1:${admin}`;
    const main = `proxy_address_http: 127.0.0.1:${freePort()}\nconfig_address: "${address}"\nmaster_key: ${key}\nlog_level: debug\n`;
    return configured(files, main);
  };

  test("is asked by the address and key of the files: it tells what is in force, and how its servers are", async () => {
    const admin = freePort();
    using folder = stage(admin);
    await using proxy = new Started(["-c", folder.file]);
    await proxy.until("the admin API", async () => (await run(["health", "-c", folder.file])).code === 0);
    // In force are other rules than those of the files.
    using up = origin("up");
    const body = `upstreams: { a.test: { paths: { "/pushed": { servers: ["127.0.0.1:${up.port}"], authorization: { type: apikey, data: k1-hush } } } } }`;
    const pushed = await fetch(`http://127.0.0.1:${admin}/conf`, {
      method: "POST",
      headers: { "x-api-key": key },
      body,
    });
    expect(pushed.status).toBe(200);
    const ask = (...more: string[]) =>
      run(["explain", "-c", folder.file, ...more, "-H", "X-Api-Key: k1-hush", "http://a.test/pushed?session=hush"]);

    const { out } = await proxy.until("the verdict on the server", async () => {
      const asked = await ask();
      return asked.out.includes(" up ") && asked;
    });
    expect(out).toContain("/pushed → /pushed\n");
    expect(out).toContain(`→ forwarded to 127.0.0.1:${up.port}`);
    expect(out).toEndWith(`note: by the running proxy on 127.0.0.1:${admin}\n`);
    const json = JSON.parse((await ask("--json")).out);
    expect(json).toMatchObject({ route: "a.test/pushed", remarks: [`by the running proxy on 127.0.0.1:${admin}`] });
    expect((await ask("--address", `127.0.0.1:${admin}`)).out).toContain("→ forwarded to");

    const files = await ask("--offline", "--no-check");
    expect(files.out).toContain("/pushed → /\n");
    expect(files.out).toEndWith("note: by the files, not by the running proxy: --offline\n");
    const stranger = await ask("--key", "wrong", "--no-check");
    expect([stranger.code, stranger.out]).toEqual([
      0,
      expect.stringContaining(`what listens on 127.0.0.1:${admin} answers 403 Forbidden: this needs the master key`),
    ]);

    await proxy.until("its lines", () => proxy.out.split("admin - 200 POST /explain, client: ").length > 3);
    expect(proxy.out + proxy.err).not.toContain("hush");
  });

  test("that does not answer is said so, and the files are explained; with --address that is an error", async () => {
    const nobody = freePort();
    using folder = stage(nobody);
    const ask = (...more: string[]) => run(["explain", "-c", folder.file, "--no-check", ...more, "a.test"]);
    const absent = await ask();
    expect([absent.code, absent.err]).toEqual([0, ""]);
    expect(absent.out).toContain("rules of the files");
    expect(absent.out).toContain(
      `note: by the files, not by the running proxy: Cannot ask the admin API on 127.0.0.1:${nobody}: ECONNREFUSED`,
    );
    const named = await ask("--address", `127.0.0.1:${nobody}`);
    expect([named.code, named.out]).toEqual([1, ""]);
    expect(named.err).toContain("ECONNREFUSED");

    using other = origin("some other program");
    const odd = await ask("--address", `127.0.0.1:${other.port}`);
    expect([odd.code, odd.err]).toEqual([1, `aralez: what listens on 127.0.0.1:${other.port} is no admin API\n`]);
  });

  test("over a unix socket that nobody listens on, or without a master key, is not asked", async () => {
    using socket = stage("unix:/nonexistent/aralez.sock");
    expect((await run(["explain", "-c", socket.file, "--no-check", "a.test"])).out).toContain(
      "Cannot ask the admin API on unix:/nonexistent/aralez.sock",
    );
    using keyless = configured(`upstreams: { a.test: { paths: { "/": { servers: ["127.0.0.1:1"] } } } }`);
    expect((await run(["explain", "-c", keyless.file, "--no-check", "a.test"])).out).toContain(
      "note: by the files, not by the running proxy: that is asked when main.yaml has a `master_key`",
    );
  });
});

describe("the log line of a 502, 503 or 504", () => {
  test("ends with the command that tells why, and the command does", async () => {
    const dead = freePort();
    using folder = configured(
      `upstreams: { a.test: { paths: { "/": { servers: ["127.0.0.1:${dead}"], healthcheck: false }, "/no": { deny: [0.0.0.0/0], servers: ["127.0.0.1:${dead}"] } } } }`,
      `proxy_address_http: 127.0.0.1:${freePort()}\n`,
    );
    await using proxy = new Started(["-c", folder.file]);
    const url = await proxy.until("its address", () => /http (http:\/\/127\.0\.0\.1:\d+)/.exec(proxy.out)?.[1]);
    const headers = { Host: "a.test" };
    expect((await fetch(`${url}/x'$(id)?key=geheim&y=${"z".repeat(9000)}`, { headers })).status).toBe(502);
    expect((await fetch(`${url}/no`, { headers })).status).toBe(403);
    const line = await proxy.until("the line", () => /^.*answer - 502 .*$/m.exec(proxy.out)?.[0]);
    const command = /; (aralez explain -c \S+ --client 127\.0\.0\.1 GET '[^']+')$/.exec(line)?.[1];
    expect(command).toBeDefined();
    expect(line).not.toContain("geheim");
    expect(await proxy.until("the other line", () => /^.*answer - 403 .*$/m.exec(proxy.out)?.[0])).not.toContain(
      "explain",
    );
    const words = Bun.spawnSync(["/bin/sh", "-c", `${command!.replace("aralez", "printf '%s\\n'")}`]);
    const { code, out } = await run(words.stdout.toString().trimEnd().split("\n"));
    expect(code).toBe(0);
    expect(out).toContain(`127.0.0.1:${dead}  unchecked  asked first`);
  });
});
