/** A million clients through every limit, in a process of its own: prints what they added to its memory. */
import { tellWatchers } from "../../../src/data/guards/guard.ts";
import { handle } from "../../../src/data/handle.ts";
import { Plane, type PlaneOptions } from "../../../src/data/plane.ts";
import { compile } from "../../../src/data/routing/compile.ts";
import { AddressSet } from "../../../src/lib/address.ts";
import { PlainExchange } from "../../support/plain-exchange.ts";
import { goodRules } from "../../config/support.ts";

const nothing = () => {
  throw new Error("nothing is forwarded here");
};
const forwarder: PlaneOptions["forwarder"] = { forward: nothing, sweep() {}, close() {} };
const plane = new Plane({
  forwarder,
  tunnels: forwarder,
  trustedProxies: new AddressSet(["loopback"]),
  loopMark: "aralez-test",
  retryAfterSeconds: 1,
  log() {},
  ended() {},
});
const { rules } = goodRules(`
upstreams:
  a.test:
    rate_limit: 2
    x4xx_limit: 2
    max_concurrent: 2
    paths: { "/": { redirect_to: "https://b.test" } }
`);
plane.table = compile(rules, {
  ledger: plane.ledger,
  guardState: plane.guardState,
  forwarder: () => forwarder,
  version: "",
  healthMethod: "HEAD",
  healthIntervalSeconds: 1,
  tlsPort: undefined,
  adminAddresses: [],
  caFile: undefined,
  tlsHigh: false,
  clientCa: undefined,
  clientAuth: "require",
  clientCertificates: false,
  stickyKey: new Uint8Array(32),
  masterKey: undefined,
  readCa: nothing,
  warn() {},
}).table;

function ask(ip: string, status: number): number {
  const exchange = new PlainExchange({ target: "/", fields: { "x-forwarded-for": ip } });
  handle(plane, exchange);
  // As if a third of them had got 404: the counter of such answers gets its clients, too.
  tellWatchers(exchange, { status, bytesOut: 0, cut: false });
  return exchange.replied!.status;
}

const clients = 1_000_000;
const ipOf = (i: number) =>
  i % 2 === 0
    ? `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`
    : `2001:db8:${(i >> 16).toString(16)}:${(i & 0xffff).toString(16)}::1`;

for (let i = 0; i < 20_000; i++) ask("192.0.2.1", 301);
Bun.gc(true);
const before = process.memoryUsage.rss();
let passed = 0;
let most = before;
for (let i = 0; i < clients; i++) {
  if (ask(ipOf(i), i % 3 === 0 ? 404 : 301) === 301) passed++;
  if (i % 50_000 === 0) most = Math.max(most, process.memoryUsage.rss());
}
Bun.gc(true);
const after = process.memoryUsage.rss();
console.log(JSON.stringify({ clients, passed, added: after - before, addedAtMost: Math.max(most, after) - before }));
