/** The verbs that read and write configuration files: validate, init, schema, proxy --print-config. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Problem } from "../../src/config/problem.ts";
import { run, temporaryFolder } from "./program.ts";

// Bun's default of 5 s is short for a process that starts on a busy machine.
setDefaultTimeout(30_000);

const rules = 'provider: file\nupstreams:\n  a.test:\n    paths:\n      "/":\n        servers: ["127.0.0.1:8001"]\n';

/** Writes files into a folder: name, text, name, text, … */
function write(folder: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
}

describe("validate", () => {
  test("says valid and exits 0; -t does the same", async () => {
    using folder = temporaryFolder();
    write(folder.path, { "main.yaml": "log_level: info\n", "upstreams.yaml": rules });
    const asked = await run(["validate", "-c", "main.yaml"], { cwd: folder.path });
    expect(asked.out).toContain("valid (no problems)");
    expect(asked.code).toBe(0);
    expect(await run(["-t", "-c", "main.yaml"], { cwd: folder.path })).toEqual(asked);
  });

  test("shows the errors of both files at once, each with file, line, column and source, and exits 1", async () => {
    using folder = temporaryFolder();
    write(folder.path, {
      "main.yaml": "log_levle: info\nupstreams_conf: other.yaml  # not the default name\n",
      "other.yaml": rules.replace("servers", "serverz").replace("provider: file", "provider: flie"),
    });
    const { code, out } = await run(["validate", "-c", "main.yaml"], { cwd: folder.path });
    expect(code).toBe(1);
    expect(out).toMatch(/main\.yaml:1:1: error: .*log_levle.*did you mean `log_level`/);
    expect(out).toContain("1 | log_levle: info\n  | ^");
    expect(out).toMatch(/other\.yaml:1:11: error: /);
    expect(out).toMatch(/other\.yaml:6:9: error: .*serverz/);
    expect(out).toContain("not valid (");
  });

  test("--format json lists the same problems", async () => {
    using folder = temporaryFolder();
    write(folder.path, { "main.yaml": "log_levle: info\nhc_interval: never\n", "upstreams.yaml": rules });
    const text = await run(["validate", "-c", "main.yaml"], { cwd: folder.path });
    const { code, out, err } = await run(["validate", "-c", "main.yaml", "--format", "json"], { cwd: folder.path });
    const result = JSON.parse(out) as { ok: boolean; files: string[]; problems: Problem[] };
    expect(result.ok).toBe(false);
    expect(result.files).toHaveLength(2);
    expect(result.problems.filter(({ severity }) => severity === "error").map(({ line }) => line)).toEqual([1, 2]);
    for (const { message } of result.problems) expect(text.out).toContain(message);
    expect({ code, err }).toEqual({ code: 1, err: "" });
  });

  test("lists what the original would have ignored silently, which is no error", async () => {
    using folder = temporaryFolder();
    write(folder.path, {
      "main.yaml": "log_level: info\n",
      "upstreams.yaml": rules.replace("    paths", "    retries: 1\n    paths"),
    });
    const { code, out } = await run(["validate", "-c", "main.yaml"], { cwd: folder.path });
    expect(out).toContain("What the original would have ignored silently:");
    expect(out).toContain("retries");
    expect(code).toBe(0);
  });

  test("checks conf.d, and never shows a secret", async () => {
    using folder = temporaryFolder();
    write(folder.path, {
      "main.yaml": 'master_key: "s3cret-s3cret-s3cret"  # bad: [\nnot_a_key: 1\n',
      "upstreams.yaml": rules,
    });
    await Bun.write(join(folder.path, "conf.d/b.yaml"), "b.test:\n  pathz: {}\n");
    const { code, out } = await run(["validate", "-c", "main.yaml"], { cwd: folder.path });
    expect(out).toMatch(/conf\.d\/b\.yaml:2:3: error: /);
    expect(out).not.toContain("s3cret");
    expect(code).toBe(1);
  });

  test("of a file that does not exist is one error, and without any file it says where it looked", async () => {
    using folder = temporaryFolder();
    const missing = await run(["validate", "-c", "nowhere.yaml"], { cwd: folder.path });
    expect(missing.out).toContain('nowhere.yaml:1:1: error: Cannot read "nowhere.yaml": there is no such file');
    expect(missing.code).toBe(1);
    write(folder.path, { "main.yaml": "log_level: info\n" });
    const half = await run(["validate"], { cwd: folder.path });
    expect(half.out).toContain("upstreams.yaml");
    expect(half.out).toContain("there is no such file");
    expect(half.out).toContain("(1 error)");
  });
});

