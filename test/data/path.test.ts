import { describe, expect, test } from "bun:test";
import { normalisePath, normalisePathKey, readSeparators } from "../../src/data/routing/path.ts";

describe("the path that matching sees", () => {
  const same: [raw: string, normal: string][] = [
    ["/", "/"],
    ["/a/b", "/a/b"],
    ["/a/b/", "/a/b/"],
    ["/%73ecret", "/secret"],
    ["//secret", "/secret"],
    ["/x//y///z", "/x/y/z"],
    ["/x/../secret", "/secret"],
    ["/x/%2e%2e/secret", "/secret"],
    ["/x/.%2E/secret", "/secret"],
    ["/./a/.", "/a/"],
    ["/a/..", "/"],
    ["/../../a", "/a"],
    ["/a%2fb", "/a%2fb"],
    ["/a%2Fb", "/a%2fb"],
    ["/a%5cb", "/a%5cb"],
    ["/a\\b", "/a%5cb"],
    ["/a%252fb", "/a%252fb"],
    ["/a%25b", "/a%25b"],
    ["/a%zzb", "/a%25zzb"],
    ["/a%", "/a%25"],
    ["/caf%c3%a9", "/caf%C3%A9"],
    ["/caf\xc3\xa9", "/caf%C3%A9"],
    ["/a%20b", "/a b"],
    ["/a%3fb", "/a?b"],
    ["/...", "/..."],
    ["/.well-known/x", "/.well-known/x"],
  ];
  for (const [raw, normal] of same)
    test(`${JSON.stringify(raw)} is matched as ${normal}`, () => expect(normalisePath(raw)).toBe(normal));

  for (const raw of ["", "a", "*", "/a\0b", "/a%00b", "/a%0ab", "/a%7f", "/a\x1fb", "/a#b", "/\x7f"]) {
    test(`${JSON.stringify(raw)} is refused`, () => expect(normalisePath(raw)).toBeUndefined());
  }

  test("a key written in UTF-8 meets its encoded request", () => {
    expect(normalisePathKey("/café")).toBe(normalisePath("/caf%C3%A9")!);
    expect(normalisePathKey("/日本")).toBe(normalisePath("/%e6%97%a5%e6%9c%ac")!);
  });

  test("normalising twice changes nothing", () => {
    let seed = 7;
    const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
    const alphabet = ["/", "//", ".", "..", "%2e", "%2f", "%5C", "%", "%25", "a", "b", "\\", "%41", "%zz", "\xe9"];
    for (let i = 0; i < 20_000; i++) {
      const raw = `/${Array.from({ length: Math.floor(random() * 8) }, () => alphabet[Math.floor(random() * alphabet.length)]).join("")}`;
      const once = normalisePath(raw);
      expect(once).toBeDefined();
      // A decoded `?` or blank is a character of the path, so only what holds no percent sign must be a fixed point as text.
      if (!once!.includes("%")) expect(normalisePath(once!)).toBe(once!);
      expect(once!.startsWith("/")).toBe(true);
      expect(once!.split("/")).not.toContain("..");
      expect(once!).not.toContain("//");
    }
  });

  test("encoded separators have a second reading, other paths have none", () => {
    expect(readSeparators("/a/b")).toBeUndefined();
    expect(readSeparators("/x/..%2fsecret")).toBe("/secret");
    expect(readSeparators("/x%5c..%5csecret")).toBe("/secret");
  });
});
