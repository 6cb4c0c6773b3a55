/** What a user sees when a configuration is wrong: everything at once, at its place, with the secrets left out. */
import { describe, expect, test } from "bun:test";
import { problemsAsJson, renderProblem, renderProblems } from "../../src/config/problem.ts";
import { problemsShownMax } from "../../src/lib/limits.ts";
import { errorsOf, onePath, rulesOf, server, settingsOf } from "./support.ts";

const tenMistakes = `provider: flie
rate_limit: 0
timeouts: {conect: 3}
unmatched_status: 405
upstreams:
  a.test:
    paths:
      "/":
        servers: ["127.0.0.1", "127.0.0.1:80"]
        client_headers: ["X-Ok: yes", "no colon"]
      "/x":
        servrs: ["127.0.0.1:80"]
  a.test:8080:
    paths:
      "/":
        servers: ["127.0.0.1:80"]
        authorization: {type: basic, data: ""}
  b.test:
    path:
      "/":
        servers: ["127.0.0.1:80"]
`;

const tenErrors = [
  '1:11 expected file, consul, kubernetes or a list of them, found "flie"',
  "2:13 expected a whole number of at least 1, found 0",
  "3:12 unknown key `conect`",
  "4:19 expected 404, 421, 502 or 503, found 405",
  '9:19 the port is missing: write "127.0.0.1:PORT"',
  '10:39 expected "Name: value", found no colon in "no colon"',
  "12:9 unknown key `servrs`",
  '13:3 "a.test:8080" names a port: expected a host name alone, such as "a.test"',
  "17:44 empty credentials are refused: anybody could present them",
  "19:5 unknown key `path`",
];

describe("ten mistakes in one file", () => {
  const { rules, problems } = rulesOf(tenMistakes);

  test("are ten located errors, all at once", () => {
    expect(rules).toBeUndefined();
    expect(errorsOf({ problems })).toEqual(tenErrors);
  });

  test("are the same ten as JSON", () => {
    const json = JSON.parse(problemsAsJson(problems)) as { errors: number; problems: typeof problems };
    expect(json.errors).toBe(10);
    expect(errorsOf(json)).toEqual(tenErrors);
    expect(json.problems[0]).toEqual({
      severity: "error",
      code: "value",
      file: "upstreams.yaml",
      line: 1,
      column: 11,
      path: "provider",
      message: 'expected file, consul, kubernetes or a list of them, found "flie"',
      suggestion: "file",
      excerpt: "1 | provider: flie\n  |           ^",
    });
  });

  test("read as file:line:column, the line with a caret, and what was probably meant", () => {
    const wrongKey = problems.find((problem) => problem.line === 12)!;
    expect(renderProblem(wrongKey)).toBe(
      'upstreams.yaml:12:9: error: unknown key `servrs`, did you mean `servers`? (upstreams.a.test.paths["/x"].servrs)\n' +
        '12 |         servrs: ["127.0.0.1:80"]\n   |         ^',
    );
    expect(renderProblems(problems).split("\n").at(-1)).toBe("10 errors");
  });
});

