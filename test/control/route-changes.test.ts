/** What a change of rules means, route by route, and what of it is security-relevant. */
import { describe, expect, test } from "bun:test";
import { outline } from "../../src/control/changes.ts";
import { routeChanges, showRouteChange } from "../../src/control/route-changes.ts";
import { routeChangesMax } from "../../src/lib/limits.ts";
import { goodRules } from "../config/support.ts";

const basic = (pair: string) => `authorization: { type: basic, data: "${pair}" }`;

function compare(before: string, after: string): string[] {
  const [old, now] = [goodRules(before).rules, goodRules(after).rules];
  return routeChanges(old, now, { before: outline(old), after: outline(now) }).shown.map(showRouteChange);
}

const host = (paths: string, more = "") => `upstreams:\n  a.test:\n    ${more}\n    paths: { ${paths} }\n`;
const one = (more = "") => `"/": { servers: ["127.0.0.1:1"]${more} }`;

describe("a changed route names the keys that differ", () => {
  test.each([
    ["servers", host(one()), host('"/": { servers: ["127.0.0.1:2"] }'), ["~ a.test/ servers"]],
    [
      "a guard",
      host(one(", rate_limit: 1")),
      host(one(", rate_limit: 2")),
      ["~ a.test/ rate_limit [security: rate_limit]"],
    ],
    ["a key of its host", host(one()), host(one(), "max_body: 1K"), ["~ a.test/ max_body [security: max_body]"]],
    ["a key of the top level", host(one()), `retries: 4\n${host(one())}`, ["~ a.test/ retries"]],
    ["one that it overrides anyway", host(one(", retries: 1")), `retries: 4\n${host(one(", retries: 1"))}`, []],
    ["the place of a key, not its value", host(one(", retries: 4")), `retries: 4\n${host(one())}`, []],
    ["the top level alone", host(one()), `unmatched_status: 421\n${host(one())}`, ["~ (top level) unmatched_status"]],
    ["to_https, which levels join", host(one(", to_https: true")), `to_https: true\n${host(one())}`, []],
    ["an opt-out from nothing", host(one()), host(one(", authorization: { type: none }")), []],
    ["nothing", host(one()), host(one()), []],
  ])("%s", (_name, before, after, expected) => expect(compare(before, after)).toEqual(expected));

  test("and never a secret", () => {
    const changes = compare(`${basic("u:old-secret")}\n${host(one())}`, `${basic("u:new-secret")}\n${host(one())}`);
    expect(changes).toEqual(["~ a.test/ authorization [security: authorization]"]);
  });
});

describe("an added or removed route is compared with the one that answers in its place", () => {
  const guarded = `${basic("u:p")}\n`;
  const open = '"/x/open": { servers: ["127.0.0.1:1"], authorization: { type: none } }';
  test("a hole in a guarded host", () =>
    expect(compare(guarded + host(one()), guarded + host(`${one()}, ${open}`))).toEqual([
      "+ a.test/x/open [security: authorization]",
    ]));
  test("its end", () =>
    expect(compare(guarded + host(`${one()}, ${open}`), guarded + host(one()))).toEqual([
      "- a.test/x/open [security: authorization]",
    ]));
  test("one that is guarded as the other", () =>
    expect(compare(guarded + host(one()), guarded + host(`${one()}, "/y": { servers: ["127.0.0.1:1"] }`))).toEqual([
      "+ a.test/y",
    ]));
  test("a host that a wildcard or DEFAULT answered for", () => {
    const wild = `upstreams:\n  "*.test": { paths: { "/": { servers: ["127.0.0.1:1"], deny: [private] } } }\n`;
    expect(compare(wild, `${wild}  a.test: { paths: { "/": { servers: ["127.0.0.1:1"] } } }\n`)).toEqual([
      "+ a.test/ [security: deny]",
    ]);
    const catchAll = wild.replace('"*.test"', "DEFAULT");
    expect(compare(catchAll, `${catchAll}  a.test: { paths: { "/": { servers: ["127.0.0.1:1"] } } }\n`)).toEqual([
      "+ a.test/ [security: deny]",
    ]);
  });
});

test("at most so many are shown, the security-relevant ones first, and the rest is counted", () => {
  const many = (rate: string) =>
    `upstreams:\n${Array.from({ length: routeChangesMax + 5 }, (_, i) => `  h${i}.test: { paths: { "/": { servers: ["127.0.0.1:1"]${rate} } } }\n`).join("")}`;
  const [old, now] = [
    goodRules(many("")).rules,
    goodRules(`${many(", retries: 1")}  z.test: { paths: { "/": { redirect_to: "/x" } } }\n`).rules,
  ];
  const found = routeChanges(old, now, { before: outline(old), after: outline(now) });
  expect([found.shown.length, found.more, found.security]).toEqual([routeChangesMax, 6, 0]);
});
