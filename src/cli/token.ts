/** The verb `token`: has the running proxy issue a token, and prints it alone, for scripts. */
import { askAdmin, findAdmin } from "./admin-client.ts";
import { UsageError } from "./arguments.ts";
import { textOf, type Call } from "./verb.ts";

const minutesDefault = "60";

export async function run(call: Call): Promise<number> {
  const written = textOf(call, "minutes") ?? minutesDefault;
  const exp = /^[0-9]{1,6}$/.test(written) ? Number(written) : 0;
  if (exp < 1 || exp > 525_600)
    throw new UsageError(`--minutes: expected a whole number from 1 to 525600, found "${written}"`, "token");
  const body = JSON.stringify({ owner: textOf(call, "owner") ?? "", exp });
  const { status, text } = await askAdmin(await findAdmin(call, true), "POST", "/jwt", { body });
  if (call.flags.json) console.log(text.trimEnd());
  else if (status === 201) console.log((JSON.parse(text) as { token: string }).token);
  else console.error(`aralez: ${status === 403 ? "the key is wrong, or none was given" : reasonOf(text)}`);
  return status === 201 ? 0 : 1;
}

function reasonOf(text: string): string {
  try {
    return (JSON.parse(text) as { error?: string }).error ?? text.trimEnd();
  } catch {
    return text.trimEnd();
  }
}
