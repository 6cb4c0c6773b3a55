/** What is served of a pair of files while they change, in any order, at any moment. */
import { describe, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { PairBook, type PairView } from "../../../src/control/certificates/book.ts";
import { placeId, type PairPlace } from "../../../src/control/certificates/folders.ts";
import { missingFile } from "../../../src/lib/unreadable.ts";
import { certificateGoneMs, certificateGraceMs, certificateSettleMs } from "../../../src/lib/limits.ts";
import { madeByChain, madeByUs, type Made } from "../../support/certificates.ts";

const place: PairPlace = { name: "a", crt: "/certs/a.crt", key: "/certs/a.key", rank: 1 };
const start = Date.UTC(2026, 5, 1);
const day = 86_400_000;

/** One pair of files in a folder without a disk. */
class Folder {
  readonly book = new PairBook();
  nowMs = start;
  crt: string | undefined;
  key: string | undefined;
  #touchedMs = 0;

  put(files: { crt?: string | undefined; key?: string | undefined }): this {
    Object.assign(this, files);
    this.#touchedMs = this.nowMs;
    return this;
  }

  /** A look, after `waitMs`. */
  look(waitMs = 0): PairView | undefined {
    this.nowMs += waitMs;
    const file = (text: string | undefined) =>
      text === undefined ? missingFile : { bytes: Buffer.from(text), touchedMs: this.#touchedMs };
    const seen = this.crt !== undefined || this.key !== undefined;
    if (seen) this.book.see(place, file(this.crt), file(this.key), this.nowMs);
    this.book.endLook(new Set(seen ? [placeId(place)] : []), () => false, this.nowMs);
    return this.book.picture(this.nowMs).views[0];
  }

  get nextLookMs(): number {
    return this.book.picture(this.nowMs).nextLookMs - this.nowMs;
  }
}

const [one, two] = [madeByUs(["one.test"], 90, start), madeByUs(["two.test"], 90, start)];
const names = (view: PairView | undefined) => view?.pair?.names.join();

describe("a pair whose files are replaced one after the other", () => {
  for (const [first, second] of [
    [{ crt: two.crt }, { key: two.key }],
    [{ key: two.key }, { crt: two.crt }],
  ]) {
    test(`${Object.keys(first!)[0]} first: the old one is served until both are there, and nothing is reported`, () => {
      const folder = new Folder().put(one);
      expect(names(folder.look())).toBe("one.test");
      folder.put(first!);
      expect(names(folder.look(100))).toBe("one.test");
      expect(folder.look()!.fault).toBeUndefined();
      expect(folder.nextLookMs).toBe(certificateGraceMs);
      folder.put(second!);
      expect(names(folder.look(certificateGraceMs - 1))).toBe("two.test");
      expect(folder.look()!.fault).toBeUndefined();
      expect(folder.nextLookMs).toBe(Number.POSITIVE_INFINITY);
    });
  }

  test("and never completed: it is reported after a while, and the old one served on", () => {
    const folder = new Folder().put(one);
    folder.look();
    folder.put({ crt: two.crt });
    folder.look(100);
    const late = folder.look(certificateGraceMs);
    expect(names(late)).toBe("one.test");
    expect(late!.fault!.message).toContain("belongs to another certificate");
  });
});

describe("a pair that is bad from the start", () => {
  test("is reported at once if its files are old, and after a while if they are new", () => {
    const old = new Folder().put({ crt: one.crt, key: two.key });
    expect(old.look(day)).toMatchObject({ pair: undefined, state: "bad" });
    expect(old.look()!.fault).toBeDefined();
    const fresh = new Folder().put({ crt: one.crt, key: two.key });
    expect(fresh.look(10)!.fault).toBeUndefined();
    expect(fresh.look(certificateGraceMs)!.fault).toBeDefined();
  });

  test("of which one file is missing is incomplete, not bad", () => {
    const folder = new Folder().put({ crt: one.crt });
    expect(folder.look(day)).toMatchObject({ state: "incomplete", fault: { which: "key", message: missingFile } });
    folder.put({ key: one.key });
    expect(names(folder.look())).toBe("one.test");
  });
});

describe("a pair whose files go", () => {
  test("is served on for a moment: some tools remove, then write", () => {
    const folder = new Folder().put(one);
    folder.look();
    folder.put({ crt: undefined, key: undefined });
    expect(names(folder.look(1))).toBe("one.test");
    expect(folder.nextLookMs).toBe(certificateGoneMs);
    folder.put(two);
    expect(names(folder.look(certificateGoneMs - 1))).toBe("two.test");
    expect(folder.nextLookMs).toBe(Number.POSITIVE_INFINITY);
  });

  test("is gone after it, and only then", () => {
    const folder = new Folder().put(one);
    folder.look();
    folder.put({ crt: undefined, key: undefined });
    folder.look(1);
    expect(folder.look(certificateGoneMs)).toBeUndefined();
  });

  test("one of them only: its last good version stays for good", () => {
    const folder = new Folder().put(one);
    folder.look();
    folder.put({ key: undefined });
    const view = folder.look(day);
    expect(names(view)).toBe("one.test");
    expect(folder.look(certificateGraceMs)).toMatchObject({
      state: "valid",
      fault: { which: "key", message: missingFile },
    });
    folder.put({ crt: undefined });
    folder.look(1);
    expect(folder.look(certificateGoneMs)).toBeUndefined();
  });

  test("in a folder that cannot be listed: nothing is known, so everything stays", () => {
    const folder = new Folder().put(one);
    folder.look();
    folder.book.endLook(new Set(), () => true, start + day);
    folder.book.endLook(new Set(), () => true, start + 2 * day);
    expect(names(folder.book.picture(start + 2 * day).views[0])).toBe("one.test");
  });
});

describe("time", () => {
  const expired = madeByUs(["old.test"], 10, start - 20 * day);
  const early = madeByUs(["early.test"], 90, start + 5 * day);

  test("an expired pair is served while there is nothing better", () => {
    expect(new Folder().put(expired).look()).toMatchObject({ state: "expired", fault: undefined });
  });

  test("an expired pair does not replace a valid one, until that has expired too", () => {
    const folder = new Folder().put(one);
    folder.look();
    folder.put(expired);
    const held = folder.look();
    expect(names(held)).toBe("one.test");
    expect(held!.fault!.message).toContain("it expired on 2026-05-21");
    expect(names(folder.look(100 * day))).toBe("old.test");
  });

  test("a pair that is not valid yet waits for its day where there is a valid one", () => {
    const folder = new Folder().put(one);
    folder.look();
    folder.put(early);
    expect(names(folder.look())).toBe("one.test");
    expect(folder.nextLookMs).toBeLessThan(5 * day);
    expect(folder.look(6 * day)).toMatchObject({ state: "valid", fault: undefined });
    expect(names(folder.look())).toBe("early.test");
  });

  test("a pair expires while it is served", () => {
    const folder = new Folder().put(one);
    expect(folder.look()!.state).toBe("valid");
    expect(folder.look(100 * day)!.state).toBe("expired");
  });
});

test("a chain that became shorter is served only once the file has been at rest", () => {
  const chain = madeByChain();
  const folder = new Folder().put(chain);
  folder.nowMs = Date.now();
  expect(folder.look()!.pair!.chainLength).toBe(2);
  folder.put({ crt: chain.leaf });
  expect(folder.look(10)!.pair!.chainLength).toBe(2);
  expect(folder.nextLookMs).toBe(certificateSettleMs);
  expect(folder.look(certificateSettleMs)!.pair!.chainLength).toBe(1);
});

/** Repeatable random numbers (mulberry32). */
function random(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

test("no sequence of changes, seen at any moments, ever yields a certificate beside another one's key", () => {
  const versions: Made[] = Array.from({ length: 4 }, (_, i) => madeByUs([`v${i}.test`], [90, 90, 5, 90][i]!, start));
  const matches = new Map<string, boolean>();
  const isMatch = (pair: NonNullable<PairView["pair"]>) => {
    const known = matches.get(pair.certPem + pair.keyPem);
    if (known !== undefined) return known;
    const match = new X509Certificate(pair.certPem).checkPrivateKey(createPrivateKey(pair.keyPem));
    matches.set(pair.certPem + pair.keyPem, match);
    return match;
  };
  let served = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const next = random(seed);
    const folder = new Folder();
    let complete: number | undefined;
    for (let step = 0; step < 40; step++) {
      const which = next(2) === 0 ? "crt" : "key";
      const text = versions[next(versions.length)]![which];
      const action = next(8);
      if (action < 4) folder.put({ [which]: text });
      else if (action === 4) folder.put({ [which]: text.slice(0, next(text.length)) });
      else if (action === 5) folder.put({ [which]: undefined });
      else if (action === 6) folder.put(versions[next(versions.length)]!);
      else folder.put({ crt: undefined, key: undefined });
      // Several changes between two looks, or none.
      if (next(3) === 0) continue;
      const view = folder.look(next(4) === 0 ? next(3 * certificateGraceMs) : next(50));
      if (view?.pair) {
        served++;
        expect(isMatch(view.pair)).toBe(true);
      }
      const version = versions.findIndex(({ crt, key }) => folder.crt === crt && folder.key === key);
      if (version >= 0) complete = version;
      // Files that belong together are served (one version is expired only long after), at the latest when at rest.
      if (version >= 0) expect(names(folder.look())).toBe(`v${version}.test`);
      // What was once good stays until its files are gone.
      else if (complete !== undefined && (folder.crt ?? folder.key) !== undefined && view)
        expect(view.pair).toBeDefined();
      if (!view) complete = undefined;
    }
  }
  expect(served).toBeGreaterThan(1_000);
  expect([...matches.values()]).not.toContain(false);
});
