/** The sections `consul` and `kubernetes`: checked now, spoken to in a later release. */
import { z } from "zod";
import { flag, key, pemFile, scalar, secret, text, whole } from "../../config/shape.ts";
import { authorizationKeys } from "../guards/authorization/rules.ts";
import { headerKeys } from "../headers/rules.ts";
import { upstreamKeys } from "../upstream/rules.ts";

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
  hostname: text,
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
  servers: z.array(text).optional(),
  token: secret.optional(),
  ca_file: pemFile.optional(),
  verify: flag.optional(),
  datacenter: text.optional(),
  namespace: text.optional(),
  services: z.array(z.strictObject(sharedService)).optional(),
});

const kubernetes = z.strictObject({
  servers: z.array(text).optional(),
  tokenpath: text.optional(),
  ca_file: pemFile.optional(),
  namespaces: z.array(text).optional(),
  ingress: flag.optional(),
  ingress_class: text.optional(),
  publish: text.optional(),
  services: z
    .array(
      z.strictObject({
        ...sharedService,
        namespace: text.optional(),
        port: servicePort.optional(),
      }),
    )
    .optional(),
});

export const discoveryKeys = {
  consul: key("U", consul, {
    default: "",
    doc: "Routes from Consul.",
    later: true,
  }),
  kubernetes: key("U", kubernetes, {
    default: "",
    doc: "Routes from Kubernetes.",
    later: true,
  }),
};
