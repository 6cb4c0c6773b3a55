/** The verb `reload`: the running proxy reads its files again, and its verdict is shown. */
import { askAdmin, findAdmin } from "./admin-client.ts";
import type { Call } from "./verb.ts";

/** @returns 0 when the files are in force, 1 when they were refused */
export async function run(call: Call): Promise<number> {
  const json = call.flags.json === true;
  const { status, text } = await askAdmin(await findAdmin(call, true), "POST", "/reload", { json });
  if (status === 200 || json) console.log(text.trimEnd());
  else console.error(text.trimEnd());
  return status === 200 ? 0 : 1;
}
