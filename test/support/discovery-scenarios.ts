/** What discovery must do, whoever answers: servers of the tests, or a real Consul and a real Kubernetes API (test/real). */
import { deepEqual as same, equal, match, ok } from "node:assert/strict";
import { madeByUs } from "./certificates.ts";
import type { FakeInstance } from "./consul.ts";
import { ingress, service, slice, type FakeObject, type Kind } from "./kubernetes.ts";
import { startPatientProxy, startProxy, until, type TestProxy } from "./proxy.ts";
import { send } from "./send.ts";
import { handshake } from "./tls.ts";

export interface ConsulWorld extends AsyncDisposable {
  /** what stands inside `consul: {…}`, for somebody who may read everything, and for somebody who may not */
  readonly rules: string;
  readonly denied: string;
  set(service: string, instances: readonly FakeInstance[] | undefined): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface KubernetesWorld extends AsyncDisposable {
  /** what stands inside `kubernetes: {…}` */
  readonly rules: string;
  readonly denied: string;
  put(kind: Kind, object: FakeObject): Promise<void>;
  remove(kind: Kind, namespace: string, name: string): Promise<void>;
  get(kind: Kind, namespace: string, name: string): Promise<FakeObject | undefined>;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** an address of this machine that endpoints may have: a real API refuses loopback */
  readonly host: string;
  /** nobody can go on from a place in the history before this moment */
  forget(): Promise<void>;
  /** another token takes the place of the one before, which counts no more */
  rotate(): Promise<void>;
}

async function goes(proxy: TestProxy, host: string, target = "/"): Promise<string> {
  const answer = await send(proxy.port, target, { host });
  return answer.field("x-origin") ?? String(answer.status);
}

const follows = (proxy: TestProxy, to: string, host: string, target = "/") =>
  until(async () => (await goes(proxy, host, target)) === to, `${host}${target} to go to ${to}; log:\n${proxy.log()}`);

const down = (proxy: TestProxy) =>
  until(async () => (await proxy.running.sources())[0]?.up === false, "the source to be down");
const up = (proxy: TestProxy) =>
  until(async () => (await proxy.running.sources())[0]?.up === true, `the source to be up; log:\n${proxy.log()}`);

const tags = (host: string, path = "/", ...more: string[]) => [
  "aralez.service=yes",
  `aralez.host=${host}`,
  `aralez.path=${path}`,
  ...more,
];

/** Two servers that say who they are. @param hostname of this machine */
async function origins(hostname = "127.0.0.1") {
  const serve = (name: string) =>
    Bun.serve({ hostname, port: 0, fetch: () => new Response(name, { headers: { "X-Origin": name } }) });
  const [one, two] = [serve("one"), serve("two")];
  return {
    one: one.port!,
    two: two.port!,
    async [Symbol.asyncDispose]() {
      await Promise.all([one.stop(true), two.stop(true)]);
    },
  };
}

export const consulScenarios: Record<string, (world: ConsulWorld) => Promise<void>> = {
  async "tagged services are routes, and change as they change"({ rules, set }) {
    await using at = await origins();
    await set("web", [{ id: "web-1", port: at.one, tags: tags("web.test") }]);
    await using proxy = await startProxy(`provider: consul\nconsul: { ${rules} }`);
    await follows(proxy, "one", "web.test");
    await set("web", [{ id: "web-2", port: at.two, tags: tags("web.test") }]);
    await follows(proxy, "two", "web.test");
    await set("api", [{ id: "api-1", port: at.one, tags: tags("web.test", "/api", "aralez.auth=apikey k") }]);
    await follows(proxy, "401", "web.test", "/api");
    await set("api", [{ id: "api-1", port: at.one, tags: tags("web.test", "/api"), status: "critical" }]);
    await follows(proxy, "503", "web.test", "/api");
    await set("api", undefined);
    await follows(proxy, "two", "web.test", "/api");
    await set("web", undefined);
    await follows(proxy, "404", "web.test");
  },

  async "a list of services uses healthy instances only"({ rules, set }) {
    await using at = await origins();
    await set("shop", [
      { id: "shop-1", port: at.one, status: "critical" },
      { id: "shop-2", port: at.two, weight: 3 },
    ]);
    const services = `services: [{ hostname: shop.test, upstream: shop }, { hostname: none.test, upstream: none }]`;
    await using proxy = await startProxy(`provider: consul\nconsul: { ${rules}, ${services} }`);
    await follows(proxy, "two", "shop.test");
    same(await Promise.all(Array.from({ length: 6 }, () => goes(proxy, "shop.test"))), Array(6).fill("two"));
    await set("shop", [
      { id: "shop-1", port: at.one },
      { id: "shop-2", port: at.two, status: "critical" },
    ]);
    await follows(proxy, "one", "shop.test");
    equal(await goes(proxy, "none.test"), "503");
    await set("shop", undefined);
    await follows(proxy, "503", "shop.test");
  },

  async "while Consul is away everything stays, and what changes afterwards is followed"({ rules, set, stop, start }) {
    await using at = await origins();
    await set("stay", [{ id: "stay-1", port: at.one, tags: tags("stay.test") }]);
    await using proxy = await startProxy(`provider: consul\nconsul: { ${rules} }`);
    await follows(proxy, "one", "stay.test");
    await stop();
    await down(proxy);
    for (let i = 0; i < 10; i++) {
      equal(await goes(proxy, "stay.test"), "one");
      await Bun.sleep(50);
    }
    await start();
    await up(proxy);
    await set("stay", [{ id: "stay-2", port: at.two, tags: tags("stay.test") }]);
    await follows(proxy, "two", "stay.test");
    await set("stay", undefined);
  },

  async "who may not read is told why"({ denied, set }) {
    await set("shut", [{ id: "shut-1", port: 1, tags: tags("shut.test") }]);
    await using proxy = await startProxy(
      `provider: consul\nconsul: { ${denied}, services: [{ hostname: shut.test, upstream: shut }] }`,
    );
    await down(proxy);
    match((await proxy.running.sources())[0]?.error ?? "", /answered 403: \S/);
    await set("shut", undefined);
  },

  async "fifty services that flap under load cost no request"({ rules, set }) {
    await using at = await origins();
    const names = Array.from({ length: 50 }, (_, i) => `flap${i}`);
    const steady = (name: string): FakeInstance => ({ id: `${name}-1`, port: at.one, tags: tags(`${name}.test`) });
    await Promise.all(names.map((name) => set(name, [steady(name)])));
    await using proxy = await startPatientProxy(`provider: consul\nconsul: { ${rules} }`);
    await until(async () => (await proxy.running.sources())[0]?.routes === 50, "50 routes");
    let stop = false;
    const failures: string[] = [];
    const clients = Array.from({ length: 4 }, async (_, client) => {
      for (let i = client; !stop; i++) {
        const who = await goes(proxy, `flap${i % 50}.test`);
        if (who !== "one" && who !== "two") failures.push(`flap${i % 50}: ${who}`);
      }
    });
    for (const endMs = performance.now() + 5_000; performance.now() < endMs;) {
      const name = names[Math.floor(Math.random() * 50)]!;
      await set(name, [steady(name), { ...steady(name), id: `${name}-2`, port: at.two }]);
      await set(name, [steady(name)]);
      await Bun.sleep(5);
    }
    stop = true;
    await Promise.all(clients);
    await Promise.all(names.map((name) => set(name, undefined)));
    same(failures, []);
    ok((await proxy.running.sources())[0]?.up);
  },
};

const onPort = (name: string, port: number, ...hosts: string[]) => slice(name, { http: port }, hosts);

function secret(name: string, host: string): FakeObject {
  const { crt, key } = madeByUs([host]);
  const data = { "tls.crt": Buffer.from(crt).toString("base64"), "tls.key": Buffer.from(key).toString("base64") };
  return { metadata: { name, namespace: "default" }, type: "kubernetes.io/tls", data };
}

export const kubernetesScenarios: Record<string, (world: KubernetesWorld) => Promise<void>> = {
  async "an Ingress is served with its paths and its certificate, and its status is written"({ rules, ...world }) {
    await using at = await origins(world.host);
    await world.put("services", service("one", { http: 80 }));
    await world.put("services", service("two", { web: 80 }));
    await world.put("endpointslices", onPort("one", at.one, world.host));
    await world.put("endpointslices", slice("two", { web: at.two }, [world.host]));
    await world.put("secrets", secret("cert", "i.test"));
    const paths = [
      { path: "/", service: "one", port: 80 },
      { path: "/x", pathType: "Exact", service: "two", port: "web" },
      { path: "/p/", service: "two", port: 80 },
    ] as const;
    await world.put("ingresses", ingress("i", { "i.test": paths }, { tls: ["cert"] }));
    await world.put("ingresses", ingress("other", { "other.test": paths }, { className: "nginx" }));
    await using proxy = await startProxy(`provider: kubernetes\nkubernetes: { ${rules}, publish: 192.0.2.7 }`, {
      proxy_address_tls: { hostname: "127.0.0.1", port: 0 },
    });
    await follows(proxy, "one", "i.test");
    const targets = ["/", "/x", "/x/y", "/p", "/p/q", "/pq"];
    same(await Promise.all(targets.map((target) => goes(proxy, "i.test", target))), [
      "one",
      "two",
      "one",
      "two",
      "two",
      "one",
    ]);
    equal(await goes(proxy, "other.test"), "404");
    await until(
      async () => (await handshake(proxy.tlsPort, ["-servername", "i.test"])).subject.includes("i.test"),
      "the certificate",
    );
    await until(
      async () => JSON.stringify((await world.get("ingresses", "default", "i"))?.status).includes("192.0.2.7"),
      `the status; log:\n${proxy.log()}`,
    );
    await world.put(
      "ingresses",
      ingress("i", { "i.test": paths }, { annotations: { "aralez.rs/client_headers": '["X-Said: yes"]' } }),
    );
    await until(async () => (await send(proxy.port, "/", { host: "i.test" })).field("x-said") === "yes");
    await world.remove("ingresses", "default", "i");
    await follows(proxy, "404", "i.test");
    await world.remove("ingresses", "default", "other");
  },

  async "a list of services follows its slices"({ rules, ...world }) {
    await using at = await origins(world.host);
    await world.put("endpointslices", onPort("listed", at.one, world.host));
    const services = "services: [{ hostname: l.test, upstream: listed, namespace: default }]";
    await using proxy = await startProxy(`provider: kubernetes\nkubernetes: { ${rules}, ${services} }`);
    await follows(proxy, "one", "l.test");
    await world.put("endpointslices", onPort("listed", at.two, world.host));
    await follows(proxy, "two", "l.test");
    await world.put("endpointslices", onPort("listed", at.two));
    await follows(proxy, "503", "l.test");
    await world.put("endpointslices", onPort("listed", at.one, world.host));
    await follows(proxy, "one", "l.test");
    await world.remove("endpointslices", "default", "listed-1");
    await follows(proxy, "503", "l.test");
  },

  async "while the API is away everything stays, and what changes afterwards is followed"({ rules, ...world }) {
    await using at = await origins(world.host);
    await world.put("endpointslices", onPort("stays", at.one, world.host));
    const services = "services: [{ hostname: s.test, upstream: stays, namespace: default }]";
    await using proxy = await startProxy(`provider: kubernetes\nkubernetes: { ${rules}, ${services} }`);
    await follows(proxy, "one", "s.test");
    await world.stop();
    await down(proxy);
    for (let i = 0; i < 10; i++) {
      equal(await goes(proxy, "s.test"), "one");
      await Bun.sleep(50);
    }
    await world.start();
    await up(proxy);
    await world.put("endpointslices", onPort("stays", at.two, world.host));
    await follows(proxy, "two", "s.test");
  },

  async "a place in the history that is gone costs a new list, and nothing else"({ rules, ...world }) {
    await using at = await origins(world.host);
    await world.put("endpointslices", onPort("gone", at.one, world.host));
    const services = "services: [{ hostname: g.test, upstream: gone, namespace: default }]";
    await using proxy = await startProxy(`provider: kubernetes\nkubernetes: { ${rules}, ${services} }`);
    await follows(proxy, "one", "g.test");
    await world.put("endpointslices", onPort("noise", 1, world.host));
    await world.forget();
    equal(await goes(proxy, "g.test"), "one");
    await proxy.logged(/its place in the history is gone: everything is listed anew/);
    await up(proxy);
    await world.put("endpointslices", onPort("gone", at.two, world.host));
    await follows(proxy, "two", "g.test");
  },

  async "a token that rotates is read anew"({ rules, ...world }) {
    await using at = await origins(world.host);
    await world.put("endpointslices", onPort("token", at.one, world.host));
    const services = "services: [{ hostname: t.test, upstream: token, namespace: default }]";
    await using proxy = await startProxy(`provider: kubernetes\nkubernetes: { ${rules}, ${services} }`);
    await follows(proxy, "one", "t.test");
    await world.rotate();
    await up(proxy);
    await world.put("endpointslices", onPort("token", at.two, world.host));
    await follows(proxy, "two", "t.test");
  },

  async "who may not read is told why"({ denied }) {
    const services = "services: [{ hostname: d.test, upstream: d, namespace: default }]";
    await using proxy = await startProxy(`provider: kubernetes\nkubernetes: { ${denied}, ${services} }`);
    await down(proxy);
    match((await proxy.running.sources())[0]?.error ?? "", /answered 40[13]: \S/);
    equal(await goes(proxy, "d.test"), "503");
  },
};
