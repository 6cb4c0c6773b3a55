/** Aralez with one optional feature each, beside one with none of them: what a feature costs is the difference. */
import { createHmac } from "node:crypto";
import { oneCheckName, oneCheckRule, planAralez, type Lines } from "./aralez.ts";
import type { Contender, Place } from "./contender.ts";

/** Everything that is on by default and can be switched off. */
const off = { healthcheck: "healthcheck: false\n", retries: "retries: 0\nretry_budget: 0\n", fails: "max_fails: 0\n" };
const allOff = `${off.healthcheck}${off.retries}${off.fails}`;

const trustedProxies = "trusted_proxies: [127.0.0.0/8]\n";
const sticky = "sticky_sessions: 600\n";
const strip = "strip_prefix: true";
// Never reached: what is measured is counting, not refusing.
const limits = {
  rate: "rate_limit: 1000000000\n",
  x4xx: "x4xx_limit: 1000000000\n",
  concurrent: "max_concurrent: 1000000\n",
};
// None of `deny` has the client's address, a later one of `allow` does, also where X-Forwarded-For tells it.
const ipRules = "deny: [192.0.2.0/24, 198.51.100.7, 2001:db8::/32]\nallow: [10.0.0.0/8, 127.0.0.0/8, 203.0.113.0/24]\n";

const secret = "a secret of the benchmark, long enough for HS256";
const key = "a-key-of-the-benchmark-0123456789";
const password = "bench:a password of the benchmark";
const authorization = {
  basic: `authorization: { type: basic, data: "${password}" }\n`,
  apikey: `authorization: { type: apikey, data: "${key}" }\n`,
  jwt: `authorization: { type: jwt, data: "${secret}" }\n`,
  forward: (originPort: number) =>
    `authorization: { type: forward, data: "http://127.0.0.1:${originPort}/authorize" }\n`,
};

/** Sent to all of them, so that the bytes of a credential are no part of the difference. */
const clientLines = { Authorization: `Bearer ${token()}`, "X-Api-Key": key };
const basicLines = { ...clientLines, Authorization: `Basic ${Buffer.from(password).toString("base64")}` };

type LinesAt = Lines | ((place: Place) => Lines);

function feature(doc: string, lines: LinesAt, more: Pick<Contender, "clientLines" | "keepsCookie"> = {}): Contender {
  const plan = (place: Place) =>
    planAralez(place, place.tree, { rules: allOff, ...(typeof lines === "function" ? lines(place) : lines) });
  return { doc, clientLines, ...more, plan };
}

/** aralez-none with one line more at the top of upstreams.yaml. */
function guard(doc: string, rule: string, more?: Pick<Contender, "clientLines">): Contender {
  return feature(`aralez-none with ${doc}`, { rules: `${allOff}${rule}` }, more);
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
  "aralez-sticky": guard("sticky sessions, for clients without the cookie: each gets one", sticky),
  "aralez-cookie": feature(
    "aralez-none with sticky sessions, for clients that send their cookie",
    { rules: `${allOff}${sticky}` },
    { keepsCookie: true },
  ),
  "aralez-strip": feature("aralez-none with strip_prefix on every route", { path: strip }),
  "aralez-ip": guard("allow and deny, three blocks each", ipRules),
  "aralez-concurrent": guard("max_concurrent", limits.concurrent),
  "aralez-rate": guard("rate_limit", limits.rate),
  "aralez-4xx": guard("x4xx_limit", limits.x4xx),
  "aralez-basic": guard("authorization: basic, one user", authorization.basic, { clientLines: basicLines }),
  "aralez-apikey": guard("authorization: apikey", authorization.apikey),
  "aralez-jwt": guard("authorization: jwt, HS256, the same token each time", authorization.jwt),
  "aralez-forward": feature(
    "aralez-none with authorization: forward, so a request to the origin more each time",
    ({ originPort }) => ({ rules: `${allOff}${authorization.forward(originPort)}` }),
  ),
  "aralez-all": feature(
    "all of these together, with authorization: basic",
    {
      rules: `${oneCheckRule}${sticky}${ipRules}${Object.values(limits).join("")}${authorization.basic}`,
      accessLog: "all",
      settings: `log_file: output.log\n${trustedProxies}`,
      path: `${strip}, ${oneCheckName}`,
    },
    { clientLines: basicLines },
  ),
} satisfies Record<string, Contender>;

/** RFC 7519, good for a day. */
function token(): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 86_400;
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ owner: "bench", exp })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
