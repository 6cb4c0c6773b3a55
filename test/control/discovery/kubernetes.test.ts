/** Kubernetes as a source, against a server that speaks its API (contract, sections 8 and 12). */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubernetesRules } from "../../../src/data/routing/discovery-rules.ts";
import { showAddress } from "../../../src/lib/address.ts";
import { KubernetesSource } from "../../../src/control/discovery/kubernetes/kubernetes.ts";
import { kubernetesTiming, type Timing } from "../../../src/control/discovery/timing.ts";
import { madeByUs } from "../../support/certificates.ts";
import { ingress, service, slice, startKubernetes, type FakeKubernetes } from "../../support/kubernetes.ts";
import { deadPort } from "../../support/origins.ts";
import { until } from "../../support/proxy.ts";

const quick: Timing = {
  ...kubernetesTiming,
  retryFirstMs: 20,
  retryMostMs: 100,
  answerMs: 1_500,
  pollMs: 20,
  waitSeconds: 60,
};

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "aralez-account-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A pod's service account, as the kubelet writes it. */
function account(kube: FakeKubernetes, namespace = "default"): string {
  const home = mkdtempSync(join(folder, "a-"));
  writeFileSync(join(home, "token"), "good-token\n");
  writeFileSync(join(home, "ca.crt"), kube.ca);
  writeFileSync(join(home, "namespace"), namespace);
  return home;
}

interface Watched extends Disposable {
  readonly source: KubernetesSource;
  readonly lines: string[];
  changes: number;
  routes(): Record<string, string[]>;
  remarks(): readonly string[];
}

interface More {
  readonly timing?: Partial<Timing>;
  readonly env?: Record<string, string>;
  readonly before?: KubernetesSource;
  readonly home?: string;
}

