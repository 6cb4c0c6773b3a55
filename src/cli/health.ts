/** The verb `health`: whether the running proxy is alive, or ready, for containers and scripts. */
import { adminHealthWaitMs } from "../lib/limits.ts";
import { askAdmin, findAdmin, Unreachable } from "./admin-client.ts";
import type { Call } from "./verb.ts";

/** @returns 0 when it is, else 1 */
export async function run(call: Call): Promise<number> {
  const { ready, json } = call.flags;
  const target = await findAdmin(call, false);
  let ok = false;
  let said: string;
  try {
    // No key: everybody may ask.
    const path = ready ? "/ready" : "/health";
    const answer = await askAdmin({ ...target, key: undefined }, "GET", path, { waitMs: adminHealthWaitMs });
    ok = answer.status === 200;
    said = answer.text.trimEnd();
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    said = error.message;
  }
  if (json) console.log(JSON.stringify({ ok, message: said }));
  else if (ok) console.log(said);
  else console.error(`aralez: ${said}`);
  return ok ? 0 : 1;
}
