/** ReloadCounts: how the attempts to put rules into force have ended. */
import type { ReloadResult } from "../reload.ts";
import { counter, gauge, type Family } from "./family.ts";

export class ReloadCounts {
  /** tables that went into force since the start, those that sources caused included */
  versions = 0;
  #applied = 0;
  #refused = 0;
  /** 1 = the rules in the files are in force */
  #successful = 0;
  /** milliseconds since 1970; 0 = never */
  #appliedMs = 0;
  #durationMs = 0;

  /** @param kind undefined: it ended with a fault of ours @param beganMs by performance.now() */
  note(kind: ReloadResult["kind"] | undefined, beganMs: number): void {
    if (kind === "same") return;
    this.#durationMs = performance.now() - beganMs;
    if (kind === "applied") {
      this.#applied++;
      this.#appliedMs = Date.now();
    } else this.#refused++;
    this.#successful = kind === "applied" ? 1 : 0;
  }

  families(): Family[] {
    return [
      counter("aralez_config_reloads_total", "Rules that were to be put into force, by what became of them", [
        [{ result: "applied" }, this.#applied],
        [{ result: "refused" }, this.#refused],
      ]),
      gauge(
        "aralez_config_last_reload_successful",
        "1 = the rules last read are in force, 0 = they have errors",
        this.#successful,
      ),
      gauge(
        "aralez_config_last_reload_duration_seconds",
        "How long it took to read and compile them",
        this.#durationMs / 1000,
      ),
      gauge(
        "aralez_config_last_reload_success_timestamp_seconds",
        "When rules last came into force, in seconds since 1970",
        this.#appliedMs / 1000,
      ),
    ];
  }
}