describe("secrets", () => {
  const places: [what: string, text: string][] = [
    ["basic data", onePath('authorization: {type: basic, data: "ann:s3cret-word", relm: x}', server)],
    [
      "users, on a line of their own",
      onePath("authorization:", "  type: basic", '  users: {ann: s3cret-word, bob: ""}', server),
    ],
    ["api keys", onePath("authorization: {type: apikey, keys: {ci: s3cret-word}, hedder: x}", server)],
    ["creds of old", onePath("authorization: {type: basic, creds: s3cret-word}", server)],
    ["the list of old", onePath("authorization: [bsic, s3cret-word]", server)],
    ["a lone word", onePath("authorization: s3cret-word", server)],
    [
      "a map where text is wanted",
      onePath("authorization: {type: basic, data: {ann: s3cret-word, s3cret-word: x}}", server),
    ],
    ["a misspelt key", onePath("authorization: {type: apikey, dta: s3cret-word}", server)],
    ["a misplaced key", onePath('data: "ann:s3cret-word"', server)],
    ["a consul token", "consul: {token: s3cret-word, datacentre: x}\n"],
    ["a comment that repeats it", onePath("authorization: {type: basic, data: s3cret-word} # s3cret-word", server)],
    [
      "a block of text",
      onePath("authorization:", "  type: basic", "  data: |", "    s3cret-word", "    s3cret-word", server),
    ],
    ["a number", onePath("authorization: {type: basic, data: 730417305}", server)],
    ["a file that is not YAML", `authorization:\n  data: s3cret-word: x\n  data: "s3cret-word\n`],
    [
      "a forward address with a password",
      onePath('authorization: {type: forward, data: "ftp://ann:s3cret-word@b.test/"}', server),
    ],
    ["an alias", onePath("x: &k s3cret-word", "authorization: {type: basic, data: *k}", server)],
  ];
  for (const [what, text] of places) {
    test(`${what}: neither message nor quoted line shows it`, () => {
      const { rules, problems } = rulesOf(text);
      expect(rules).toBeUndefined();
      const shown = renderProblems(problems) + problemsAsJson(problems);
      expect(shown).not.toContain("s3cret-word");
      expect(shown).not.toContain("730417305");
      expect(shown).toContain("***");
    });
  }

  test("master_key and hmac_key of main.yaml are hidden, also from a line they share with a mistake", () => {
    const { problems } = settingsOf(
      "{master_key: s3cret-word, log_levle: info, acme: {eab: {key_id: 1, hmac_key: other-s3cret, x: 1}}}\n",
    );
    expect(errorsOf({ problems })).toHaveLength(2);
    expect(renderProblems(problems)).not.toContain("s3cret");
    expect(problems[0]!.excerpt).toBe(
      "1 | {master_key: ***, log_levle: info, acme: {eab: {key_id: 1, hmac_key: ***, x: 1}}}\n  |                   ^",
    );
  });

  test("a misspelt master_key is hidden too", () => {
    expect(renderProblems(settingsOf("master_kee: s3cret-word\n").problems)).not.toContain("s3cret-word");
  });

  test("the address of a forward service is shown: it is no secret", () => {
    expect(
      renderProblems(rulesOf(onePath('authorization: {type: forward, data: "ftp://b.test/"}', server)).problems),
    ).toContain("ftp://b.test/");
  });

  test("secrets are taken as written, not as the number YAML makes of them", () => {
    const { rules } = rulesOf(onePath("authorization: {type: apikey, data: 0123}", server));
    expect(rules!.upstreams!["a.test"]!.paths["/"]!.authorization).toEqual({ type: "apikey", data: "0123" });
    expect(settingsOf("master_key: 910517e9\n").settings!.master_key).toBe("910517e9");
  });
});

describe("given twice", () => {
  const twice = (text: string) => errorsOf(rulesOf(text));
  const path = `paths: {"/": {${server}}}`;

  test("a host", () => {
    expect(twice(`upstreams:\n  a.test: {${path}}\n  a.test: {${path}}\n`)).toEqual([
      '3:3 host "a.test" is given twice, the first time in line 2',
    ]);
  });
  test("a host, once in capitals and once with a final dot", () => {
    expect(twice(`upstreams:\n  a.test: {${path}}\n  A.Test.: {${path}}\n`)).toEqual([
      '3:3 host "A.Test." is given twice, the first time in line 2',
    ]);
  });
  test("a host, at the top level and under upstreams", () => {
    expect(twice(`a.test: {${path}}\nupstreams:\n  a.test: {${path}}\n`)).toEqual([
      '1:1 host "a.test" is given twice, at the top level and under `upstreams` in line 3',
    ]);
  });
  test("a path", () => {
    expect(twice(`upstreams:\n  a.test:\n    paths:\n      "/x": {${server}}\n      "/x": {${server}}\n`)).toEqual([
      '5:7 path "/x" is given twice, the first time in line 4',
    ]);
  });
  test("a path, in two forms that match the same requests", () => {
    expect(twice(`upstreams:\n  a.test:\n    paths:\n      "/x": {${server}}\n      "/%78": {${server}}\n`)).toEqual([
      '5:7 path "/%78" is given twice: it matches the same requests as the one in line 4',
    ]);
  });
  test("any other key", () => {
    expect(twice(`retries: 1\nretries: 2\n${onePath(server)}`)).toEqual([
      '2:1 key "retries" is given twice, the first time in line 1',
    ]);
  });
});

