/** HPACK, reading (RFC 7541): a field block into a list of lines. The table stays in step whatever the list comes to. */
import { CR, LF, COLON, SP } from "../byte-classes.ts";
import { kindOf, SENSITIVE } from "./field-kinds.ts";
import type { FieldList } from "./field-list.ts";
import { firstDynamic, staticBytes, staticNameLengths, staticStarts, staticValueLengths } from "./hpack-static.ts";
import { DynamicTable } from "./hpack-table.ts";
import { decodedBytesMax, huffmanDecode } from "./huffman.ts";

const staticKinds = Int32Array.from(staticStarts, (start, index) => {
  const nameEnd = start + staticNameLengths[index]!;
  return kindOf(staticBytes, start, nameEnd, nameEnd + 2, nameEnd + 2 + staticValueLengths[index]!);
});

export class HpackDecoder {
  readonly table: DynamicTable;
  #at = 0;
  #end = 0;
  #block: Buffer = staticBytes;
  #broken = false;
  #nameLength = 0;

  /** @param tableMax SETTINGS_HEADER_TABLE_SIZE that we announced */
  constructor(readonly tableMax: number) {
    this.table = new DynamicTable(tableMax, tableMax);
  }

  /**
   * Decodes the whole block bytes[start, end).
   * @param list begun; takes the lines
   * @returns false when the block is no HPACK: COMPRESSION_ERROR, the connection cannot go on (RFC 7541 2.3.3)
   */
  decode(block: Buffer, start: number, end: number, list: FieldList): boolean {
    this.#block = block;
    this.#at = start;
    this.#end = end;
    this.#broken = false;
    // RFC 7541 4.2: size changes stand before the first field.
    let sizes = 0;
    while (this.#at < end && !this.#broken) {
      const byte = block[this.#at]!;
      if ((byte & 0x80) !== 0) this.#indexed(this.#integer(127), list);
      else if ((byte & 0x40) !== 0) this.#literal(this.#integer(63), list, true, 0);
      else if ((byte & 0x20) === 0) this.#literal(this.#integer(15), list, false, (byte & 0x10) === 0 ? 0 : SENSITIVE);
      else if (list.size > 0 || ++sizes > 2) return false;
      else {
        const max = this.#integer(31);
        if (this.#broken || max > this.tableMax) return false;
        this.table.resize(max);
      }
    }
    this.#block = staticBytes;
    return !this.#broken;
  }

  /** RFC 7541 6.1 */
  #indexed(index: number, list: FieldList): void {
    const { table } = this;
    if (index === 0 || this.#broken) this.#broken = true;
    else if (index < firstDynamic) {
      const start = staticStarts[index]!;
      this.#copy(list, staticBytes, start, staticNameLengths[index]!, staticValueLengths[index]!, staticKinds[index]!);
    } else if (index - firstDynamic >= table.count) this.#broken = true;
    else {
      const slot = table.slot(index - firstDynamic);
      this.#copy(
        list,
        table.bytes,
        table.start(slot),
        table.nameLength(slot),
        table.valueLength(slot),
        table.kind(slot),
      );
    }
  }

  #copy(list: FieldList, from: Buffer, start: number, nameLength: number, valueLength: number, kind: number): void {
    const length = nameLength + valueLength + 4;
    if (!list.refused) {
      list.room(length);
      const { bytes } = list;
      const to = list.length;
      // Short lines by hand: a call into the runtime costs more.
      if (length > 32) from.copy(bytes, to, start, start + length);
      else for (let i = 0; i < length; i++) bytes[to + i] = from[start + i]!;
    }
    list.took(nameLength, valueLength, kind);
  }

  /** RFC 7541 6.2 */
  #literal(nameIndex: number, list: FieldList, indexing: boolean, sensitive: number): void {
    if (this.#broken) return;
    const start = list.length;
    const value = this.#name(nameIndex, list, start);
    if (value < 0) return this.#break();
    const valueEnd = this.#string(list, value, start);
    if (valueEnd < 0) return this.#break();
    const { bytes } = list;
    bytes[valueEnd] = CR;
    bytes[valueEnd + 1] = LF;
    const nameLength = this.#nameLength;
    const kind = kindOf(bytes, start, start + nameLength, value, valueEnd);
    if (indexing) this.table.add(bytes, start, nameLength, valueEnd - value, kind);
    list.took(nameLength, valueEnd - value, kind | sensitive);
  }

  /** Writes `name: ` at `start`. @returns where the value begins, or -1 */
  #name(index: number, list: FieldList, start: number): number {
    let end: number;
    if (index === 0) {
      end = this.#string(list, start, start);
      if (end < 0) return -1;
      this.#nameLength = end - start;
    } else {
      const { table } = this;
      const known = index < firstDynamic;
      if (!known && index - firstDynamic >= table.count) return -1;
      const slot = known ? 0 : table.slot(index - firstDynamic);
      const from = known ? staticBytes : table.bytes;
      const at = known ? staticStarts[index]! : table.start(slot);
      const length = (this.#nameLength = known ? staticNameLengths[index]! : table.nameLength(slot));
      list.room(length + 4);
      const { bytes } = list;
      for (let i = 0; i < length; i++) bytes[start + i] = from[at + i]!;
      end = start + length;
    }
    list.bytes[end] = COLON;
    list.bytes[end + 1] = SP;
    return end + 2;
  }

  /** RFC 7541 5.2. Writes a string at `to`. @param lineStart what lies from there on stays. @returns its end, or -1 */
  #string(list: FieldList, to: number, lineStart: number): number {
    if (this.#at >= this.#end) return -1;
    const coded = (this.#block[this.#at]! & 0x80) !== 0;
    const length = this.#integer(127);
    const start = this.#at;
    if (this.#broken || length > this.#end - start) return -1;
    this.#at = start + length;
    // Behind the string there is room for `: ` or a line end.
    const room = to - lineStart + (coded ? decodedBytesMax(length) : length) + 4;
    if (list.length + room > list.bytes.length) {
      // What was written of this line lies behind the list's length, where growing would lose it.
      const kept = Buffer.from(list.bytes.subarray(lineStart, to));
      list.room(room);
      kept.copy(list.bytes, lineStart);
    }
    const { bytes } = list;
    if (coded) return huffmanDecode(this.#block, start, start + length, bytes, to);
    if (length > 32) this.#block.copy(bytes, to, start, start + length);
    else for (let i = 0; i < length; i++) bytes[to + i] = this.#block[start + i]!;
    return to + length;
  }

  /** RFC 7541 5.1. @param mask of the prefix in the byte at hand */
  #integer(mask: number): number {
    const block = this.#block;
    let value = block[this.#at++]! & mask;
    if (value < mask) return value;
    // 28 bits are more than any length or index that could be right.
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= this.#end) break;
      const byte = block[this.#at++]!;
      value += (byte & 127) << shift;
      if (byte < 128) return value;
    }
    this.#broken = true;
    return 0;
  }

  #break(): void {
    this.#broken = true;
  }
}
