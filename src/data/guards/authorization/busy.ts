/** The answer while more credentials wait to be checked than may: 503, never let through. */
import { GateFull } from "../../../lib/gate.ts";
import type { OwnReply } from "../../exchange.ts";
import { refuse } from "../guard.ts";

/** @throws whatever it was given that is no {@link GateFull} */
export function busy(error: unknown): OwnReply {
  if (!(error instanceof GateFull)) throw error;
  return refuse(
    503,
    "too many credentials are being checked, try again in a moment",
    [["Retry-After", "1"]],
    `authorization: ${error.message}`,
  );
}
