/** What upstreams.yaml and conf.d mean once loaded, and what is refused or remarked on. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ignoredByOriginal } from "../../src/data/routing/ignored-by-original.ts";
import { readRuleFiles } from "../../src/data/routing/load-rules.ts";
import { configBytesMax, namedFileBytesMax } from "../../src/lib/limits.ts";
import { errorsOf, goodRules, onePath, rulesOf, server, settings, settingsWithoutKey, warningsOf } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "aralez-rules-"));
afterAll(() => rmSync(folder, { recursive: true }));

const host = (name: string, port = 8001) => `${name}:\n  paths:\n    "/":\n      servers: ["127.0.0.1:${port}"]\n`;
const under = (text: string) => `upstreams:\n${text.replace(/^(?=.)/gm, "  ")}`;

describe("host names", () => {
  const named = (name: string) => Object.keys(goodRules(under(host(JSON.stringify(name)))).rules.upstreams!)[0];

  test("are matched without regard to case and final dot; IDN as a browser sends it; IPv6 in brackets", () => {
    expect(named("Shop.Example.COM.")).toBe("shop.example.com");
    expect(named("bücher.example")).toBe("xn--bcher-kva.example");
    expect(named("*.Bücher.example")).toBe("*.xn--bcher-kva.example");
    expect(named("0:0:0:0:0:0:0:1")).toBe("[::1]");
    expect(named("[2001:DB8::1]")).toBe("[2001:db8::1]");
    expect(named("192.0.2.1")).toBe("192.0.2.1");
    expect(named("DEFAULT")).toBe("DEFAULT");
  });
  test("in other capitals than DEFAULT are an ordinary host, which is remarked on", () => {
    expect(goodRules(under(host("default"))).problems).toMatchObject([
      { severity: "note", line: 2, message: expect.stringContaining("DEFAULT, in capitals") },
    ]);
  });
  for (const [name, why] of [
    ["a.test:80", "names a port"],
    ["[::1]:80", "names a port"],
    ["http://a.test", "is a URL"],
    ["a_b c", "is not a host name"],
    ["*", "the catch-all is called DEFAULT"],
    ["a.*.test", "is not a host name"],
    ["*.192.0.2.1", "is not a host name"],
    ["300.1.1.1", "is not a host name"],
    ["-a.test", "is not a host name"],
    ["fe80::1%eth0", "zone"],
  ] as const) {
    test(`${name} is refused`, () =>
      expect(errorsOf(rulesOf(under(host(JSON.stringify(name))))).join()).toContain(why));
  }
  test("may be words that are also keys, under upstreams", () => {
    expect(Object.keys(goodRules(under(host("consul") + host("users") + host("token"))).rules.upstreams!)).toEqual([
      "consul",
      "users",
      "token",
    ]);
  });
  test("at the top level need paths; anything else there is an unknown key", () => {
    expect(errorsOf(rulesOf(`a.test: {retries: 1}\nb.test: 5\n${under(host("c.test"))}`))).toEqual([
      "1:1 unknown key `a.test`",
      "2:1 unknown key `b.test`",
    ]);
  });
});

describe("path keys", () => {
  const paths = (...keys: string[]) =>
    rulesOf(
      `upstreams:\n  a.test:\n    paths:\n${keys.map((key) => `      ${JSON.stringify(key)}: {${server}}\n`).join("")}`,
    );

  test("begin with a slash and hold no query, fragment or control character", () => {
    expect(errorsOf(paths("x", "/a?b", "/a#b", "/a\tb", "retries"))).toEqual([
      '4:7 "x" is not a path: expected one beginning with "/"',
      '5:7 "/a?b" is not a path: expected one without control characters, "?" and "#"',
      '6:7 "/a#b" is not a path: expected one without control characters, "?" and "#"',
      '7:7 "/a\tb" is not a path: expected one without control characters, "?" and "#"',
      '8:7 "retries" is not a path: expected one beginning with "/": this key belongs under a path or under the host',
    ]);
  });
  test("with a final slash match only that very path, which is remarked on", () => {
    expect(warningsOf(paths("/foo/", "/"))).toMatchObject([
      { line: 4, message: expect.stringContaining('write "/foo"') },
    ]);
  });
});

describe("conf.d", () => {
  const main = `provider: file\n${under(host("a.test", 1) + host("b.test", 2))}`;
  const port = (rules: ReturnType<typeof goodRules>["rules"], name: string) =>
    rules.upstreams![name]!.paths["/"]!.servers![0]!.address;

  test("adds hosts, and a host of a later file replaces the whole earlier one", () => {
    const { rules, problems } = goodRules(main, {
      confd: { "conf.d/1.yaml": host("b.test", 3) + host("c.test", 4), "conf.d/2.yaml": under(host("C.test", 5)) },
    });
    expect(Object.keys(rules.upstreams!)).toEqual(["a.test", "b.test", "c.test"]);
    expect([port(rules, "b.test"), port(rules, "c.test")]).toMatchObject([{ port: 3 }, { port: 5 }]);
    expect(problems).toMatchObject([
      { severity: "note", file: "conf.d/1.yaml", line: 1 },
      { severity: "note", file: "conf.d/2.yaml", line: 2 },
    ]);
  });
  test("with one bad file loads nothing, and names file and line", () => {
    const { rules, problems } = rulesOf(main, {
      confd: { "conf.d/1.yaml": host("c.test"), "conf.d/2.yaml": `${host("d.test")}      retires: 1\n` },
    });
    expect(rules).toBeUndefined();
    expect(problems).toMatchObject([
      { file: "conf.d/2.yaml", line: 5, column: 7, suggestion: "retries", path: 'd.test.paths["/"].retires' },
    ]);
  });
  test("holds hosts only", () => {
    expect(errorsOf(rulesOf(main, { confd: { "x.yaml": `retries: 1\nfoo: 2\n${host("c.test")}` } }))).toEqual([
      "1:1 `retries` belongs to the top level of upstreams.yaml; a file of conf.d holds hosts only",
      "2:1 unknown key `foo`",
    ]);
  });
  test("may hold comments only, but no file of no bytes, which is a half-written one", () => {
    expect(goodRules(main, { confd: { "x.yaml": "# later\n" } }).problems).toEqual([]);
    expect(rulesOf(main, { confd: { "x.yaml": "" } }).problems).toMatchObject([
      { file: "x.yaml", line: 1, column: 1, message: "the file is empty" },
    ]);
  });
  test("is not read for other providers", () => {
    expect(goodRules("provider: consul\n", { confd: { "x.yaml": "]" } }).rules.upstreams).toBeUndefined();
  });
  test("old shapes are understood there too", () => {
    const { rules, problems } = goodRules(main, { confd: { "x.yaml": `${host("c.test")}      headers: ["X-A:b"]\n` } });
    expect(rules.upstreams!["c.test"]!.paths["/"]!.client_headers).toHaveLength(1);
    expect(problems).toMatchObject([{ file: "x.yaml", code: "legacy" }]);
  });
  test("is read from disk in the order of names, .yaml files only, links followed, editors' files left out", () => {
    const dir = join(folder, "conf.d");
    mkdirSync(dir);
    writeFileSync(join(folder, "upstreams.yaml"), main);
    for (const name of ["b.yaml", "a.yaml", "c.yml", ".d.yaml"]) writeFileSync(join(dir, name), host("x.test"));
    symlinkSync(join(dir, "c.yml"), join(dir, "z.yaml"));
    const read = readRuleFiles({ upstreams_conf: join(folder, "upstreams.yaml") });
    expect(read.main.text).toBe(main);
    expect(read.confd.map(({ file }) => file.slice(dir.length + 1))).toEqual(["a.yaml", "b.yaml", "z.yaml"]);
    expect(read.problems).toEqual([]);
    symlinkSync(join(dir, "gone"), join(dir, "zz.yaml"));
    expect(readRuleFiles({ upstreams_conf: join(folder, "upstreams.yaml") }).problems).toMatchObject([
      { severity: "error", file: join(dir, "zz.yaml") },
    ]);
  });
});

describe("a file as a whole", () => {
  const read = (name: string) => readRuleFiles({ upstreams_conf: join(folder, name) }).problems;

  test("that is empty or holds comments only is an error", () => {
    expect(errorsOf(rulesOf(""))).toEqual(["1:1 the file is empty"]);
    expect(errorsOf(rulesOf(" \n"))).toEqual(["1:1 the file is empty"]);
    expect(errorsOf(rulesOf("# nothing\n"))).toEqual(["1:1 the file holds no keys, only comments"]);
  });
  test("that is missing, a folder, too large or not UTF-8 is an error with its reason", () => {
    mkdirSync(join(folder, "sub"));
    writeFileSync(join(folder, "large.yaml"), Buffer.alloc(configBytesMax + 1, "#"));
    writeFileSync(join(folder, "latin1.yaml"), Buffer.from("a: 1\nb: \xe4\n", "latin1"));
    expect(read("none.yaml")[0]!.message).toContain("there is no such file");
    expect(read("sub")[0]!.message).toContain("found a folder");
    expect(read("large.yaml")[0]!.message).toContain(`expected at most ${configBytesMax} bytes`);
    expect(read("latin1.yaml")[0]).toMatchObject({
      line: 2,
      column: 4,
      message: expect.stringContaining("expected UTF-8"),
    });
  });
  test("without a host loads with a warning", () => {
    expect(warningsOf(goodRules("provider: file\n"))).toMatchObject([
      { message: "there are no hosts: every request is answered with 404" },
    ]);
  });
});

describe("providers", () => {
  test("`file` is the default; a list keeps its order", () => {
    expect(goodRules(onePath(server)).rules.provider).toEqual(["file"]);
    expect(goodRules(`provider: [consul, file]\n${onePath(server)}`).rules).toMatchObject({
      provider: ["consul", "file"],
      upstreams: { "a.test": {} },
    });
  });
  test("sections of one that is not selected are checked, noted and dropped", () => {
    const { rules, problems } = goodRules(
      `provider: kubernetes\nconsul: {datacenter: x}\nkubernetes: {ingress: true}\n${onePath(server)}`,
    );
    expect([rules.consul, rules.upstreams, rules.kubernetes]).toEqual([undefined, undefined, { ingress: true }]);
    expect(problems.filter((problem) => problem.code === "ignored").map((problem) => problem.path)).toEqual([
      "consul",
      "upstreams",
    ]);
    expect(errorsOf(rulesOf(`consul: {datacentre: x}\n${onePath(server)}`))).toEqual(["1:10 unknown key `datacentre`"]);
    expect(errorsOf(rulesOf(`consul: {hosts: ["*.a.test", DEFAULT]}\n${onePath(server)}`))).toEqual([]);
    expect(errorsOf(rulesOf(`kubernetes: {hosts: ["a.test:80", "*"]}\n${onePath(server)}`))).toEqual([
      expect.stringContaining('"a.test:80" names a port'),
      expect.stringContaining('"*" is not a host'),
    ]);
  });
  test("a wrong one is one error, and hides no other", () => {
    expect(errorsOf(rulesOf(`provider: [file, etcd]\nretries: x\n${onePath("servers: []")}`))).toEqual([
      '1:18 expected file, consul or kubernetes, found "etcd"',
      '2:10 expected a whole number from 0 to 100, found "x"',
      "7:18 expected at least one server, found an empty list",
    ]);
  });
});

describe("authorization", () => {
  test("jwt without any key is an error", () => {
    const loaded = rulesOf(onePath("authorization: {type: jwt}", server), { settings: settingsWithoutKey });
    expect(errorsOf(loaded)).toEqual([
      "5:9 no usable key: jwt needs `data`, `public_key`, `jwks`, or `master_key` in main.yaml",
    ]);
  });
  test("a jwt secret of fewer than 16 bytes is not used, with a warning", () => {
    const text = onePath("authorization: {type: jwt, data: fifteen-bytes-x}", server);
    const { rules, problems } = goodRules(text);
    expect(rules.upstreams!["a.test"]!.paths["/"]!.authorization).toEqual({ type: "jwt" });
    expect(problems).toContainEqual(
      expect.objectContaining({
        severity: "warning",
        message: "expected a jwt secret of at least 16 bytes, found 15: it is not used",
      }),
    );
    expect(errorsOf(rulesOf(text, { settings: settingsWithoutKey })).join()).toContain("no usable key");
    expect(
      goodRules(onePath("authorization: {type: jwt, data: sixteen-bytes-xx}", server), { settings: settingsWithoutKey })
        .problems,
    ).toEqual([]);
  });
  test("a short master_key is warned of where its tokens pass, and only there", () => {
    const short = { ...settings, master_key: "short" };
    const told = (line: string) =>
      warningsOf(goodRules(onePath(line, server), { settings: short })).map(({ message }) => message);
    expect(told("authorization: {type: jwt, data: sixteen-bytes-xx}")).toEqual([
      "tokens signed with `master_key` pass here, and its 5 bytes could be found out by trying: give it at least 16",
    ]);
    expect(told('authorization: {type: jwt, jwks: "https://idp.test/jwks"}')).toEqual([]);
    expect(told("authorization: {type: apikey, data: k-123456}")).toEqual([]);
  });
  test("what cannot work is an error at its place", () => {
    const rows: [rule: string, says: string][] = [
      ['{type: basic, users: {"a:b": x}}', "a user's name cannot hold a colon"],
      [
        '{type: basic, users: {ann: "$2b$10$short"}}',
        "the password hash is not complete: write it with `aralez hash-password`",
      ],
      [
        '{type: basic, data: "ann:$argon2id$x"}',
        "the password hash is not complete: write it with `aralez hash-password`",
      ],
      ['{type: basic, data: "ann:x", realm: "a\\nb"}', 'expected text without control characters, found "a\nb"'],
      ['{type: apikey, data: k-123456, header: "x key"}', 'expected a header name, found "x key"'],
      ["{type: apikey, data: k-123456, header: host}", '"host" cannot carry a key'],
      ["{type: apikey, data: k-123456, header: x_key}", '"x_key" cannot carry a key'],
      ['{type: forward, data: "http://ann:secret@b.test/"}', "a URL here has no user or password"],
      [
        '{type: forward, data: "http://b.test/", copy_headers: ["*"]}',
        'expected a header name, or its beginning as in "x-*", found "*"',
      ],
      [
        '{type: forward, data: "http://b.test/", copy_headers: ["x-*-y"]}',
        'expected a header name, or its beginning as in "x-*", found "x-*-y"',
      ],
      [
        '{type: forward, data: "http://b.test/", copy_headers: [X-Real-IP]}',
        '"X-Real-IP" cannot be copied: this proxy writes it itself',
      ],
      ['{type: jwt, public_key: "-----BEGIN PUBLIC KEY-----"}', "there is no public key in PEM in it"],
      [
        '{type: jwt, data: sixteen-bytes-xx, jwks: "https://b.test/"}',
        "data is a secret for HS256, which never goes together with public_key or jwks (algorithm confusion)",
      ],
    ];
    for (const [rule, says] of rows) {
      const errors = errorsOf(rulesOf(onePath(`authorization: ${rule}`, server))).map((line) =>
        line.replace(/^\S+ /, ""),
      );
      expect([rule, errors]).toEqual([rule, [says]]);
    }
  });
  test("a private key given for a public one is refused, and not quoted", () => {
    const pem = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIKsecretsecretsecret\\n-----END PRIVATE KEY-----\\n";
    const { problems } = rulesOf(onePath(`authorization: {type: jwt, public_key: "${pem}"}`, server));
    expect(problems.map(({ message }) => message).join()).toContain("this is a private key");
    expect(JSON.stringify(problems)).not.toContain("secretsecret");
  });
  test("a path's own beside a global one is remarked on: the original had it the other way round", () => {
    const loaded = goodRules(
      `authorization: {type: apikey, data: k-123456}\n${onePath("authorization: {type: none}", server)}`,
    );
    expect(warningsOf(loaded)).toMatchObject([{ line: 6, message: expect.stringContaining("other way round") }]);
  });
  test("secrets come from the environment and from files", () => {
    writeFileSync(join(folder, "key"), "from-file\n");
    const loaded = goodRules(onePath("authorization: {type: apikey, keys: {a: {env: KEY}, b: {file: key}}}", server), {
      folder,
      env: { KEY: "from-env" },
    });
    expect(loaded.rules.upstreams!["a.test"]!.paths["/"]!.authorization).toEqual({
      type: "apikey",
      keys: { a: "from-env", b: "from-file" },
    });
    expect(errorsOf(rulesOf(onePath("authorization: {type: apikey, data: {env: NONE}}", server)))).toEqual([
      "5:39 the environment variable NONE is not set",
    ]);
  });
});

test("a file that a value names is neither waited for without end nor read without end", () => {
  const pipe = join(folder, "pipe");
  Bun.spawnSync(["mkfifo", pipe]);
  writeFileSync(join(folder, "long"), Buffer.alloc(namedFileBytesMax + 1, "x"));
  for (const [file, why] of [
    [pipe, "it is no plain file"],
    ["/dev/zero", "it is no plain file"],
    [join(folder, "long"), `it has more than ${namedFileBytesMax} bytes`],
    [folder, "EISDIR"],
    [join(folder, "absent"), "there is no such file"],
  ]) {
    const of = (line: string) => errorsOf(rulesOf(onePath(line, server)))[0];
    expect(of(`authorization: {type: apikey, data: {file: ${file}}}`)).toEndWith(`"${file}": ${why}`);
    expect(of(`ca_file: ${file}`)).toContain(`cannot read "${file}": ${why}`);
    expect(of(`authorization: {type: jwt, public_key: ${file}}`)).toContain(`cannot read "${file}": ${why}`);
  }
});

describe("stickiness", () => {
  test("without master_key is remarked on: a restart forgets the key of the cookies", () => {
    const text = `sticky_sessions: 60\n${onePath(server)}`;
    expect(warningsOf(goodRules(text, { settings: settingsWithoutKey }))).toMatchObject([
      { message: expect.stringContaining("master_key") },
    ]);
    expect(warningsOf(goodRules(text))).toEqual([]);
  });
});

describe("what the original would have ignored", () => {
  test("is listed once each: host limits, top-level hosts, servers that do not parse, keys it does not know", () => {
    const text = `headers: ["X:1"]\nconsul: {token: x}\na.test:\n  rate_limit: 5\n  paths:\n    "/":\n      servers: ["127.0.0.1", "https://b.test"]\n      retries: 1\n      authorization: {type: basic, creds: "a:b"}\n`;
    const notes = ignoredByOriginal({ file: "u.yaml", text });
    expect(notes.every((note) => note.severity === "note" && note.code === "original")).toBe(true);
    expect(notes.map((note) => `${note.line} ${note.path}`)).toEqual([
      "1 headers",
      "2 consul.token",
      "3 a.test",
      "4 a.test.rate_limit",
      '7 a.test.paths["/"].servers[0]',
      '7 a.test.paths["/"].servers[1]',
      '8 a.test.paths["/"].retries',
      '9 a.test.paths["/"].authorization.creds',
    ]);
    expect(notes.at(-1)!.excerpt).toContain("***");
  });
  test("is nothing for a file it reads to the last key", () => {
    expect(ignoredByOriginal({ file: "u.yaml", text: `provider: file\n${onePath(server, "rate_limit: 5")}` })).toEqual(
      [],
    );
  });
});

describe("size", () => {
  test("thousands of hosts load, every problem at its place", () => {
    const hosts = Array.from({ length: 3000 }, (_, i) => host(`h${i}.test`)).join("");
    expect(Object.keys(goodRules(under(hosts)).rules.upstreams!)).toHaveLength(3000);
    expect(errorsOf(rulesOf(`${under(hosts)}  last.test:\n    paths: {}\n    retires: 1\n`))).toEqual([
      "12004:5 unknown key `retires`",
    ]);
  });
});