describe("places", () => {
  test("survive every move of a legacy shape", () => {
    const text = `globals:\n  headers: ["bad item"]\na.test:\n  paths:\n    rate_limit: no\n    "/":\n      to_ssl: maybe\n      authorization: [basic, nocolon]\n      ${server}\n`;
    expect(errorsOf(rulesOf(text))).toEqual([
      '2:13 expected "Name: value", found no colon in "bad item"',
      '5:17 expected a whole number of at least 1, found "no"',
      '7:15 expected true or false, found "maybe"',
      '8:30 expected "user:password", found no user before a colon',
    ]);
  });

  test("a key that belongs elsewhere is told where", () => {
    const found = errorsOf(rulesOf(onePath("unmatched_status: 502", "hc_interval: 2", "paths: {}", server)));
    expect(found).toEqual([
      "5:9 `unmatched_status` belongs to the top level of upstreams.yaml",
      "6:9 `hc_interval` belongs to main.yaml",
      "7:9 `paths` belongs to a host",
    ]);
    expect(errorsOf(settingsOf("servers: []\n"))).toEqual(["1:1 `servers` belongs to a path"]);
  });

  test("a branch of a union is told by the kind of what was written", () => {
    const text = onePath(
      "servers:",
      "  - {addres: x}",
      "  - {address: 'b.test:80', weight: 999}",
      "  - 5",
      "  - []",
      "healthcheck: {ris: 1}",
      "authorization: {type: bsic}",
    );
    expect(errorsOf(rulesOf(text))).toEqual([
      "6:14 unknown key `addres`",
      "7:44 expected a whole number from 1 to 256, found 999",
      '8:13 expected "host:port", "scheme://host[:port]", "unix:/path" or {address, weight, protocol}, found 5',
      '9:13 expected "host:port", "scheme://host[:port]", "unix:/path" or {address, weight, protocol}, found a list',
      "10:23 unknown key `ris`",
      '11:31 expected none, basic, apikey, jwt or forward, found "bsic"',
    ]);
    expect(rulesOf(text).problems.findLast((problem) => problem.line === 11)!.suggestion).toBe("basic");
    expect(errorsOf(rulesOf(onePath("healthcheck: maybe", server)))).toEqual([
      '5:22 expected true, false or {method, path, host, expect, interval, timeout, rise, fall}, found "maybe"',
    ]);
  });

  test("a missing key is told at what lacks it", () => {
    expect(errorsOf(rulesOf("consul:\n  services:\n    - hostname: a.test\n"))).toEqual([
      "3:7 `upstream` is missing: expected text",
    ]);
    expect(errorsOf(rulesOf("upstreams:\n  a.test: {retries: 1}\n"))).toEqual([
      "2:3 `paths` is missing: expected a map",
    ]);
    expect(errorsOf(rulesOf(onePath("authorization: {data: x}", server)))).toEqual([
      "5:9 `type` is missing: expected none, basic, apikey, jwt or forward",
    ]);
  });

  test("rules that concern two keys are told beside errors of other keys", () => {
    expect(errorsOf(rulesOf(onePath("strip_prefix: 5")))).toEqual([
      "4:7 a path needs one of servers, redirect_to or files",
      "5:23 expected true or false, found 5",
    ]);
    expect(errorsOf(settingsOf("file_server_folder: x\nlog_file: 5\n"))).toEqual([
      "1:1 file_server_folder and file_server_address go together",
      '2:11 expected "PATH[, sizeMB=N, keep=N, compress]", found 5',
    ]);
  });

  test("Windows line ends and a byte order mark do not move them", () => {
    const { problems } = rulesOf("\ufeffprovider: file\r\nretries: x\r\n");
    expect(problems[0]).toMatchObject({ line: 2, column: 10, excerpt: "2 | retries: x\n  |          ^" });
  });

  test("tabs, control characters and very long lines leave the caret under its column", () => {
    const { problems } = rulesOf(onePath(`client_headers: ["X: ${"long ".repeat(60)}", "bad\\u001b[31m"]`, server));
    const [line, caret] = problems[0]!.excerpt!.split("\n") as [string, string];
    expect(line.length).toBeLessThan(160);
    expect(line.slice(caret.indexOf("^"))).toStartWith('"bad');
    expect(renderProblem(problems[0]!)).not.toContain("\u001b");
  });
});

