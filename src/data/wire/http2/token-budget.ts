/**
 * What a peer may do that costs us work and brings no exchange forward: so much per second, then it is told to calm
 * down. Without it a reset costs the sender 13 bytes and us a whole request (CVE-2023-44487).
 */
import { http2EarnedMax, http2TokensMax, http2TokensPerSecond } from "../../../lib/limits.ts";

/** Prices. Resets that we send for the peer's faults cost it the same as its own. */
export const resetPrice = 5;
export const settingsPrice = 5;
export const pingPrice = 2;
/** PRIORITY, empty DATA, empty CONTINUATION, unknown frames, frames on closed streams */
export const idlePrice = 1;

export class TokenBudget {
  #tokens = http2TokensMax;
  #refilledMs = performance.now();
  /** what traffic has earned: window updates and pings that answer to data */
  #earned = 100;

  /** Data went one way or the other: it is right to answer it with pings and window updates. */
  earn(bytes: number): void {
    const earned = this.#earned + 4 + (bytes >>> 10);
    this.#earned = earned > http2EarnedMax ? http2EarnedMax : earned;
  }

  /** @returns false when the peer has spent more than it has */
  spend(price: number): boolean {
    if ((this.#tokens -= price) >= 0) return true;
    // A look at the clock only when it decides.
    const nowMs = performance.now();
    const since = Math.min(nowMs - this.#refilledMs, (1000 * http2TokensMax) / http2TokensPerSecond);
    this.#refilledMs = nowMs;
    this.#tokens = Math.min(http2TokensMax, this.#tokens + Math.floor((since * http2TokensPerSecond) / 1000));
    return this.#tokens >= 0;
  }

  /** The same for what answers to traffic. */
  spendEarned(price: number): boolean {
    if (this.#earned < price) return this.spend(price);
    this.#earned -= price;
    return true;
  }
}
