/** The sections `consul` and `kubernetes`: where routes come from that arrive by themselves. */
import { z } from "zod";
import { fileName, flag, key, pemFile, scalar, secret, text, whole } from "../../config/shape.ts";
import { authorizationKeys } from "../guards/authorization/rules.ts";
import { headerKeys } from "../headers/rules.ts";
import { upstreamKeys } from "../upstream/rules.ts";
import { canonicalHost } from "./names.ts";

const hostname = scalar("a host name", { type: "string" }, (v) => {
  if (typeof v !== "string") return undefined;
  canonicalHost(v);
  return v;
});

/** What Kubernetes calls its objects (RFC 1123); anything else in a selector would fail all that are asked with it. */
const objectName = scalar("a name of small letters, digits and `-`", { type: "string" }, (v) =>
  typeof v === "string" && /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(v) ? v : undefined,
);

/** @param scheme of an address that names none */
function serverUrl(scheme: "http" | "https") {
  const example = scheme === "http" ? "http://consul:8500" : "https://10.0.0.1:6443";
  return scalar(`a URL such as "${example}"`, { type: "string" }, (v) => {
    if (typeof v !== "string" || v.trim() !== v) return undefined;
    const url = URL.parse(v.includes("://") ? v : `${scheme}://${v}`);
    if (!url || (url.protocol !== "http:" && url.protocol !== "https:") || url.hostname === "") return undefined;
    if (url.username !== "" || url.password !== "") throw new Error("a URL here has no user or password");
    if (url.search !== "" || url.hash !== "") throw new Error("a URL here has no query");
    return v;
  });
}

const servicePath = scalar('a path beginning with "/"', { type: "string", pattern: "^/" }, (v) =>
  typeof v === "string" && v.startsWith("/") ? v : undefined,
);

const servicePort = scalar(
  "a port number or its name",
  { type: ["integer", "string"] },
  (v): number | string | undefined => {
    if (typeof v === "number") return Number.isInteger(v) && v >= 1 && v <= 65_535 ? v : undefined;
    return typeof v === "string" && v !== "" ? v : undefined;
  },
);

const sharedService = {
  hostname,
  upstream: text,
  path: servicePath.optional(),
  to_https: flag.optional(),
  rate_limit: whole(1).optional(),
  x4xx_limit: whole(1).optional(),
  client_headers: headerKeys.client_headers.shape.optional(),
  server_headers: headerKeys.server_headers.shape.optional(),
  sticky_sessions: upstreamKeys.sticky_sessions.shape.optional(),
  authorization: authorizationKeys.authorization.shape.optional(),
};

const consul = z.strictObject({
  servers: z.array(serverUrl("http")).optional(),
  token: secret.optional(),
  ca_file: pemFile.optional(),
  verify: flag.optional(),
  datacenter: text.optional(),
  namespace: text.optional(),
  hosts: z.array(hostname).optional(),
  services: z.array(z.strictObject(sharedService)).optional(),
});

const kubernetes = z.strictObject({
  servers: z.array(serverUrl("https")).optional(),
  tokenpath: fileName.optional(),
  ca_file: pemFile.optional(),
  namespaces: z.array(objectName).optional(),
  ingress: flag.optional(),
  ingress_class: text.optional(),
  publish: text.optional(),
  hosts: z.array(hostname).optional(),
  services: z
    .array(
      z.strictObject({
        ...sharedService,
        upstream: objectName,
        namespace: objectName.optional(),
        port: servicePort.optional(),
      }),
    )
    .optional(),
});

export const discoveryKeys = {
  consul: key("U", consul, {
    default: "",
    doc: "Routes from Consul: those of `services`, or, without it, every service tagged `aralez.service=yes`.",
  }),
  kubernetes: key("U", kubernetes, {
    default: "",
    doc: "Routes from Kubernetes: those of `services`, or, without it, the Ingresses of class `ingress_class`.",
  }),
};

export type ConsulRules = z.output<typeof consul>;
export type KubernetesRules = z.output<typeof kubernetes>;
export type KubernetesServiceRule = NonNullable<KubernetesRules["services"]>[number];
export type ServiceRule = NonNullable<ConsulRules["services"]>[number];
