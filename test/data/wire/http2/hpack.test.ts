/** HPACK against the RFC's own examples, against node:http2, and against itself by random fields and damaged blocks. */
import { describe, expect, test } from "bun:test";
import { FieldList, perLine } from "../../../../src/data/wire/http2/field-list.ts";
import { BAD, SENSITIVE } from "../../../../src/data/wire/http2/field-kinds.ts";
import { HpackDecoder } from "../../../../src/data/wire/http2/hpack-decoder.ts";
import { HpackEncoder } from "../../../../src/data/wire/http2/hpack-encoder.ts";
import {
  decodedBytesMax,
  huffmanDecode,
  huffmanEncode,
  huffmanLength,
} from "../../../../src/data/wire/http2/huffman.ts";
import { randomOf, type Random } from "../../../fuzz/mutate.ts";

type Line = readonly [name: string, value: string];

const list = new FieldList();

function decode(decoder: HpackDecoder, block: Buffer, sizeMax = 65_536, linesMax = 1_000): Line[] | undefined {
  list.begin(sizeMax, linesMax);
  return decoder.decode(block, 0, block.length, list) ? linesOf(list) : undefined;
}

function linesOf({ bytes, lines, count }: FieldList): Line[] {
  return Array.from({ length: count }, (_, i) => [
    bytes.toString("latin1", lines[i * perLine]!, lines[i * perLine + 1]!),
    bytes.toString("latin1", lines[i * perLine + 2]!, lines[i * perLine + 3]!),
  ]);
}

function encode(encoder: HpackEncoder, lines: readonly Line[], sensitive = false): Buffer {
  encoder.begin();
  for (const [name, value] of lines) encoder.text(name, value, sensitive);
  return Buffer.from(encoder.bytes.subarray(0, encoder.length));
}

function hex(text: string): Buffer {
  return Buffer.from(text.replace(/\s/g, ""), "hex");
}

