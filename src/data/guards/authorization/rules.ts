/** How `authorization` is written, method by method. Until the methods themselves land, every one fails closed. */
import { z } from "zod";
import {
  expecting,
  flag,
  key,
  oneOf,
  pemFile,
  readSecret,
  scalar,
  seconds,
  secret,
  secretJson,
  text,
  type ShapeMeta,
} from "../../../config/shape.ts";

const textOrList = z
  .union(
    [text, z.array(text).min(1, "expected at least one item, found an empty list")],
    expecting("text or a list of texts"),
  )
  .meta({ expected: "text or a list of texts" } satisfies ShapeMeta)
  .transform((v) => (Array.isArray(v) ? v : [v]));

const httpUrl = scalar("an http:// or https:// URL", { type: "string", format: "uri" }, (v) => {
  if (typeof v !== "string") return undefined;
  const url = URL.parse(v);
  return url && (url.protocol === "http:" || url.protocol === "https:") ? v : undefined;
});

const pair = scalar(
  '"user:password"',
  secretJson,
  (v): string | undefined => {
    const value = readSecret(v);
    if (value === undefined) return undefined;
    const colon = value.indexOf(":");
    if (colon < 1) throw new Error('expected "user:password", found no user before a colon');
    if (colon === value.length - 1) throw new Error("empty credentials are refused: the password is missing");
    return value;
  },
  true,
);

/** Several named secrets: user → password, or name → key. */
const namedSecrets = z
  .record(z.string().min(1, "expected a name, found nothing"), secret)
  .refine((map) => Object.keys(map).length > 0, "expected at least one entry, found an empty map");

const algorithms = [
  "HS256",
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
] as const;

const none = z.strictObject({ type: z.literal("none") });

const basic = z
  .strictObject({
    type: z.literal("basic"),
    data: pair.optional(),
    users: namedSecrets.optional(),
    realm: text.optional(),
  })
  .refine((a) => a.data !== undefined || a.users !== undefined, 'basic needs `data: "user:password"` or `users`');

const apikey = z
  .strictObject({
    type: z.literal("apikey"),
    data: secret.optional(),
    keys: namedSecrets.optional(),
    header: text.optional(),
  })
  .refine((a) => a.data !== undefined || a.keys !== undefined, "apikey needs `data` (the key) or `keys`");

const jwt = z
  .strictObject({
    type: z.literal("jwt"),
    data: secret.optional(),
    public_key: textOrList.optional(),
    jwks: httpUrl.optional(),
    algorithms: z.array(oneOf(algorithms)).min(1, "expected at least one algorithm, found an empty list").optional(),
    issuer: textOrList.optional(),
    audience: textOrList.optional(),
    claims: z.record(z.string(), z.unknown()).optional(),
    leeway: seconds(0).optional(),
  })
  .refine(
    (a) => !a.algorithms?.includes("HS256") || (a.public_key === undefined && a.jwks === undefined),
    "HS256 never goes together with public_key or jwks (algorithm confusion)",
  );

const forward = z.strictObject({
  type: z.literal("forward"),
  data: httpUrl,
  timeout: seconds(0.001).optional(),
  copy_headers: z.array(text).optional(),
  verify: flag.optional(),
  ca_file: pemFile.optional(),
});

export const authorization = z.discriminatedUnion("type", [none, basic, apikey, jwt, forward]);

export const authorizationKeys = {
  authorization: key("UHP", authorization, {
    default: "",
    doc: "Who may pass: `type` is none, basic, apikey, jwt or forward. The nearest one wins; `none` opts out.",
    later: true,
  }),
};

export type AuthorizationRule = z.output<typeof authorizationKeys.authorization.shape>;
