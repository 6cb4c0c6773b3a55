/** Rules that change while requests flow (contract points 4, 20; B8–B10). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { detectWaitMs } from "../../src/lib/limits.ts";
import { deadPort, echo, startOrigin, startRawOrigin, type Origin } from "../support/origins.ts";
import { startProxy, until, type TestProxy } from "../support/proxy.ts";
import { raw } from "../support/raw.ts";

let one: Origin;
let two: Origin;

beforeAll(async () => {
  one = await startOrigin(echo("one"));
  two = await startOrigin(echo("two"));
});
afterAll(async () => {
  await Promise.all([one.close(), two.close()]);
});

const rules = (origin: Pick<Origin, "address">, host = "a.test") =>
  `upstreams: { ${host}: { paths: { "/": { servers: ["${origin.address}"] } } } }\n`;

async function goes(proxy: TestProxy, host = "a.test"): Promise<string> {
  const answer = await raw(proxy.port, `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  return answer.fields.find(([name]) => name === "x-origin")?.[1] ?? String(answer.status);
}

const follows = (proxy: TestProxy, to: string, host?: string) =>
  until(async () => (await goes(proxy, host)) === to, `${host ?? "a.test"} to go to ${to}; log:\n${proxy.log()}`);

describe("an edit of upstreams.yaml is followed [20] [B9]", () => {
  test("when it is written in place, through an empty moment", async () => {
    await using proxy = await startProxy(rules(one));
    expect(await goes(proxy)).toBe("one");
    const file = join(proxy.folder, "upstreams.yaml");
    writeFileSync(file, "");
    writeFileSync(file, rules(two));
    await follows(proxy, "two");
  });
  test("when it is replaced by a rename", async () => {
    await using proxy = await startProxy(rules(one));
    writeFileSync(join(proxy.folder, "new.tmp"), rules(two));
    renameSync(join(proxy.folder, "new.tmp"), join(proxy.folder, "upstreams.yaml"));
    await follows(proxy, "two");
  });
  test("when a symlink above it is swapped", async () => {
    await using proxy = await startProxy(rules(one));
    const { folder } = proxy;
    for (const [name, origin] of [
      ["v1", one],
      ["v2", two],
    ] as const) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "upstreams.yaml"), rules(origin));
    }
    symlinkSync("v1", join(folder, "..data"));
    unlinkSync(join(folder, "upstreams.yaml"));
    symlinkSync("..data/upstreams.yaml", join(folder, "upstreams.yaml"));
    await follows(proxy, "one");
    symlinkSync("v2", join(folder, "..tmp"));
    renameSync(join(folder, "..tmp"), join(folder, "..data"));
    await follows(proxy, "two");
  });
  test("when several edits come quickly: the last one wins", async () => {
    await using proxy = await startProxy(rules(one));
    for (let i = 0; i < 20; i++) {
      proxy.write(rules(i % 2 === 0 ? one : two, `h${i}.test`));
      await Bun.sleep(i % 5);
    }
    proxy.write(rules(two, "last.test"));
    await follows(proxy, "two", "last.test");
    expect(await goes(proxy, "h19.test")).toBe("404");
  });
});

describe("conf.d [4]", () => {
  test("is merged in name order, a later file replaces the host, files may come and go", async () => {
    await using proxy = await startProxy(rules(one));
    const confd = join(proxy.folder, "conf.d");
    mkdirSync(confd);
    const bare = (origin: Origin, host: string) => `${host}: { paths: { "/": { servers: ["${origin.address}"] } } }\n`;
    writeFileSync(join(confd, "10.yaml"), bare(one, "b.test"));
    await follows(proxy, "one", "b.test");
    writeFileSync(join(confd, "20.yaml"), bare(two, "b.test"));
    await follows(proxy, "two", "b.test");
    writeFileSync(join(confd, "30.yaml"), bare(two, "a.test"));
    await follows(proxy, "two", "a.test");
    writeFileSync(join(confd, "40.yml"), bare(one, "ignored.test"));
    rmSync(join(confd, "30.yaml"));
    await follows(proxy, "one", "a.test");
    expect(await goes(proxy, "ignored.test")).toBe("404");
  });
  test("a bad file leaves the running rules in force and names itself and the line, once", async () => {
    await using proxy = await startProxy(rules(one));
    mkdirSync(join(proxy.folder, "conf.d"));
    writeFileSync(
      join(proxy.folder, "conf.d", "bad.yaml"),
      `b.test:\n  paths:\n    "/":\n      serverz: ["127.0.0.1:1"]\n`,
    );
    const line = await proxy.logged(/bad\.yaml:4:7: error:/);
    expect(line).toContain("serverz");
    expect(line).toContain("did you mean `servers`");
    await proxy.logged(/the running rules stay/);
    expect(await goes(proxy)).toBe("one");
    await Bun.sleep(300);
    expect(proxy.log().match(/bad\.yaml:4:7/g)).toHaveLength(1);
    rmSync(join(proxy.folder, "conf.d", "bad.yaml"));
    proxy.write(rules(two));
    await follows(proxy, "two");
  });
});

test("a bad file at the start is refused with every error; a bad edit changes nothing", async () => {
  expect(startProxy("upstreams: { a.test: { paths: { '/': { servers: ['127.0.0.1'] } } } }")).rejects.toThrow(
    /port is missing/,
  );
  await using proxy = await startProxy(rules(one));
  proxy.write("upstreams: [this is not a map\n");
  await proxy.logged(/error: /);
  expect(await goes(proxy)).toBe("one");
});

test("the summary says what changed", async () => {
  await using proxy = await startProxy(rules(one));
  await proxy.logged(
    /in force: http http:\/\/127.0.0.1:\d+(?:, (?:https|admin) \S+)*, 1 host, 1 route, 1 member, .*changed: \+1 host, \+1 route, \+1 server/,
  );
  await proxy.apply(`${rules(two)}`);
  await proxy.logged(/changed: ~1 route, \+1 server, -1 server/);
});

test("a reload with a hundred dead servers is in force at once [B10]", async () => {
  await using proxy = await startProxy(rules(one));
  const dead = await deadPort();
  const paths = Array.from({ length: 100 }, (_, i) => `"/d${i}": { servers: ["127.0.0.1:${dead}"] }`).join(", ");
  await proxy.apply(`upstreams: { a.test: { paths: { "/": { servers: ["${two.address}"] }, ${paths} } } }`);
  expect(await goes(proxy)).toBe("two");
});

test("streams that were open go on under the rules they began with", async () => {
  let send: (text: string) => void = () => {};
  await using events = await startOrigin((_, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write("data: 0\n\n");
    send = (text) => void response.write(text);
  });
  await using proxy = await startProxy(rules(events));
  const response = await fetch(proxy.url, { headers: { Host: "a.test" } });
  const reader = response.body!.getReader();
  await reader.read();
  await proxy.apply(rules(two));
  expect(await goes(proxy)).toBe("two");
  send("data: 1\n\n");
  expect(Buffer.from((await reader.read()).value!).toString()).toBe("data: 1\n\n");
  await reader.cancel();
});

test("a request that waits for what its server speaks does not go on waiting when a reload takes the server away", async () => {
  // Silent to every question, so that what it speaks stays unknown for as long as is asked.
  await using slow = await startRawOrigin((socket, data) => {
    if (data.includes("GET /x ")) socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  await using proxy = await startProxy(rules(one));
  await proxy.apply(rules(slow));
  const beganMs = performance.now();
  const answer = raw(proxy.port, "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
  // It is there when the reload comes: a request after it has been answered by the other route.
  expect((await raw(proxy.port, "GET / HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n")).status).toBe(404);
  await proxy.apply(rules(one));
  expect((await answer).status).toBe(200);
  expect(performance.now() - beganMs).toBeLessThan(detectWaitMs - 500);
});

test("reloads under load lose no request [B8]", async () => {
  await using proxy = await startProxy(rules(one));
  let stop = false;
  let done = 0;
  const failures: string[] = [];
  const clients = Array.from({ length: 8 }, async () => {
    while (!stop) {
      const response = await fetch(proxy.url, { headers: { Host: "a.test" } }).catch((error: Error) => error.message);
      if (typeof response === "string" || response.status !== 200)
        failures.push(typeof response === "string" ? response : String(response.status));
      else await response.text();
      done++;
    }
  });
  for (let i = 0; i < 60; i++) {
    await proxy.apply(rules(i % 2 === 0 ? two : one));
    await until(() => done > i * 4);
  }
  stop = true;
  await Promise.all(clients);
  expect(failures).toEqual([]);
  expect(done).toBeGreaterThan(50);
});
