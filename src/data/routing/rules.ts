/**
 * Rules: what upstreams.yaml means, checked, as plain data. The shape is assembled from the features' own keys;
 * values keep their YAML names until `compile` turns them into a Table.
 */
import { z } from "zod";
import { expecting, key, oneOf, shapeAt, type Key, type ShapeMeta } from "../../config/shape.ts";
import { authorizationKeys } from "../guards/authorization/rules.ts";
import { guardKeys, routingKeys } from "../guards/rules.ts";
import { headerKeys } from "../headers/rules.ts";
import { upstreamKeys } from "../upstream/rules.ts";
import { discoveryKeys } from "./discovery-rules.ts";

export const providerNames = ["file", "consul", "kubernetes"] as const;

const provider = z
  .union(
    [oneOf(providerNames), z.array(oneOf(providerNames)).min(1, "expected at least one provider, found an empty list")],
    expecting("file, consul, kubernetes or a list of them"),
  )
  .meta({ expected: "file, consul, kubernetes or a list of them" } satisfies ShapeMeta)
  .transform((v) => (Array.isArray(v) ? v : [v]));

/** Every key of upstreams.yaml beside `upstreams` and `paths` themselves. */
export const ruleKeys = {
  provider: key("U", provider, {
    default: "file",
    doc: "Where routes come from; the routes of several are merged.",
  }),
  ...routingKeys,
  ...upstreamKeys,
  ...headerKeys,
  ...guardKeys,
  ...authorizationKeys,
  ...discoveryKeys,
} satisfies Record<string, Key<string, z.ZodType>>;

/** Beside other errors of the same map too, but not beside an unknown key, which may be the misspelt one. */
const whenKeysAreKnown = (payload: z.core.ParsePayload) =>
  typeof payload.value === "object" &&
  payload.value !== null &&
  payload.issues.every((issue) => issue.code !== "unrecognized_keys");

export const pathShape = z
  .strictObject(shapeAt(ruleKeys, "P"))
  .refine((p) => "servers" in p || "redirect_to" in p || "files" in p, {
    error: "a path needs one of servers, redirect_to or files",
    when: whenKeysAreKnown,
  })
  .refine((p) => !("servers" in p && "files" in p), {
    error: "a path has either servers or files, not both",
    when: whenKeysAreKnown,
  });

export const hostShape = z.strictObject({ ...shapeAt(ruleKeys, "H"), paths: z.record(z.string(), pathShape) });

/** `upstreams:` and each file of conf.d: host → its settings and paths. */
export const hostsShape = z.record(z.string(), hostShape);

/** upstreams.yaml after the legacy shapes were rewritten. */
export const rulesShape = z.strictObject({ ...shapeAt(ruleKeys, "U"), upstreams: hostsShape.optional() });

export type PathRules = z.output<typeof pathShape>;
/** `exact` holds paths that match only themselves; it cannot be written, Kubernetes' Ingress brings it. */
export type HostRules = z.output<typeof hostShape> & { exact?: Record<string, PathRules> };
export type Rules = Omit<z.output<typeof rulesShape>, "upstreams"> & { upstreams?: Record<string, HostRules> };

/** The three places where a setting of a route may stand. */
export type Levels = readonly [top: Rules, host: HostRules, path: PathRules];

/** The catch-all host's name in the file (exact capitals, as the original). */
export const defaultHost = "DEFAULT";
