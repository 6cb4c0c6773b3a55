/** The keys about upstreams: servers, protocol and trust, timeouts, retries, health, stickiness. */
import { z } from "zod";
import {
  expecting,
  flag,
  folderName,
  key,
  oneOf,
  pemFile,
  scalar,
  seconds,
  server,
  size,
  text,
  whole,
  type ShapeMeta,
} from "../../config/shape.ts";
import { isHostName, protocols } from "../../lib/address.ts";
import { isToken } from "../../lib/fields.ts";

const timeouts = z.strictObject({
  connect: seconds(0).optional(),
  first_byte: seconds(0).optional(),
  idle: seconds(0).optional(),
  stream: seconds(0).optional(),
});

/** Inclusive status ranges, as pairs. */
export type StatusRanges = readonly (readonly [from: number, to: number])[];

const expect = scalar(
  'status codes and ranges such as "200-299,404"',
  { type: ["string", "integer", "array"] },
  (v): StatusRanges | undefined => {
    const items = Array.isArray(v)
      ? v.map(String)
      : typeof v === "string" || typeof v === "number"
        ? String(v).split(",")
        : [];
    const ranges = items.map((item): readonly [number, number] => {
      const parts = /^\s*([1-5][0-9]{2})\s*(?:-\s*([1-5][0-9]{2})\s*)?$/.exec(item);
      const [from, to] = [Number(parts?.[1]), Number(parts?.[2] ?? parts?.[1])];
      if (!parts || from > to) throw new Error(`"${item.trim()}" is not a status code or range such as "200-299"`);
      return [from, to];
    });
    return ranges.length > 0 ? ranges : undefined;
  },
);

const method = scalar("a method such as HEAD, GET or POST", { type: "string" }, (v) => {
  if (typeof v !== "string" || !isToken(v)) return undefined;
  const upper = v.toUpperCase();
  if (upper === "CONNECT" || upper === "TRACE") throw new Error(`${upper} cannot check a server's health`);
  return upper;
});

const probePath = scalar('a path beginning with "/"', { type: "string", pattern: "^/" }, (v) =>
  typeof v === "string" && v.startsWith("/") && !/[\x00-\x20\x7f#]/.test(v) ? v : undefined,
);

const healthcheckForms = "true, false or {method, path, host, expect, interval, timeout, rise, fall}";

const healthcheck = z
  .union(
    [
      flag,
      z.strictObject({
        method: method.optional(),
        path: probePath.optional(),
        host: text.optional(),
        expect: expect.optional(),
        interval: seconds(0.05).optional(),
        timeout: seconds(0.01).optional(),
        rise: whole(1, 1000).optional(),
        fall: whole(1, 1000).optional(),
      }),
    ],
    expecting(healthcheckForms),
  )
  .meta({ expected: healthcheckForms } satisfies ShapeMeta);

const serverName = scalar("a host name", { type: "string" }, (v) =>
  typeof v === "string" && isHostName(v) ? v : undefined,
);

/** `true` is the 2025 form and means 600 s; `false` and 0 switch stickiness off. */
const sticky = scalar(
  "seconds (a whole number)",
  { anyOf: [{ type: "integer", minimum: 0 }, { type: "boolean" }] },
  (v) => {
    if (typeof v === "boolean") return v ? 600 : 0;
    return typeof v === "number" && Number.isInteger(v) && v >= 0 && v <= 2_147_483_647 ? v : undefined;
  },
);

export const upstreamKeys = {
  servers: key("P", z.array(server).min(1, "expected at least one server, found an empty list"), {
    default: "",
    doc: "Upstream servers; schemes are http, https and h2c.",
  }),
  files: key("P", folderName, {
    default: "",
    doc: "Serve this folder instead of `servers`, the route's path cut off.",
  }),
  protocol: key("P", oneOf(protocols), {
    default: "auto",
    doc: "`auto` asks the server once; with `healthcheck: false` it means http. `https` leaves h1 or h2 to ALPN, with health checks.",
  }),
  verify: key("UHP", flag, { default: "false", doc: "Verify the upstream's certificate and name." }),
  ca_file: key("UHP", pemFile, {
    default: "",
    doc: "PEM file trusted for upstream TLS; switches `verify` on unless that says false.",
  }),
  server_name: key("P", serverName, {
    default: "the Host set by `server_headers`, else the matched host",
    doc: "SNI, and the name to verify.",
  }),
  timeouts: key("UHP", timeouts, {
    default: "{connect: 5, first_byte: 60, idle: 60, stream: 3600}",
    doc: "Seconds; 0 = none. `stream` replaces `idle` on WebSocket, other upgrades, gRPC and text/event-stream.",
  }),
  retries: key("UHP", whole(0, 100), {
    default: "2",
    doc: "Further members tried after a connect failure, or an early reset if the request may be repeated. 0 = off.",
  }),
  retry_budget: key(
    "U",
    scalar("a per cent value from 0 to 100", { type: "number", minimum: 0, maximum: 100 }, (v) =>
      typeof v === "number" && v >= 0 && v <= 100 ? v : undefined,
    ),
    {
      default: "20",
      doc: "Retries at most this per cent of the requests of the last 10 s (10 a second are always allowed). 0 = off.",
    },
  ),
  retry_body: key("UHP", size(0), { default: "64K", doc: "Request bodies up to this size are kept for a repeat." }),
  healthcheck: key("UHP", healthcheck, {
    default: "true",
    doc: "How members are asked whether they are up; false = never.",
  }),
  max_fails: key("UHP", whole(0), {
    default: "3",
    doc: "So many connect failures, early resets or first-byte timeouts within `fail_timeout` put a member aside. 0 = off.",
  }),
  fail_timeout: key("UHP", seconds(0.05), {
    default: "5",
    doc: "Seconds a failing member stays aside; then one request tries it.",
  }),
  sticky_sessions: key("UHP", sticky, {
    default: "off",
    doc: "Max-Age in seconds of the cookie that keeps a client on one member.",
  }),
};
