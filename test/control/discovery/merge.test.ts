/** Several providers' routes in one set of rules (contract, section 14, row `provider`). */
import { expect, test } from "bun:test";
import { merge } from "../../../src/control/discovery/merge.ts";
import type { Brought } from "../../../src/control/discovery/source.ts";
import type { PathRules, Rules } from "../../../src/data/routing/rules.ts";

const to = (port: number): PathRules => ({ servers: [{ address: { host: "127.0.0.1", port }, weight: 1 }] });

function brings(hosts: Record<string, Record<string, PathRules>>, exact: Record<string, PathRules> = {}): Brought {
  const entries = Object.entries(hosts).map(
    ([host, paths]) =>
      [host, { paths: new Map(Object.entries(paths)), exact: new Map(Object.entries(exact)) }] as const,
  );
  return { hosts: new Map(entries), pairs: [], remarks: [] };
}

const file = (provider: Rules["provider"], upstreams?: Rules["upstreams"]): Rules => ({ provider, upstreams });

test("the file alone stays the very same object", () => {
  const rules = file(["file"], { "a.test": { paths: { "/": to(1) } } });
  expect(merge(rules, new Map()).rules).toBe(rules);
});

test("settings of a host of the file hold for the paths that others bring to it", () => {
  const rules = file(["consul", "file"], { "a.test": { rate_limit: 5, paths: { "/": to(1) } } });
  const merged = merge(rules, new Map([["consul", brings({ "a.test": { "/b": to(2) } })]]));
  expect(merged.rules.upstreams?.["a.test"]).toEqual({ rate_limit: 5, paths: { "/b": to(2), "/": to(1) } });
  expect(merged.remarks).toEqual([]);
});

test("a path that two have goes to the first named, however it is written, and to an exact one of a later no more", () => {
  const rules = file(["file", "consul", "kubernetes"], { "a.test": { paths: { "//x": to(1) } } });
  const sources = new Map([
    ["consul", brings({ "a.test": { "/x": to(2), "/y": to(2) } })],
    ["kubernetes", brings({ "a.test": { "/y": to(3) } }, { "/y": to(4) })],
  ]);
  const { rules: merged, remarks } = merge(rules, sources);
  expect(merged.upstreams).toEqual({ "a.test": { paths: { "//x": to(1), "/y": to(2) } } });
  expect(remarks).toEqual([
    "a.test/x of consul is ignored: file is named first and has it too",
    "a.test/y of kubernetes is ignored: consul is named first and has it too",
    "a.test/y of kubernetes is ignored: consul is named first and has it too",
  ]);
});

test("of one provider an exact path stands beside the prefix that it refines", () => {
  const rules = file(["kubernetes", "file"], { "a.test": { paths: { "/": to(1), "/y": to(1) } } });
  const { rules: merged, remarks } = merge(
    rules,
    new Map([["kubernetes", brings({ "a.test": { "/y": to(3) } }, { "/y": to(4) })]]),
  );
  expect(merged.upstreams?.["a.test"]).toMatchObject({ paths: { "/": to(1), "/y": to(3) }, exact: { "/y": to(4) } });
  expect(remarks).toEqual(["a.test/y of file is ignored: kubernetes is named first and has it too"]);
});

test("a host of any name is only a host", () => {
  const merged = merge(file(["consul"]), new Map([["consul", brings({ ["__proto__"]: { "/": to(1) } })]]));
  expect(Object.keys(merged.rules.upstreams ?? {})).toEqual(["__proto__"]);
});
