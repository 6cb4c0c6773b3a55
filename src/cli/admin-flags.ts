/** The flags of the verbs that talk to a running proxy. */
import type { Flag } from "./verb.ts";

/** What every one of them takes. */
export const adminFlags = {
  address: { type: "string", value: "ADDR", doc: "the admin API: HOST:PORT or unix:/path (default: config_address)" },
  json: { type: "boolean", doc: "as JSON" },
} as const satisfies Record<string, Flag>;

export const keyFlag: Flag = {
  type: "string",
  value: "KEY",
  doc: "the master key (default: the configuration's, or $JWT_KEY; other users see arguments)",
};
