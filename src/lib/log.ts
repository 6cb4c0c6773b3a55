/** The log: one line per event, `YYYY-MM-DD HH:MM:SS LEVEL target - message`, in local time. */
import { logLineCharsMax } from "./limits.ts";

export const logLevels = ["off", "error", "warn", "info", "debug", "trace"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Takes whole lines and never throws; see log-sink.ts. */
export interface LineSink {
  /** @param line without its newline */
  write(line: string): void;
}

/** Where lines go by their level. */
export interface LevelSinks {
  readonly out: LineSink;
  /** warnings and errors; the same as `out` unless they have a file of their own */
  readonly errors: LineSink;
}

export class Log {
  #rank = 0;

  /** @param sinks one for all lines, or two by level; may be replaced while running */
  constructor(
    level: LogLevel,
    public sinks: LineSink | LevelSinks,
  ) {
    this.level = level;
  }

  get level(): LogLevel {
    return logLevels[this.#rank]!;
  }

  set level(level: LogLevel) {
    this.#rank = logLevels.indexOf(level);
  }

  /**
   * Each of the five writes one line if the level is on. A message may hold what clients sent: line breaks, escape
   * sequences and the like are shown, not obeyed. What has several lines is logged line by line.
   * @param target the part that speaks: `proxy`, `config`, `health`, …
   */
  error(target: string, message: string): void {
    if (this.#rank >= 1) this.#write("ERROR", target, message);
  }

  warn(target: string, message: string): void {
    if (this.#rank >= 2) this.#write("WARN", target, message);
  }

  info(target: string, message: string): void {
    if (this.#rank >= 3) this.#write("INFO", target, message);
  }

  debug(target: string, message: string): void {
    if (this.#rank >= 4) this.#write("DEBUG", target, message);
  }

  trace(target: string, message: string): void {
    if (this.#rank >= 5) this.#write("TRACE", target, message);
  }

  #write(level: string, target: string, message: string): void {
    const { sinks } = this;
    const sink = "write" in sinks ? sinks : level === "ERROR" || level === "WARN" ? sinks.errors : sinks.out;
    sink.write(logLine(Date.now(), level, target, message));
  }
}

/** One line of the log's format, harmless and no longer than the bound. @param timeMs wall clock */
export function logLine(timeMs: number, level: string, target: string, message: string): string {
  return clip(`${stamp(timeMs)} ${level} ${target} - ${showControls(clip(message, logLineCharsMax))}`, logLineCharsMax);
}

/** Cuts a text that is too long, and shows that it did. */
export function clip(text: string, charsMax: number): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax - 1)}…`;
}

/**
 * Shows control characters instead of sending them: C0, DEL, C1, and what breaks or turns lines in Unicode, so that no
 * client can forge a line or speak to the terminal of whoever reads it.
 */
export function showControls(text: string): string {
  return controls.test(text) ? text.replace(allControls, showOne) : text;
}

const controlSet = "[\\u0000-\\u001f\\u007f-\\u009f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]";
const controls = new RegExp(controlSet);
const allControls = new RegExp(controlSet, "g");

function showOne(char: string): string {
  if (char === "\n") return "\\n";
  if (char === "\r") return "\\r";
  if (char === "\t") return "\\t";
  const code = char.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`;
}

let stampSecond = Number.NaN;
let stampText = "";

/** `YYYY-MM-DD HH:MM:SS` in local time; built once a second. */
function stamp(timeMs: number): string {
  const second = Math.floor(timeMs / 1000);
  if (second !== stampSecond) {
    const t = new Date(second * 1000);
    const date = `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())}`;
    stampText = `${date} ${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
    stampSecond = second;
  }
  return stampText;
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}
