/** Journal: the log of one process: its lines and the access lines, and the files they go to, which a reload may change. */
import type { Settings } from "../config/settings.ts";
import { AccessLog } from "../data/observe/access-log.ts";
import type { PlaneOptions } from "../data/plane.ts";
import { openLogSinks, type FileKeeping, type LogSinks } from "../lib/log-sink.ts";
import { Log } from "../lib/log.ts";

export class Journal {
  readonly log: Log;
  readonly access: AccessLog;
  #settings: Settings;
  #sinks: LogSinks;
  readonly #flush = () => this.#sinks.flushSync();

  /** @param keeping what this process does for the files beside writing to them */
  constructor(
    settings: Settings,
    readonly keeping: FileKeeping = "alone",
  ) {
    this.#settings = settings;
    this.#sinks = this.#open();
    this.log = new Log(settings.log_level, this.#sinks.log);
    this.access = new AccessLog(settings.access_log, settings.access_log_format, this.#sinks.access);
    process.on("exit", this.#flush);
  }

  readonly tell: PlaneOptions["log"] = (level, target, text) => this.log[level](target, text);

  /** A fault of the proxy itself that met one request. */
  readonly fault = (error: unknown): void =>
    this.log.error("proxy", `a fault of the proxy itself: ${(error as Error)?.stack ?? error}`);

  /** lines that never reached their place */
  get lost(): number {
    return this.#sinks.lost;
  }

  /** called when a file was rotated, so that others who write to it may turn to the new one */
  onRotated: (() => void) | undefined;

  change(settings: Settings): void {
    const before = this.#settings;
    this.#settings = settings;
    const places = ({ log_file, error_log }: Settings) => JSON.stringify([log_file, error_log]);
    if (places(before) !== places(settings)) {
      const old = this.#sinks;
      this.#sinks = this.#open();
      this.log.sinks = this.#sinks.log;
      this.access.sink = this.#sinks.access;
      old.close();
    }
    this.log.level = settings.log_level;
    this.access.change(settings.access_log, settings.access_log_format);
  }

  reopen(): void {
    this.#sinks.reopen();
  }

  close(): void {
    this.#sinks.close();
    process.off("exit", this.#flush);
  }

  #open(): LogSinks {
    const { log_file, error_log } = this.#settings;
    return openLogSinks(log_file, error_log, this.keeping, () => this.onRotated?.());
  }
}
