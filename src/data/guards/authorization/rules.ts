/** How `authorization` is written, method by method. */
import { z } from "zod";
import {
  expecting,
  flag,
  key,
  oneOf,
  pemFile,
  readNamed,
  readSecret,
  resolveFile,
  scalar,
  seconds,
  secret,
  secretJson,
  text,
  type ShapeMeta,
} from "../../../config/shape.ts";
import { isFieldValue, isToken } from "../../../lib/fields.ts";
import { whyUnreadable } from "../../../lib/unreadable.ts";
import { mayCopy } from "./copy-headers.ts";
import { checkPasswordHash, isPasswordHash } from "./password-hash.ts";
import { readPem } from "./public-keys.ts";

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
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) return undefined;
  if (url.username !== "" || url.password !== "") throw new Error("a URL here has no user or password");
  return v;
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
    const password = value.slice(colon + 1);
    if (isPasswordHash(password)) checkPasswordHash(password);
    return value;
  },
  true,
);

const password = scalar(
  "text, {env: NAME} or {file: PATH}",
  secretJson,
  (v): string | undefined => {
    const value = readSecret(v);
    if (value !== undefined && isPasswordHash(value)) checkPasswordHash(value);
    return value;
  },
  true,
);

const someEntries = "expected at least one entry, found an empty map";

/** User → password. RFC 7617 2: a user's name holds no colon. */
const users = z
  .record(
    z
      .string()
      .min(1, "expected a name, found nothing")
      .regex(/^[^:]*$/, "a user's name cannot hold a colon"),
    password,
  )
  .refine((map) => Object.keys(map).length > 0, someEntries);

/** Name → key. */
const namedKeys = z
  .record(z.string().min(1, "expected a name, found nothing"), secret)
  .refine((map) => Object.keys(map).length > 0, someEntries);

/** Goes into a quoted string of a field. */
const realm = scalar("text without control characters", { type: "string" }, (v) =>
  typeof v === "string" && isFieldValue(v) && !/[^\x20-\xff]/.test(v) ? v : undefined,
);

const fieldName = scalar("a header name", { type: "string" }, (v) => {
  if (typeof v !== "string" || !isToken(v)) return undefined;
  if (!mayCopy(v.toLowerCase()) || v.includes("_")) throw new Error(`"${v}" cannot carry a key`);
  return v;
});

/** A name, or the beginning of names with a final `*`. */
const copied = scalar('a header name, or its beginning as in "x-*"', { type: "string" }, (v) => {
  if (typeof v !== "string") return undefined;
  const name = v.endsWith("*") ? v.slice(0, -1) : v;
  if (!isToken(name) || name.includes("*")) return undefined;
  if (v === name && !mayCopy(v.toLowerCase())) throw new Error(`"${v}" cannot be copied: this proxy writes it itself`);
  return v;
});

/** A public key or certificate in PEM: a file, or its text. The value is the text. */
const publicKey = scalar("a PEM file, or PEM text", { type: "string" }, (v): string | undefined => {
  if (typeof v !== "string" || v.trim() === "") return undefined;
  const text = v.includes("-----BEGIN ") ? v : readKeyFile(v);
  readPem(text);
  return text;
});

function readKeyFile(name: string): string {
  const path = resolveFile(name);
  try {
    return readNamed(path);
  } catch (error) {
    throw new Error(`cannot read "${name}": ${whyUnreadable(path, error)} (looked for ${path})`);
  }
}

const publicKeys = z
  .union(
    [publicKey, z.array(publicKey).min(1, "expected at least one item, found an empty list")],
    expecting("a PEM file, PEM text, or a list of them"),
  )
  .meta({ expected: "a PEM file, PEM text, or a list of them" } satisfies ShapeMeta)
  .transform((v) => (Array.isArray(v) ? v : [v]));

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
    users: users.optional(),
    realm: realm.optional(),
  })
  .refine((a) => a.data !== undefined || a.users !== undefined, 'basic needs `data: "user:password"` or `users`');

const apikey = z
  .strictObject({
    type: z.literal("apikey"),
    data: secret.optional(),
    keys: namedKeys.optional(),
    header: fieldName.optional(),
  })
  .refine((a) => a.data !== undefined || a.keys !== undefined, "apikey needs `data` (the key) or `keys`");

const jwt = z
  .strictObject({
    type: z.literal("jwt"),
    data: secret.optional(),
    public_key: publicKeys.optional(),
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
  )
  .refine(
    (a) => a.data === undefined || (a.public_key === undefined && a.jwks === undefined),
    "data is a secret for HS256, which never goes together with public_key or jwks (algorithm confusion)",
  );

const forward = z.strictObject({
  type: z.literal("forward"),
  data: httpUrl,
  timeout: seconds(0.001).optional(),
  copy_headers: z.array(copied).optional(),
  verify: flag.optional(),
  ca_file: pemFile.optional(),
});

export const authorization = z.discriminatedUnion("type", [none, basic, apikey, jwt, forward]);

export const authorizationKeys = {
  authorization: key("UHP", authorization, {
    default: "",
    doc: "Who may pass: `type` is none, basic, apikey, jwt or forward. The nearest one wins; `none` opts out.",
  }),
};

export type AuthorizationRule = z.output<typeof authorizationKeys.authorization.shape>;
