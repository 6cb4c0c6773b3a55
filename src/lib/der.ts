/** DER (ITU-T X.690): as much of it as reading a certificate's names and writing a plain certificate take. */

/** Universal tags, with the constructed bit where the type has it. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

/** One value: its tag byte and its contents. */
export interface DerValue {
  readonly tag: number;
  readonly body: Uint8Array;
}

/**
 * @returns the values that stand one after the other in `bytes`
 * @throws RangeError when a length leads out of them, or is written in a form that DER does not have
 */
export function readDer(bytes: Uint8Array): DerValue[] {
  const values: DerValue[] = [];
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at]!;
    if ((tag & 0x1f) === 0x1f) throw new RangeError("Cannot read DER: expected a tag of one byte");
    let length = bytes[at + 1] ?? 0x80;
    let start = at + 2;
    if (length >= 0x80) {
      const lengthBytes = length & 0x7f;
      if (lengthBytes === 0 || lengthBytes > 3) throw new RangeError("Cannot read DER: expected a length below 16 MiB");
      length = 0;
      for (const end = start + lengthBytes; start < end; start++) length = length * 256 + (bytes[start] ?? 0);
    }
    const end = start + length;
    if (end > bytes.length) throw new RangeError(`Cannot read DER: expected ${end} bytes, found ${bytes.length}`);
    values.push({ tag, body: bytes.subarray(start, end) });
    at = end;
  }
  return values;
}

/** One value of the given tag around `contents`. */
export function der(tag: number, ...contents: Uint8Array[]): Uint8Array {
  const length = contents.reduce((sum, content) => sum + content.length, 0);
  const lengthBytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) lengthBytes.unshift(rest % 256);
  const head = length < 0x80 ? [tag, length] : [tag, 0x80 | lengthBytes.length, ...lengthBytes];
  return Buffer.concat([Uint8Array.from(head), ...contents]);
}

/** @param bytes an unsigned number, most significant byte first */
export function derInteger(bytes: Uint8Array): Uint8Array {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from++;
  const digits = bytes.length === 0 ? Uint8Array.of(0) : bytes.subarray(from);
  // The first bit is the sign.
  return der(tags.integer, ...(digits[0]! >= 0x80 ? [Uint8Array.of(0)] : []), digits);
}

/** @param dotted for example `2.5.29.17` */
export function derOid(dotted: string): Uint8Array {
  return der(tags.oid, oidBytes(dotted));
}

/** The contents of an object identifier, to compare with what was read. */
export function oidBytes(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const groups = [arc % 128];
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) groups.unshift(0x80 | (high % 128));
    bytes.push(...groups);
  }
  return Uint8Array.from(bytes);
}

/** RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime after it, both in whole seconds. */
export function derTime(ms: number): Uint8Array {
  const digits = new Date(ms)
    .toISOString()
    .replace(/\.\d+Z$/, "Z")
    .replace(/[-:T]/g, "");
  return Number(digits.slice(0, 4)) < 2050
    ? der(tags.utcTime, Buffer.from(digits.slice(2), "latin1"))
    : der(tags.generalizedTime, Buffer.from(digits, "latin1"));
}
