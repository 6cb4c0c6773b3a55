/** `POST /jwt`: issues tokens that every `authorization: {type: jwt}` by shared secret accepts (contract, section 7). */
import { SignJWT } from "jose";
import type { Settings } from "../../config/settings.ts";
import type { OwnReply } from "../../data/exchange.ts";
import { adminTokenBytesMax, userCharsMax } from "../../lib/limits.ts";
import type { Access } from "./access.ts";
import { isRefusal, readBody } from "./body.ts";
import { jsonReply, type AdminRequest, type Endpoint } from "./endpoint.ts";

/** A year. */
const minutesMax = 525_600;

interface Wanted {
  readonly owner: string;
  readonly minutes: number;
  readonly random: string;
}

export function tokenEndpoint(settings: () => Settings, access: Access): Endpoint {
  return {
    methods: ["POST"],
    path: "/jwt",
    access: "own",
    async answer(request) {
      const secret = settings().master_key;
      if (secret === undefined) return refused(500, "there is no `master_key` in main.yaml to sign tokens with");
      const body = await readBody(request.exchange, adminTokenBytesMax);
      if (isRefusal(body)) return body;
      const fields = readFields(body);
      if (typeof fields === "string") return refused(400, fields);
      // Before anything else of the body is judged: who has no key learns nothing.
      if (!mayIssue(access, request, fields)) return jsonReply(403, { token: "Unauthorised" }, "the key is wrong");
      const wanted = readWanted(fields);
      if (typeof wanted === "string") return refused(400, wanted);
      const exp = Math.floor(Date.now() / 1000) + wanted.minutes * 60;
      const token = await sign(secret, wanted, exp);
      const owner = wanted.owner === "" ? "" : ` for ${JSON.stringify(wanted.owner)}`;
      return jsonReply(201, { token }, `a token${owner}, good for ${wanted.minutes} minutes`);
    },
  };
}

function refused(status: number, error: string): OwnReply {
  return jsonReply(status, { error }, error);
}

function mayIssue(access: Access, { keyBy }: AdminRequest, { master_key }: Record<string, unknown>): boolean {
  if (master_key === undefined || master_key === "") return keyBy !== undefined;
  return typeof master_key === "string" && access.isKey(master_key);
}

/** @returns the body's members, or what is wrong with it */
function readFields(body: Uint8Array): Record<string, unknown> | string {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    value = undefined;
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  return 'expected a JSON object such as {"master_key": "…", "owner": "…", "exp": 60}';
}

/** @returns what the token is to say, or what is wrong with it */
function readWanted({ owner, user, exp, valid, random }: Record<string, unknown>): Wanted | string {
  const minutes = exp ?? valid;
  if (exp !== undefined && valid !== undefined && exp !== valid)
    return "`exp` and `valid` (its older name) are both given and differ";
  if (typeof minutes !== "number" || !Number.isInteger(minutes) || minutes < 1 || minutes > minutesMax)
    return `expected \`exp\`, whole minutes from 1 to ${minutesMax}`;
  const name = owner ?? user ?? "";
  if (typeof name !== "string" || name.length > userCharsMax)
    return `expected \`owner\`, text of at most ${userCharsMax} characters`;
  if (random !== undefined && (typeof random !== "string" || random.length > userCharsMax))
    return `expected \`random\` to be text of at most ${userCharsMax} characters`;
  return { owner: name, minutes, random: random ?? crypto.randomUUID() };
}

/** The original's claims. `master_key` is always empty there: the key itself would be readable in every token. */
function sign(secret: string, { owner, random }: Wanted, exp: number): Promise<string> {
  return new SignJWT({ master_key: "", owner, exp, random })
    .setProtectedHeader({ typ: "JWT", alg: "HS256" })
    .sign(new TextEncoder().encode(secret));
}
