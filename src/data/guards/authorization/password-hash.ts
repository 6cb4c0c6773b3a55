/** Password hashes as they stand in a configuration: which texts are one, and how much work they may ask for. */

const bcrypt = /^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$/;
const argon2 =
  /^\$argon2(?:id|i|d)\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,4}),p=[0-9]{1,3}\$[A-Za-z0-9+/]{8,}\$[A-Za-z0-9+/]{16,}$/;

/** 2^16 rounds take about 4 s of one core. */
const bcryptCostMax = 16;
const argon2KibMax = 1024 * 1024;
const argon2PassesMax = 64;

/** By its beginning (contract, section 14): such a text is never a password. */
export function isPasswordHash(text: string): boolean {
  return /^\$(?:2[aby]\$|argon2)/.test(text);
}

/** @throws Error that says what is wrong, without the hash */
export function checkPasswordHash(text: string): void {
  const cost = bcrypt.exec(text)?.[1];
  if (cost !== undefined) {
    if (Number(cost) < 4 || Number(cost) > bcryptCostMax)
      throw new Error(`the bcrypt hash has a cost of ${Number(cost)}: expected 4 to ${bcryptCostMax}`);
    return;
  }
  const [, kib, passes] = argon2.exec(text) ?? [];
  if (kib === undefined) throw new Error("the password hash is not complete: write it with `aralez hash-password`");
  if (Number(kib) > argon2KibMax || Number(passes) > argon2PassesMax)
    throw new Error(
      `the argon2 hash asks for too much: expected m up to ${argon2KibMax} and t up to ${argon2PassesMax}`,
    );
}
