/** Consul as a source, against a server that speaks its protocol (contract, sections 8 and 12). */
import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { createServer as createPlain, type ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { ConsulRules } from "../../../src/data/routing/discovery-rules.ts";
import { showAddress } from "../../../src/lib/address.ts";
import { ConsulSource } from "../../../src/control/discovery/consul/consul.ts";
import { consulTiming, type Timing } from "../../../src/control/discovery/timing.ts";
import { madeBySelf, temporary } from "../../support/certificates.ts";
import { startConsul } from "../../support/consul.ts";
import { deadPort } from "../../support/origins.ts";
import { until } from "../../support/proxy.ts";

const quick: Timing = { ...consulTiming, retryFirstMs: 20, retryMostMs: 100, answerMs: 1_500, waitSeconds: 1 };

interface Watched extends Disposable {
  readonly source: ConsulSource;
  readonly lines: string[];
  changes: number;
  /** "a.test/" → its servers */
  routes(): Record<string, string[]>;
  remarks(): readonly string[];
}

function watch(
  rules: ConsulRules,
  more: { timing?: Timing; env?: Record<string, string>; before?: ConsulSource } = {},
) {
  const watched: Watched = {
    lines: [],
    changes: 0,
    source: new ConsulSource({
      rules,
      env: {},
      timing: quick,
      routes: () => Object.keys(watched.routes()).length,
      log: (level, text) => watched.lines.push(`${level} ${text}`),
      onChange: () => watched.changes++,
      ...more,
    }),
    routes: () =>
      Object.fromEntries(
        [...watched.source.brought().hosts].flatMap(([host, { paths }]) =>
          [...paths].map(([path, own]) => [
            host + path,
            (own.servers ?? []).map(({ address }) => showAddress(address)),
          ]),
        ),
      ),
    remarks: () => watched.source.brought().remarks,
    [Symbol.dispose]: () => watched.source.stop(),
  };
  return watched;
}

const shop = [{ hostname: "Shop.test", upstream: "shop" }];
const tagged = (...more: string[]) => ["aralez.service=yes", "aralez.host=a.test", "aralez.path=/", ...more];

describe("the list form [29]", () => {
  test("follows healthy instances only, and a change within one round trip, not after a poll", async () => {
    await using consul = await startConsul();
    consul.set("shop", [
      { id: "1", port: 1001 },
      { id: "2", address: "10.0.0.2", port: 1002 },
      { id: "3", address: "fd00::3", port: 1003 },
      { id: "4", port: 1004, status: "critical" },
      { id: "5", port: 1005, status: "warning" },
    ]);
    using watched = watch({ servers: [consul.url], services: shop }, { timing: { ...quick, waitSeconds: 300 } });
    const first = { "shop.test/": ["10.0.0.2:1002", "127.0.0.1:1001", "[fd00::3]:1003"] };
    await until(() => Bun.deepEquals(watched.routes(), first));
    await until(() => consul.held === 1, "a held-back question");
    consul.set("shop", [{ id: "1", port: 1001 }]);
    await until(() => Bun.deepEquals(watched.routes(), { "shop.test/": ["127.0.0.1:1001"] }));
    expect(watched.source.state).toMatchObject({ name: "consul", up: true, error: "", routes: 1 });
    expect(consul.asked[0]).toBe("/v1/health/service/shop?passing=1");
    expect(consul.asked.find((target) => target.includes("index="))).toMatch(/&index=11&wait=300s$/);
  });

  test("has its routes before Consul has said a word, and after Consul said that there is nobody", async () => {
    await using consul = await startConsul();
    using watched = watch({ servers: [consul.url], services: shop });
    expect(watched.routes()).toEqual({ "shop.test/": [] });
    await until(() => watched.source.complete);
    consul.set("shop", [{ id: "1", port: 1001 }]);
    await until(() => watched.routes()["shop.test/"]?.length === 1);
    consul.set("shop", []);
    await until(() => watched.routes()["shop.test/"]?.length === 0);
  });

  test("honours every key of a service [B19]", async () => {
    await using consul = await startConsul();
    consul.set("shop-api", [{ id: "1", port: 1001, weight: 3 }]);
    const settings = {
      to_https: true,
      rate_limit: 5,
      x4xx_limit: 6,
      client_headers: [{ act: "set", name: "A", value: "b" }],
      server_headers: [{ act: "set", name: "C", value: "d" }],
      sticky_sessions: 60,
      authorization: { type: "apikey", data: "k" },
    } as const;
    using watched = watch({
      servers: [consul.url],
      services: [{ hostname: "shop.test", upstream: "shop-api", path: "/api", ...settings } as never],
    });
    await until(() => watched.routes()["shop.test/api"]?.length === 1);
    expect(watched.source.brought().hosts.get("shop.test")?.paths.get("/api")).toEqual({
      ...settings,
      servers: [{ address: { host: "127.0.0.1", port: 1001 }, weight: 3 }],
    } as never);
  });

  test("weights above ours are scaled, an instance of weight 0 gets nothing", async () => {
    await using consul = await startConsul();
    consul.set("shop", [
      { id: "1", port: 1001, weight: 2000 },
      { id: "2", port: 1002, weight: 1000 },
      { id: "3", port: 1003, weight: 0 },
    ]);
    using watched = watch({ servers: [consul.url], services: shop });
    await until(() => watched.routes()["shop.test/"]?.length === 2);
    const servers = watched.source.brought().hosts.get("shop.test")?.paths.get("/")?.servers;
    expect(servers?.map(({ weight }) => weight)).toEqual([256, 128]);
  });
});

describe("the token", () => {
  test("is sent, and comes from the environment by default [29] [B19]", async () => {
    await using consul = await startConsul();
    consul.token = "t-1";
    consul.set("shop", [{ id: "1", port: 1001 }]);
    using by = watch({ servers: [consul.url], services: shop, token: "t-1", datacenter: "d 1", namespace: "n" });
    await until(() => by.routes()["shop.test/"]?.length === 1);
    expect(consul.asked[0]).toContain("dc=d+1&ns=n");
    using fromEnv = watch({ servers: [consul.url], services: shop }, { env: { CONSUL_HTTP_TOKEN: "t-1" } });
    await until(() => fromEnv.routes()["shop.test/"]?.length === 1);
  });

  test("that is refused shows Consul's reason, never itself", async () => {
    await using consul = await startConsul();
    consul.token = "right";
    using watched = watch({ servers: [consul.url], services: shop, token: "wrong-secret" });
    await until(() => watched.source.state.error !== "");
    expect(watched.source.state.error).toContain("answered 403: Permission denied");
    expect(watched.lines.join("\n")).not.toContain("wrong-secret");
  });
});

describe("what is known stays [A7]", () => {
  for (const trouble of ["500", "hang", "reset", "no leader", "not json"] as const) {
    test(`while Consul fails: ${trouble}`, async () => {
      await using consul = await startConsul();
      consul.set("shop", [{ id: "1", port: 1001 }]);
      using watched = watch({ servers: [consul.url], services: shop });
      await until(() => watched.routes()["shop.test/"]?.length === 1);
      consul.trouble = trouble;
      consul.set("shop", [{ id: "2", port: 1002 }]);
      await until(() => watched.source.state.error !== "", "the failure");
      const { changes } = watched;
      await Bun.sleep(300);
      expect(watched.changes).toBe(changes);
      expect(watched.routes()).toEqual({ "shop.test/": ["127.0.0.1:1001"] });
      expect(watched.source.state.up).toBe(false);
      expect(watched.lines.filter((line) => line.startsWith("warn"))).toHaveLength(1);
      expect(watched.lines.join("\n")).toContain("what it said last stays in force (1 routes)");
      consul.trouble = "none";
      await until(() => watched.routes()["shop.test/"]?.[0] === "127.0.0.1:1002");
      await until(() => watched.source.state.up);
      expect(watched.lines.at(-1)).toMatch(/^info answers again, after/);
    });
  }

  test("while Consul is not there at all, and it is asked less and less often", async () => {
    const consul = await startConsul();
    consul.set("shop", [{ id: "1", port: 1001 }]);
    using watched = watch({ servers: [consul.url], services: shop });
    await until(() => watched.routes()["shop.test/"]?.length === 1);
    await consul.stop();
    await until(() => watched.source.state.error.includes("connection refused"));
    expect(watched.routes()).toEqual({ "shop.test/": ["127.0.0.1:1001"] });
    await consul.start();
    consul.set("shop", [{ id: "1", port: 1009 }]);
    await until(() => watched.routes()["shop.test/"]?.[0] === "127.0.0.1:1009");
    await consul.stop();
  });
});

test("https is verified by default, by ca_file where it is given; verify: false is a choice [B13]", async () => {
  using folder = temporary();
  const { crt, key } = madeBySelf({ names: ["IP:127.0.0.1"] });
  const body = JSON.stringify([{ Node: { Address: "10.0.0.1" }, Service: { ID: "1", Port: 80 }, Checks: [] }]);
  let asked = 0;
  const server = createServer({ cert: crt, key }, (_, response) => {
    asked++;
    response.writeHead(200, { "X-Consul-Index": "1" });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const servers = [`https://127.0.0.1:${(server.address() as AddressInfo).port}`];
  writeFileSync(join(folder.path, "ca.pem"), crt);
  try {
    using strict = watch({ servers, services: shop, token: "t" });
    await until(() => /certificate/.test(strict.source.state.error));
    expect(asked).toBe(0);
    using given = watch({ servers, services: shop, ca_file: join(folder.path, "ca.pem") });
    await until(() => given.routes()["shop.test/"]?.length === 1);
    using careless = watch({ servers, services: shop, verify: false });
    await until(() => careless.routes()["shop.test/"]?.length === 1);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test("every server of the list is used, the last one too [B19]", async () => {
  await using consul = await startConsul();
  consul.set("shop", [{ id: "1", port: 1001 }]);
  const dead = await deadPort();
  using watched = watch({ servers: [`127.0.0.1:${dead}`, `http://127.0.0.1:${dead}`, consul.url], services: shop });
  await until(() => watched.routes()["shop.test/"]?.length === 1);
  expect(watched.source.state.up).toBe(true);
});

describe("the index", () => {
  test("that goes backwards is given up: the next question is answered at once", async () => {
    await using consul = await startConsul();
    consul.index = 5_000;
    consul.set("shop", [{ id: "1", port: 1001 }]);
    using watched = watch({ servers: [consul.url], services: shop }, { timing: { ...quick, waitSeconds: 300 } });
    await until(() => consul.held === 1);
    consul.restore(7);
    await until(() => /passing=1$/.test(consul.asked.at(-1) ?? "") || consul.asked.at(-1)?.includes("index=7&"));
    await until(() => consul.asked.filter((target) => /passing=1$/.test(target)).length === 2);
    consul.set("shop", [{ id: "2", port: 1002 }]);
    await until(() => watched.routes()["shop.test/"]?.[0] === "127.0.0.1:1002");
  });

  test("that is missing makes it a poll, not a storm", async () => {
    await using consul = await startConsul();
    consul.indexed = false;
    consul.set("shop", [{ id: "1", port: 1001 }]);
    using watched = watch({ servers: [consul.url], services: shop }, { timing: { ...quick, pollMs: 200 } });
    await until(() => watched.routes()["shop.test/"]?.length === 1);
    await Bun.sleep(600);
    expect(consul.asked.length).toBeLessThan(8);
    consul.set("shop", [{ id: "2", port: 1002 }]);
    await until(() => watched.routes()["shop.test/"]?.[0] === "127.0.0.1:1002");
  });

  test("that moves without news is asked for more and more rarely", async () => {
    await using consul = await startConsul();
    consul.set("shop", [{ id: "1", port: 1001 }]);
    using watched = watch({ servers: [consul.url], services: shop });
    await until(() => watched.routes()["shop.test/"]?.length === 1);
    const { changes } = watched;
    const endMs = performance.now() + 1_500;
    for (let i = 0; performance.now() < endMs; i++) {
      consul.set("shop", [{ id: "1", port: 1001 }]);
      await Bun.sleep(5);
    }
    expect(watched.changes).toBe(changes);
    expect(consul.asked.length).toBeLessThan(12);
  });
});

describe("the tag form [29]", () => {
  test("takes every tagged service, its settings from the tags, and follows services that come and go", async () => {
    await using consul = await startConsul();
    consul.set("untagged", [{ id: "0", port: 1000 }]);
    consul.set("a", [
      { id: "1", port: 1001, tags: tagged("aralez.rate=10", "aralez.4xx_rate=20", "aralez.to_https=true") },
      { id: "2", port: 1002, tags: tagged("aralez.rate=10", "aralez.4xx_rate=20", "aralez.to_https=true") },
      { id: "3", port: 1003 },
    ]);
    using watched = watch({ servers: [consul.url] });
    await until(() => watched.routes()["a.test/"]?.length === 2);
    const route = watched.source.brought().hosts.get("a.test")?.paths.get("/");
    expect(route).toMatchObject({ rate_limit: 10, x4xx_limit: 20, to_https: true });
    consul.set("b", [
      {
        id: "b1",
        port: 2001,
        tags: [
          "aralez.service=yes",
          "aralez.host=B.test",
          "aralez.path=/api",
          "aralez.auth=basic ann:se cret",
          "aralez.client_header=X-A:1",
          "aralez.client_header=X-B:2",
          "aralez.server_header=X-C: 3",
        ],
      },
    ]);
    await until(() => watched.routes()["b.test/api"]?.length === 1);
    expect(watched.source.brought().hosts.get("b.test")?.paths.get("/api")).toMatchObject({
      authorization: { type: "basic", data: "ann:se cret" },
      client_headers: [
        { act: "set", name: "X-A", value: "1" },
        { act: "set", name: "X-B", value: "2" },
      ],
      server_headers: [{ act: "set", name: "X-C", value: "3" }],
    });
    consul.set("a", undefined);
    await until(() => watched.routes()["a.test/"] === undefined);
    expect(Object.keys(watched.routes())).toEqual(["b.test/api"]);
    expect(watched.remarks()).toEqual([]);
  });

  test("a service whose instances all fail keeps its route, without members [A5]", async () => {
    await using consul = await startConsul();
    consul.set("a", [{ id: "1", port: 1001, tags: tagged("aralez.auth=apikey k"), status: "critical" }]);
    using watched = watch({ servers: [consul.url] });
    await until(() => watched.source.complete && Object.keys(watched.routes()).length === 1);
    expect(watched.routes()).toEqual({ "a.test/": [] });
  });

  test("a guard that cannot be read closes the route; a header that cannot is left out", async () => {
    await using consul = await startConsul();
    consul.set("a", [
      { id: "1", port: 1001, tags: tagged("aralez.auth=basic hush", "aralez.redirect=https://x.test") },
    ]);
    using watched = watch({ servers: [consul.url] });
    await until(() => watched.routes()["a.test/"] !== undefined);
    expect(watched.source.brought().hosts.get("a.test")?.paths.get("/")).toEqual({ servers: [] });
    expect(watched.remarks().join("\n")).toMatch(/service "a": tag aralez\.auth cannot be used: .* answers 503/);
    expect(watched.remarks().join("\n")).not.toContain("hush");
    for (const tag of ["aralez.rate=many", "aralez.4xx_rate=-1", "aralez.to_https=perhaps", "aralez.auth=jwt short"]) {
      consul.set("a", [{ id: "1", port: 1001, tags: tagged(tag) }]);
      await until(() => watched.remarks().some((remark) => remark.includes(tag.split("=")[0]!)), tag);
      expect(watched.routes()).toEqual({ "a.test/": [] });
    }
    consul.set("a", [{ id: "1", port: 1001, tags: tagged("aralez.client_header=no colon", "aralez.rat=1") }]);
    await until(() => watched.routes()["a.test/"]?.length === 1);
    expect(watched.remarks()).toEqual([
      'service "a": tag aralez.rat is unknown: did you mean aralez.rate?',
      'service "a": tag aralez.client_header is left out: expected "Name: value", found no colon in "no colon"',
    ]);
  });

  test("tags that name no place, a bad one, or another's are told and harm nobody else", async () => {
    await using consul = await startConsul();
    consul.set("good", [{ id: "1", port: 1001, tags: tagged() }]);
    consul.set("nowhere", [{ id: "2", port: 1002, tags: ["aralez.service=yes", "aralez.host=n.test"] }]);
    consul.set("odd", [{ id: "3", port: 1003, tags: ["aralez.service=yes", "aralez.host=o dd", "aralez.path=/"] }]);
    consul.set("later", [{ id: "4", port: 1004, tags: tagged() }]);
    consul.set("proto", [
      { id: "5", port: 1005, tags: ["aralez.service=yes", "aralez.host=__proto__", "aralez.path=/"] },
    ]);
    using watched = watch({ servers: [consul.url] });
    await until(() => watched.source.complete && watched.remarks().length >= 3);
    await until(() => watched.routes()["a.test/"]?.[0] === "127.0.0.1:1001");
    expect(watched.remarks()).toEqual([
      'service "later": a.test/ is ignored: service "good" has it already',
      'service "nowhere": it has the tag aralez.service=yes and no aralez.path: it is no route',
      expect.stringMatching(/^service "odd": .*it is no route$/),
    ]);
  });
});

describe("who may claim a host", () => {
  test("whoever has a host and path keeps it while it is there, whatever its name, and over a change of the file", async () => {
    await using consul = await startConsul();
    consul.set("shop", [{ id: "1", port: 1001, tags: tagged() }]);
    using watched = watch({ servers: [consul.url] });
    await until(() => watched.routes()["a.test/"]?.[0] === "127.0.0.1:1001");
    consul.set("aaa", [{ id: "2", port: 1002, tags: tagged() }]);
    await until(() => watched.remarks().length === 1);
    expect(watched.remarks()[0]).toBe('service "aaa": a.test/ is ignored: service "shop" has it already');
    expect(watched.routes()).toEqual({ "a.test/": ["127.0.0.1:1001"] });
    using next = watch({ servers: [consul.url], datacenter: "dc1" }, { before: watched.source });
    await until(() => next.source.complete);
    expect(next.routes()).toEqual({ "a.test/": ["127.0.0.1:1001"] });
    consul.set("shop", undefined);
    await until(() => next.routes()["a.test/"]?.[0] === "127.0.0.1:1002");
  });

  test("`hosts` says which ones tags may name, DEFAULT among them", async () => {
    await using consul = await startConsul();
    const hosts = ["a.test", "b.svc.test", "*.x.svc.test", "svc.test", "A.B.Svc.Test", "DEFAULT", "other.test"];
    for (const [i, host] of hosts.entries())
      consul.set(`s${i}`, [
        { id: host, port: 1001, tags: ["aralez.service=yes", `aralez.host=${host}`, "aralez.path=/"] },
      ]);
    using watched = watch({ servers: [consul.url], hosts: ["A.test", "*.svc.test"] });
    await until(() => watched.source.complete && watched.remarks().length === 3);
    expect(Object.keys(watched.routes()).sort()).toEqual(["*.x.svc.test/", "a.b.svc.test/", "a.test/", "b.svc.test/"]);
    expect(watched.remarks()).toContain('service "s5": host "DEFAULT" is none of `hosts`: it is no route');
  });
});

describe("answers that mean no good", () => {
  /** Says whatever it is told to. */
  async function liar(say: (target: string, response: ServerResponse) => void) {
    const server = createPlain((request, response) => {
      response.setHeader("X-Consul-Index", "5");
      say(request.url!, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      async [Symbol.asyncDispose]() {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      },
    };
  }

  const good = [{ Node: { Address: "10.0.0.1" }, Service: { ID: "1", Port: 80 }, Checks: [] }];

  for (const [name, answer] of Object.entries({
    "instances that are none": [{}],
    "an instance without a port": [{ Service: { ID: "1" } }],
    "a null": [null],
    "a map": {},
    "a number": 7,
    "a deep one": "deep",
  })) {
    test(`empty nothing: ${name}`, async () => {
      let bad = false;
      await using consul = await liar((_, response) => {
        const text = answer === "deep" ? "[".repeat(200_000) : JSON.stringify(answer);
        response.end(bad ? text : JSON.stringify(good));
      });
      using watched = watch({ servers: [consul.url], services: shop });
      await until(() => watched.routes()["shop.test/"]?.length === 1);
      bad = true;
      await until(() => !watched.source.state.up);
      expect(watched.routes()).toEqual({ "shop.test/": ["10.0.0.1:80"] });
      bad = false;
      await until(() => watched.source.state.up);
    });
  }

  test("a catalogue of something else takes no tagged service away", async () => {
    let bad = false;
    await using consul = await liar((target, response) => {
      if (!target.startsWith("/v1/catalog")) {
        const [entry] = good;
        response.end(JSON.stringify([{ ...entry, Service: { ...entry!.Service, Tags: tagged() } }]));
      } else response.end(bad ? '{"error":"no permission"}' : JSON.stringify({ web: tagged() }));
    });
    using watched = watch({ servers: [consul.url] });
    await until(() => watched.routes()["a.test/"]?.length === 1);
    bad = true;
    await until(() => /lists of tags/.test(watched.source.state.error));
    expect(watched.routes()).toEqual({ "a.test/": ["10.0.0.1:80"] });
  });

  test("a token that comes back in an error, a redirect, an endless answer: nobody is told, followed or waited for", async () => {
    const token = "5a7b3e0c-0000-4000-8000-1234567890ab";
    let stranger = 0;
    await using other = await liar((_, response) => (stranger++, response.end("[]")));
    let mode = "echo";
    await using consul = await liar((_, response) => {
      if (mode === "echo") return void response.writeHead(403).end(`ACL not found for ${token}`);
      if (mode === "redirect") return void response.writeHead(307, { Location: other.url }).end();
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && response.write("[".repeat(65_536)));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    });
    using watched = watch({ servers: [consul.url], services: shop, token });
    await until(() => /answered 403: ACL not found for …/.test(watched.source.state.error));
    mode = "redirect";
    await until(() => /answered 307/.test(watched.source.state.error));
    const before = process.memoryUsage.rss();
    mode = "endless";
    await until(() => /longer than 33554432 bytes/.test(watched.source.state.error), "its bound", 60);
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 << 20);
    expect(stranger).toBe(0);
    expect(watched.lines.join()).not.toContain(token);
  }, 90_000);

  test("tags cannot reach files, the environment or other lines; what tries closes its route or is left out", async () => {
    await using consul = await startConsul();
    consul.set("bad", [
      {
        id: "1",
        port: 1001,
        tags: tagged(
          "aralez.client_header=X-A: 1\r\nSet-Cookie: evil=1",
          "aralez.server_header=Transfer-Encoding: chunked",
          'aralez.client_header={"file":"/etc/passwd"}',
          "aralez.client_header=X-B: fine",
        ),
      },
    ]);
    consul.set("env", [
      {
        id: "2",
        port: 1002,
        tags: ["aralez.service=yes", "aralez.host=b.test", "aralez.path=/", "aralez.auth=jwt {env: PATH}"],
      },
    ]);
    using watched = watch({ servers: [consul.url] });
    await until(() => watched.source.complete && Object.keys(watched.routes()).length === 2);
    const { hosts } = watched.source.brought();
    expect(
      hosts
        .get("a.test")
        ?.paths.get("/")
        ?.client_headers?.map(({ name }) => name),
    ).toEqual(["X-B"]);
    expect(hosts.get("a.test")?.paths.get("/")?.server_headers).toBeUndefined();
    expect(hosts.get("b.test")?.paths.get("/")).toEqual({ servers: [] });
  });
});

test("a source that replaces another one knows what that one knew", async () => {
  const consul = await startConsul();
  consul.set("shop", [{ id: "1", port: 1001 }]);
  using old = watch({ servers: [consul.url], services: shop });
  await until(() => old.routes()["shop.test/"]?.length === 1);
  await consul.stop();
  using next = watch(
    { servers: [consul.url], services: [...shop, { hostname: "new.test", upstream: "new" }] },
    { before: old.source },
  );
  expect(next.routes()).toEqual({ "shop.test/": ["127.0.0.1:1001"], "new.test/": [] });
});

test("more services than may be held back at once are all followed", async () => {
  await using consul = await startConsul();
  const services = Array.from({ length: 150 }, (_, i) => ({ hostname: `h${i}.test`, upstream: `s${i}` }));
  for (const { upstream } of services) consul.set(upstream, [{ id: upstream, port: 1001 }]);
  using watched = watch({ servers: [consul.url], services });
  await until(() => Object.values(watched.routes()).every((servers) => servers.length === 1));
  expect(consul.held).toBeLessThanOrEqual(128);
  for (const { upstream } of services) consul.set(upstream, [{ id: upstream, port: 1002 }]);
  await until(() => Object.values(watched.routes()).every(([server]) => server === "127.0.0.1:1002"));
});
