/** Which certificate a name is served. */
import { describe, expect, test } from "bun:test";
import { CertificateIndex, type CertificatePair, type Served } from "../../../src/data/tls/certificate-set.ts";

function pair(name: string, names: string[], more: Partial<CertificatePair> = {}): CertificatePair {
  return {
    id: name,
    name,
    file: `/certs/${name}.crt`,
    names,
    kind: "ecdsa",
    certPem: `cert ${name}`,
    keyPem: `key ${name}`,
    notBeforeMs: 0,
    notAfterMs: 1,
    state: "valid",
    ...more,
  };
}

function indexOf(...pairs: CertificatePair[]): CertificateIndex {
  return new CertificateIndex({ version: "1", pairs, defaultIndex: 0 });
}

const ids = (served: Served | undefined) => served?.pairs.map(({ id }) => id);

describe("a name", () => {
  const index = indexOf(
    pair("default", ["default.test"]),
    pair("exact", ["www.shop.test"]),
    pair("wild", ["*.shop.test", "shop.test"]),
    pair("deep", ["*.a.shop.test"]),
    pair("address", ["127.0.0.1", "::1"]),
  );

  test("gets the certificate that names it exactly, before a wildcard", () => {
    expect(ids(index.find("www.shop.test"))).toEqual(["exact"]);
    expect(ids(index.find("other.shop.test"))).toEqual(["wild"]);
    expect(ids(index.find("shop.test"))).toEqual(["wild"]);
  });

  test("is covered by a wildcard for one label only", () => {
    expect(index.find("x.y.shop.test")).toBeUndefined();
    expect(ids(index.find("x.a.shop.test"))).toEqual(["deep"]);
    expect(ids(index.find("a.shop.test"))).toEqual(["wild"]);
    expect(index.find(".shop.test")).toBeUndefined();
    expect(index.find("*.b.test")).toBeUndefined();
  });

  test("may be in capitals and end in a dot", () => {
    expect(ids(index.find("WWW.Shop.TEST."))).toEqual(["exact"]);
    expect(ids(index.find("127.0.0.1"))).toEqual(["address"]);
  });

  test("that is unknown, empty or not sent gets the default", () => {
    for (const name of ["nobody.test", "", ".", "..", undefined, null])
      expect(ids(index.serve(name))).toEqual(["default"]);
  });

  test("is never looked up on the prototype of an object", () => {
    for (const name of ["constructor", "__proto__", "toString"]) expect(index.find(name)).toBeUndefined();
  });
});

describe("pairs of several kinds", () => {
  const ecdsa = pair("ec", ["a.test", "b.test"]);
  const rsa = pair("rs", ["a.test", "b.test", "c.test"], { kind: "rsa" });

  test("are served together for a name that both have, ECDSA first", () => {
    const index = indexOf(rsa, ecdsa);
    expect(ids(index.find("a.test"))).toEqual(["ec", "rs"]);
    expect(ids(index.find("c.test"))).toEqual(["rs"]);
    expect(index.find("a.test")!.id).toBe("ec+rs");
    expect(index.find("a.test")).toBe(index.find("b.test")!);
  });

  test("are the default together where the other one has all names of the default", () => {
    expect(ids(indexOf(ecdsa, rsa).default)).toEqual(["ec", "rs"]);
    expect(ids(indexOf(rsa, ecdsa).default)).toEqual(["rs"]);
    expect(ids(indexOf(ecdsa, { ...rsa, state: "expired" }).default)).toEqual(["ec"]);
  });

  test("of one kind for one name: the first in name order", () => {
    expect(ids(indexOf(pair("1", ["a.test"]), pair("2", ["a.test"])).find("a.test"))).toEqual(["1"]);
  });
});

describe("a pair that is not valid now", () => {
  const old = pair("old", ["www.a.test"], { state: "expired" });
  const early = pair("early", ["www.a.test"], { state: "not-yet-valid" });
  const wild = pair("wild", ["*.a.test"]);

  test("is served while nothing else covers the name", () => {
    expect(ids(indexOf(old).find("www.a.test"))).toEqual(["old"]);
    expect(ids(indexOf(old, { ...wild, state: "expired" }).find("www.a.test"))).toEqual(["old"]);
  });

  test("gives way to a valid one, be it a wildcard or of another kind", () => {
    expect(ids(indexOf(old, early, wild).find("www.a.test"))).toEqual(["wild"]);
    const valid = pair("new", ["www.a.test"], { kind: "rsa" });
    expect(ids(indexOf(old, valid, wild).find("www.a.test"))).toEqual(["new"]);
  });
});

test("the list for listeners has every name once, as find would serve it, and no addresses", () => {
  const index = indexOf(
    pair("old", ["www.a.test", "127.0.0.1", "::1"], { state: "expired" }),
    pair("wild", ["*.a.test", "a.test"]),
  );
  expect([...index.entries()].map(([name, served]) => [name, served.id])).toEqual([
    ["www.a.test", "wild"],
    ["*.a.test", "wild"],
    ["a.test", "wild"],
  ]);
});

test("a set without pairs is refused", () => {
  expect(() => new CertificateIndex({ version: "1", pairs: [], defaultIndex: 0 })).toThrow(RangeError);
});
