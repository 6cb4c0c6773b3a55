/** `POST /conf` and what belongs to it: every status, and the running rules untouched by whatever is wrong. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { configBytesMax, ruleHistoryMax } from "../../../src/lib/limits.ts";
import { echo, startOrigin, type Origin } from "../../support/origins.ts";
import { startProxy, until, type TestProxy } from "../../support/proxy.ts";
import { raw } from "../../support/raw.ts";
import { send } from "../../support/send.ts";
import { adminOf, asJson, masterKey, withKey } from "./ask.ts";

let one: Origin;
let two: Origin;
beforeAll(async () => {
  one = await startOrigin(echo("one"));
  two = await startOrigin(echo("two"));
});
afterAll(async () => {
  await one?.close();
  await two?.close();
});

const rules = (origin: Origin, more = "") =>
  `upstreams: { a.test: { paths: { "/": { healthcheck: false, servers: ["${origin.address}"]${more} } } } }\n`;
const start = (more: Parameters<typeof startProxy>[1] = {}, text = rules(one)) =>
  startProxy(text, { master_key: masterKey, ...more });

async function goes(proxy: TestProxy, target = "/"): Promise<string> {
  const answer = await send(proxy.plainPort, target);
  return answer.field("x-origin") ?? String(answer.status);
}

describe("POST /conf", () => {
  test("is answered when the rules are in force: `Applied`, then what changed [23] [B24]", async () => {
    await using proxy = await start();
    const answer = await adminOf(proxy)("POST", "/conf", { body: rules(two) });
    expect(await goes(proxy)).toBe("two");
    expect(answer.status).toBe(200);
    expect(answer.field("content-type")).toBe("text/plain; charset=utf-8");
    expect(answer.body).toMatch(
      /^Applied\nversion: [0-9a-f]{12} \(before: [0-9a-f]{12}\)\nchanged: ~1 route, \+1 server, -1 server\n~ a\.test\/ servers\n$/,
    );
    expect(await proxy.logged(/admin - 200 POST \/conf/)).toContain("changed: ~1 route, +1 server, -1 server");
  });

  test.each(["application/x-www-form-urlencoded", "application/yaml", "text/plain"])(
    "takes a body of type %s, and one in chunks",
    async (type) => {
      await using proxy = await start();
      const admin = adminOf(proxy);
      expect((await admin("POST", "/conf", { body: rules(two), fields: [["Content-Type", type]] })).status).toBe(200);
      const text = rules(one);
      const body = `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`;
      const chunked = await admin("POST", "/conf", { body, fields: [["Transfer-Encoding", "chunked"]] });
      expect(chunked.status).toBe(200);
      expect(await goes(proxy)).toBe("one");
    },
  );

  test("flags what touches who may pass, also where a new path opens a protected one", async () => {
    const guarded = `authorization: { type: basic, data: "u:p" }\n${rules(one)}`;
    await using proxy = await start({}, guarded);
    const opened = `authorization: { type: basic, data: "u:p" }
upstreams:
  a.test:
    paths:
      "/": { healthcheck: false, servers: ["${one.address}"], retries: 1 }
      "/open": { healthcheck: false, servers: ["${one.address}"], authorization: { type: none } }
`;
    const { status, body } = await adminOf(proxy)("POST", "/conf", { body: opened, fields: [asJson] });
    expect(status).toBe(200);
    expect(JSON.parse(body)).toMatchObject({
      applied: true,
      result: "Applied",
      changes: "+1 route, ~1 route",
      security: 1,
      routes: [
        { change: "added", route: "a.test/open", security: ["authorization"] },
        { change: "changed", route: "a.test/", keys: ["retries"], security: [] },
      ],
    });
    const text = await adminOf(proxy)("POST", "/conf?dry_run", { body: rules(one) });
    expect(text.body).toContain("1 of them security-relevant\n");
    expect(text.body).toContain("~ a.test/ authorization, retries [security: authorization]\n- a.test/open\n");
  });

  test("with ?dry_run says the same and changes nothing", async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    const { status, body } = await admin("POST", "/conf?dry_run", { body: rules(two) });
    expect([status, body.split("\n")[0]]).toEqual([200, "Dry run: nothing was changed"]);
    expect(body).toContain("~ a.test/ servers");
    expect(await goes(proxy)).toBe("one");
    expect(JSON.parse((await admin("GET", "/conf/history")).body)).toHaveLength(1);
    expect((await admin("POST", "/conf?dry_run", { body: "upstreams: [" })).status).toBe(400);
    // The ledger keeps nothing of servers that were only tried.
    const tried = await admin("POST", "/conf?dry_run&save", { body: rules(two) });
    expect(tried.status).toBe(200);
    expect(readFileSync(join(proxy.folder, "upstreams.yaml"), "utf8")).toBe(rules(one));
  });

  test("answers 400 with every error where it is, as text and as JSON; the rules stay", async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    const body = `upstreams:\n  a.test:\n    pahts: {}\n  b.test:\n    paths:\n      "/": { servers: ["no port"], retries: many }\n`;
    const text = await admin("POST", "/conf", { body });
    expect(text.status).toBe(400);
    expect(text.body).toStartWith("400 Bad Request: the rules are refused, the running ones stay\n");
    for (const place of ["pushed:3:5: error: ", "pushed:6:", "did you mean `paths`?"])
      expect(text.body).toContain(place);
    const json = JSON.parse((await admin("POST", "/conf", { body, fields: [asJson] })).body);
    expect(json.applied).toBe(false);
    expect(json.errors).toBeGreaterThanOrEqual(3);
    expect(json.problems[0]).toMatchObject({ severity: "error", line: 2 + 1, column: 5 });
    expect(await goes(proxy)).toBe("one");
    expect(await proxy.logged(/admin - 400 POST \/conf/)).toContain("refused: ");
  });

  test("never shows a secret of the text that it refuses", async () => {
    await using proxy = await start();
    const body = `authorization: { type: basic, data: "u:hush-hush", nonsense: 1 }\n${rules(one)}`;
    const answer = await adminOf(proxy)("POST", "/conf", { body });
    expect(answer.status).toBe(400);
    expect(answer.body).not.toContain("hush-hush");
    // What is not YAML has no keys to go by: here the secret is what the parser stumbles over.
    for (const broken of [
      `authorization: { type: basic, data"u:hush-hush" }\n${rules(one)}`,
      `authorization:\n  type: basic\n  users:\n  ann: "hush-hush"\n   bob: hush-hush\n${rules(one)}`,
      `authorization: { type: apikey, data: *hush-hush }\n${rules(one)}`,
    ]) {
      const refused = await adminOf(proxy)("POST", "/conf", { body: broken });
      expect([refused.status, refused.body.includes("hush-hush")]).toEqual([400, false]);
      proxy.write(broken);
      expect((await adminOf(proxy)("POST", "/reload")).body).not.toContain("hush-hush");
      expect((await adminOf(proxy)("GET", "/status")).body).not.toContain("hush-hush");
    }
    expect(proxy.log()).not.toContain("hush-hush");
  });

  test("refuses an empty body, comments alone, a list and bytes that are no UTF-8 with 400", async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    for (const body of ["", "# nothing\n", "- a\n- b\n", "\ttab: 1\n"])
      expect([body, (await admin("POST", "/conf", { body })).status]).toEqual([body, 400]);
    const head = `POST /conf HTTP/1.1\r\nHost: x\r\n${withKey.join(": ")}\r\nConnection: close\r\nContent-Length: 18\r\n\r\n`;
    const odd = await raw(proxy.adminPort, Buffer.from(`${head}upstreams:\n  \xff\xfe: x\n`, "latin1"));
    expect([odd.status, odd.body.split("\n")[1]]).toEqual([
      400,
      'pushed:2:3: error: Cannot read "pushed": expected UTF-8 text, found other bytes here',
    ]);
    expect(await goes(proxy)).toBe("one");
  });

  test("refuses a YAML alias bomb and endless brackets with 400, and goes on serving meanwhile", async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    const bomb = Array.from({ length: 30 }, (_, i) =>
      i === 0
        ? "a0: &a0 [x, x, x, x, x, x, x, x, x]"
        : `a${i}: &a${i} [${Array(9)
            .fill(`*a${i - 1}`)
            .join(", ")}]`,
    ).join("\n");
    const asked = Promise.all([
      admin("POST", "/conf", { body: `${bomb}\n` }),
      admin("POST", "/conf", { body: `upstreams: ${"[".repeat(100_000)}\n` }),
    ]);
    expect(await goes(proxy)).toBe("one");
    for (const { status, body } of await asked) {
      expect(status).toBe(400);
      expect(body).toMatch(/aliases|open brackets|more than/);
    }
    expect(await goes(proxy)).toBe("one");
  });

  test("refuses more than 8 MiB with 413, announced or not, without reading all of it", async () => {
    await using proxy = await start();
    const head = `POST /conf HTTP/1.1\r\nHost: x\r\n${withKey.join(": ")}\r\n`;
    const announced = await raw(proxy.adminPort, `${head}Content-Length: ${configBytesMax + 1}\r\n\r\n`);
    expect([announced.status, announced.body]).toEqual([
      413,
      `413 Content Too Large: expected a body of at most ${configBytesMax} bytes, found ${configBytesMax + 1} or more\n`,
    ]);
    const chunk = `100000\r\n${"#".repeat(0x100000)}\r\n`;
    const chunked = await raw(proxy.adminPort, `${head}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(9)}`, 20_000);
    expect(chunked.status).toBe(413);
    expect(await goes(proxy)).toBe("one");
  });

  test("does not read a body whose sender has no key", async () => {
    await using proxy = await start();
    const head = "POST /conf HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
    const answer = await raw(proxy.adminPort, head);
    expect(answer.status).toBe(403);
  });

  test("is 403 when config_api_enabled is false, for rollbacks too; reading stays", async () => {
    await using proxy = await start({ config_api_enabled: false });
    const admin = adminOf(proxy);
    for (const target of ["/conf", "/conf?dry_run", "/conf/rollback"]) {
      const { status, body } = await admin("POST", target, { body: rules(two) });
      expect([status, body]).toEqual([
        403,
        "403 Forbidden: the configuration API is disabled (`config_api_enabled: false` in main.yaml)\n",
      ]);
    }
    expect((await admin("GET", "/status")).status).toBe(200);
    expect(await goes(proxy)).toBe("one");
  });

  test("refuses a fifth change while four are under way, and says when to come back", async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    // Bodies that do not come to their end.
    const head = `POST /conf HTTP/1.1\r\nHost: x\r\n${withKey.join(": ")}\r\nContent-Length: 100\r\n\r\nhalf`;
    const waiting = Array.from({ length: 4 }, () => raw(proxy.adminPort, head, 3_000));
    const busy = await until(async () => {
      const answer = await admin("POST", "/conf?dry_run", { body: rules(two) });
      return answer.status === 503 && answer;
    });
    expect(busy.field("retry-after")).toBe("1");
    await Promise.all(waiting);
    await until(async () => (await admin("POST", "/conf?dry_run", { body: rules(two) })).status === 200);
  });

  test("a route to the admin API itself is named in the answer [A1]", async () => {
    await using proxy = await start({ config_address: { hostname: "127.0.0.1", port: await freePort() } });
    const admin = adminOf(proxy);
    const body = `upstreams: { DEFAULT: { paths: { "/": { servers: ["127.0.0.1:${proxy.adminPort}"] } } } }\n`;
    const answer = await admin("POST", "/conf", { body });
    expect(answer.status).toBe(200);
    expect(answer.body).toContain("route DEFAULT/ is switched off");
    expect(await goes(proxy)).toBe("404");
  });
});

describe("pushed rules", () => {
  test("stay through a SIGHUP and touched files, until the content of the file changes", async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    await admin("POST", "/conf", { body: rules(two) });
    await proxy.running.reload();
    expect(await goes(proxy)).toBe("two");
    const reloaded = await admin("POST", "/reload");
    expect(reloaded.body).toContain("pushed rules are in force: they stay until the files change");
    proxy.write(rules(one));
    await proxy.running.reload();
    expect(await goes(proxy)).toBe("two");
    // A broken file changes nothing, and does not end what was pushed.
    proxy.write("upstreams: [");
    expect((await proxy.running.reload()).kind).toBe("refused");
    await proxy.running.reload();
    expect(await goes(proxy)).toBe("two");
    proxy.write(rules(one, ", retries: 1"));
    await until(async () => (await goes(proxy)) === "one");
  });

  test("have no hosts of conf.d, which come back with the files; ?save keeps them [4]", async () => {
    await using proxy = await start();
    mkdirSync(join(proxy.folder, "conf.d"));
    writeFileSync(
      join(proxy.folder, "conf.d", "b.yaml"),
      `b.test: { paths: { "/": { redirect_to: "https://c.test" } } }\n`,
    );
    const redirects = async () => (await send(proxy.plainPort, "/", { host: "b.test" })).status;
    await until(async () => (await redirects()) === 301);
    const admin = adminOf(proxy);
    expect((await admin("POST", "/conf", { body: rules(two) })).body).toContain("- b.test/");
    expect(await redirects()).toBe(404);
    expect((await admin("POST", "/conf?save", { body: rules(two) })).status).toBe(200);
    expect([await redirects(), await goes(proxy)]).toEqual([301, "two"]);
  });
});

describe("POST /conf?save", () => {
  test("replaces the file at once, with its mode, and leaves nothing beside it", async () => {
    await using proxy = await start();
    const file = join(proxy.folder, "upstreams.yaml");
    chmodSync(file, 0o640);
    const { ino } = statSync(file);
    await proxy.logged(/in force/);
    const before = readdirSync(proxy.folder);
    const { status, body } = await adminOf(proxy)("POST", "/conf?save", { body: rules(two) });
    expect([status, body]).toEqual([200, expect.stringContaining(`saved: ${file}\n`)]);
    expect(readFileSync(file, "utf8")).toBe(rules(two));
    expect(statSync(file).mode & 0o777).toBe(0o640);
    // Another file under the name: whoever read the old one goes on reading it whole.
    expect(statSync(file).ino).not.toBe(ino);
    expect(readdirSync(proxy.folder)).toEqual(before);
    // The watch sees what is in force already.
    await proxy.running.reload();
    expect(await goes(proxy)).toBe("two");
    const history = JSON.parse((await adminOf(proxy)("GET", "/conf/history")).body);
    expect(history.map(({ in_force }: { in_force: boolean }) => in_force)).toEqual([true, false]);
  });

  test("a reader never sees half a file, whatever the moment", async () => {
    await using proxy = await start();
    const file = join(proxy.folder, "upstreams.yaml");
    const long = (origin: Origin) => rules(origin) + "# padding\n".repeat(2_000);
    const texts = new Set([rules(one), long(one), long(two)]);
    let reading = true;
    const odd: string[] = [];
    const reader = (async () => {
      while (reading) {
        const text = readFileSync(file, "utf8");
        if (!texts.has(text)) odd.push(text.slice(0, 80));
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    for (let i = 0; i < 5; i++)
      expect((await adminOf(proxy)("POST", "/conf?save", { body: long(i % 2 ? one : two) })).status).toBe(200);
    reading = false;
    await reader;
    expect(odd).toEqual([]);
  });

  test("writes through a symbolic link, which stays one", async () => {
    await using proxy = await start();
    const file = join(proxy.folder, "upstreams.yaml");
    const real = join(proxy.folder, "real.yaml");
    writeFileSync(real, rules(one));
    rmSync(file);
    symlinkSync("real.yaml", file);
    expect((await adminOf(proxy)("POST", "/conf?save", { body: rules(two) })).status).toBe(200);
    expect(readFileSync(real, "utf8")).toBe(rules(two));
    expect(
      readdirSync(proxy.folder, { withFileTypes: true })
        .find(({ name }) => name === "upstreams.yaml")!
        .isSymbolicLink(),
    ).toBe(true);
  });

  test("that cannot write is 409: the rules are in force, the file is as it was", async () => {
    await using proxy = await start();
    const file = join(proxy.folder, "upstreams.yaml");
    // Root may write everywhere, so the folder has to be gone.
    rmSync(file);
    const { status, body } = await adminOf(proxy)("POST", "/conf?save", { body: rules(two) });
    expect([status, body.split("\n")[0]]).toEqual([
      409,
      `409 Conflict: the rules are in force, but cannot be saved to "${file}": ENOENT`,
    ]);
    expect(await goes(proxy)).toBe("two");
    expect(readdirSync(proxy.folder)).not.toContain("upstreams.yaml");
  });

  test("writes nothing when the rules are refused", async () => {
    await using proxy = await start();
    expect((await adminOf(proxy)("POST", "/conf?save", { body: "upstreams: [" })).status).toBe(400);
    expect(readFileSync(join(proxy.folder, "upstreams.yaml"), "utf8")).toBe(rules(one));
  });
});

describe("POST /conf/rollback", () => {
  test("brings the version before back, and by ?version= any that is remembered", async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    expect((await admin("POST", "/conf/rollback")).status).toBe(404);
    await admin("POST", "/conf", { body: rules(two) });
    const back = await admin("POST", "/conf/rollback");
    expect([back.status, back.body.split("\n")[0], await goes(proxy)]).toEqual([200, "Applied", "one"]);
    // Twice is there and back again.
    await admin("POST", "/conf/rollback");
    expect(await goes(proxy)).toBe("two");
    const [inForce, , first] = JSON.parse((await admin("GET", "/conf/history")).body);
    expect(inForce).toMatchObject({ in_force: true, origin: "rollback", changes: "~1 route, +1 server, -1 server" });
    expect((await admin("POST", `/conf/rollback?version=${first.version}`)).status).toBe(200);
    const unknown = await admin("POST", "/conf/rollback?version=cafecafecafe");
    expect([unknown.status, unknown.body]).toEqual([404, expect.stringContaining(first.version)]);
  });

  test("with ?save the file follows, with ?dry_run nothing does", async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    const file = join(proxy.folder, "upstreams.yaml");
    await admin("POST", "/conf?save", { body: rules(two) });
    expect((await admin("POST", "/conf/rollback?dry_run")).body).toContain("~ a.test/ servers");
    expect(await goes(proxy)).toBe("two");
    expect((await admin("POST", "/conf/rollback?save")).status).toBe(200);
    expect(readFileSync(file, "utf8")).toBe(rules(one));
    expect(await goes(proxy)).toBe("one");
  });

  test(`remembers ${ruleHistoryMax} versions`, async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    for (let i = 1; i <= ruleHistoryMax + 2; i++) await admin("POST", "/conf", { body: rules(one, `, retries: ${i}`) });
    expect(JSON.parse((await admin("GET", "/conf/history")).body)).toHaveLength(ruleHistoryMax);
  });
});

describe("POST /reload", () => {
  test("reads the files and answers with the verdict", async () => {
    await using proxy = await start();
    const admin = adminOf(proxy);
    proxy.write(rules(two));
    expect((await admin("POST", "/reload")).body).toStartWith("Applied\n");
    expect(await goes(proxy)).toBe("two");
    proxy.write("upstreams: { a.test: { pahts: {} } }\n");
    const refused = await admin("POST", "/reload");
    expect(refused.status).toBe(400);
    expect(refused.body).toContain(`${join(proxy.folder, "upstreams.yaml")}:1:`);
    expect(await goes(proxy)).toBe("two");
  });
});

async function freePort(): Promise<number> {
  const { freePort: free } = await import("../../cli/program.ts");
  return free();
}
