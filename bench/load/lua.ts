/** The script of wrk: what it sends, and a report of one line of JSON instead of wrk's table. */
import type { Scenario } from "../scenarios.ts";
import { host } from "../site.ts";
import { variedRequests } from "./varied.ts";

/** So many different requests, one after the other: more than any cache of whole heads would be of use for. */
const variedCount = 4096;

export function luaScript(scenario: Scenario): string {
  return `${scenario.varied ? variedScript() : fixedScript(scenario)}\n${wrkReport}`;
}

/** One line of JSON instead of wrk's table. */
export const wrkReport = `function done(summary, latency, requests)
  local e = summary.errors
  local why = string.format("connect %d, read %d, write %d, status %d, timeout %d", e.connect, e.read, e.write, e.status, e.timeout)
  io.write(string.format('\\n{"requests":%d,"us":%d,"p50":%d,"p99":%d,"p999":%d,"errors":%d,"why":"%s"}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    e.connect + e.read + e.write + e.status + e.timeout, why))
end
`;

/** `init` and `request` are left to wrk, whose own are faster. */
function fixedScript({ method = "GET", headers = {}, bodyBytes = 0 }: Scenario): string {
  const lines = Object.entries({ Host: host, ...headers }).map(
    ([name, value]) => `wrk.headers[${lua(name)}] = ${lua(value)}`,
  );
  return `wrk.method = ${lua(method)}
${lines.join("\n")}
${bodyBytes > 0 ? `wrk.body = string.rep("x", ${bodyBytes})` : ""}`;
}

/** All made in advance: a request costs wrk one look into a table. */
function variedScript(): string {
  const requests = variedRequests(variedCount).map((text) => `all[#all + 1] = ${lua(text)}`);
  return `local all = {}
${requests.join("\n")}
local at = 0
function request()
  at = at % #all + 1
  return all[at]
end`;
}

/** JSON's escapes of ASCII without control characters other than line ends are Lua's. */
function lua(text: string): string {
  return JSON.stringify(text);
}
