/** Routes that arrive by themselves, while requests flow (contract points 8, 12, 29; A7). */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { madeByUs } from "../support/certificates.ts";
import { needsOurProcess } from "../support/child-proxy.ts";
import { startConsul } from "../support/consul.ts";
import { ingress, service, slice, startKubernetes, type FakeKubernetes } from "../support/kubernetes.ts";
import { deadPort, echo, startOrigin } from "../support/origins.ts";
import { startPatientProxy, startProxy, until, type TestProxy } from "../support/proxy.ts";
import { send } from "../support/send.ts";
import { handshake } from "../support/tls.ts";

/** Who answered, or the status. */
async function goes(proxy: TestProxy, host = "a.test", target = "/", fields: [string, string][] = []): Promise<string> {
  const answer = await send(proxy.port, target, { host, fields });
  return answer.field("x-origin") ?? String(answer.status);
}

const follows = (proxy: TestProxy, to: string, host?: string, target?: string) =>
  until(async () => (await goes(proxy, host, target)) === to, `${host}${target} to go to ${to}; log:\n${proxy.log()}`);

/** From the admin API, which lets loopback read. */
async function status(proxy: TestProxy, query = ""): Promise<Record<string, any>> {
  const url = proxy.running.listeners.find(({ name }) => name === "admin")!.url;
  return (await fetch(`${url}/status${query}`)).json() as Promise<Record<string, any>>;
}

const tags = (host: string, path = "/", ...more: string[]) => [
  "aralez.service=yes",
  `aralez.host=${host}`,
  `aralez.path=${path}`,
  ...more,
];