function watch(
  kube: FakeKubernetes,
  rules: KubernetesRules = {},
  { timing, env = {}, before, home }: More = {},
): Watched {
  const watched: Watched = {
    lines: [],
    changes: 0,
    source: new KubernetesSource({
      rules: { servers: [kube.hostPort], ...rules },
      env,
      timing: { ...quick, ...timing },
      accountFolder: home ?? account(kube),
      before,
      routes: () => Object.keys(watched.routes()).length,
      log: (level, text) => watched.lines.push(`${level} ${text}`),
      onChange: () => watched.changes++,
    }),
    routes: () =>
      Object.fromEntries(
        [...watched.source.brought().hosts].flatMap(([host, { paths, exact }]) =>
          [...paths, ...[...exact].map(([path, own]) => [`=${path}`, own] as const)].map(([path, own]) => [
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

const shop: KubernetesRules = { services: [{ hostname: "shop.test", upstream: "shop" }] };
const onePath = { "a.test": [{ path: "/", service: "shop", port: 80 }] };

async function withShop(): Promise<FakeKubernetes> {
  const kube = await startKubernetes();
  kube.put("services", service("shop", { http: 80 }));
  kube.put("endpointslices", slice("shop", { http: 8080 }, ["10.0.0.1"]));
  return kube;
}

describe("the list form [29]", () => {
  test("follows the slices of its services, by upstream, in its own namespace or the one it names [B19]", async () => {
    await using kube = await withShop();
    kube.put("endpointslices", slice("api", { http: 1, admin: 2 }, ["10.0.1.1", "10.0.1.2"], { namespace: "other" }));
    kube.put("endpointslices", slice("stranger", { http: 9 }, ["10.9.9.9"]));
    const services = [
      { hostname: "shop.test", upstream: "shop" },
      { hostname: "shop.test", upstream: "api", path: "/all", namespace: "other" },
      { hostname: "shop.test", upstream: "api", path: "/named", namespace: "other", port: "admin", rate_limit: 7 },
      { hostname: "shop.test", upstream: "api", path: "/number", namespace: "other", port: 1 },
    ];
    using watched = watch(kube, { services });
    const all = ["10.0.1.1:1", "10.0.1.1:2", "10.0.1.2:1", "10.0.1.2:2"];
    await until(() =>
      Bun.deepEquals(watched.routes(), {
        "shop.test/": ["10.0.0.1:8080"],
        "shop.test/all": all,
        "shop.test/named": ["10.0.1.1:2", "10.0.1.2:2"],
        "shop.test/number": ["10.0.1.1:1", "10.0.1.2:1"],
      }),
    );
    expect(watched.source.brought().hosts.get("shop.test")?.paths.get("/named")?.rate_limit).toBe(7);
    expect(decodeURIComponent(kube.asked[0]!)).toContain("labelSelector=kubernetes.io/service-name in (shop)");
    kube.put("endpointslices", slice("shop", { http: 8080 }, ["10.0.0.2"]));
    await until(() => watched.routes()["shop.test/"]?.[0] === "10.0.0.2:8080");
  });

  test("an endpoint that ends is used only where there is no ready one", async () => {
    await using kube = await startKubernetes();
    const ending = { addresses: ["10.0.0.1"], conditions: { ready: false, serving: true, terminating: true } };
    const unready = { addresses: ["10.0.0.2"], conditions: { ready: false, serving: false, terminating: false } };
    kube.put("endpointslices", slice("shop", { http: 80 }, [ending, unready, "10.0.0.3"]));
    using watched = watch(kube, shop);
    await until(() => Bun.deepEquals(watched.routes()["shop.test/"], ["10.0.0.3:80"]));
    kube.put("endpointslices", slice("shop", { http: 80 }, [ending, unready]));
    await until(() => Bun.deepEquals(watched.routes()["shop.test/"], ["10.0.0.1:80"]));
    kube.put("endpointslices", slice("shop", { http: 80 }, [unready]));
    await until(() => watched.routes()["shop.test/"]?.length === 0);
    kube.put("endpointslices", slice("shop", { http: 80 }, [{ addresses: ["10.0.0.4"], conditions: {} }]));
    await until(() => Bun.deepEquals(watched.routes()["shop.test/"], ["10.0.0.4:80"]));
  });

  test("works where EndpointSlices are of an older version", async () => {
    await using kube = await withShop();
    kube.sliceVersions = ["v1beta1"];
    using watched = watch(kube, shop);
    await until(() => watched.routes()["shop.test/"]?.length === 1);
    await until(() => watched.source.state.up);
    expect(watched.lines).toEqual([]);
  });

  test("a slice that goes away takes its members, the others stay; appProtocol is honoured", async () => {
    await using kube = await withShop();
    kube.put("endpointslices", slice("shop", { http: 8443 }, ["10.0.0.9"], { name: "shop-2", appProtocol: "https" }));
    using watched = watch(kube, shop);
    await until(() => watched.routes()["shop.test/"]?.length === 2);
    const servers = watched.source.brought().hosts.get("shop.test")?.paths.get("/")?.servers;
    expect(servers?.map(({ protocol }) => protocol)).toEqual([undefined, "https"]);
    kube.remove("endpointslices", "default", "shop-2");
    await until(() => Bun.deepEquals(watched.routes()["shop.test/"], ["10.0.0.1:8080"]));
  });
});

describe("watching", () => {
  test("goes on from where it was after a clean end, a reset and a 5xx, without a new list", async () => {
    await using kube = await withShop();
    using watched = watch(kube, shop);
    await until(() => kube.watches === 1);
    const lists = () => kube.asked.filter((target) => target.includes("limit=")).length;
    let n = 1;
    for (const how of ["cleanly", "reset", 500] as const) {
      kube.endWatches(how);
      kube.put("endpointslices", slice("shop", { http: 8080 }, [`10.0.1.${++n}`]));
      await until(() => watched.routes()["shop.test/"]?.[0] === `10.0.1.${n}:8080`, String(how));
      await until(() => kube.watches === 1);
    }
    expect(lists()).toBe(1);
  });

  test("lists anew when its place in the history is gone, told by a status or inside the watch [A7]", async () => {
    await using kube = await withShop();
    using watched = watch(kube, shop);
    await until(() => kube.watches === 1);
    for (const inside of [false, true]) {
      const member = inside ? "10.0.2.2" : "10.0.2.1";
      kube.trouble = "watches fail";
      kube.endWatches(inside ? 410 : "reset");
      kube.put("endpointslices", slice("shop", { http: 8080 }, [member]));
      kube.compact();
      kube.trouble = "none";
      await until(() => watched.routes()["shop.test/"]?.[0] === `${member}:8080`);
      await until(() => kube.watches === 1);
    }
    expect(watched.source.state.up).toBe(true);
  });

  test("bookmarks move its place on, so that quiet times do not age it", async () => {
    await using kube = await withShop();
    kube.bookmarkMs = 20;
    using watched = watch(kube, shop);
    await until(() => kube.watches === 1);
    kube.put("services", service("noise", { http: 1 }));
    const asked = kube.asked.length;
    await Bun.sleep(100);
    kube.compact();
    kube.endWatches("cleanly");
    await until(() => kube.watches === 1 && kube.asked.length > asked);
    expect(kube.asked.filter((target) => target.includes("limit="))).toHaveLength(1);
    expect(watched.source.state).toMatchObject({ up: true, error: "" });
  });

  test("survives lines that are no events, and lists page by page", async () => {
    await using kube = await withShop();
    kube.pageMax = 3;
    for (let i = 0; i < 20; i++)
      kube.put("endpointslices", slice("shop", { http: 8080 }, [`10.1.0.${i}`], { name: `more-${i}` }));
    kube.trouble = "lines that are no events";
    using watched = watch(kube, shop);
    await until(() => watched.routes()["shop.test/"]?.length === 21);
    await until(() => watched.source.state.error.includes("no event"));
    kube.trouble = "none";
    await until(() => watched.source.state.up);
    expect(watched.routes()["shop.test/"]).toHaveLength(21);
  });

  test("a watch that falls silent is noticed and begun anew", async () => {
    await using kube = await withShop();
    using watched = watch(kube, shop, { timing: { waitSeconds: 1 } });
    await until(() => kube.watches === 1);
    const asked = kube.asked.length;
    kube.trouble = "hang";
    await until(() => watched.source.state.error.includes("did not answer"));
    expect(watched.routes()).toEqual({ "shop.test/": ["10.0.0.1:8080"] });
    kube.trouble = "none";
    await until(() => watched.source.state.up && kube.asked.length > asked);
  });
});

describe("what is known stays [A7]", () => {
  for (const trouble of ["500", "reset", "hang"] as const) {
    test(`while the API fails: ${trouble}`, async () => {
      await using kube = await withShop();
      using watched = watch(kube, shop);
      await until(() => kube.watches === 1);
      kube.trouble = trouble;
      kube.endWatches("reset");
      kube.put("endpointslices", slice("shop", { http: 8080 }, ["10.0.0.7"]));
      await until(() => watched.source.state.error !== "" && !watched.source.state.up);
      await Bun.sleep(200);
      expect(watched.routes()).toEqual({ "shop.test/": ["10.0.0.1:8080"] });
      expect(watched.lines.filter((line) => line.startsWith("warn") && line.includes("(1 routes)"))).not.toEqual([]);
      kube.trouble = "none";
      await until(() => watched.routes()["shop.test/"]?.[0] === "10.0.0.7:8080");
      await until(() => watched.source.state.up);
    });
  }

  test("while the API is not there at all; every server of the list is used", async () => {
    await using kube = await withShop();
    const dead = await deadPort();
    using watched = watch(kube, { ...shop, servers: [`127.0.0.1:${dead}`, kube.url] });
    await until(() => watched.routes()["shop.test/"]?.length === 1);
    await kube.stop();
    await until(() => !watched.source.state.up);
    expect(watched.routes()["shop.test/"]).toHaveLength(1);
    await kube.start();
    kube.put("endpointslices", slice("shop", { http: 8080 }, ["10.0.0.8"]));
    await until(() => watched.routes()["shop.test/"]?.[0] === "10.0.0.8:8080");
  });
});

describe("trust", () => {
  test("a token that rotates is read anew, also when that is late", async () => {
    await using kube = await withShop();
    const home = account(kube);
    using watched = watch(kube, shop, { home });
    await until(() => kube.watches === 1);
    kube.tokens.clear();
    kube.tokens.add("second-token");
    kube.endWatches("reset");
    kube.put("endpointslices", slice("shop", { http: 8080 }, ["10.0.0.5"]));
    await until(() => watched.source.state.error.includes("answered 401: Unauthorized"));
    expect(watched.routes()["shop.test/"]).toEqual(["10.0.0.1:8080"]);
    // As the kubelet does it: a new file in the place of the old one.
    writeFileSync(join(home, "token.tmp"), "second-token");
    renameSync(join(home, "token.tmp"), join(home, "token"));
    await until(() => watched.routes()["shop.test/"]?.[0] === "10.0.0.5:8080");
    expect(watched.lines.join("\n")).not.toContain("-token");
  });

  test("a server of another authority gets no token, and no say [B13]", async () => {
    await using kube = await withShop();
    await using other = await startKubernetes();
    const home = account(kube);
    writeFileSync(join(home, "ca.crt"), other.ca);
    using watched = watch(kube, shop, { home });
    await until(() => /certificate/.test(watched.source.state.error));
    expect(kube.asked).toEqual([]);
    writeFileSync(join(home, "ca.crt"), kube.ca);
    await until(() => watched.routes()["shop.test/"]?.length === 1);
  });

  test("without ca_file or a service account the system's authorities decide", async () => {
    await using kube = await withShop();
    using watched = watch(kube, shop, { home: join(folder, "none") });
    await until(() => /certificate/.test(watched.source.state.error));
    expect(kube.asked).toEqual([]);
  });

  test("tokenpath and ca_file of the file; a token file that is not there is told", async () => {
    await using kube = await withShop();
    const home = account(kube);
    const rules = { ...shop, tokenpath: join(home, "later"), ca_file: join(home, "ca.crt") };
    using watched = watch(kube, rules, { home: join(folder, "none") });
    await until(() => watched.source.state.error.includes("Cannot read the token"));
    writeFileSync(join(home, "later"), "good-token");
    await until(() => watched.routes()["shop.test/"]?.length === 1);
  });

  test("in a pod nothing needs to be configured", async () => {
    await using kube = await withShop();
    const [host, port] = kube.hostPort.split(":");
    const env = { KUBERNETES_SERVICE_HOST: host!, KUBERNETES_SERVICE_PORT: port! };
    using watched = watch(kube, { ...shop, servers: [] }, { env });
    await until(() => watched.routes()["shop.test/"]?.length === 1);
  });
});

describe("Ingress", () => {
  test("hosts, path types, ports by number and by name, the default backend; other classes are left alone", async () => {
    await using kube = await withShop();
    kube.put("services", service("api", { web: 80, admin: 81 }));
    kube.put("endpointslices", slice("api", { web: 9080, admin: 9081 }, ["10.0.0.2"]));
    kube.put(
      "ingresses",
      ingress(
        "one",
        {
          "a.test": [
            { path: "/", service: "shop", port: 80 },
            { path: "/api/", service: "api", port: "admin" },
            { path: "/api", pathType: "Exact", service: "api", port: 80 },
          ],
          "*.b.test": [{ pathType: "ImplementationSpecific", path: "/x", service: "api", port: "web" }],
        },
        { defaultBackend: { service: "shop", port: "http" } },
      ),
    );
    kube.put("ingresses", ingress("two", { "other.test": onePath["a.test"] }, { className: "nginx" }));
    using watched = watch(kube);
    await until(() => watched.source.complete && Object.keys(watched.routes()).length > 0);
    expect(watched.routes()).toEqual({
      "a.test/": ["10.0.0.1:8080"],
      "a.test/api": ["10.0.0.2:9081"],
      "a.test=/api": ["10.0.0.2:9080"],
      "*.b.test/x": ["10.0.0.2:9080"],
      "*.b.test/": ["10.0.0.1:8080"],
      "DEFAULT/": ["10.0.0.1:8080"],
    });
    expect(watched.remarks()).toEqual([]);
    kube.remove("ingresses", "default", "one");
    await until(() => Object.keys(watched.routes()).length === 0);
    expect(watched.source.state.up).toBe(true);
  });

  test("says nothing until every kind is known, then everything at once", async () => {
    await using kube = await withShop();
    kube.put("ingresses", ingress("one", onePath));
    kube.tokens.clear();
    using watched = watch(kube);
    await until(() => !watched.source.state.up && watched.source.state.error !== "");
    expect(watched.routes()).toEqual({});
    kube.tokens.add("good-token");
    await until(() => Bun.deepEquals(watched.routes(), { "a.test/": ["10.0.0.1:8080"] }));
  });

  test("annotations set limits and headers; a limit that cannot be read closes the route", async () => {
    await using kube = await withShop();
    const annotations = {
      "aralez.rs/rate_limit": "10",
      "aralez.rs/x4xx_limit": "20",
      "aralez.rs/client_headers": '["X-A:1", "Transfer-Encoding: x"]',
      "aralez.rs/server_headers": '["X-B: 2"]',
      "aralez.rs/colour": "red",
    };
    kube.put("ingresses", ingress("one", onePath, { annotations }));
    using watched = watch(kube);
    await until(() => watched.routes()["a.test/"]?.length === 1);
    expect(watched.source.brought().hosts.get("a.test")?.paths.get("/")).toEqual({
      rate_limit: 10,
      x4xx_limit: 20,
      client_headers: [{ act: "set", name: "X-A", value: "1" }],
      server_headers: [{ act: "set", name: "X-B", value: "2" }],
      servers: [{ address: { host: "10.0.0.1", port: 8080 }, weight: 1 }],
    });
    expect(watched.remarks()).toEqual([
      'ingress "default/one": annotation aralez.rs/colour is unknown',
      expect.stringContaining('"Transfer-Encoding" belongs to the connection'),
    ]);
    kube.put("ingresses", ingress("one", onePath, { annotations: { "aralez.rs/rate_limit": "lots" } }));
    await until(() => watched.routes()["a.test/"]?.length === 0);
    expect(watched.remarks().join()).toContain("its route answers 503 until it can");
  });

  test("the older Ingress keeps a host and path; what is missing is told and answers 503", async () => {
    await using kube = await withShop();
    kube.put("services", service("late", { http: 80 }, "evil"));
    kube.put("endpointslices", slice("late", { http: 80 }, ["10.6.6.6"], { namespace: "evil" }));
    kube.put(
      "ingresses",
      ingress(
        "grab",
        { "a.test": [{ path: "/", service: "late", port: 80 }] },
        { namespace: "evil", created: "2026-05-01T00:00:00Z" },
      ),
    );
    kube.put("ingresses", ingress("own", onePath));
    kube.put(
      "ingresses",
      ingress("odd", {
        "b.test": [
          { path: "/", service: "gone", port: 80 },
          { path: "/p", service: "shop", port: 443 },
        ],
      }),
    );
    using watched = watch(kube);
    await until(() => Object.keys(watched.routes()).length === 3);
    expect(watched.routes()).toEqual({ "a.test/": ["10.0.0.1:8080"], "b.test/": [], "b.test/p": [] });
    expect(watched.remarks()).toEqual([
      'ingress "default/odd": there is no Service "gone": its paths answer 503',
      'ingress "default/odd": the Service "shop" has no port "443": its paths answer 503',
      'ingress "evil/grab": a.test/ is ignored: ingress "default/own" has it already',
    ]);
  });

  test("only the namespaces that are named are looked at", async () => {
    await using kube = await withShop();
    kube.put("ingresses", ingress("one", onePath));
    kube.put("ingresses", ingress("two", { "b.test": [{ service: "x", port: 1 }] }, { namespace: "secret" }));
    using watched = watch(kube, { namespaces: ["default", "more"] });
    await until(() => Object.keys(watched.routes()).length === 1);
    expect(kube.asked.every((target) => target.includes("/namespaces/"))).toBe(true);
  });

  test("TLS secrets that an Ingress names become certificates, and go with it", async () => {
    await using kube = await withShop();
    const { crt, key } = madeByUs(["a.test"]);
    const secret = (name: string) => ({
      metadata: { name, namespace: "default" },
      type: "kubernetes.io/tls",
      data: { "tls.crt": Buffer.from(crt).toString("base64"), "tls.key": Buffer.from(key).toString("base64") },
    });
    kube.put("secrets", secret("used"));
    kube.put("secrets", secret("unused"));
    kube.put("ingresses", ingress("one", onePath, { tls: ["used", "absent"] }));
    using watched = watch(kube);
    await until(() => watched.source.brought().pairs.length === 1);
    const [pair] = watched.source.brought().pairs;
    expect([pair?.name, pair?.hosts]).toEqual(["kubernetes:default/used", ["a.test"]]);
    expect(Buffer.from(pair!.crt).toString()).toBe(crt);
    expect(watched.remarks()).toEqual(['ingress "default/one": there is no TLS secret "default/absent"']);
    expect(kube.asked.some((target) => target.includes("fieldSelector=type%3Dkubernetes.io%2Ftls"))).toBe(true);
    kube.remove("secrets", "default", "used");
    await until(() => watched.source.brought().pairs.length === 0);
  });

  test("a TLS secret is for the hosts of its Ingress, or those that stand beside it, and for all where whoever comes is served", async () => {
    await using kube = await withShop();
    const { crt, key } = madeByUs(["a.test", "b.test"]);
    const data = { "tls.crt": Buffer.from(crt).toString("base64"), "tls.key": Buffer.from(key).toString("base64") };
    for (const name of ["one", "two", "three", "four"])
      kube.put("secrets", { metadata: { name, namespace: "default" }, type: "kubernetes.io/tls", data });
    const other = { "b.test": onePath["a.test"] };
    kube.put("ingresses", ingress("1", onePath, { tls: ["one"] }));
    kube.put("ingresses", ingress("2", other, { tls: ["one", { secretName: "two", hosts: ["B.test", "x y"] }] }));
    kube.put("ingresses", ingress("3", { "": [{ service: "shop", port: 80 }] }, { tls: ["three"] }));
    kube.put("ingresses", ingress("4", {}, { tls: ["four"], defaultBackend: { service: "shop", port: 80 } }));
    using watched = watch(kube);
    await until(() => watched.source.brought().pairs.length === 4);
    expect(watched.source.brought().pairs.map(({ name, hosts }) => [name.split("/")[1], hosts])).toEqual([
      ["one", ["a.test", "b.test"]],
      ["two", ["b.test"]],
      ["three", undefined],
      ["four", undefined],
    ]);
  });

  test("`hosts` says which ones an Ingress may name, and its certificates be for", async () => {
    await using kube = await withShop();
    const { crt, key } = madeByUs(["a.test", "x.svc.test"]);
    const data = { "tls.crt": Buffer.from(crt).toString("base64"), "tls.key": Buffer.from(key).toString("base64") };
    kube.put("secrets", { metadata: { name: "one", namespace: "default" }, type: "kubernetes.io/tls", data });
    const path = [{ path: "/", service: "shop", port: 80 }];
    kube.put(
      "ingresses",
      ingress("1", { "a.test": path, "x.svc.test": path, "": path }, { tls: ["one"], defaultBackend: path[0]! }),
    );
    using watched = watch(kube, { hosts: ["*.svc.test"] });
    await until(() => watched.source.brought().pairs.length === 1);
    expect(Object.keys(watched.routes())).toEqual(["x.svc.test/"]);
    expect(watched.source.brought().pairs[0]!.hosts).toEqual(["x.svc.test"]);
    expect(watched.remarks()).toEqual([
      'ingress "default/1": host "a.test" is none of `hosts`: it is no route',
      'ingress "default/1": host "DEFAULT" is none of `hosts`: it is no route',
    ]);
  });

  test("annotations cannot reach files, the environment or other lines", async () => {
    await using kube = await withShop();
    const annotations = {
      "aralez.rs/client_headers":
        '["X-A: 1\\r\\nSet-Cookie: x=1", {"file": "/etc/passwd"}, {"env": "HOME"}, 7, null, "X-B: 1"]',
      "aralez.rs/server_headers": '{"__proto__": {"x": 1}}',
    };
    kube.put("ingresses", ingress("one", onePath, { annotations }));
    using watched = watch(kube);
    await until(() => watched.routes()["a.test/"]?.length === 1);
    const own = watched.source.brought().hosts.get("a.test")?.paths.get("/");
    expect(own?.client_headers?.map(({ name }) => name)).toEqual(["X-B"]);
    expect(own?.server_headers).toBeUndefined();
  });

  test("its status tells where clients reach it: publish, ARALEZ_EXTERNAL_IP, or our own Service", async () => {
    const write = async (rules: KubernetesRules, env: Record<string, string>) => {
      await using kube = await withShop();
      kube.put("ingresses", ingress("one", onePath));
      kube.put("services", {
        ...service("aralez-service", { http: 80 }, "aralez"),
        status: { loadBalancer: { ingress: [{ hostname: "lb.test" }] } },
      });
      using watched = watch(kube, rules, { env });
      await until(() => kube.patches.length > 0 && watched.source.state.up);
      await Bun.sleep(100);
      // Once written it is not written again, although writing it is a change itself.
      expect(kube.patches).toHaveLength(1);
      expect(kube.patches[0]!.type).toBe("application/merge-patch+json");
      expect(kube.patches[0]!.target).toBe("/apis/networking.k8s.io/v1/namespaces/default/ingresses/one/status");
      return (kube.get("ingresses", "default", "one")!.status as { loadBalancer: { ingress: unknown } }).loadBalancer
        .ingress;
    };
    expect(await write({ publish: "192.0.2.1" }, { ARALEZ_EXTERNAL_IP: "192.0.2.9" })).toEqual([{ ip: "192.0.2.1" }]);
    expect(await write({}, { ARALEZ_EXTERNAL_IP: "192.0.2.9" })).toEqual([{ ip: "192.0.2.9" }]);
    expect(await write({}, {})).toEqual([{ hostname: "lb.test" }]);
  });
});

describe("answers that mean no good", () => {
  for (const [name, text] of Object.entries({
    "no list at all": '{"metadata":{"resourceVersion":"9"}}',
    "a list without items": '{"kind":"EndpointSliceList","metadata":{"resourceVersion":"9"}}',
    "objects without a name": '{"kind":"List","metadata":{"resourceVersion":"9"},"items":[{}]}',
    nulls: '{"kind":"List","metadata":{"resourceVersion":"9"},"items":[null]}',
    "a list without an end": '{"kind":"List","metadata":{"resourceVersion":"9"},"items":[',
    "a status": '{"kind":"Status","status":"Failure","metadata":{"resourceVersion":"9"}}',
  })) {
    test(`empty nothing: ${name}`, async () => {
      await using kube = await withShop();
      using watched = watch(kube, shop);
      await until(() => watched.routes()["shop.test/"]?.length === 1);
      kube.instead = (target) => (target.includes("watch=1") ? [410, '{"kind":"Status"}'] : [200, text]);
      kube.endWatches(410);
      await until(() => watched.source.state.error !== "");
      expect(watched.routes()).toEqual({ "shop.test/": ["10.0.0.1:8080"] });
      kube.instead = undefined;
      await until(() => watched.source.state.up);
    });
  }

  test("a list that goes on for ever without an object is given up", async () => {
    await using kube = await withShop();
    const page = '{"kind":"List","metadata":{"resourceVersion":"9","continue":"more"},"items":[]}';
    kube.instead = () => [200, page];
    using watched = watch(kube, shop, { timing: { retryFirstMs: 5_000, retryMostMs: 5_000 } });
    await until(() => /one empty page after another/.test(watched.source.state.error));
    expect(kube.asked.length).toBeLessThan(20);
  });

  test("events of an unknown kind, or about nobody, change nothing", async () => {
    await using kube = await withShop();
    using watched = watch(kube, shop);
    await until(() => watched.routes()["shop.test/"]?.length === 1);
    for (const line of [
      '{"type":"ERASED","object":{"metadata":{"name":"shop-1"}}}',
      '{"type":"DELETED","object":{}}',
      '{"type":"MODIFIED","object":{"metadata":null}}',
    ]) {
      kube.instead = (target) => (target.includes("watch=1") ? [200, `${line}\n`] : undefined);
      kube.endWatches("cleanly");
      await until(() => /an event of an unknown kind/.test(watched.source.state.error));
      expect(watched.routes()).toEqual({ "shop.test/": ["10.0.0.1:8080"] });
      kube.instead = undefined;
      await until(() => watched.source.state.up);
    }
  });

  test("a token that comes back in an error stays out of the log and the status", async () => {
    await using kube = await withShop();
    kube.instead = (_, authorization) => [
      401,
      JSON.stringify({ kind: "Status", message: `unknown: ${authorization}` }),
    ];
    using watched = watch(kube, shop);
    await until(() => /answered 401: unknown: Bearer …/.test(watched.source.state.error));
    expect(watched.lines.join()).not.toContain("good-token");
  });
});

test("a source that replaces another one knows what that one knew", async () => {
  const kube = await withShop();
  kube.put("ingresses", ingress("one", onePath));
  using old = watch(kube, { ...shop, ingress: true });
  await until(() => Object.keys(old.routes()).length === 2 && old.source.complete);
  await kube.stop();
  using next = watch(kube, { ...shop, ingress: true, publish: "192.0.2.1" }, { before: old.source });
  expect(next.routes()).toEqual(old.routes());
});
