/** The verbs that talk to a running proxy: status, health, reload and token, over TCP and a unix socket. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, origin, run, Started, temporaryFolder } from "./program.ts";

// Bun's default of 5 s is short for a process that starts on a busy machine.
setDefaultTimeout(60_000);

const masterKey = "0123456789abcdef0123456789abcdef";

interface Stage extends AsyncDisposable {
  readonly folder: string;
  readonly main: string;
  readonly program: Started;
  readonly url: string;
}

/** A running program whose admin API is on a unix socket. */
async function startStage(main = `master_key: ${masterKey}\n`, env: Record<string, string> = {}): Promise<Stage> {
  const folder = temporaryFolder();
  const server = origin("one");
  const address = `127.0.0.1:${freePort()}`;
  const file = join(folder.path, "main.yaml");
  const socket = join(folder.path, "admin.sock");
  writeFileSync(file, `proxy_address_http: "${address}"\nconfig_address: "unix:${socket}"\nhc_interval: 0.2\n${main}`);
  writeFileSync(join(folder.path, "upstreams.yaml"), rulesFor(server.port!));
  const program = new Started(["-c", file], { env });
  await program.until("the admin API", async () => (await run(["health", "-c", file])).code === 0);
  return {
    folder: folder.path,
    main: file,
    program,
    url: `http://${address}`,
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      await server.stop(true);
      folder[Symbol.dispose]();
    },
  };
}

const rulesFor = (port: number, more = "") =>
  `upstreams:\n  DEFAULT:\n    paths:\n      "/": { servers: ["127.0.0.1:${port}"]${more} }\n`;

let stage: Stage;
beforeAll(async () => void (stage = await startStage()));
afterAll(() => stage?.[Symbol.asyncDispose]());

describe("health", () => {
  test("exits 0 while the proxy runs, with --ready and --json too", async () => {
    expect(await run(["health", "-c", stage.main])).toEqual({ code: 0, out: "ok\n", err: "" });
    expect(await run(["health", "-c", stage.main, "--ready"])).toEqual({ code: 0, out: "ready\n", err: "" });
    expect(await run(["health", "-c", stage.main, "--json"])).toMatchObject({
      code: 0,
      out: '{"ok":true,"message":"ok"}\n',
    });
    expect(await run(["health"], { env: { ARALEZ_CONFIG: stage.main } })).toMatchObject({ code: 0 });
  });

  test("exits 1 when nobody is there, and says where it looked", async () => {
    const address = `127.0.0.1:${freePort()}`;
    const { code, out, err } = await run(["health", "--address", address]);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toStartWith(`aralez: Cannot ask the admin API on ${address}: `);
    const json = await run(["health", "--address", "unix:/nonexistent/x.sock", "--json"]);
    expect([json.code, JSON.parse(json.out).ok]).toEqual([1, false]);
  });

  test("needs no file that it cannot read when it has an address", async () => {
    const address = `unix:${join(stage.folder, "admin.sock")}`;
    expect(await run(["health", "-c", "/nonexistent/main.yaml", "--address", address])).toMatchObject({ code: 0 });
    expect(await run(["health", "--address", "nonsense"])).toMatchObject({ code: 2 });
  });
});

describe("status", () => {
  test("shows process, rules and servers, and exits 0 while all is well", async () => {
    const { code, out, err } = await stage.program.until("the server to be up", async () => {
      const shown = await run(["status", "-c", stage.main]);
      return / up /.test(shown.out) && shown;
    });
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(`process ${stage.program.pid}, up `);
    expect(out).toContain(`listening: http ${stage.url}, admin unix:`);
    expect(out).toMatch(/^ROUTE +REQUESTS +SERVER +STATE +SPEAKS +OPEN +CAUSE$/m);
    expect(out).toMatch(/^DEFAULT\/ +\d+ +127\.0\.0\.1:\d+ +up +http +\d+$/m);
    const json = await run(["status", "-c", stage.main, "--json"]);
    expect(JSON.parse(json.out)).toMatchObject({ ready: true, release: expect.stringMatching(/^\d+\.\d+\.\d+$/) });
  });

  test("exits 1 when a server is down, and names it with its cause", async () => {
    await using down = await startStage();
    writeFileSync(join(down.folder, "upstreams.yaml"), rulesFor(freePort()));
    const { code, out } = await down.program.until("the server to be down", async () => {
      const shown = await run(["status", "-c", down.main]);
      return / down /.test(shown.out) && shown;
    });
    expect(code).toBe(1);
    expect(out).toContain("connection refused");
  });
});

