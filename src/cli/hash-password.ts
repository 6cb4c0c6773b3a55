/** The verb `hash-password`: reads a password and prints its hash, for `users` of `authorization: {type: basic}`. */
import { checkPasswordHash } from "../data/guards/authorization/password-hash.ts";
import { UsageError } from "./arguments.ts";
import { readSecretLine } from "./read-secret-line.ts";
import { textOf, type Call } from "./verb.ts";

export async function run(call: Call): Promise<number> {
  const algorithm = textOf(call, "algorithm") ?? "bcrypt";
  const cost = costOf(textOf(call, "cost"), algorithm);
  const terminal = process.stdin.isTTY;
  const password = await readSecretLine(terminal ? "Password: " : "");
  if (password === "") throw new Error("the password is empty: anybody could present it");
  if (terminal && (await readSecretLine("Again: ")) !== password) throw new Error("the two passwords differ");
  const hash =
    algorithm === "bcrypt"
      ? await Bun.password.hash(password, { algorithm: "bcrypt", cost: cost ?? bcryptCostDefault })
      : await Bun.password.hash(password, { algorithm: "argon2id", ...(cost !== undefined && { timeCost: cost }) });
  checkPasswordHash(hash);
  console.log(hash);
  return 0;
}

/** About 60 ms of one core. */
const bcryptCostDefault = 10;
const costs: Record<string, { least: number; most: number }> = {
  bcrypt: { least: 4, most: 16 },
  argon2id: { least: 1, most: 64 },
};

/** @throws UsageError */
function costOf(text: string | undefined, algorithm: string): number | undefined {
  if (text === undefined) return undefined;
  const { least, most } = costs[algorithm]!;
  const cost = /^[0-9]{1,3}$/.test(text) ? Number(text) : -1;
  if (cost < least || cost > most)
    throw new UsageError(`--cost: expected ${least} to ${most} for ${algorithm}, found "${text}"`, "hash-password");
  return cost;
}
