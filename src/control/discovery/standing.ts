/** Standing: how one source does: which of its questions fail, since when, and what the log hears of it. */
import { discoveryToldMs } from "../../lib/limits.ts";

/** For the status page and metrics. Plain data. */
export interface SourceState {
  readonly name: "consul" | "kubernetes";
  /** it has answered, and no question fails */
  readonly up: boolean;
  /** since the last good answer; undefined = there was none yet */
  readonly ageSeconds: number | undefined;
  /** why it is not up; "" = it is, or has not had the time */
  readonly error: string;
  /** what is in force of it */
  readonly routes: number;
}

/** As the status page shows it. */
export function providersOf(states: readonly SourceState[]): object[] {
  return states.map(({ name, up, ageSeconds, error, routes }) => ({
    name,
    up,
    ...(ageSeconds !== undefined && { age_seconds: ageSeconds }),
    ...(error !== "" && { error }),
    routes,
  }));
}

export interface StandingOptions {
  readonly name: SourceState["name"];
  /** routes of this source that are in force */
  routes(): number;
  log(level: "warn" | "info" | "debug", text: string): void;
  now?(): number;
}

export class Standing {
  readonly #options: StandingOptions;
  /** question → why it fails */
  readonly #failing = new Map<string, string>();
  readonly #waiting = new Set<string>();
  #goodMs: number | undefined;
  #failedMs = 0;
  #toldMs = Number.NEGATIVE_INFINITY;

  constructor(options: StandingOptions) {
    this.#options = options;
  }

  /** A question will be asked; until its first answer the source is not {@link complete}. */
  expect(question: string): void {
    this.#waiting.add(question);
  }

  /** It is not asked any more. */
  forget(question: string): void {
    this.#waiting.delete(question);
    this.#failing.delete(question);
  }

  good(question: string): void {
    this.#goodMs = this.#nowMs();
    this.#waiting.delete(question);
    this.#recover(question);
  }

  bad(question: string, error: string): void {
    const { log, routes } = this.#options;
    const first = this.#failing.size === 0;
    if (first) this.#failedMs = this.#nowMs();
    const before = this.#failing.get(question);
    this.#failing.set(question, error);
    if (before !== error) log("debug", `${question}: ${error}`);
    if (!first && this.#nowMs() - this.#toldMs < discoveryToldMs) return;
    this.#toldMs = this.#nowMs();
    const known = routes();
    const stays = known > 0 ? `what it said last stays in force (${known} routes)` : "it has brought no routes yet";
    log("warn", `${error} (${question}); ${stays}, and it is asked again`);
  }

  /** For whoever looks closely. */
  note(question: string, text: string): void {
    this.#options.log("debug", `${question}: ${text}`);
  }

  /** Every question has had its first answer. */
  get complete(): boolean {
    return this.#waiting.size === 0;
  }

  get state(): SourceState {
    const [error = ""] = this.#failing.values();
    return {
      name: this.#options.name,
      up: this.#failing.size === 0 && this.#goodMs !== undefined,
      ageSeconds: this.#goodMs === undefined ? undefined : Math.round((this.#nowMs() - this.#goodMs) / 100) / 10,
      error,
      routes: this.#options.routes(),
    };
  }

  #recover(question: string): void {
    if (!this.#failing.delete(question) || this.#failing.size > 0) return;
    this.#options.log("info", `answers again, after ${Math.round((this.#nowMs() - this.#failedMs) / 100) / 10} s`);
    this.#toldMs = Number.NEGATIVE_INFINITY;
  }

  #nowMs(): number {
    return this.#options.now?.() ?? performance.now();
  }
}