describe("reload", () => {
  test("shows what changed, and exits 1 with every error when the files are refused", async () => {
    await using own = await startStage();
    const file = join(own.folder, "upstreams.yaml");
    const same = await run(["reload", "-c", own.main]);
    expect([same.code, same.err]).toEqual([0, ""]);
    expect(same.out).toContain("changed: nothing\n");
    writeFileSync(file, "upstreams: { DEFAULT: { pahts: {} } }\n");
    const refused = await run(["reload", "-c", own.main]);
    expect([refused.code, refused.out]).toEqual([1, ""]);
    expect(refused.err).toContain(`${file}:1:`);
    expect(refused.err).toContain("did you mean `paths`?");
    const json = await run(["reload", "-c", own.main, "--json"]);
    expect([json.code, JSON.parse(json.out).applied]).toEqual([1, false]);
    writeFileSync(file, rulesFor(freePort(), ", retries: 5"));
    const applied = await run(["reload", "-c", own.main]);
    expect([applied.code, applied.out.split("\n")[0]]).toEqual([0, "Applied"]);
  });

  test("says when main.yaml has an error, or a key that needs a restart", async () => {
    await using own = await startStage();
    const text = await Bun.file(own.main).text();
    writeFileSync(own.main, `${text}threads: 2\nadmin_read: key\n`);
    const changed = await run(["reload", "-c", own.main]);
    expect([changed.code, changed.out]).toEqual([0, expect.stringContaining("needs a restart: threads\n")]);
    // admin_read needs none.
    const closed = await run(["status", "--address", `unix:${join(own.folder, "admin.sock")}`, "--key", "wrong"]);
    expect([closed.code, closed.err]).toEqual([1, expect.stringContaining("`admin_read: key`")]);
    writeFileSync(own.main, `${text}hc_interval: soon\n`);
    const address = `unix:${join(own.folder, "admin.sock")}`;
    const broken = await run(["reload", "--address", address, "--key", masterKey]);
    expect([broken.code, broken.err]).toEqual([1, expect.stringContaining("hc_interval")]);
    expect(broken.err).toContain("main.yaml is refused, the running settings stay; the rules were read again");
  });

  test("exits 1 without the right key", async () => {
    const { code, err } = await run(["reload", "-c", stage.main, "--key", "wrong"]);
    expect([code, err]).toEqual([1, expect.stringContaining("403 Forbidden: this needs the master key")]);
  });
});

describe("token", () => {
  test("prints a token alone, which a jwt route accepts", async () => {
    await using own = await startStage();
    writeFileSync(
      join(own.folder, "upstreams.yaml"),
      `authorization: { type: jwt }\nupstreams: { DEFAULT: { paths: { "/": { redirect_to: "https://in.test" } } } }\n`,
    );
    expect((await run(["reload", "-c", own.main])).code).toBe(0);
    const { code, out, err } = await run(["token", "-c", own.main, "--owner", "ann", "--minutes", "5"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    const ask = (token: string) =>
      fetch(own.url, { redirect: "manual", headers: { Authorization: `Bearer ${token}` } }).then(
        ({ status }) => status,
      );
    expect([await ask(out.trim()), await ask("x")]).toEqual([301, 401]);
    expect(JSON.parse((await run(["token", "-c", own.main, "--json"])).out)).toEqual({ token: expect.any(String) });
  });

  test("exits 1 for a wrong key, 2 for wrong minutes", async () => {
    expect(await run(["token", "-c", stage.main, "--key", "wrong"])).toEqual({
      code: 1,
      out: "",
      err: "aralez: the key is wrong, or none was given\n",
    });
    expect(await run(["token", "-c", stage.main, "--minutes", "0"])).toMatchObject({ code: 2 });
  });

  test("JWT_KEY wins over the key of main.yaml, on both sides", async () => {
    const env = { JWT_KEY: "another key, given by the environment" };
    await using own = await startStage(undefined, env);
    expect((await run(["token", "-c", own.main])).code).toBe(1);
    expect((await run(["token", "-c", own.main], { env })).code).toBe(0);
  });
});

test("the demo has no admin API", async () => {
  using folder = temporaryFolder();
  await using demo = new Started([], { cwd: folder.path });
  await demo.url();
  expect(demo.out + demo.err).not.toContain("admin");
});
