/** DER: what is written reads back, and nothing is read beyond its end. */
import { describe, expect, test } from "bun:test";
import { der, derInteger, derOid, derTime, oidBytes, readDer, tags } from "../../src/lib/der.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

describe("writing", () => {
  test("lengths take one byte below 128, then as many as they need", () => {
    for (const [length, head] of [
      [0, "0400"],
      [127, "047f"],
      [128, "048180"],
      [255, "0481ff"],
      [256, "04820100"],
      [70_000, "0483011170"],
    ] as const) {
      const value = der(tags.octetString, new Uint8Array(length));
      expect(hex(value).slice(0, head.length)).toBe(head);
      expect(value.length).toBe(head.length / 2 + length);
    }
  });

  test("integers are positive and as short as they can be", () => {
    expect(hex(derInteger(Uint8Array.of(0)))).toBe("020100");
    expect(hex(derInteger(Uint8Array.of()))).toBe("020100");
    expect(hex(derInteger(Uint8Array.of(0, 0, 5)))).toBe("020105");
    expect(hex(derInteger(Uint8Array.of(0x80)))).toBe("02020080");
  });

  test("object identifiers and times are those of RFC 5280", () => {
    expect(hex(derOid("1.2.840.10045.4.3.2"))).toBe("06082a8648ce3d040302");
    expect(hex(oidBytes("2.5.29.17"))).toBe("551d11");
    expect(Buffer.from(derTime(Date.UTC(2049, 11, 31, 23, 59, 59)).subarray(2)).toString()).toBe("491231235959Z");
    expect(hex(derTime(0).subarray(0, 1))).toBe("17");
    expect(Buffer.from(derTime(Date.UTC(2050, 0, 1)).subarray(2)).toString()).toBe("20500101000000Z");
    expect(hex(derTime(Date.UTC(2050, 0, 1)).subarray(0, 1))).toBe("18");
  });
});

describe("reading", () => {
  test("what was written comes back, nested and one after the other", () => {
    const bytes = der(tags.sequence, derInteger(Uint8Array.of(7)), der(tags.octetString, new Uint8Array(300)));
    const [sequence, ...rest] = readDer(bytes);
    expect(rest).toEqual([]);
    expect(readDer(sequence!.body).map(({ tag, body }) => [tag, body.length])).toEqual([
      [tags.integer, 1],
      [tags.octetString, 300],
    ]);
  });

  test("a value cut anywhere is refused", () => {
    const bytes = der(tags.sequence, der(tags.octetString, new Uint8Array(300)));
    for (let end = 1; end < bytes.length; end++) expect(() => readDer(bytes.subarray(0, end))).toThrow(RangeError);
    expect(readDer(bytes.subarray(0, 0))).toEqual([]);
  });

  test("indefinite and enormous lengths and long tags are refused", () => {
    for (const odd of ["3080", "3084ffffffff", "1f8101", "30ff"])
      expect(() => readDer(Buffer.from(odd, "hex"))).toThrow(RangeError);
  });
});
