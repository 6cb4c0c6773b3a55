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
  /** nobody in it has a smaller number */
  #from = 0;

  get size(): number {
    return this.#members.size;
  }

  add(member: T): void {
    if (this.size === 0 || member.serial < this.#from) this.#from = member.serial;
    this.#members.set(member.serial, member);
  }

  /** @returns whether it was there */
  delete(member: T): boolean {
    return this.#members.delete(member.serial);
  }

  /** Who has the smallest number: each number is passed once only, however often it is asked. */
  oldest(): T | undefined {
    if (this.size === 0) return undefined;
    for (;;) {
      const member = this.#members.get(this.#from);
      if (member) return member;
      this.#from++;
    }
  }

  /** Those that are in it now, without whoever leaves before its turn; whoever comes meanwhile is not among them. */
  [Symbol.iterator](): Iterator<T> {
    return this.#members[Symbol.iterator]();
  }
}
