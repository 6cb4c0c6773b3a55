/** What a limit counts for: a host, or one path of it. Named by a hash, so that workers agree without talking. */

/** 64 bits in two halves; two different scopes sharing one is as likely as guessing it. */
export interface Scope {
  readonly high: number;
  readonly low: number;
}

/** @param host pattern as matched, so that nobody gets a fresh count by asking DEFAULT for another name */
export function scopeOf(limit: string, host: string, path = ""): Scope {
  const digest = Buffer.from(Bun.SHA256.hash(JSON.stringify([limit, host, path])) as Uint8Array);
  return { high: digest.readUInt32LE(0), low: digest.readUInt32LE(4) };
}