describe("what is not YAML", () => {
  const syntax = (text: string) => errorsOf(rulesOf(text));

  test("is told at its place, and nothing is guessed from the rest", () => {
    expect(syntax("upstreams:\n\ta.test: 1\n")).toEqual(["2:1 expected YAML: Tabs are not allowed as indentation"]);
    expect(syntax('upstreams:\n  a.test: "x\n')).toEqual(['3:1 expected YAML: Missing closing "quote']);
  });
  test("a second document", () => {
    expect(syntax("provider: file\n---\nprovider: consul\n")[0]).toContain("multiple documents");
  });
  test("tags nobody knows, keys that are not text, values that are not plain", () => {
    expect(syntax("provider: !who file\n")[0]).toContain("1:11");
    expect(syntax("? [a]\n: b\n")).toEqual(["1:3 expected a key that is text, found another kind of key"]);
    expect(syntax("__proto__: {a: 1}\n")).toContain("1:1 `__proto__` cannot be a key");
  });
  test("a list or a word instead of a map", () => {
    expect(syntax("- a\n- b\n")).toEqual(["1:1 expected a map of keys, found a list"]);
    expect(syntax("hello\n")).toEqual(['1:1 expected a map of keys, found "hello"']);
  });
  test("an alias without an anchor, and one that contains itself", () => {
    const alias = "an alias without an anchor before it (text that begins with * stands in quotes)";
    expect(syntax("retries: *nope\n")).toEqual([`1:10 ${alias}`]);
    expect(syntax("consul: &a {servers: *a}\n")).toEqual([`1:22 ${alias}`]);
  });
  test("aliases that multiply are refused before they fill the memory", () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) =>
        `l${i}: &l${i} [${
          i === 0
            ? "x"
            : Array(12)
                .fill(`*l${i - 1}`)
                .join(", ")
        }]`,
    );
    expect(syntax(`${levels.join("\n")}\n`).join()).toContain("values");
  });
  test("nesting without end is refused", () => {
    expect(syntax(`a: ${"[".repeat(300_000)}`).join()).toContain("open brackets");
    expect(syntax(`a: ${"[".repeat(500)}${"]".repeat(500)}`).join()).toContain("nested deeper");
  });
});

describe("anchors", () => {
  test("may be used in several places, merge keys included, and legacy keys below them are rewritten in each", () => {
    const text = `upstreams:\n  a.test: &host\n    paths:\n      "/": &path\n        headers: ["X-A:b"]\n        ${server}\n      "/b":\n        <<: *path\n        retries: 0\n  b.test: *host\n`;
    const { rules } = rulesOf(text);
    const [a, b] = [rules!.upstreams!["a.test"]!, rules!.upstreams!["b.test"]!];
    expect(b).toEqual(a);
    expect(a.paths["/b"]).toEqual({ ...a.paths["/"]!, retries: 0 });
    expect(a.paths["/"]!.client_headers).toHaveLength(1);
  });
});

describe("many problems", () => {
  test("are cut at a bound; the rest is counted and never turns an error into a success", () => {
    const bad = Array.from({ length: problemsShownMax + 50 }, (_, i) => `      "/${i}": {servrs: []}`);
    const { problems } = rulesOf(`upstreams:\n  a.test:\n    paths:\n${bad.join("\n")}\n`);
    expect(problems).toHaveLength(problemsShownMax + 1);
    expect(problems.at(-1)).toMatchObject({
      severity: "error",
      code: "more",
      message: "50 more problems are not shown, 50 of them errors",
    });
  });
});
