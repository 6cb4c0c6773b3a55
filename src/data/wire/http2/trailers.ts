/** Trailers of HTTP/2 (RFC 9113 8.1): a second field block behind the body, without pseudo-fields. */
import type { FieldLine } from "../../body.ts";
import { BAD, CONNECTION_FIELD, NAME, UNKNOWN_PSEUDO, UPGRADE_FIELD } from "./field-kinds.ts";
import { perLine, type FieldList } from "./field-list.ts";

/** @returns the lines, or undefined when they are malformed or too many */
export function readTrailers({ bytes, lines, count, kinds, refused }: FieldList): FieldLine[] | undefined {
  if (refused || (kinds & BAD) !== 0) return undefined;
  const trailers: FieldLine[] = [];
  for (let i = 0, last = count * perLine; i < last; i += perLine) {
    const name = lines[i + 4]! & NAME;
    if ((name > 0 && name <= UNKNOWN_PSEUDO) || name === CONNECTION_FIELD || name === UPGRADE_FIELD) return undefined;
    trailers.push([
      bytes.toString("latin1", lines[i]!, lines[i + 1]!),
      bytes.toString("latin1", lines[i + 2]!, lines[i + 3]!),
    ]);
  }
  return trailers;
}