/** RFC 7541 C.3 to C.6: blocks of one connection in their order, what they mean, and the table's size behind each. */
const requests: Line[][] = [
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
  ],
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
    ["cache-control", "no-cache"],
  ],
  [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  ],
];
const answers: Line[][] = [
  [
    [":status", "302"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"],
  ],
  [
    [":status", "307"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"],
  ],
  [
    [":status", "200"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
    ["location", "https://www.example.com"],
    ["content-encoding", "gzip"],
    ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
  ],
];
const examples: [name: string, tableMax: number, blocks: string[], expected: Line[][], sizes: number[]][] = [
  [
    "C.3: requests without Huffman coding",
    4096,
    [
      "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "8286 84be 5808 6e6f 2d63 6163 6865",
      "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ],
    requests,
    [57, 110, 164],
  ],
  [
    "C.4: requests with Huffman coding",
    4096,
    [
      "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
      "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ],
    requests,
    [57, 110, 164],
  ],
  [
    "C.5: answers without Huffman coding, with eviction",
    256,
    [
      "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "4803 3330 37c1 c0bf",
      "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ],
    answers,
    [222, 222, 215],
  ],
  [
    "C.6: answers with Huffman coding, with eviction",
    256,
    [
      "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
      "4883 640e ffc1 c0bf",
      "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ],
    answers,
    [222, 222, 215],
  ],
];

describe("the examples of RFC 7541", () => {
  for (const [name, tableMax, blocks, expected, sizes] of examples) {
    test(name, () => {
      const decoder = new HpackDecoder(tableMax);
      blocks.forEach((block, i) => {
        expect(decode(decoder, hex(block))).toEqual(expected[i]!);
        expect(decoder.table.size).toBe(sizes[i]!);
      });
    });
  }

  test("C.2: a literal without indexing, one that is never indexed, an indexed field", () => {
    const decoder = new HpackDecoder(4096);
    expect(decode(decoder, hex("040c 2f73 616d 706c 652f 7061 7468"))).toEqual([[":path", "/sample/path"]]);
    expect(list.kinds & SENSITIVE).toBe(0);
    expect(decode(decoder, hex("1008 7061 7373 776f 7264 0673 6563 7265 74"))).toEqual([["password", "secret"]]);
    expect(list.kinds & SENSITIVE).toBe(SENSITIVE);
    expect(decode(decoder, hex("82"))).toEqual([[":method", "GET"]]);
    expect(decoder.table.count).toBe(0);
  });

  test("C.1: integers of one and several bytes", () => {
    // 1337 with a prefix of five bits is a table size here; the table may be that large.
    const decoder = new HpackDecoder(4096);
    expect(decode(decoder, hex("3f9a0a"))).toEqual([]);
    expect(decoder.table.max).toBe(1337);
    expect(decode(decoder, hex("2a"))).toEqual([]);
    expect(decoder.table.max).toBe(10);
  });
});

describe("Huffman", () => {
  test("any bytes come back as they were", () => {
    for (let index = 0; index < 2_000; index++) {
      const random = randomOf(1, index);
      const text = Buffer.from(Array.from({ length: random(60) }, () => (random(3) ? 32 + random(95) : random(256))));
      const coded = Buffer.alloc(huffmanLength(text, 0, text.length));
      expect(huffmanEncode(text, 0, text.length, coded, 0)).toBe(coded.length);
      const out = Buffer.alloc(decodedBytesMax(coded.length) + 1);
      const end = huffmanDecode(coded, 0, coded.length, out, 0);
      if (end !== text.length || !out.subarray(0, end).equals(text)) expect({ index, text }).toEqual({ index, text });
    }
  });

  test("EOS, long padding and padding that is not of ones are refused", () => {
    const out = Buffer.alloc(64);
    for (const bad of ["ffffffff", "1fff", "18", "00", "ffffffffff"]) {
      const bytes = hex(bad);
      expect(huffmanDecode(bytes, 0, bytes.length, out, 0)).toBe(-1);
    }
    expect(huffmanDecode(hex("1f"), 0, 1, out, 0)).toBe(1);
  });
});

describe("blocks that are no HPACK", () => {
  const cases: Record<string, string> = {
    "index 0": "80",
    "an index beyond both tables": "be",
    "a name of an index beyond both tables": "7f0061",
    "an integer that never ends": "ffffffffffffffffff",
    "an integer that is cut": "ff",
    "a string that is longer than the block": "00056162",
    "a value that is missing": "0061",
    "a table larger than was allowed": "3fe21f",
    "three table sizes": "202020",
    "a table size behind a field": "8220",
    "Huffman code that holds EOS": "0084ffffffff0161",
  };
  for (const [name, block] of Object.entries(cases)) {
    test(name, () => expect(decode(new HpackDecoder(4096), hex(block))).toBeUndefined());
  }
});

describe("a list that is too large", () => {
  const big: Line = ["x-large", "v".repeat(3_000)];

  test("is refused, and the table stays in step", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096);
    const lines: Line[] = [
      ["a-name", "a value"],
      ...Array.from({ length: 30 }, (_, i): Line => [`b${i}`, "c".repeat(40)]),
    ];
    expect(decode(decoder, encode(encoder, lines), 500)).toEqual([]);
    expect(list.refused).toBe(true);
    expect(decode(decoder, encode(encoder, lines))).toEqual(lines);
    expect(list.refused).toBe(false);
  });

  test("one entry named a thousand times is counted a thousand times", () => {
    const decoder = new HpackDecoder(4096);
    const literal = Buffer.concat([
      hex("40"),
      Buffer.from([7]),
      Buffer.from(big[0]),
      hex("7fb916"),
      Buffer.from(big[1]),
    ]);
    expect(decode(decoder, literal)).toEqual([big]);
    const bomb = Buffer.alloc(60_000, 0xbe);
    expect(decode(decoder, bomb, 1 << 20)).toEqual([]);
    expect(list.refused).toBe(true);
    // Not the 182 MB that the block stands for.
    expect(list.bytes.length).toBeLessThan(4 << 20);
    expect(decode(decoder, hex("be"))).toEqual([big]);
  });

  test("too many lines are refused likewise", () => {
    expect(decode(new HpackDecoder(4096), Buffer.alloc(11, 0x82), 65_536, 10)).toEqual([]);
    expect(list.refused).toBe(true);
    expect(decode(new HpackDecoder(4096), Buffer.alloc(10, 0x82), 65_536, 10)).toHaveLength(10);
  });
});

describe("kinds", () => {
  const bad: Line[] = [
    ["Capital", "x"],
    ["", "x"],
    ["a b", "x"],
    ["a:b", "x"],
    ["a", " x"],
    ["a", "x\t"],
    ["a", "x\ny"],
    ["a", "x\ry"],
    ["a", "x\0y"],
    ["a", "x\x7f"],
  ];
  for (const [name, value] of bad) {
    test(`${JSON.stringify([name, value])} is bad, as a literal and from the table`, () => {
      const decoder = new HpackDecoder(4096);
      const literal = Buffer.concat([
        Buffer.from([0x40, name.length]),
        Buffer.from(name),
        Buffer.from([value.length]),
        Buffer.from(value),
      ]);
      expect(decode(decoder, literal)).toEqual([[name, value]]);
      expect(list.kinds & BAD).toBe(BAD);
      expect(decode(decoder, hex("be"))).toEqual([[name, value]]);
      expect(list.kinds & BAD).toBe(BAD);
    });
  }

  test("values of any visible characters and latin1 are good", () => {
    expect(decode(new HpackDecoder(4096), encode(new HpackEncoder(), [["a", "\xe4 \t~!"]]))).toEqual([
      ["a", "\xe4 \t~!"],
    ]);
    expect(list.kinds & BAD).toBe(0);
  });
});

describe("what we encode", () => {
  test("is short the second time", () => {
    const encoder = new HpackEncoder();
    const lines: Line[] = [
      [":status", "200"],
      ["content-type", "application/json"],
      ["server", "something"],
      ["x-own", "value"],
    ];
    expect(encode(encoder, lines).length).toBeGreaterThan(20);
    expect(encode(encoder, lines).length).toBe(4);
  });

  test("secrets and what came as never indexed stay out of every table", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096);
    for (const name of ["authorization", "cookie", "set-cookie", "proxy-authorization"]) {
      expect(decode(decoder, encode(encoder, [[name, "secret"]]))).toEqual([[name, "secret"]]);
      expect(list.kinds & SENSITIVE).toBe(SENSITIVE);
    }
    expect(decode(decoder, encode(encoder, [["x-token", "secret"]], true))).toEqual([["x-token", "secret"]]);
    expect(list.kinds & SENSITIVE).toBe(SENSITIVE);
    expect(decoder.table.count).toBe(0);
  });

  test("follows the peer's table size, told once, the smallest first", () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096);
    const lines: Line[] = [["x-a", "b"]];
    decode(decoder, encode(encoder, lines));
    encoder.setTableMax(0);
    encoder.setTableMax(65_536);
    expect(decode(decoder, encode(encoder, lines))).toEqual(lines);
    expect(decoder.table.count).toBe(1);
    encoder.setTableMax(0);
    const block = encode(encoder, lines);
    expect(block[0]).toBe(0x20);
    expect(decode(decoder, block)).toEqual(lines);
    expect(decoder.table.max).toBe(0);
    expect(decode(decoder, encode(encoder, lines))).toEqual(lines);
  });

  test("any lines come back, block after block, with names in lower case", () => {
    for (let index = 0; index < 300; index++) {
      const random = randomOf(2, index);
      const encoder = new HpackEncoder();
      const decoder = new HpackDecoder(4096);
      for (let turn = 0; turn < 30; turn++) {
        if (random(10) === 0) encoder.setTableMax(random(5_000));
        const lines = randomLines(random);
        const got = decode(decoder, encode(encoder, lines), 1 << 20);
        expect(got).toEqual(lines.map(([name, value]) => [name.toLowerCase(), value]));
      }
    }
  });
});

const names = "accept Accept-Encoding content-type X-One x-two x-three Content-Length :path cookie date a".split(" ");

function randomLines(random: Random): Line[] {
  return Array.from({ length: random(12) }, () => {
    const name = random(6) ? names[random(names.length)]! : `x-${random(40)}`;
    const length = random(40) === 0 ? random(5_000) : random(30);
    const value = random(3)
      ? `v${random(4)}`
      : Array.from({ length }, () => String.fromCharCode(33 + random(200))).join("");
    return [name, value];
  });
}

test("damaged blocks are refused or decoded, never more", () => {
  let refused = 0;
  for (let index = 0; index < 20_000; index++) {
    const random = randomOf(3, index);
    const block = encode(new HpackEncoder(), randomLines(random));
    for (let times = 1 + random(3); times > 0 && block.length > 0; times--) block[random(block.length)] = random(256);
    const cut = random(4) ? block : block.subarray(0, random(block.length + 1));
    const decoder = new HpackDecoder(4096);
    if (decode(decoder, cut) === undefined) refused++;
    expect(decoder.table.size).toBeLessThanOrEqual(4096);
  }
  expect(refused).toBeGreaterThan(1_000);
  expect(refused).toBeLessThan(19_000);
});
