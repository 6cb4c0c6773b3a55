/** The keys of the guards: redirects, address lists, limits, client certificates. */
import { clientAddresses, flag, key, oneOf, pemFile, scalar, seconds, size, whole } from "../../config/shape.ts";
import { isFieldValue } from "../../lib/fields.ts";

const redirectPrefix = scalar('a URL prefix such as "https://example.com"', { type: "string" }, (v) => {
  if (typeof v !== "string" || v.trim() !== v || v === "" || !isFieldValue(v) || /[\s"<>\\^`{|}]/.test(v))
    return undefined;
  if (v.startsWith("/")) return v;
  const url = URL.parse(v);
  return url && (url.protocol === "http:" || url.protocol === "https:") && url.host !== "" ? v : undefined;
});

export const guardKeys = {
  to_https: key("UHP", flag, {
    default: "false",
    doc: "Redirect plain requests to https. On as soon as one of path, host or top level says so.",
  }),
  redirect_to: key("P", redirectPrefix, {
    default: "",
    doc: "Answer with a redirect to this prefix + path + query; needs no `servers`.",
  }),
  redirect_status: key("UHP", oneOf([301, 302, 307, 308]), {
    default: "301",
    doc: "Status of `to_https` and `redirect_to`.",
  }),
  hsts: key("UH", seconds(0), {
    default: "31536000 where `to_https` is on and the grade is high, else 0",
    doc: "`Strict-Transport-Security` max-age on TLS answers.",
  }),
  rate_limit: key("UHP", whole(1), {
    default: "",
    doc: "Requests per second per client and host (and path, where the path has its own value).",
  }),
  x4xx_limit: key("UHP", whole(1), {
    default: "",
    doc: "Answers 400–499 per second per client and host before 429.",
  }),
  max_body: key("UHP", size(0), { default: "0", doc: "413 above this request body size. 0 = no limit." }),
  max_concurrent: key("UHP", whole(0), {
    default: "0",
    doc: "Requests in flight per client and host; above: 429. 0 = no limit.",
  }),
  allow: key("UHP", clientAddresses, {
    default: "[]",
    doc: "403 for clients outside this list, unless it is empty.",
  }),
  deny: key("UHP", clientAddresses, { default: "[]", doc: "403 for clients in this list." }),
  client_ca: key("H", pemFile, {
    default: "",
    doc: "Client certificates signed by this CA are asked for on the TLS port. Socket engine.",
  }),
  client_auth: key("H", oneOf(["require", "request"]), {
    default: "require",
    doc: "Whether a client certificate must be shown, where `client_ca` is set.",
  }),
};

export const routingKeys = {
  unmatched_status: key("U", oneOf([404, 421, 502, 503]), {
    default: "404",
    doc: "Status when no host or path matches.",
  }),
  strip_prefix: key("P", flag, {
    default: "false",
    doc: "Cut the route's path off before forwarding; the cut part goes into `X-Forwarded-Prefix`.",
  }),
};
