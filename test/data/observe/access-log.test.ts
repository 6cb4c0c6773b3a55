/** The access log: its three formats, what is hidden, and that no client can write a line of its own. */
import { describe, expect, test } from "bun:test";
import { AccessLog, redactTarget, type AccessFormat, type AccessRecord } from "../../../src/data/observe/access-log.ts";
import { logLineCharsMax } from "../../../src/lib/limits.ts";

const time = new Date(2026, 10, 20, 12, 0, 0, 250);

const usual: AccessRecord = {
  timeMs: time.getTime(),
  status: 200,
  method: "GET",
  target: "/x?y=1",
  host: "a.test",
  client: "192.0.2.1",
  version: "HTTP/1.1",
  secure: false,
  userAgent: "curl/8",
  referer: "",
  bytesOut: 1234,
  bytesIn: 0,
  durationMs: 12.5,
  upstreamMs: 10,
  route: "a.test/x",
  upstream: "127.0.0.1:8001",
  requestId: "id-1",
  deniedBy: "",
  cut: false,
};

function lineOf(format: AccessFormat, record: Partial<AccessRecord> = {}): string {
  const lines: string[] = [];
  new AccessLog("all", format, { write: (line) => void lines.push(line) }).write({ ...usual, ...record });
  expect(lines).toHaveLength(1);
  return lines[0]!;
}

const json = (record: Partial<AccessRecord> = {}) => JSON.parse(lineOf("json", record));

/** Apache's combined format, as its readers split it. */
const combined =
  /^(\S+) (\S+) (\S+) \[(\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"$/;

describe("the formats", () => {
  test("text is the original's line", () => {
    expect(lineOf("text")).toBe(
      "2026-11-20 12:00:00 INFO access - 200, GET /x?y=1, Host: a.test, client: 192.0.2.1, version: HTTP/1.1, useragent: curl/8",
    );
    expect(lineOf("text", { userAgent: "", host: "" })).toEndWith(
      "Host: -, client: 192.0.2.1, version: HTTP/1.1, useragent: -",
    );
  });

  test("the time follows from one second to the next", () => {
    expect(lineOf("text", { timeMs: time.getTime() + 749 })).toStartWith("2026-11-20 12:00:00 ");
    expect(lineOf("text", { timeMs: time.getTime() + 750 })).toStartWith("2026-11-20 12:00:01 ");
    expect(lineOf("combined", { timeMs: time.getTime() + 1_750 })).toContain("[20/Nov/2026:12:00:02 ");
  });

  test("json tells a gRPC call's status, and `error` counts one that failed", () => {
    expect(json()).not.toHaveProperty("grpc_status");
    expect(json({ grpcStatus: 0 })).toMatchObject({ status: 200, grpc_status: 0 });
    expect(json({ grpcStatus: 14 })).toMatchObject({ status: 200, grpc_status: 14 });
    const log = new AccessLog("error", "text", { write: () => {} });
    expect([log.wants(200, false), log.wants(200, false, 0), log.wants(200, false, 14)]).toEqual([false, false, true]);
  });

  test("json has Caddy's keys and ours", () => {
    expect(json({ referer: "http://b.test/", user: "ann", status: 502, deniedBy: "rate_limit", bytesIn: 7 })).toEqual({
      level: "error",
      ts: time.getTime() / 1000,
      logger: "http.log.access",
      msg: "handled request",
      request: {
        remote_ip: "192.0.2.1",
        client_ip: "192.0.2.1",
        proto: "HTTP/1.1",
        method: "GET",
        host: "a.test",
        uri: "/x?y=1",
        headers: { "User-Agent": ["curl/8"], Referer: ["http://b.test/"] },
      },
      bytes_read: 7,
      user_id: "ann",
      duration: 0.0125,
      size: 1234,
      status: 502,
      scheme: "http",
      route: "a.test/x",
      upstream: "127.0.0.1:8001",
      upstream_duration: 0.01,
      request_id: "id-1",
      denied_by: "rate_limit",
    });
    const bare = json({
      upstreamMs: undefined,
      userAgent: "",
      peer: "10.0.0.1",
      secure: true,
      cut: true,
      durationMs: 0.00001,
    });
    expect([bare.level, bare.request.headers, bare.request.remote_ip, bare.scheme, bare.cut, bare.duration]).toEqual([
      "info",
      {},
      "10.0.0.1",
      "https",
      true,
      0,
    ]);
    expect("upstream_duration" in bare).toBe(false);
    expect(json({ userAgent: "", referer: "r" }).request.headers).toEqual({ Referer: ["r"] });
    expect(json({ durationMs: 0.001 }).duration).toBe(0.000001);
  });

  test("combined is Apache's", () => {
    const parts = combined.exec(lineOf("combined", { referer: "http://b.test/" }))!;
    expect(parts.slice(1, 4)).toEqual(["192.0.2.1", "-", "-"]);
    expect(parts.slice(5)).toEqual(["GET /x?y=1 HTTP/1.1", "200", "1234", "http://b.test/", "curl/8"]);
    const offset = -time.getTimezoneOffset();
    const zone =
      (offset < 0 ? "-" : "+") +
      String(Math.floor(Math.abs(offset) / 60) * 100 + (Math.abs(offset) % 60)).padStart(4, "0");
    expect(parts[4]).toBe(`20/Nov/2026:12:00:00 ${zone}`);
    expect(combined.exec(lineOf("combined", { bytesOut: 0, userAgent: "", user: "ann b" }))!.slice(3)).toMatchObject({
      0: "ann%20b",
      4: "-",
      5: "-",
      6: "-",
    });
  });
});

describe("what is written", () => {
  test("all, errors (4xx, 5xx and answers cut short), or nothing", () => {
    const written = (mode: "all" | "error" | "off") => {
      const lines: string[] = [];
      const log = new AccessLog("off", "text", { write: (line) => void lines.push(line) });
      log.change(mode, "json");
      for (const [status, cut] of [
        [200, false],
        [304, false],
        [200, true],
        [404, false],
        [502, false],
      ] as const) {
        const before = lines.length;
        log.write({ ...usual, status, cut });
        expect(log.wants(status, cut)).toBe(lines.length > before);
      }
      return lines.map((line) => JSON.parse(line).status);
    };
    expect(written("all")).toEqual([200, 304, 200, 404, 502]);
    expect(written("error")).toEqual([200, 404, 502]);
    expect(written("off")).toEqual([]);
  });
});

describe("a client cannot forge", () => {
  const nasty = 'x"\r\n{"status":200}\\" - \x1b[31m\x00\x7f\x9b\u2028\u202e, Host: evil, "é';

  test("a line of text", () => {
    const line = lineOf("text", { userAgent: nasty, target: `/${nasty}`, host: nasty, method: nasty, client: nasty });
    expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f\u2028\u202e]/);
    expect(line.match(/, Host: /g)).toHaveLength(2);
    expect(line.indexOf(", Host: ")).toBeGreaterThan(line.indexOf("x%20") === -1 ? 0 : line.indexOf("/x"));
    // The second one stands in the user agent, which comes last for this reason.
    expect(line.lastIndexOf(", Host: ")).toBeGreaterThan(line.indexOf("useragent: "));
  });

  test("a line of JSON, and its values come back as they were", () => {
    const line = lineOf("json", {
      userAgent: nasty,
      target: `/${nasty}`,
      host: nasty,
      referer: nasty,
      user: nasty,
      route: nasty,
    });
    expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f\u2028\u202e]/);
    const read = JSON.parse(line);
    expect([read.request.headers["User-Agent"][0], read.request.uri, read.user_id]).toEqual([
      nasty,
      `/${nasty}`,
      nasty,
    ]);
    expect(JSON.parse(lineOf("json", { userAgent: "half \ud83d pair 😀" })).request.headers["User-Agent"][0]).toContain(
      "😀",
    );
  });

  test("a line of combined", () => {
    for (const text of [nasty, "\\", '"', '\\"', "\\\\"]) {
      const line = lineOf("combined", { userAgent: text, target: `/${text}`, referer: text, user: text });
      expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f\u2028\u202e]/);
      expect(line).toMatch(combined);
    }
  });

  test("a line longer than the bound, whatever it is made of", () => {
    for (const part of ["x", '"', "\\", "\x01", "\u2028", "\ud83d", "é", "&key="]) {
      const long = `/?${part.repeat(100_000)}`;
      const record = {
        target: long,
        userAgent: long,
        referer: long,
        host: long,
        method: long,
        user: long,
        client: "::1",
      };
      for (const format of ["text", "json", "combined"] as const) {
        const line = lineOf(format, record);
        expect(line.length).toBeLessThanOrEqual(logLineCharsMax * 1.25);
        if (format === "json") expect(JSON.parse(line).status).toBe(200);
        if (format === "combined") expect(line).toMatch(combined);
      }
    }
  });
});

