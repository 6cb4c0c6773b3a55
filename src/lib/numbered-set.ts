/** Things that are open right now, each with a number of its own; see `number-map` for why these are no Sets. */
import { NumberMap } from "./number-map.ts";

export interface Numbered {
  /** from {@link newSerial} */
  readonly serial: number;
}

let last = 0;

/** A number that nothing else has, larger than all before. */
export function newSerial(): number {
  return ++last;
}

export class NumberedSet<T extends Numbered> implements Iterable<T> {
  readonly #members = new NumberMap<T>();

  get size(): number {
    return this.#members.size;
  }

  add(member: T): void {
    this.#members.set(member.serial, member);
  }

  /** @returns whether it was there */
  delete(member: T): boolean {
    return this.#members.delete(member.serial);
  }

  /** Who has the smallest number. Looks at all. */
  oldest(): T | undefined {
    let oldest: T | undefined;
    for (const member of this.#members) if (!oldest || member.serial < oldest.serial) oldest = member;
    return oldest;
  }

  /** Those that are in it now; whoever comes or goes meanwhile changes nothing. */
  [Symbol.iterator](): Iterator<T> {
    return this.#members[Symbol.iterator]();
  }
}