describe("where main.yaml is looked for", () => {
  test("-c wins over $ARALEZ_CONFIG, that over ./main.yaml", async () => {
    using folder = temporaryFolder();
    write(folder.path, {
      "main.yaml": "a_one: 1\n",
      "env.yaml": "a_two: 1\n",
      "flag.yaml": "a_three: 1\n",
      "upstreams.yaml": rules,
    });
    const at = { cwd: folder.path };
    const env = { ARALEZ_CONFIG: "env.yaml" };
    expect((await run(["validate"], at)).out).toContain("a_one");
    expect((await run(["validate"], { ...at, env })).out).toContain("a_two");
    expect((await run(["validate", "-c", "flag.yaml"], { ...at, env })).out).toContain("a_three");
  });

  test("a file named by $ARALEZ_CONFIG that is not there is an error, not the next one in order", async () => {
    using folder = temporaryFolder();
    write(folder.path, { "main.yaml": "log_level: info\n", "upstreams.yaml": rules });
    const { code, out } = await run(["validate"], { cwd: folder.path, env: { ARALEZ_CONFIG: "gone.yaml" } });
    expect(out).toContain('Cannot read "gone.yaml"');
    expect(code).toBe(1);
  });
});

describe("init", () => {
  test("writes a commented configuration that is valid, with a key of its own that only the user can read", async () => {
    using folder = temporaryFolder();
    const at = { cwd: folder.path };
    const { code, out } = await run(["init", "one"], at);
    expect(code).toBe(0);
    expect(out).toContain("aralez -c one/main.yaml");
    await run(["init", "deep/two"], at);
    expect(readdirSync(join(folder.path, "one")).sort()).toEqual([
      "main.schema.json",
      "main.yaml",
      "upstreams.schema.json",
      "upstreams.yaml",
    ]);
    const main = readFileSync(join(folder.path, "one/main.yaml"), "utf8");
    expect(main).toStartWith("# yaml-language-server: $schema=./main.schema.json\n");
    expect(statSync(join(folder.path, "one/main.yaml")).mode & 0o777).toBe(0o600);
    const keyOf = (text: string) => /^master_key: "([\w-]{43})"$/m.exec(text)?.[1];
    expect(keyOf(main)).toBeDefined();
    expect(keyOf(readFileSync(join(folder.path, "deep/two/main.yaml"), "utf8"))).not.toBe(keyOf(main));
    const checked = await run(["validate", "-c", "one/main.yaml", "--format", "json"], at);
    const problems = (JSON.parse(checked.out) as { problems: Problem[] }).problems;
    expect(problems.filter(({ severity }) => severity !== "note")).toEqual([]);
  });

  test("overwrites nothing: one file that is there stops it before it writes any", async () => {
    using folder = temporaryFolder();
    write(folder.path, { "upstreams.yaml": "mine\n" });
    const { code, err } = await run(["init", "."], { cwd: folder.path });
    expect(err).toContain("nothing is overwritten, found upstreams.yaml");
    expect(code).toBe(1);
    expect(readdirSync(folder.path)).toEqual(["upstreams.yaml"]);
    expect(readFileSync(join(folder.path, "upstreams.yaml"), "utf8")).toBe("mine\n");
  });
});

describe("schema", () => {
  const committed = (name: string) => readFileSync(join(import.meta.dir, "../../config", name), "utf8");

  test("prints what is committed under config/", async () => {
    expect((await run(["schema", "main"])).out).toBe(committed("main.schema.json"));
    expect((await run(["schema", "upstreams"])).out).toBe(committed("upstreams.schema.json"));
  });

  test("--write DIR writes both, or the one that is named", async () => {
    using folder = temporaryFolder();
    await run(["schema", "--write", "one"], { cwd: folder.path });
    await run(["schema", "upstreams", "--write", "two"], { cwd: folder.path });
    expect(readdirSync(join(folder.path, "one")).sort()).toEqual(["main.schema.json", "upstreams.schema.json"]);
    expect(readdirSync(join(folder.path, "two"))).toEqual(["upstreams.schema.json"]);
    expect(readFileSync(join(folder.path, "two/upstreams.schema.json"), "utf8")).toBe(
      committed("upstreams.schema.json"),
    );
  });
});

test("proxy --print-config prints two files that are valid and hold every server, and starts nothing", async () => {
  using folder = temporaryFolder();
  const args = [
    "proxy",
    "--from",
    ":8080",
    "--to",
    "127.0.0.1:3000,https://[::1]:3443",
    "--to",
    ":3001",
    "--access-log",
  ];
  const { code, out, err } = await run([...args, "--print-config"]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const [main = "", upstreams = ""] = out.split("---\n");
  expect(main).toContain('proxy_address_http: ":8080"');
  expect(main).toContain("access_log: all");
  for (const server of ["127.0.0.1:3000", "https://[::1]:3443", "127.0.0.1:3001"])
    expect(upstreams).toContain(`- "${server}"`);
  write(folder.path, { "main.yaml": main, "upstreams.yaml": upstreams });
  const checked = await run(["validate"], { cwd: folder.path });
  expect(checked.out).toMatch(/: valid \(no problems\)/);
  expect(checked.code).toBe(0);
});