describe("secrets in a query", () => {
  test("are not written, however their names are spelt", () => {
    const rows: [string, string][] = [
      ["/x", "/x"],
      ["/x?", "/x?"],
      ["/x?a=1&b", "/x?a=1&b"],
      ["/x?araleztoken=abc", "/x?araleztoken=***"],
      ["/x?a=1&gazantoken=abc&b=2", "/x?a=1&gazantoken=***&b=2"],
      ["/x?AralezToken=abc", "/x?AralezToken=***"],
      ["/x?%61ralez%74oken=abc&z=1", "/x?%61ralez%74oken=***&z=1"],
      ["/x?token=a&token=b", "/x?token=***&token=***"],
      ["/x?a=1;password=b", "/x?a=1;password=***"],
      ["/x?a=1?key=b", "/x?a=1?key=***"],
      ["/x?key=a=b=c&d", "/x?key=***&d"],
      ["/x?access_token=", "/x?access_token=***"],
      ["/x?master_key", "/x?master_key"],
      ["/x?%zzkey=1&api_key=2", "/x?%zzkey=1&api_key=***"],
      ["/x?monkey=1&keys=2", "/x?monkey=1&keys=2"],
      ["/token=abc", "/token=abc"],
      ["https://b.test/p?secret=1#f", "https://b.test/p?secret=***#f"],
    ];
    for (const [target, shown] of rows) expect(redactTarget(target)).toBe(shown);
  });

  test("are missing from every format, also in a Referer", () => {
    for (const format of ["text", "json", "combined"] as const) {
      const line = lineOf(format, { target: "/x?araleztoken=s3cret", referer: "http://a.test/?access_token=s3cret" });
      expect(line).not.toContain("s3cret");
      expect(line).toContain("araleztoken=***");
    }
  });

  test("cost no more time than the query is long", () => {
    for (const part of ["&", "=", "?", "&a=", "%6"])
      expect(redactTarget(`/?${part.repeat(500_000)}`).length).toBeGreaterThan(0);
  });
});
