/** Aralez with one optional feature each, beside one with none of them: what a feature costs is the difference. */
import { oneCheckName, oneCheckRule, planAralez, type Lines } from "./aralez.ts";
import type { Contender } from "./contender.ts";

/** Everything that is on by default and can be switched off. */
const off = { healthcheck: "healthcheck: false\n", retries: "retries: 0\nretry_budget: 0\n", fails: "max_fails: 0\n" };
const allOff = `${off.healthcheck}${off.retries}${off.fails}`;

const trustedProxies = "trusted_proxies: [127.0.0.0/8]\n";
const sticky = "sticky_sessions: 600\n";
const strip = "strip_prefix: true";

function feature(doc: string, lines: Lines): Contender {
  return { doc, plan: (place) => planAralez(place, place.tree, { rules: allOff, ...lines }) };
}

export const features = {
  "aralez-none": feature("no optional feature: no health checks, retries, ejection, access log, …", {}),
  "aralez-health": feature("aralez-none with health checks", {
    rules: `${oneCheckRule}${off.retries}${off.fails}`,
    path: oneCheckName,
  }),
  "aralez-retries": feature("aralez-none with retries and their budget", { rules: `${off.healthcheck}${off.fails}` }),
  "aralez-ejection": feature("aralez-none with max_fails", { rules: `${off.healthcheck}${off.retries}` }),
  "aralez-log": feature("aralez-none with the access log, into a file", {
    accessLog: "all",
    settings: "log_file: output.log\n",
  }),
  "aralez-json": feature("aralez-none with the access log in JSON", {
    accessLog: "all",
    settings: "access_log_format: json\nlog_file: output.log\n",
  }),
  "aralez-trusted": feature("aralez-none with trusted_proxies: X-Forwarded-For is read", { settings: trustedProxies }),
  "aralez-sticky": feature("aralez-none with sticky sessions, for clients without the cookie: each gets one", {
    rules: `${allOff}${sticky}`,
  }),
  "aralez-strip": feature("aralez-none with strip_prefix on every route", { path: strip }),
  "aralez-all": feature("all of these together", {
    rules: `${oneCheckRule}${sticky}`,
    accessLog: "all",
    settings: `log_file: output.log\n${trustedProxies}`,
    path: `${strip}, ${oneCheckName}`,
  }),
} satisfies Record<string, Contender>;
