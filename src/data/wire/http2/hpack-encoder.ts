/**
 * HPACK, writing (RFC 7541): lines into a field block that lies in a buffer which all encoders share, until the block is
 * put into frames. Names are found and compared as bytes, letter case aside.
 */
import { headerTableDefault } from "./protocol.ts";
import {
  firstDynamic,
  staticBytes,
  staticFields,
  staticNameLengths,
  staticStarts,
  staticValueLengths,
} from "./hpack-static.ts";
import { DynamicTable, entryOverhead } from "./hpack-table.ts";
import { huffmanEncode, huffmanLength } from "./huffman.ts";

/** A method of Bun's and Node's Buffers that their types leave out: half the price of `write(text, at, "latin1")`. */
interface Latin1Buffer extends Buffer {
  latin1Write(text: string, at: number, length: number): number;
}

/** The block being written; only one is at any time. */
let block: Buffer = Buffer.allocUnsafeSlow(16_384);
/** A line of text is laid out here to be treated like one of bytes. */
let scratch = Buffer.allocUnsafeSlow(4_096) as Latin1Buffer;
/** A new name in lower case. */
let lowered: Buffer = Buffer.allocUnsafeSlow(256);
/** … and one for a table here: none takes more than half of it. */
const line: Buffer = Buffer.allocUnsafeSlow(headerTableDefault);

const lowers = Uint8Array.from({ length: 256 }, (_, byte) => (byte >= 65 && byte <= 90 ? byte + 32 : byte));

/** Fields whose values differ nearly each time: the table is for others. */
const unindexed: ReadonlySet<string> = new Set([
  ":path",
  "age",
  "content-length",
  "content-range",
  "etag",
  "grpc-message",
  "grpc-timeout",
  "if-modified-since",
  "if-none-match",
  "last-modified",
  "location",
  "x-request-id",
]);

/** What a secret is guessed by the size of, when it shares a table with a guesser's fields (RFC 7541 7.1). */
const secret: ReadonlySet<string> = new Set(["authorization", "cookie", "proxy-authorization", "set-cookie"]);

const INDEXED = 0;
const PLAIN = 1;
const NEVER = 2;

/** Longer strings go as they are: beyond some size, bytes are cheaper than looking for shorter ones. */
const codedBytesMax = 512;

/** Slots of the look-up by hash; a collision costs a little compression, never correctness. */
const slots = 256;

/** [hash of name]: the first static index of such names, and for each index the next one; 0 = none. */
const staticHeads = new Uint8Array(slots);
const staticNexts = new Uint8Array(firstDynamic);
const staticPolicies = new Uint8Array(firstDynamic);
/** [index]: the last one with the same name; they stand side by side */
const staticLasts = new Uint8Array(firstDynamic);
/** [hash of name]: the names of the two sets above that are not in the static table */
const namedPolicies = new Map<number, readonly { readonly name: Buffer; readonly policy: number }[]>();

for (let index = firstDynamic - 1; index > 0; index--) {
  const start = staticStarts[index]!;
  const hash = nameHash(staticBytes, start, start + staticNameLengths[index]!);
  staticNexts[index] = staticHeads[hash]!;
  staticHeads[hash] = index;
  const name = staticFields[index - 1]![0];
  staticPolicies[index] = policyOf(name);
  staticLasts[index] = staticFields[index]?.[0] === name ? staticLasts[index + 1]! : index;
}
for (const text of [...unindexed, ...secret]) {
  const name = Buffer.from(text, "latin1");
  const hash = nameHash(name, 0, name.length);
  namedPolicies.set(hash, [...(namedPolicies.get(hash) ?? []), { name, policy: policyOf(text) }]);
}

function policyOf(name: string): number {
  return secret.has(name) ? NEVER : unindexed.has(name) ? PLAIN : INDEXED;
}

/** Length and four bytes tell nearly all names apart. */
function nameHash(bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  const first = bytes[start]! | 32;
  const middle = bytes[start + (length >> 1)]! | 32;
  const later = bytes[start + ((3 * length) >> 2)]! | 32;
  const last = bytes[end - 1]! | 32;
  return (length * 37 + first * 5 + middle * 11 + later * 23 + last * 7) & (slots - 1);
}

function fieldHash(name: number, bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length === 0) return name;
  const step = (length >> 3) + 1;
  let hash = name * 31 + length;
  for (let at = start; at < end; at += step) hash = (Math.imul(hash, 33) + bytes[at]!) | 0;
  hash = (Math.imul(hash, 33) + bytes[end - 1]!) | 0;
  return (hash ^ (hash >>> 8) ^ (hash >>> 16)) & (slots - 1);
}

