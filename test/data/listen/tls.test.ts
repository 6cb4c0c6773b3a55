/** The TLS listener of the socket engine on its own: who is shown which certificate, bounds, and clients that misbehave. */
import { afterAll, describe, expect, test } from "bun:test";
import net from "node:net";
import { connect } from "node:tls";
import { clientPolicy } from "../../../src/data/tls/client-policy.ts";
import { tlsHooksPresent } from "../../../src/data/tls/hooks.ts";
import { handshakesUnnamedMax } from "../../../src/lib/limits.ts";
import { newSerial } from "../../../src/lib/numbered-set.ts";
import { madeBySelf } from "../../support/certificates.ts";
import { until } from "../../support/proxy.ts";
import { startTls } from "../../support/tls-listener.ts";
import { askOn, handshake, openTls, pairOf, selfSigned, setOf, startAuthority, type Told } from "../../support/tls.ts";

const a = pairOf("a.test", selfSigned("a.test"));
const b = pairOf("b.test", selfSigned("b.test"), ["b.test", "*.b.test"]);
const rsa = pairOf("a-rsa", selfSigned("a.test", "rsa"), ["a.test"], "rsa");

const commonName = async (port: number, serverName: string) => {
  const socket = await openTls(port, serverName);
  const name = String(socket.getPeerCertificate().subject.CN);
  socket.destroy();
  return name;
};

test("the hooks that it builds on are there", async () => {
  expect(await tlsHooksPresent(a)).toBe(true);
  expect(await tlsHooksPresent(rsa)).toBe(true);
});

describe("certificates", () => {
  test("are chosen by SNI: exact, wildcard of one label, in any case; the default for all others", async () => {
    await using tls = startTls({ certificates: setOf(a, b) });
    const shown: Record<string, string> = {};
    for (const name of ["a.test", "B.Test", "x.b.test", "x.y.b.test", "unknown.test", ""])
      shown[name] = await commonName(tls.port, name);
    expect(shown).toEqual({
      "a.test": "a.test",
      "B.Test": "b.test",
      "x.b.test": "b.test",
      "x.y.b.test": "a.test",
      "unknown.test": "a.test",
      "": "a.test",
    });
    expect(tls.faults).toEqual([]);
  });
  test("of two kinds for one name are both served, by what the client can use", async () => {
    await using tls = startTls({ certificates: setOf(a, rsa) });
    const ask = (cipher: string) => handshake(tls.port, ["-servername", "a.test", "-tls1_2", "-cipher", cipher]);
    expect((await ask("ECDHE-ECDSA-AES256-GCM-SHA384")).cipher).toBe("ECDHE-ECDSA-AES256-GCM-SHA384");
    expect((await ask("ECDHE-RSA-AES256-GCM-SHA384")).cipher).toBe("ECDHE-RSA-AES256-GCM-SHA384");
  });
  test("change in place, the default too, and connections that stand go on", async () => {
    await using tls = startTls({ certificates: setOf(a, b) });
    const standing = await openTls(tls.port, "b.test");
    expect((await askOn(standing)).status).toBe(200);
    const next = pairOf("next", selfSigned("next.test"), ["b.test", "next.test"]);
    tls.listener.certificates(setOf(next));
    expect(await commonName(tls.port, "b.test")).toBe("next.test");
    expect(await commonName(tls.port, "a.test")).toBe("next.test");
    expect(await commonName(tls.port, "")).toBe("next.test");
    expect((await askOn(standing)).status).toBe(200);
    standing.destroy();
  });
  test("that cannot be used refuse their own name only, and never replace the default", async () => {
    await using tls = startTls({ certificates: setOf(a, b) });
    const broken = { ...pairOf("broken", { key: b.keyPem, cert: a.certPem }, ["broken.test"]) };
    tls.listener.certificates({ ...setOf(broken, a), defaultIndex: 0 });
    expect(await commonName(tls.port, "").catch(() => "refused")).toBe("a.test");
    expect(await commonName(tls.port, "broken.test").catch(() => "refused")).toBe("refused");
    expect(await commonName(tls.port, "a.test")).toBe("a.test");
    expect(tls.log.join("\n")).toMatch(
      /warn tls - Cannot change the default certificate.*\n[^]*Cannot serve "broken.test"/,
    );
    expect(tls.log.join("\n")).not.toContain("PRIVATE KEY");
  });
});

