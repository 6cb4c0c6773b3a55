/**
 * Where log lines go: a bounded queue in front of a file or a standard stream, written together a few times a second.
 * Nothing here throws into the caller, and nothing waits for a slow reader.
 */
import { logExitWaitMs, logFlushChars, logFlushMs, logQueueCharsMax, logQueueLinesMax, logRetryMs } from "./limits.ts";
import { FileTarget, StreamTarget, type FileKeeping, type LogFile, type LogTarget } from "./log-target.ts";
import { logLine, type LevelSinks, type LineSink } from "./log.ts";

export type { FileKeeping } from "./log-target.ts";

/** All sinks of one process. */
export interface LogSinks {
  /** for `Log` */
  readonly log: LevelSinks;
  /** for the access log: the same place as information lines */
  readonly access: LineSink;
  /** lines that never reached their place, since these sinks were opened */
  readonly lost: number;
  /** SIGUSR1: files that were moved away are created anew */
  reopen(): void;
  /** At exit or in a crash: writes what waits, as far as it goes quickly. */
  flushSync(): void;
  /** Flushes and closes. */
  close(): void;
}

/**
 * @param logFile undefined = standard output
 * @param errorLog where warnings and errors go instead
 * @param rotated called when a file was rotated
 */
export function openLogSinks(
  logFile: LogFile | undefined,
  errorLog: LogFile | undefined,
  keeping: FileKeeping = "alone",
  rotated: () => void = () => {},
): LogSinks {
  const open = (file: LogFile | undefined) => new LogSink(targetOf(file, keeping, rotated));
  const out = open(logFile);
  // One file with two sinks would be rotated twice.
  const errors = errorLog === undefined || errorLog.path === logFile?.path ? out : open(errorLog);
  const each = (act: (sink: LogSink) => void) => new Set([out, errors]).forEach(act);
  return {
    log: { out, errors },
    access: out,
    get lost() {
      return out.lost + (errors === out ? 0 : errors.lost);
    },
    reopen: () => each((sink) => sink.reopen()),
    flushSync: () => each((sink) => sink.flushSync()),
    close: () => each((sink) => sink.close()),
  };
}

/** Containers name the streams by path; under systemd they are sockets, which cannot be opened by one. */
function targetOf(file: LogFile | undefined, keeping: FileKeeping, rotated: () => void): LogTarget {
  const shared = keeping !== "alone";
  if (file === undefined || file.path === "/dev/stdout") return new StreamTarget(1, shared);
  if (file.path === "/dev/stderr") return new StreamTarget(2, shared);
  return new FileTarget(file, keeping, rotated);
}

export class LogSink implements LineSink {
  #waiting: string[] = [];
  #waitingChars = 0;
  /** bytes the target has not taken yet, and how many lines and characters they were */
  #rest: Uint8Array | undefined;
  #restLines = 0;
  #restChars = 0;
  #dropped = 0;
  /** lines dropped so far */
  lost = 0;
  #failing = false;
  #timer: Timer | undefined;
  #closed = false;

  /** @param complain how trouble of the log itself is told, once per trouble */
  constructor(
    readonly target: LogTarget,
    readonly complain: (text: string) => void = complainOnStderr,
  ) {}

  write(line: string): void {
    if (this.#closed) return;
    if (
      this.#waiting.length + this.#restLines >= logQueueLinesMax ||
      this.#waitingChars + this.#restChars + line.length > logQueueCharsMax
    ) {
      this.#dropped++;
      this.lost++;
      return;
    }
    this.#waiting.push(line);
    this.#waitingChars += line.length + 1;
    // While the target is full or broken, the timer looks after it.
    if (this.#waitingChars >= logFlushChars && !this.#rest && !this.#failing) this.#flush();
    else this.#arm(logFlushMs);
  }

  reopen(): void {
    this.#flush();
    this.target.reopen();
  }

  flushSync(): void {
    const deadline = performance.now() + logExitWaitMs;
    for (;;) {
      this.#flush();
      if (!this.#rest || this.#failing || performance.now() > deadline) return;
      Bun.sleepSync(5);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.flushSync();
    this.#closed = true;
    clearTimeout(this.#timer);
    this.target.close();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    try {
      while (this.#take()) {
        const taken = this.target.write(this.#rest!);
        if (taken < this.#rest!.length) {
          this.#rest = this.#rest!.subarray(taken);
          this.#arm(logFlushMs);
          return;
        }
        this.#rest = undefined;
        this.#restLines = this.#restChars = 0;
        this.#failing = false;
      }
    } catch (error) {
      if (!this.#failing)
        this.complain(`cannot write the log to ${this.target.name}: ${(error as Error).message}; trying again`);
      this.#failing = true;
      this.#arm(logRetryMs);
    }
  }

  /** Makes the next bytes of what waits. @returns false when nothing does */
  #take(): boolean {
    if (this.#rest) return true;
    if (this.#waiting.length === 0) {
      if (this.#dropped === 0) return false;
      this.#waiting.push(logLine(Date.now(), "WARN", "log", `${this.#dropped} lines dropped`));
      this.#dropped = 0;
    }
    this.#restLines = this.#waiting.length;
    this.#restChars = this.#waitingChars;
    this.#rest = Buffer.from(`${this.#waiting.join("\n")}\n`, "utf8");
    this.#waiting = [];
    this.#waitingChars = 0;
    return true;
  }

  #arm(delayMs: number): void {
    if (this.#closed || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, delayMs);
    // A broken log must not keep the process alive; a few lines that wait may, for their 50 ms.
    if (this.#failing || this.#rest) this.#timer.unref();
  }
}

let stderr: StreamTarget | undefined;

function complainOnStderr(text: string): void {
  try {
    stderr ??= new StreamTarget(2);
    stderr.write(Buffer.from(`${logLine(Date.now(), "ERROR", "log", text)}\n`, "utf8"));
  } catch {
    // Nobody is left to tell.
  }
}