/** The files a proxy outside the cluster is given. */
function access(kube: FakeKubernetes): { rules: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "aralez-kube-"));
  writeFileSync(join(folder, "token"), "good-token");
  writeFileSync(join(folder, "ca.crt"), kube.ca);
  return {
    rules: `servers: ["${kube.hostPort}"], tokenpath: ${folder}/token, ca_file: ${folder}/ca.crt`,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

describe("Consul", () => {
  test("the first request after the start finds its route, and a change is followed at once [29]", async () => {
    await using one = await startOrigin(echo("one"));
    await using two = await startOrigin(echo("two"));
    await using consul = await startConsul();
    consul.set("a", [{ id: "1", port: one.port, tags: tags("a.test") }]);
    await using proxy = await startProxy(`provider: consul\nconsul: { servers: ["${consul.url}"] }`);
    expect(await goes(proxy)).toBe("one");
    expect(await proxy.running.metrics()).toContain('\naralez_provider_up{provider="consul"} 1\n');
    await proxy.logged(/in force: .* changed: \+1 host, \+1 route, \+1 server/);
    consul.set("a", [{ id: "2", port: two.port, tags: tags("a.test") }]);
    await follows(proxy, "two");
    await proxy.logged(/in force: .* changed: ~1 route, \+1 server, -1 server/);
    consul.set("b", [{ id: "3", port: one.port, tags: tags("b.test", "/x", "aralez.auth=apikey key-1") }]);
    await follows(proxy, "401", "b.test", "/x");
    expect(await goes(proxy, "b.test", "/x", [["x-api-key", "key-1"]])).toBe("one");
    expect(await proxy.running.sources()).toEqual([
      { name: "consul", up: true, error: "", routes: 2, ageSeconds: expect.any(Number) },
    ]);
    await proxy.logged(/changed: \+1 host, \+1 route/);
  });

  test("a service without healthy instances answers 503, never a shorter path [A5]", async () => {
    await using one = await startOrigin(echo("one"));
    await using consul = await startConsul();
    consul.set("open", [{ id: "1", port: one.port, tags: tags("a.test") }]);
    consul.set("shut", [{ id: "2", port: one.port, tags: tags("a.test", "/admin"), status: "critical" }]);
    await using proxy = await startProxy(`provider: consul\nconsul: { servers: ["${consul.url}"] }`);
    expect([await goes(proxy), await goes(proxy, "a.test", "/admin")]).toEqual(["one", "503"]);
  });

  test("settings at the top of the file and of its hosts hold for what Consul brings", async () => {
    await using one = await startOrigin(echo("one"));
    await using consul = await startConsul();
    consul.set("api", [{ id: "1", port: one.port }]);
    const services = `services: [{ hostname: a.test, upstream: api, path: /api, client_headers: ["X-Api: 1"] }]`;
    await using proxy = await startProxy(`
provider: [file, consul]
client_headers: ["X-Top: 1"]
upstreams: { a.test: { authorization: { type: apikey, data: key-1 }, paths: { "/": { servers: ["${one.address}"] } } } }
consul: { servers: ["${consul.url}"], ${services} }`);
    expect(await goes(proxy, "a.test", "/api")).toBe("401");
    const answer = await send(proxy.port, "/api", { fields: [["x-api-key", "key-1"]] });
    expect([answer.status, answer.field("x-api"), answer.field("x-top")]).toEqual([200, "1", "1"]);
  });

  test("of two providers for one host and path the first named wins, with a warning", async () => {
    await using one = await startOrigin(echo("one"));
    await using two = await startOrigin(echo("two"));
    await using consul = await startConsul();
    consul.set("a", [{ id: "1", port: two.port, tags: tags("a.test") }]);
    consul.set("b", [{ id: "2", port: two.port, tags: tags("a.test", "/b") }]);
    const rules = (order: string) => `provider: [${order}]
upstreams: { a.test: { paths: { "/": { servers: ["${one.address}"] } } } }
consul: { servers: ["${consul.url}"] }`;
    await using proxy = await startProxy(rules("file, consul"));
    expect([await goes(proxy), await goes(proxy, "a.test", "/b")]).toEqual(["one", "two"]);
    await proxy.logged(/WARN.*a\.test\/ of consul is ignored: file is named first and has it too/i);
    await proxy.apply(rules("consul, file"));
    await follows(proxy, "two", "a.test", "/");
  });

  test("a proxy whose Consul is down starts, serves its file, and recovers by itself", async () => {
    await using one = await startOrigin(echo("one"));
    const port = await deadPort();
    await using proxy = await startProxy(`
provider: [file, consul]
upstreams: { a.test: { paths: { "/": { servers: ["${one.address}"] } } } }
consul: { servers: ["http://127.0.0.1:${port}"], services: [{ hostname: b.test, upstream: b }] }`);
    expect([await goes(proxy), await goes(proxy, "b.test")]).toEqual(["one", "503"]);
    expect(await proxy.running.sources()).toMatchObject([
      { up: false, error: expect.stringContaining("connection refused") },
    ]);
    await using consul = await startConsul(port);
    consul.set("b", [{ id: "1", port: one.port }]);
    await follows(proxy, "one", "b.test", "/");
    await proxy.logged(/consul.*answers again/);
    await consul.stop();
    await until(async () => (await proxy.running.sources())[0]?.up === false);
    expect(await proxy.running.metrics()).toContain('\naralez_provider_up{provider="consul"} 0\n');
    expect(await goes(proxy, "b.test")).toBe("one");
  });

  test("a change of the file keeps what Consul said, even while Consul is down", async () => {
    await using one = await startOrigin(echo("one"));
    const consul = await startConsul();
    consul.set("b", [{ id: "1", port: one.port }]);
    const rules = (more: string) =>
      `provider: consul\nconsul: { servers: ["${consul.url}"], services: [{ hostname: b.test, upstream: b }${more}] }`;
    await using proxy = await startProxy(rules(""));
    expect(await goes(proxy, "b.test")).toBe("one");
    await consul.stop();
    await proxy.apply(rules(", { hostname: c.test, upstream: c }"));
    expect([await goes(proxy, "b.test"), await goes(proxy, "c.test")]).toEqual(["one", "503"]);
    await proxy.apply(`provider: file\nupstreams: { c.test: { paths: { "/": { servers: ["${one.address}"] } } } }`);
    expect([await goes(proxy, "b.test"), await goes(proxy, "c.test")]).toEqual(["404", "one"]);
    expect(await proxy.running.sources()).toEqual([]);
  });

  test("a bad file changes nothing of it", async () => {
    await using one = await startOrigin(echo("one"));
    await using two = await startOrigin(echo("two"));
    await using consul = await startConsul();
    consul.set("a", [{ id: "1", port: one.port, tags: tags("a.test") }]);
    await using proxy = await startProxy(`provider: consul\nconsul: { servers: ["${consul.url}"] }`);
    proxy.write("provider: consul\nconsul: { servers: [5] }");
    await proxy.logged(/the running rules stay/);
    expect(await goes(proxy)).toBe("one");
    consul.set("a", [{ id: "2", port: two.port, tags: tags("a.test") }]);
    await follows(proxy, "two");
  });

  test("100 services that flap under load cost no request, and ten versions a second at most", async () => {
    if (needsOurProcess("counts the tables that were made")) return;
    await using one = await startOrigin(echo("one"));
    await using two = await startOrigin(echo("two"));
    await using consul = await startConsul();
    const names = Array.from({ length: 100 }, (_, i) => `s${i}`);
    const steady = (name: string) => ({ id: `${name}-1`, port: one.port, tags: tags(`${name}.test`) });
    for (const name of names) consul.set(name, [steady(name)]);
    await using proxy = await startPatientProxy(`provider: consul\nconsul: { servers: ["${consul.url}"] }`, {
      log_level: "info",
    });
    await until(async () => (await proxy.running.sources())[0]?.routes === 100);
    const versions = () => proxy.running.versions!;
    const before = versions();
    const beganMs = performance.now();
    let stop = false;
    const failures = new Map<string, number>();
    let done = 0;
    const clients = Array.from({ length: 6 }, async (_, client) => {
      for (let i = client; !stop; i++) {
        const host = `s${i % 100}.test`;
        const status = await fetch(proxy.url, { headers: { Host: host } }).then(
          async (response) => (await response.text(), String(response.status)),
          (error: Error) => error.message,
        );
        done++;
        if (status !== "200") failures.set(`${host} ${status}`, (failures.get(`${host} ${status}`) ?? 0) + 1);
      }
    });
    for (let i = 0; performance.now() - beganMs < 4_000; i++) {
      const name = names[(i * 37) % 100]!;
      consul.set(
        name,
        i % 2 === 0 ? [steady(name), { ...steady(name), id: `${name}-2`, port: two.port }] : [steady(name)],
      );
      await Bun.sleep(2);
    }
    const seconds = (performance.now() - beganMs) / 1000;
    const made = versions() - before;
    stop = true;
    await Promise.all(clients);
    expect([...failures]).toEqual([]);
    expect(done).toBeGreaterThan(100);
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThanOrEqual(Math.ceil(seconds * 10) + 1);
  });
});

describe("Kubernetes", () => {
  test("an Ingress is served, its exact paths, its certificate, and what becomes of them [29]", async () => {
    await using one = await startOrigin(echo("one"));
    await using two = await startOrigin(echo("two"));
    await using kube = await startKubernetes();
    using given = access(kube);
    kube.put("services", service("one", { http: 80 }));
    kube.put("services", service("two", { http: 80 }));
    kube.put("endpointslices", slice("one", { http: one.port }, ["127.0.0.1"]));
    kube.put("endpointslices", slice("two", { http: two.port }, ["127.0.0.1"]));
    const paths = [
      { path: "/", service: "one", port: 80 },
      { path: "/x", pathType: "Exact", service: "two", port: 80 },
    ] as const;
    kube.put("ingresses", ingress("i", { "a.test": paths }, { tls: ["cert"] }));
    const secret = (name: string) => {
      const { crt, key } = madeByUs([name]);
      const data = { "tls.crt": Buffer.from(crt).toString("base64"), "tls.key": Buffer.from(key).toString("base64") };
      return { metadata: { name: "cert", namespace: "default" }, type: "kubernetes.io/tls", data };
    };
    kube.put("secrets", secret("a.test"));
    await using proxy = await startProxy(`provider: kubernetes\nkubernetes: { ${given.rules} }`, {
      proxy_address_tls: { hostname: "127.0.0.1", port: 0 },
    });
    const targets = ["/", "/x", "/x/y", "/x/"];
    expect(Object.keys((await status(proxy, "?live"))["a.test"] ?? {})).toEqual(["/", "=/x"]);
    expect((await status(proxy)).providers).toMatchObject([{ name: "kubernetes", up: true, routes: 2 }]);
    expect(await Promise.all(targets.map((target) => goes(proxy, "a.test", target)))).toEqual([
      "one",
      "two",
      "one",
      "one",
    ]);
    const shown = async (name: string) => (await handshake(proxy.tlsPort, ["-servername", name])).subject;
    await until(async () => (await shown("a.test")).includes("a.test"), `the certificate; log:\n${proxy.log()}`);
    kube.put("secrets", secret("b.test"));
    await until(async () => (await shown("b.test")).includes("b.test"));
    // A secret that turns bad keeps its last good version; one that goes takes its certificate with it.
    kube.put("secrets", { ...secret("b.test"), data: { "tls.crt": "AAAA", "tls.key": "AAAA" } });
    await proxy.logged(/Cannot use "kubernetes:default\/cert/);
    expect(await shown("b.test")).toContain("b.test");
    kube.remove("secrets", "default", "cert");
    await until(async () => !(await shown("b.test")).includes("b.test"));
    expect(proxy.log()).not.toContain("PRIVATE KEY");
    kube.put("endpointslices", slice("one", { http: two.port }, ["127.0.0.1"]));
    await follows(proxy, "two", "a.test", "/");
    kube.put("endpointslices", slice("one", { http: two.port }, []));
    await follows(proxy, "503", "a.test", "/");
    kube.remove("ingresses", "default", "i");
    await follows(proxy, "404", "a.test", "/");
  });

  test("a proxy whose API is down starts, serves its file, and recovers by itself", async () => {
    await using one = await startOrigin(echo("one"));
    await using kube = await startKubernetes();
    using given = access(kube);
    kube.put("endpointslices", slice("one", { http: one.port }, ["127.0.0.1"]));
    await kube.stop();
    await using proxy = await startProxy(`
provider: [file, kubernetes]
upstreams: { a.test: { paths: { "/": { servers: ["${one.address}"] } } } }
kubernetes: { ${given.rules}, services: [{ hostname: b.test, upstream: one, namespace: default }] }`);
    expect([await goes(proxy), await goes(proxy, "b.test")]).toEqual(["one", "503"]);
    await kube.start();
    await follows(proxy, "one", "b.test", "/");
    await kube.stop();
    await until(async () => (await proxy.running.sources())[0]?.up === false);
    expect(await goes(proxy, "b.test")).toBe("one");
  });

  test("beside Consul and the file, each brings its own", async () => {
    await using one = await startOrigin(echo("one"));
    await using kube = await startKubernetes();
    await using consul = await startConsul();
    using given = access(kube);
    kube.put("services", service("one", { http: 80 }));
    kube.put("endpointslices", slice("one", { http: one.port }, ["127.0.0.1"]));
    kube.put("ingresses", ingress("i", { "k.test": [{ path: "/", service: "one", port: 80 }] }));
    consul.set("c", [{ id: "1", port: one.port, tags: tags("c.test") }]);
    await using proxy = await startProxy(`
provider: [kubernetes, file, consul]
upstreams: { a.test: { paths: { "/": { servers: ["${one.address}"] } } } }
consul: { servers: ["${consul.url}"] }
kubernetes: { ${given.rules} }`);
    expect(await Promise.all(["a.test", "k.test", "c.test"].map((host) => goes(proxy, host)))).toEqual([
      "one",
      "one",
      "one",
    ]);
    expect((await proxy.running.sources()).map(({ name, up }) => [name, up])).toEqual([
      ["consul", true],
      ["kubernetes", true],
    ]);
  });
});

test("a discovered server that is the proxy's own admin address carries nothing [A1]", async () => {
  await using one = await startOrigin(echo("one"));
  await using consul = await startConsul();
  const port = await deadPort();
  consul.set("evil", [{ id: "1", address: "127.0.0.1", port, tags: tags("evil.test") }]);
  consul.set("good", [{ id: "2", port: one.port, tags: tags("good.test") }]);
  await using proxy = await startProxy(`provider: consul\nconsul: { servers: ["${consul.url}"] }`, {
    config_address: { hostname: "127.0.0.1", port },
  });
  expect([await goes(proxy, "evil.test"), await goes(proxy, "good.test")]).toEqual(["404", "one"]);
  await proxy.logged(/route evil\.test\/ is switched off/);
  // Told once, however often something else changes.
  for (let i = 1; i <= 3; i++) {
    consul.set(`more${i}`, [{ id: `m${i}`, port: one.port, tags: tags(`more${i}.test`) }]);
    await follows(proxy, "one", `more${i}.test`, "/");
  }
  expect(proxy.log().match(/route evil\.test\/ is switched off/g)).toHaveLength(1);
});
