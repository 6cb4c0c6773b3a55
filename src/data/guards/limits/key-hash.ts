/** The hash that spreads clients over buckets: Murmur3's, with a secret seed, so that nobody can choose addresses that meet. */
import type { ClientKey } from "./client-key.ts";
import type { Scope } from "./scope.ts";

/** @param seed two random words */
export function keyHash(seed: Int32Array, scope: Scope, client: ClientKey): number {
  let hash = mix(seed[0]!, scope.high);
  hash = mix(hash, scope.low);
  hash = mix(hash, client.high);
  return spread(mix(hash, client.low) ^ seed[1]!);
}

export function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e_2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b87_3593);
  hash ^= k;
  hash = (hash << 13) | (hash >>> 19);
  return (Math.imul(hash, 5) + 0xe654_6b64) | 0;
}

export function spread(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return hash ^ (hash >>> 16);
}
