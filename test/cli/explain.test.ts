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
