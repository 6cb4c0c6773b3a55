/** Questions to `explain`, and the command that a log line ends with. */
import { describe, expect, test } from "bun:test";
import { ImaginedExchange } from "../../src/data/explain/imagined-exchange.ts";
import { BadQuestion, readQuestion } from "../../src/data/explain/question.ts";
import { maskedLines } from "../../src/data/explain/masked-lines.ts";
import { explainCommand } from "../../src/data/observe/explain-command.ts";
import { explainUrlCharsMax } from "../../src/lib/limits.ts";

describe("a question", () => {
  test("keeps the target as written, and takes what browsers would send for the rest", () => {
    const target = (url: string) => readQuestion("GET", url, []).target;
    expect(target("http://a.test/a/../b//%2e?x=1&y=/")).toBe("/a/../b//%2e?x=1&y=/");
    expect(target("http://a.test")).toBe("/");
    expect(target("a.test?x")).toBe("/?x");
    expect(target("https://a.test/ü b#part")).toBe("/%C3%BC%20b");
  });
  test("names host and scheme; a field Host wins, an empty one means none", () => {
    expect(readQuestion("GET", "https://a.test:8443/", [])).toMatchObject({ secure: true, authority: "a.test:8443" });
    expect(readQuestion("GET", "[::1]:80/x", [])).toMatchObject({ secure: false, authority: "[::1]:80" });
    expect(readQuestion("GET", "/x", ["host: b.test"])).toMatchObject({ authority: "b.test", fields: [] });
    expect(readQuestion("GET", "http:///x", ["Host:"]).authority).toBeUndefined();
  });
  test("that cannot be understood says what was expected", () => {
    const wrong = (...of: Parameters<typeof readQuestion>) => expect(() => readQuestion(...of)).toThrow(BadQuestion);
    wrong("GE T", "http://a.test/", []);
    wrong("GET", "ftp://a.test/", []);
    wrong("GET", "/x", []);
    wrong("GET", "http://a.test/", ["no colon"]);
    wrong("GET", "http://a.test/", ["a: b\r\nc: d"]);
    wrong("GET", "http://a.test/", [], "nobody");
    wrong("GET", `http://a.test/${"x".repeat(explainUrlCharsMax)}`, []);
  });
});

test("secrets are masked by the names of their fields", () => {
  expect(
    maskedLines([
      ["Authorization", "Basic x"],
      ["X-Api-Key", "k"],
      ["Cookie", "a=b"],
      ["X-Real-IP", "10.0.0.1"],
      ["Location", "/x?token=t"],
    ]),
  ).toEqual(["Authorization: ***", "X-Api-Key: ***", "Cookie: ***", "X-Real-IP: 10.0.0.1", "Location: /x?token=***"]);
});

describe("the command in the log", () => {
  const command = (target: string, client = "192.0.2.1", mainFile = "/etc/aralez/main.yaml") => {
    const exchange = new ImaginedExchange({ ...readQuestion("GET", "http://a.test/", []), target });
    Object.assign(exchange, { host: "a.test", client });
    return explainCommand(exchange, mainFile);
  };
  test("asks for the same request", () => {
    expect(command("/x/y")).toBe("aralez explain -c /etc/aralez/main.yaml --client 192.0.2.1 GET http://a.test/x/y");
    expect(command("/x?a=1&key=geheim")).toEndWith(`GET 'http://a.test/x?a=1&key=***'`);
  });
  test("holds nothing that a shell would obey, whatever the client sent", async () => {
    for (const target of [
      "/';touch /tmp/x;'",
      "/$(id)`id`",
      '/"\\',
      "/\n\u001b[2J",
      "/%27;id",
      "/!!",
      `/${"%27é".repeat(2000)}`,
    ]) {
      const text = command(target).replace("aralez", "printf '%s\\n'");
      const { stdout, exitCode } = Bun.spawnSync(["/bin/sh", "-c", text]);
      const words = stdout.toString().trimEnd().split("\n");
      expect(exitCode).toBe(0);
      expect(words).toHaveLength(7);
      expect(words.at(-1)).toMatch(/^http:\/\/a\.test\/[\x21-\x7e]*$/);
    }
  });
  test("quotes the name of the configuration", () => {
    expect(command("/", "::1", "/it's here/main.yaml")).toBe(
      `aralez explain -c '/it'\\''s here/main.yaml' --client ::1 GET http://a.test/`,
    );
  });
});