test("a set that Bun.serve cannot use changes nothing, and the next one is served", async () => {
  await using tls = startTls({ certificates: setOf(a), engine: "bun" });
  const broken = pairOf("broken", { key: b.keyPem, cert: a.certPem }, ["broken.test"]);
  tls.listener.certificates(setOf(a, broken));
  await until(() => tls.log.some((line) => line.includes("Cannot change the certificates")));
  expect(await commonName(tls.port, "a.test")).toBe("a.test");
  tls.listener.certificates(setOf(b));
  await until(async () => (await commonName(tls.port, "b.test")) === "b.test", "the next set");
});

describe("ALPN", () => {
  test("offers http/1.1, refuses who only offers something else, and does without", async () => {
    await using tls = startTls({ certificates: setOf(a) });
    const socket = await openTls(tls.port, "a.test", { ALPNProtocols: ["h2", "http/1.1"] });
    expect(socket.alpnProtocol).toBe("http/1.1");
    socket.destroy();
    expect(
      await openTls(tls.port, "a.test", { ALPNProtocols: ["h2"] }).catch((e: NodeJS.ErrnoException) => e.code),
    ).toBe("ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
    const without = await openTls(tls.port, "a.test");
    expect(without.alpnProtocol).toBe(false);
    expect((await askOn(without)).status).toBe(200);
    without.destroy();
  });
  test("hands the connection to the protocol that was chosen, ours first", async () => {
    let peer = "";
    await using tls = startTls({
      certificates: setOf(a),
      protocols: [
        {
          name: "greet",
          connect(transport, from, site) {
            peer = from;
            transport.write(Buffer.from("hello"));
            const connection = {
              serial: newSerial(),
              busy: true,
              sweep() {},
              drainNow() {},
              cut: () => void transport.terminate(),
              data() {},
              drain() {},
              end: () => void transport.end(),
              close: () => site.gone(connection),
            };
            return connection;
          },
        },
        { name: "http/1.1", connect: () => expect.unreachable() },
      ],
    });
    const socket = await openTls(tls.port, "a.test", { ALPNProtocols: ["http/1.1", "greet"] });
    expect(await new Promise((resolve) => socket.once("data", (data) => resolve(String(data))))).toBe("hello");
    expect(socket.alpnProtocol).toBe("greet");
    expect(peer).toBe("127.0.0.1");
    socket.destroy();
    await until(() => tls.held() === 0, "the connection to be given back");
  });
});

describe("grades", () => {
  const old = "ALL:@SECLEVEL=0";
  const asked = {
    "TLS 1.0": ["-tls1", "-cipher", old],
    "TLS 1.1": ["-tls1_1", "-cipher", old],
    "TLS 1.2 AES256-GCM": ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"],
    "TLS 1.2 ChaCha20": ["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"],
    "TLS 1.2 AES128-GCM": ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
    "TLS 1.2 CBC": ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"],
    "TLS 1.2 without forward secrecy": ["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
    "TLS 1.2 AES256-SHA": ["-tls1_2", "-cipher", "AES256-SHA"],
    "TLS 1.2 signed with SHA-1": ["-tls1_2", "-cipher", "ECDHE:@SECLEVEL=0", "-sigalgs", "RSA+SHA1"],
    "TLS 1.3": ["-tls1_3"],
  };
  const weak = ["TLS 1.2 AES128-GCM", "TLS 1.2 CBC", "TLS 1.2 without forward secrecy"];
  const refused = {
    high: ["TLS 1.0", "TLS 1.1", ...weak, "TLS 1.2 AES256-SHA", "TLS 1.2 signed with SHA-1"],
    medium: ["TLS 1.0", "TLS 1.1", "TLS 1.2 AES256-SHA", "TLS 1.2 signed with SHA-1"],
    unsafe: [] as string[],
  } as const;
  for (const grade of ["high", "medium", "unsafe"] as const) {
    test(`${grade} refuses ${refused[grade].join(", ") || "none of them"} [22] [B17]`, async () => {
      const later = pairOf("later", selfSigned("later.test", "rsa"), ["later.test"], "rsa");
      for (const engine of ["socket", "bun"] as const) {
        await using tls = startTls({ certificates: setOf(rsa), grade, engine });
        const asking = async (serverName: string[]) => {
          const results = Object.entries(asked).map(
            async ([name, args]) => [name, (await handshake(tls.port, [...args, ...serverName])).ok] as const,
          );
          return (await Promise.all(results)).filter(([, ok]) => !ok).map(([name]) => name);
        };
        expect(await asking(["-servername", "a.test"])).toEqual([...refused[grade]]);
        expect(await asking(["-noservername"])).toEqual([...refused[grade]]);
        // A default that was changed in place holds the grade too.
        tls.listener.certificates(setOf(later));
        await until(async () => (await handshake(tls.port, ["-noservername"])).subject.includes("later.test"));
        expect(await asking(["-noservername"])).toEqual([...refused[grade]]);
      }
    });
  }
});

test("every kind of key signs, in TLS 1.2 and 1.3, whatever the grade", async () => {
  const signed: Record<string, string> = {};
  for (const name of ["ecdsa", "p384", "p521", "rsa", "ed25519"] as const) {
    const { crt, key } = madeBySelf({ kind: name });
    for (const grade of ["high", "medium"] as const) {
      await using tls = startTls({ certificates: setOf(pairOf("a.test", { cert: crt, key })), grade });
      for (const version of ["-tls1_2", "-tls1_3"]) {
        const { ok } = await handshake(tls.port, [version, "-servername", "a.test"]);
        signed[`${name} ${grade} ${version}`] = ok ? "yes" : "no";
      }
    }
  }
  expect(Object.keys(signed)).toHaveLength(20);
  expect(Object.entries(signed).filter(([, ok]) => ok === "no")).toEqual([]);
});

describe("clients that misbehave", () => {
  test("and stay silent, send garbage or half a hello are cut after the header timeout, others are served", async () => {
    await using tls = startTls({ certificates: setOf(a), headerMs: 400 });
    const hello = Buffer.from("16030100", "hex");
    const closed: Promise<void>[] = [];
    for (const bytes of [
      Buffer.alloc(0),
      hello,
      Buffer.from("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
      Buffer.alloc(5_000, 7),
    ]) {
      const socket = net.connect(tls.port, "127.0.0.1", () => void (bytes.length > 0 && socket.write(bytes)));
      socket.on("error", () => {});
      socket.resume();
      closed.push(new Promise((resolve) => socket.once("close", () => resolve())));
    }
    const good = await openTls(tls.port, "a.test");
    expect((await askOn(good)).status).toBe(200);
    await Promise.all(closed);
    expect((await askOn(good)).status).toBe(200);
    good.destroy();
    await until(() => tls.held() === 0, "all to be given back");
    expect(tls.log.join("\n")).toContain("not done within 0.4 s");
    expect(tls.faults).toEqual([]);
  });
  test("and send garbage after the handshake are cut, and that is no fault of the proxy's", async () => {
    await using tls = startTls({ certificates: setOf(a) });
    for (const garbage of [
      `1703030020${"00".repeat(32)}`,
      "15030300020228",
      Buffer.from("GET /\r\n").toString("hex"),
    ]) {
      const plain = net.connect(tls.port, "127.0.0.1").on("error", () => {});
      const closed = new Promise((resolve) => plain.once("close", resolve));
      const socket = connect({ socket: plain, servername: "a.test", rejectUnauthorized: false }).on("error", () => {});
      await new Promise((resolve) => socket.once("secureConnect", resolve));
      expect((await askOn(socket)).status).toBe(200);
      plain.write(Buffer.from(garbage, "hex"));
      await closed;
    }
    await until(() => tls.held() === 0, "all to be given back");
    expect(tls.faults).toEqual([]);
    expect(tls.log).toHaveLength(3);
  });
  test("and leave at any moment leave nothing behind", async () => {
    await using tls = startTls({ certificates: setOf(a) });
    for (let i = 0; i < 60; i++) {
      const socket = openTls(tls.port, "a.test").catch(() => undefined);
      if (i % 3 === 0) void socket.then((it) => it?.destroy());
      else {
        const raw = net.connect(tls.port, "127.0.0.1", () => {
          raw.write(Buffer.from("1603010200010001fc0303", "hex"));
          if (i % 3 === 1) raw.resetAndDestroy();
          else raw.end();
        });
        raw.on("error", () => {}).resume();
        void socket.then((it) => it?.end());
      }
    }
    await until(() => tls.held() === 0, "all to be given back");
    expect(await commonName(tls.port, "a.test")).toBe("a.test");
    expect(tls.faults).toEqual([]);
  });
  test("above max_connections are closed before the handshake; below it all is well again", async () => {
    await using tls = startTls({ certificates: setOf(a), connectionsMax: 2 });
    const held = [await openTls(tls.port, "a.test"), net.connect(tls.port, "127.0.0.1")] as const;
    await until(() => tls.held() === 2);
    await expect(openTls(tls.port, "a.test")).rejects.toThrow();
    expect((await askOn(held[0])).status).toBe(200);
    held[1].destroy();
    await until(() => tls.held() === 1);
    const third = await openTls(tls.port, "a.test");
    expect((await askOn(third)).status).toBe(200);
    for (const socket of [...held, third]) socket.destroy();
  });
  test("and open more silent connections than may wait push out the oldest, not those that speak", async () => {
    await using tls = startTls({ certificates: setOf(a) });
    const silent: net.Socket[] = [];
    const closed: number[] = [];
    for (let i = 0; i < handshakesUnnamedMax + 20; i++) {
      const socket = net.connect(tls.port, "127.0.0.1");
      socket.on("error", () => {}).on("close", () => closed.push(i));
      silent.push(socket.resume());
      await new Promise((resolve) => socket.once("connect", resolve));
    }
    const good = await openTls(tls.port, "a.test");
    expect((await askOn(good)).status).toBe(200);
    await until(() => closed.length >= 20, "the oldest to be closed");
    expect(closed.toSorted((one, two) => one - two)).toEqual(Array.from(closed, (_, i) => i));
    expect(closed.length).toBeLessThan(30);
    for (const socket of silent) socket.destroy();
    good.destroy();
    await until(() => tls.held() === 0, "all to be given back");
  });
  test("close_notify in front of the answer does not lose it", async () => {
    await using tls = startTls({
      certificates: setOf(a),
      handle: (exchange) =>
        void setTimeout(() => exchange.reply({ status: 200, fields: [], content: "late", why: "" }), 50),
    });
    const socket = await openTls(tls.port, "a.test", { allowHalfOpen: true } as object);
    const answer = askOn(socket);
    socket.end();
    expect(await answer).toEqual({ status: 200, body: "late" });
    socket.destroy();
  });
});

describe("client certificates", () => {
  const one = startAuthority("one");
  const two = startAuthority("two");
  const [policyOne, policyTwo] = [clientPolicy(one.cert, true), clientPolicy(two.cert, true)];
  const good = one.sign("/O=Ex, Inc/CN=Jürgen");
  const other = two.sign("/CN=other");
  const past = one.sign("/CN=past", [], { until: "past" });
  const forged = selfSigned("one");
  const policies: Record<string, typeof policyOne | undefined> = { "a.test": policyOne, "b.test": policyTwo };
  const start = (whole?: typeof policyOne) =>
    startTls({ certificates: setOf(a, b), policy: (name) => whole ?? policies[name] });
  const ask = async (port: number, serverName: string, pem?: { key: string; cert: string }, options = {}) => {
    const socket = await openTls(port, serverName, { ...pem, ...options });
    const { body } = await askOn(socket, serverName || "a.test");
    socket.destroy();
    return (JSON.parse(body) as Told).secured!;
  };
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`count only when the authority of the name has signed them, and in time (${maxVersion})`, async () => {
      await using tls = start();
      expect(await ask(tls.port, "a.test", good, { maxVersion })).toEqual({
        serverName: "a.test",
        policy: policyOne.id,
        client: {
          field: `:${good.cert.replace(/-----[^-]+-----|\s/g, "")}:`,
          subject: "CN=J\\C3\\BCrgen,O=Ex\\, Inc",
          notAfterMs: expect.any(Number),
        },
        problem: "",
      } as never);
      const bare = await ask(tls.port, "a.test", undefined, { maxVersion });
      expect(bare).toEqual({ serverName: "a.test", policy: policyOne.id, problem: "" });
      for (const wrong of [other, past, forged]) {
        const { client, problem, policy } = await ask(tls.port, "a.test", wrong, { maxVersion });
        expect({ client, policy, empty: problem === "" }).toEqual({
          client: undefined,
          policy: policyOne.id,
          empty: false,
        });
      }
      expect((await ask(tls.port, "b.test", other, { maxVersion })).client?.subject).toBe("CN=other");
      // A host without a policy asks nobody, whatever a client could show.
      expect(await ask(tls.port, "c.test", good, { maxVersion })).toEqual({
        serverName: "c.test",
        policy: "",
        problem: "",
      });
    });
    test(`do not travel to another host in a resumed session (${maxVersion})`, async () => {
      await using tls = start();
      const socket = await openTls(tls.port, "a.test", { ...good, maxVersion });
      let session: Buffer | undefined = socket.getSession();
      socket.on("session", (ticket: Buffer) => (session = ticket));
      await askOn(socket, "a.test");
      await until(() => session !== undefined && (maxVersion === "TLSv1.2" || session.length > 0));
      socket.destroy();
      const again = await openTls(tls.port, "a.test", { session, maxVersion });
      expect(again.isSessionReused()).toBe(true);
      expect((JSON.parse((await askOn(again)).body) as Told).secured?.client?.subject).toContain("CN=J");
      again.destroy();
      for (const name of ["b.test", "c.test", ""]) {
        const moved = await openTls(tls.port, name, { session, maxVersion });
        expect([moved.isSessionReused(), (JSON.parse((await askOn(moved)).body) as Told).secured?.client]).toEqual([
          false,
          undefined,
        ]);
        moved.destroy();
      }
    });
  }
  test("of the port are asked for without SNI too, also after the default certificate has changed", async () => {
    await using tls = start(policyOne);
    for (let i = 0; i < 2; i++) {
      expect((await ask(tls.port, "", good)).client?.subject).toContain("CN=J");
      expect((await ask(tls.port, "unknown.test", good)).client?.subject).toContain("CN=J");
      expect((await ask(tls.port, "", other)).client).toBeUndefined();
      tls.listener.certificates(setOf(pairOf("c.test", selfSigned("c.test"))));
    }
  });
  test("whose policy has changed end their connections after the answer, and new ones follow it", async () => {
    let policy = policyOne;
    await using tls = startTls({ certificates: setOf(a), policy: () => policy });
    const [idle, silent] = [await openTls(tls.port, "a.test", good), net.connect(tls.port, "127.0.0.1")];
    await askOn(idle);
    await until(() => tls.held() === 2);
    const ends = [idle, silent].map(
      (socket) => new Promise((resolve) => socket.on("error", () => {}).once("close", resolve)),
    );
    idle.resume();
    silent.resume();
    policy = policyTwo;
    tls.listener.policiesChanged();
    await Promise.all(ends);
    expect((await ask(tls.port, "", other)).client?.subject).toBe("CN=other");
    expect((await ask(tls.port, "a.test", good)).client).toBeUndefined();
  });
  afterAll(() => {
    one[Symbol.dispose]();
    two[Symbol.dispose]();
  });
});
