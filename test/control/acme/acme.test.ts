/** Orders, renewals and failures of ACME, against a server that can misbehave. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { certificateId } from "../../../src/control/acme/renewal-info.ts";
import { replica, stateOf, stopReplicas, type Replica } from "../../support/acme-replica.ts";
import { problem, startAcmeServer, tokenOf } from "../../support/acme-server.ts";
import { madeByUs, put, temporary } from "../../support/certificates.ts";
import { until } from "../../support/proxy.ts";

setDefaultTimeout(60_000);

afterEach(stopReplicas);

const leaf = (folder: string, name: string) => readFileSync(join(folder, "certificates", `${name}.crt`), "utf8");

describe("names", () => {
  test("hosts: all are the exact hosts, without those that somebody has covered; domains come on top", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const hosts = ["a.test", "covered.test", "under.far.test", "*.wild.test", "127.0.0.1", "[::1]"];
    const { acme, lines } = replica(server, folder.path, { hosts: "all", domains: ["b.test"] }, hosts);
    await until(() => acme.states().length === 2 && acme.states().every(({ state }) => state === "valid"));
    expect(acme.states().map(({ name }) => name)).toEqual(["a.test", "b.test"]);
    expect(lines).toContain("info *.wild.test gets no certificate: a wildcard can only be proved by DNS");
    expect(server.count("newAccount")).toBe(1);
  });

  test("[B25] only configured names can be ordered by hand, and they are kept renewed after a restart", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const first = replica(server, folder.path, {}, ["mine.test"]);
    for (const name of ["other.test", "*.mine.test", "../mine.test", "127.0.0.1", ""])
      expect(await first.acme.order(name).catch((error: Error) => error.constructor.name)).toBe("AcmeRefusal");
    expect(server.heard).toEqual([]);
    expect(await first.acme.order("mine.test")).toBe("issued");
    await first.acme.stop();
    expect(JSON.parse(readFileSync(join(folder.path, "domains.json"), "utf8"))).toEqual(["mine.test"]);
    const second = replica(server, folder.path, {}, ["mine.test"]);
    await until(() => second.acme.states().length === 1);
    expect(stateOf(second.acme, "mine.test").state).toBe("valid");
    const third = replica(server, folder.path, {}, []);
    await until(() =>
      third.lines.some((line) => line.includes("mine.test gets no certificate: it was ordered before")),
    );
  });
});

describe("what the original has left", () => {
  test("its account is used, and its domains are renewed as far as they are still hosts", async () => {
    await using server = startAcmeServer();
    using before = temporary();
    const first = replica(server, before.path, {});
    const id = await first.acme.createAccount();
    const [file = ""] = readdirSync(join(before.path, "accounts"));
    const { key, directory } = JSON.parse(readFileSync(join(before.path, "accounts", file), "utf8"));
    const key_pkcs8 = key
      .replace(/-----[^-]+-----|\s/g, "")
      .replaceAll("+", "-")
      .replaceAll("/", "_")
      .replace(/=+$/, "");
    using folder = temporary();
    writeFileSync(join(folder.path, "acme_credentials.json"), JSON.stringify({ id, key_pkcs8, directory }));
    writeFileSync(join(folder.path, "domains.json"), '[\n  "old.test",\n  "gone.test"\n]');
    const { acme } = replica(server, folder.path, {}, ["old.test"]);
    await until(() => stateOf(acme, "old.test")?.state === "valid");
    expect(acme.states().map(({ name }) => name)).toEqual(["old.test"]);
    expect(server.count("newAccount")).toBe(1);
    expect(await acme.createAccount()).toBe(id);
  });
});

describe("many names", () => {
  test("wait for their turn, a few at a time, and nothing else waits for them", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    let [now, most] = [0, 0];
    server.validate = async () => {
      most = Math.max(most, ++now);
      await Bun.sleep(20);
      now--;
      return true;
    };
    const names = Array.from({ length: 12 }, (_, i) => `n${i}.test`);
    const { acme } = replica(server, folder.path, { domains: names });
    expect(await acme.order("n11.test")).toMatch(/issued|fresh/);
    await until(() => acme.states().length === 12 && acme.states().every(({ state }) => state === "valid"));
    expect(most).toBeWithin(2, 5);
    expect(server.count("newOrder")).toBe(12);
  });
});

describe("a folder that cannot be written to", () => {
  test("is told, with a pause, and no server is asked for orders that could not be kept", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const file = join(folder.path, "file");
    writeFileSync(file, "");
    const { lines, acme } = replica(server, join(file, "state"), { domains: ["a.test"] });
    const line = await until(() => lines.find((each) => each.startsWith("error ")));
    expect(line).toMatch(/ENOTDIR.*tried again in \d+ s$/);
    await Bun.sleep(300);
    expect(lines.filter((each) => each.startsWith("error "))).toHaveLength(1);
    expect(server.count("newOrder")).toBe(0);
    expect(acme.states()).toEqual([]);
  });
});

describe("renewal", () => {
  test("a certificate that ends soon is renewed, naming the one it replaces where the server wants to know", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    server.renewalInfo = () =>
      Response.json({ suggestedWindow: { start: "2100-01-01T00:00:00Z", end: "2100-01-02T00:00:00Z" } });
    const first = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => first.issued === 1);
    await first.acme.stop();
    const before = leaf(folder.path, "a.test");
    const asked: string[] = [];
    // Now the server would like it to be renewed at once (RFC 9773: a window that has passed).
    server.renewalInfo = (id) => {
      asked.push(id);
      const [start, end] =
        asked.length === 1
          ? ["2001-01-01T00:00:00Z", "2001-01-02T00:00:00Z"]
          : ["2100-01-01T00:00:00Z", "2100-01-02T00:00:00Z"];
      return Response.json({ suggestedWindow: { start, end } }, { headers: { "Retry-After": "7200" } });
    };
    const record = join(folder.path, "orders", "a.test.json");
    writeFileSync(
      record,
      JSON.stringify({ ...JSON.parse(readFileSync(record, "utf8")), renewal: undefined, nextTryMs: 0 }),
    );
    const second = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => second.issued === 1 && asked.length === 2);
    expect(asked[0]).toBe(certificateId(before)!);
    expect(server.heard.filter(({ what }) => what === "newOrder").at(-1)!.payload).toMatchObject({
      replaces: asked[0],
    });
    expect(new X509Certificate(leaf(folder.path, "a.test")).serialNumber).not.toBe(
      new X509Certificate(before).serialNumber,
    );
    await until(() => JSON.parse(readFileSync(record, "utf8")).renewal?.id === asked[1]);
    const { renewal } = JSON.parse(readFileSync(record, "utf8"));
    expect(Math.abs(renewal.checkMs - Date.now() - 7_200_000)).toBeLessThan(60_000);
  });

  test("a server that always wants a renewal at once is obeyed once an hour", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const suggestedWindow = { start: "2001-01-01T00:00:00Z", end: "2001-01-02T00:00:00Z" };
    server.renewalInfo = () => Response.json({ suggestedWindow });
    const { acme } = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => (stateOf(acme, "a.test")?.renewAtMs ?? Infinity) < Date.now());
    await Bun.sleep(500);
    expect(server.count("newOrder")).toBe(1);
  });

  test("a server that knows nothing of the certificate replaced is asked again without it", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    server.renewalInfo = () => problem(404, "malformed", "unknown");
    server.instead = ({ what, payload }) =>
      what === "newOrder" && payload.replaces ? problem(409, "alreadyReplaced", "it has been replaced") : undefined;
    const { acme } = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => stateOf(acme, "a.test")?.state === "valid");
    expect(await acme.order("a.test", true)).toBe("issued");
    expect(server.heard.filter(({ what }) => what === "newOrder").map(({ payload }) => "replaces" in payload)).toEqual([
      false,
      true,
      false,
    ]);
  });

  test("an old certificate in the state folder is renewed, and stays when that fails", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    mkdirSync(join(folder.path, "certificates"));
    const old = madeByUs(["a.test"], 90, Date.now() - 80 * 86_400_000);
    put(join(folder.path, "certificates"), "a.test", old);
    server.validate = () => false;
    const { acme, lines } = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => stateOf(acme, "a.test")?.failures === 1);
    expect(stateOf(acme, "a.test")).toMatchObject({
      state: "valid",
      trouble: "a.test: http-01 failed: not what was expected (unauthorized)",
    });
    expect(leaf(folder.path, "a.test")).toBe(old.crt);
    expect(lines.some((line) => /^warn no certificate: a\.test: http-01 failed: .*tried again after/.test(line))).toBe(
      true,
    );
    server.validate = () => true;
    expect(await acme.order("a.test")).toBe("issued");
    expect(stateOf(acme, "a.test")).toMatchObject({ state: "valid", failures: 0, trouble: "" });
  });
});

describe("a server in trouble", () => {
  test("a rate limit is kept to, by this name and for a while by all", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    server.instead = ({ what, payload }) =>
      what === "newOrder" && payload.identifiers[0].value === "busy.test"
        ? problem(429, "rateLimited", "too many certificates", { "Retry-After": "36000" })
        : undefined;
    const { acme } = replica(server, folder.path, { domains: ["busy.test"] });
    await until(() => stateOf(acme, "busy.test")?.state === "failed");
    const { nextTryMs, trouble } = stateOf(acme, "busy.test");
    expect(nextTryMs! - Date.now()).toBeGreaterThan(35_000_000);
    expect(trouble).toContain("too many certificates (rateLimited)");
    await acme.stop();
    // A restart does not make it forget.
    const orders = server.count("newOrder");
    const again = replica(server, folder.path, { domains: ["busy.test", "other.test"] });
    await until(() => stateOf(again.acme, "other.test")?.state === "valid");
    expect(
      server.heard.slice(orders).filter(({ payload }) => payload?.identifiers?.[0].value === "busy.test"),
    ).toHaveLength(1);
  });

  test("a server that is not there is told once, and what it is asked for by hand later works", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const gone = "https://localhost:1/dir";
    const lost = replica(server, folder.path, { directory: gone, domains: ["a.test"] });
    await until(() =>
      lost.lines.some((line) => line.startsWith("error Cannot read the ACME directory https://localhost:1/dir")),
    );
    expect(stateOf(lost.acme, "a.test")).toMatchObject({ state: "failed" });
    await lost.acme.stop();
    const { acme } = replica(server, folder.path, { domains: ["a.test"] });
    expect(await acme.order("a.test")).toMatch(/issued|fresh/);
  });

  test("an account that it has forgotten is made anew with the same key", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const { acme } = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => stateOf(acme, "a.test")?.state === "valid");
    const account = await acme.createAccount();
    server.forgetAccounts();
    expect(await acme.order("a.test", true)).toBe("issued");
    expect(await acme.createAccount()).toBe(account);
    expect(server.count("newAccount")).toBe(2);
  });

  test("a certificate for another name, with another key or none at all is refused, and nothing written", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const stranger = madeByUs(["a.test"]).crt;
    const { sign } = server;
    const answers = [(csr: Buffer) => sign(csr, "evil.test"), () => stranger, () => "nonsense"];
    server.sign = (csr) => answers.shift()!(csr);
    const { acme } = replica(server, folder.path, {}, ["a.test"]);
    const failures = [];
    for (let i = 0; i < 3; i++) failures.push(await acme.order("a.test").catch((error: Error) => error.message));
    expect(failures).toEqual([
      "a.test: the server sent a certificate for evil.test",
      expect.stringContaining(
        "a.test: the server sent a certificate that cannot be used: the key beside it belongs to another",
      ),
      expect.stringContaining("a.test: the server sent a certificate that cannot be used: expected PEM"),
    ]);
    expect(existsSync(join(folder.path, "certificates"))).toBe(false);
  });

  test("malformed tokens and challenges that we cannot meet are told", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const authorization = (challenges: object[]) => Response.json({ status: "pending", challenges });
    const { acme } = replica(server, folder.path, {}, ["a.test"]);
    const failure = async (answer: () => Response) => {
      server.instead = ({ what }) => (what === "authorization" ? answer() : undefined);
      return acme.order("a.test").catch((error: Error) => error.message);
    };
    expect(
      await failure(() => authorization([{ type: "http-01", status: "pending", token: "../../etc/passwd" }])),
    ).toBe("a.test: the server's token is malformed");
    expect(await failure(() => authorization([{ type: "dns-01" }]))).toBe(
      "a.test: the server offers no http-01 challenge, only dns-01",
    );
    expect(await failure(() => new Response("x".repeat(300 * 1024)))).toContain(
      "its answer is longer than 262144 bytes",
    );
    expect(
      await failure(() => authorization([{ type: "http-01", status: "pending", token: tokenOf(0), url: "http://x/" }])),
    ).toContain('expected an https URL, found "http://x/"');
    expect(readdirSync(join(folder.path, "challenges"))).toEqual([]);
  });
});

describe("several replicas", () => {
  test("order once, and each answers for the other's token", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    const found: unknown[] = [];
    const replicas: Replica[] = [];
    server.validate = async (_name, token, keyAuthorization) => {
      for (const { acme } of replicas) found.push((await acme.challenges.find(token)) === keyAuthorization);
      return true;
    };
    for (let i = 0; i < 3; i++) replicas.push(replica(server, folder.path, { domains: ["a.test", "b.test"] }));
    await Promise.all(replicas.map(({ acme }) => acme.order("a.test")));
    await Promise.all(replicas.map(({ acme }) => acme.order("b.test")));
    expect(server.count("newOrder")).toBe(2);
    expect(server.count("newAccount")).toBe(1);
    expect(found).toEqual(Array.from({ length: 6 }, () => true));
    for (const { acme } of replicas) expect(await acme.challenges.find(tokenOf(0))).toBeUndefined();
  });
});

describe("a restart in the midst of an order", () => {
  test("takes it up again, with its key", async () => {
    await using server = startAcmeServer();
    using folder = temporary();
    server.instead = ({ what, path }) =>
      what === "finalize" || (what === "order" && server.count("finalize") > 0)
        ? Response.json({ status: "processing" }, { headers: { Location: `https://localhost${path}` } })
        : undefined;
    let csr: Buffer | undefined;
    const first = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => server.count("finalize") === 1);
    csr = Buffer.from(server.heard.find(({ what }) => what === "finalize")!.payload.csr, "base64url");
    await first.acme.stop();
    expect(existsSync(join(folder.path, "acme.lock"))).toBe(false);
    const certificate = server.sign(csr, "a.test");
    server.instead = ({ what, path }) => {
      if (what === "order")
        return Response.json({
          status: "valid",
          certificate: `${server.url.slice(0, -4)}/certificate${path.slice(6)}`,
        });
      return what === "certificate" ? new Response(certificate) : undefined;
    };
    const second = replica(server, folder.path, { domains: ["a.test"] });
    await until(() => second.issued === 1);
    expect(server.count("newOrder")).toBe(1);
    expect(leaf(folder.path, "a.test")).toBe(certificate);
    expect(readdirSync(join(folder.path, "orders"))).toEqual(["a.test.json"]);
  });
});