export class HpackEncoder {
  readonly #table = new DynamicTable(headerTableDefault, headerTableDefault);
  /** [hash]: number of the newest entry with such a name / such a name and value, as the table counts */
  #names: Uint32Array | undefined;
  #fields: Uint32Array | undefined;
  #at = 0;
  /** the peer changed its table's size; told at the next block: the smallest it was, and what it is now */
  #smallest = -1;

  /** The block so far is bytes[0, length) of {@link bytes}. */
  get length(): number {
    return this.#at;
  }

  get bytes(): Buffer {
    return block;
  }

  /** SETTINGS_HEADER_TABLE_SIZE of the peer. A larger table than the usual one is not made use of. */
  setTableMax(announced: number): void {
    const max = Math.min(announced, headerTableDefault);
    if (max === this.#table.max && this.#smallest < 0) return;
    this.#smallest = this.#smallest < 0 ? max : Math.min(this.#smallest, max);
    this.#table.resize(max);
  }

  /** Begins a block; the one before must be in frames by now. */
  begin(): void {
    this.#at = 0;
    if (this.#smallest < 0) return;
    if (this.#smallest < this.#table.max) this.#integer(0x20, 31, this.#smallest);
    this.#integer(0x20, 31, this.#table.max);
    this.#smallest = -1;
  }

  /** `:status`. @param status 100 to 999 */
  status(status: number): void {
    this.#room(16);
    const known = statusIndexes[status] ?? 0;
    if (known > 0) block[this.#at++] = 0x80 | known;
    else this.text(":status", String(status));
  }

  /** `:path`, bytes[start, end). */
  path(bytes: Buffer, start: number, end: number): void {
    this.#room(end - start + 24);
    if (end - start === 1 && bytes[start] === 47) {
      block[this.#at++] = 0x80 | rootPath;
      return;
    }
    this.#integer(0, 15, rootPath);
    this.#string(bytes, start, end);
  }

  /** @param value latin1 */
  text(name: string, value: string, sensitive = false): void {
    const length = name.length + value.length;
    if (length > scratch.length) scratch = Buffer.allocUnsafeSlow(2 * length) as Latin1Buffer;
    scratch.latin1Write(name, 0, name.length);
    scratch.latin1Write(value, name.length, value.length);
    this.field(scratch, 0, name.length, name.length, length, sensitive);
  }

  /**
   * A field of bytes[name, nameEnd) and bytes[value, valueEnd).
   * @param sensitive it came as one that must never be indexed, and goes on as such (RFC 7541 7.1.3)
   */
  field(bytes: Buffer, name: number, nameEnd: number, value: number, valueEnd: number, sensitive = false): void {
    this.#room(nameEnd - name + valueEnd - value + 24);
    const hash = nameHash(bytes, name, nameEnd);
    const known = staticName(hash, bytes, name, nameEnd);
    const policy = sensitive ? NEVER : known > 0 ? staticPolicies[known]! : namedPolicy(hash, bytes, name, nameEnd);
    const exact = known > 0 && policy !== NEVER ? staticValue(known, bytes, value, valueEnd) : 0;
    if (exact > 0) {
      block[this.#at++] = 0x80 | exact;
      return;
    }
    if (policy === INDEXED) return this.#indexed(hash, known, bytes, name, nameEnd, value, valueEnd);
    const index = known > 0 ? known : this.#dynamicName(hash, bytes, name, nameEnd);
    this.#integer(policy === NEVER ? 0x10 : 0, 15, index);
    if (index === 0) this.#name(bytes, name, nameEnd);
    this.#string(bytes, value, valueEnd);
  }

  #indexed(
    hash: number,
    known: number,
    bytes: Buffer,
    name: number,
    nameEnd: number,
    value: number,
    end: number,
  ): void {
    const table = this.#table;
    const both = fieldHash(hash, bytes, value, end);
    const found = this.#fields === undefined ? 0 : this.#fields[both]!;
    const age = table.added - found;
    if (found > 0 && age < table.count && this.#holds(age, bytes, name, nameEnd, value, end)) {
      this.#integer(0x80, 127, firstDynamic + age);
      return;
    }
    const index = known > 0 ? known : this.#dynamicName(hash, bytes, name, nameEnd);
    // What would empty the table for itself alone is not worth it.
    if (nameEnd - name + end - value + entryOverhead > table.max >> 1) {
      this.#integer(0, 15, index);
      if (index === 0) this.#name(bytes, name, nameEnd);
      this.#string(bytes, value, end);
      return;
    }
    this.#integer(0x40, 63, index);
    if (index === 0) this.#name(bytes, name, nameEnd);
    this.#string(bytes, value, end);
    this.#add(hash, both, bytes, name, nameEnd, value, end);
  }

  #add(hash: number, both: number, bytes: Buffer, name: number, nameEnd: number, value: number, end: number): void {
    const nameLength = nameEnd - name;
    for (let i = 0; i < nameLength; i++) line[i] = lowers[bytes[name + i]!]!;
    line[nameLength] = 58;
    line[nameLength + 1] = 32;
    bytes.copy(line, nameLength + 2, value, end);
    if (!this.#table.add(line, 0, nameLength, end - value, 0)) return;
    this.#names ??= new Uint32Array(slots);
    this.#fields ??= new Uint32Array(slots);
    this.#names[hash] = this.#table.added;
    this.#fields[both] = this.#table.added;
  }

  #holds(age: number, bytes: Buffer, name: number, nameEnd: number, value: number, end: number): boolean {
    const table = this.#table;
    const slot = table.slot(age);
    const length = nameEnd - name;
    if (table.nameLength(slot) !== length || table.valueLength(slot) !== end - value) return false;
    const start = table.start(slot);
    const held = table.bytes;
    if (!sameLower(held, start, bytes, name, length)) return false;
    for (let i = value, at = start + length + 2; i < end; i++, at++) if (held[at] !== bytes[i]) return false;
    return true;
  }

  /** @returns the index of an entry with this name, or 0 */
  #dynamicName(hash: number, bytes: Buffer, name: number, nameEnd: number): number {
    const table = this.#table;
    const found = this.#names === undefined ? 0 : this.#names[hash]!;
    const age = table.added - found;
    if (found === 0 || age >= table.count) return 0;
    const slot = table.slot(age);
    const length = nameEnd - name;
    if (table.nameLength(slot) !== length || !sameLower(table.bytes, table.start(slot), bytes, name, length)) return 0;
    return firstDynamic + age;
  }

  /** A name that no table has, in lower case (RFC 9113 8.2.1). */
  #name(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length > lowered.length) lowered = Buffer.allocUnsafeSlow(2 * length);
    for (let i = 0; i < length; i++) lowered[i] = lowers[bytes[start + i]!]!;
    this.#string(lowered, 0, length);
  }

  /** RFC 7541 5.2 */
  #string(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    const coded = length <= codedBytesMax ? huffmanLength(bytes, start, end) : length;
    if (coded < length) {
      this.#integer(0x80, 127, coded);
      this.#at = huffmanEncode(bytes, start, end, block, this.#at);
      return;
    }
    this.#integer(0, 127, length);
    bytes.copy(block, this.#at, start, end);
    this.#at += length;
  }

  /** RFC 7541 5.1 */
  #integer(first: number, mask: number, value: number): void {
    if (value < mask) {
      block[this.#at++] = first | value;
      return;
    }
    block[this.#at++] = first | mask;
    for (value -= mask; value > 127; value >>>= 7) block[this.#at++] = (value & 127) | 128;
    block[this.#at++] = value;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= block.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#at + bytes));
    block.copy(larger, 0, 0, this.#at);
    block = larger;
  }
}

/** `:path` with "/" */
const rootPath = 4;

/** by status */
const statusIndexes: Record<number, number> = { 200: 8, 204: 9, 206: 10, 304: 11, 400: 12, 404: 13, 500: 14 };

/** The first index with this name, or 0. */
function staticName(hash: number, bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  for (let index = staticHeads[hash]!; index > 0; index = staticNexts[index]!) {
    if (staticNameLengths[index] === length && sameLower(staticBytes, staticStarts[index]!, bytes, start, length))
      return index;
  }
  return 0;
}

/** The index with the name of `first` and this value, or 0. */
function staticValue(first: number, bytes: Buffer, start: number, end: number): number {
  const length = end - start;
  for (let index = first; index <= staticLasts[first]!; index++) {
    const at = staticStarts[index]! + staticNameLengths[index]! + 2;
    if (staticValueLengths[index] === length && sameBytes(staticBytes, at, bytes, start, length)) return index;
  }
  return 0;
}

function namedPolicy(hash: number, bytes: Buffer, start: number, end: number): number {
  const named = namedPolicies.get(hash);
  if (named === undefined) return INDEXED;
  for (const { name, policy } of named) {
    if (name.length === end - start && sameLower(name, 0, bytes, start, name.length)) return policy;
  }
  return INDEXED;
}

/** Whether `length` bytes are those of the lower-case name. */
function sameLower(name: Buffer, at: number, bytes: Buffer, start: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (name[at + i] !== lowers[bytes[start + i]!]) return false;
  return true;
}

function sameBytes(held: Buffer, at: number, bytes: Buffer, start: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (held[at + i] !== bytes[start + i]) return false;
  return true;
}
