/** The access log: one line per exchange, as text, JSON or combined. */
import { logLineCharsMax } from "../../lib/limits.ts";
import { clip, logLine, showControls, type LineSink } from "../../lib/log.ts";
import { redactTarget } from "./redact.ts";

export { redactTarget } from "./redact.ts";

export type AccessMode = "all" | "error" | "off";
export type AccessFormat = keyof typeof formats;

/** What the log says about one exchange. Strings may be empty; none needs to be harmless. */
export interface AccessRecord {
  /** wall clock when the exchange was over */
  readonly timeMs: number;
  readonly status: number;
  readonly method: string;
  /** path and query as they came; redacted here */
  readonly target: string;
  readonly host: string;
  /** IP of the connected peer, where it may differ from `client` */
  readonly peer?: string;
  readonly client: string;
  readonly version: string;
  readonly secure: boolean;
  readonly userAgent: string;
  readonly referer: string;
  /** bytes of content, without heads */
  readonly bytesOut: number;
  readonly bytesIn: number;
  readonly durationMs: number;
  /** until the head of the upstream's answer; undefined without an upstream */
  readonly upstreamMs?: number;
  readonly route: string;
  readonly upstream: string;
  readonly requestId: string;
  readonly deniedBy: string;
  /** the answer did not reach the client whole */
  readonly cut: boolean;
  /** of a gRPC call, where it is known */
  readonly grpcStatus?: number;
  /** name of who was authenticated */
  readonly user?: string;
}

export class AccessLog {
  #mode: AccessMode;
  #format: (record: AccessRecord) => string;

  /** @param sink settable: a reload may open another file. Lines go there whatever `log_level` is. */
  constructor(
    mode: AccessMode,
    format: AccessFormat,
    public sink: LineSink,
  ) {
    this.#mode = mode;
    this.#format = formats[format];
  }

  /** Takes over changed settings. */
  change(mode: AccessMode, format: AccessFormat): void {
    this.#mode = mode;
    this.#format = formats[format];
  }

  /**
   * Whether an exchange that ended so is written at all: ask before a record is made. `error` = status ≥ 400, cut short, or
   * a gRPC call that failed: its HTTP status is 200.
   */
  wants(status: number, cut: boolean, grpcStatus = 0): boolean {
    return this.#mode === "all" || (this.#mode === "error" && (status >= 400 || cut || grpcStatus > 0));
  }

  write(record: AccessRecord): void {
    if (this.wants(record.status, record.cut, record.grpcStatus)) this.sink.write(this.#format(record));
  }
}

/** The values of `access_log_format`. */
const formats = { text: textLine, json: jsonLine, combined: combinedLine } satisfies Record<
  string,
  (record: AccessRecord) => string
>;

// The parts of a line that clients fill; together with the rest they stay below the bound of a line.
const targetCharsMax = logLineCharsMax / 2;
const refererCharsMax = logLineCharsMax / 4;
const agentCharsMax = logLineCharsMax / 8;
const wordCharsMax = logLineCharsMax / 32;

/** The original's line: contract, section 10. */
function textLine(r: AccessRecord): string {
  const request = `${word(r.method)} ${word(redactTarget(r.target), targetCharsMax)}`;
  const about = `Host: ${word(r.host)}, client: ${word(r.client)}, version: ${r.version}, useragent: ${clip(r.userAgent, agentCharsMax) || "-"}`;
  return logLine(r.timeMs, "INFO", "access", `${r.status}, ${request}, ${about}`);
}

/** Without spaces, so that nobody can write a further `, Host: …` into a target. */
function word(text: string, charsMax = wordCharsMax): string {
  return text === "" ? "-" : clip(text, charsMax).replaceAll(" ", "%20");
}

/** Caddy's names and units (seconds), so that its readers work; what Caddy does not know comes last. */
function jsonLine(r: AccessRecord): string {
  const headers = listed(
    r.userAgent === "" ? "" : `"User-Agent":[${quote(r.userAgent, agentCharsMax)}]`,
    r.referer === "" ? "" : `"Referer":[${quote(redactTarget(r.referer), refererCharsMax)}]`,
  );
  const request =
    `{"remote_ip":${quote(r.peer ?? r.client)},"client_ip":${quote(r.client)},"proto":${quote(r.version)},"method":${quote(r.method)},` +
    `"host":${quote(r.host)},"uri":${quote(redactTarget(r.target), targetCharsMax)},"headers":{${headers}}}`;
  const grpc = r.grpcStatus === undefined ? "" : `,"grpc_status":${r.grpcStatus}`;
  const upstream = r.upstreamMs === undefined ? "" : `,"upstream_duration":${seconds(r.upstreamMs)}`;
  return (
    `{"level":"${r.status >= 500 ? "error" : "info"}","ts":${seconds(r.timeMs)},"logger":"http.log.access","msg":"handled request",` +
    `"request":${request},"bytes_read":${r.bytesIn},"user_id":${quote(r.user ?? "")},"duration":${seconds(r.durationMs)},"size":${r.bytesOut},` +
    `"status":${r.status}${grpc},"scheme":"${r.secure ? "https" : "http"}","route":${quote(r.route)},"upstream":${quote(r.upstream)}${upstream},` +
    `"request_id":${quote(r.requestId)},"denied_by":${quote(r.deniedBy)}${r.cut ? `,"cut":true` : ""}}`
  );
}

function listed(first: string, second: string): string {
  return first === "" || second === "" ? first + second : `${first},${second}`;
}

/** Milliseconds as seconds, to the microsecond. */
function seconds(ms: number): string {
  return String(Math.round(ms * 1000) / 1_000_000);
}

/** A JSON string. */
function quote(text: string, charsMax = wordCharsMax): string {
  const short = clip(text, charsMax);
  if (!needsEscape.test(short)) return `"${short}"`;
  const escaped = escapeJson(short);
  // An escape is up to six characters: cut so short that even all of them stay within the bound.
  return escaped.length <= charsMax ? escaped : escapeJson(clip(text, Math.floor(charsMax / 6)));
}

function escapeJson(text: string): string {
  // JSON leaves DEL, C1 and the line breakers of Unicode alone; terminals do not.
  return JSON.stringify(text).replace(
    unicodeControls,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

// eslint-disable-next-line no-control-regex
const needsEscape = /[\u0000-\u001f"\\\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/;
const unicodeControls = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Apache's `combined`. */
function combinedLine(r: AccessRecord): string {
  const request = `${bare(r.method)} ${bare(redactTarget(r.target), targetCharsMax)} ${bare(r.version)}`;
  const who = `${bare(r.client)} - ${bare(r.user ?? "")}`;
  const agents = `"${inQuotes(redactTarget(r.referer), refererCharsMax)}" "${inQuotes(r.userAgent, agentCharsMax)}"`;
  return `${who} [${apacheTime(r.timeMs)}] "${request}" ${r.status} ${r.bytesOut || "-"} ${agents}`;
}

/** Text inside Apache's quotes: quotes and backslashes escaped, so that the closing one is ours (a cut ends in "…"). */
function inQuotes(text: string, charsMax = wordCharsMax): string {
  if (text === "") return "-";
  const escaped = clip(text, charsMax).replace(/["\\]/g, "\\$&");
  return clip(showControls(escaped), charsMax);
}

/** The same without spaces: readers split there. */
function bare(text: string, charsMax = wordCharsMax): string {
  return inQuotes(text, charsMax).replaceAll(" ", "%20");
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
let apacheSecond = Number.NaN;
let apacheText = "";

/** `10/Oct/2026:13:55:36 +0200`; built once a second. */
function apacheTime(timeMs: number): string {
  const second = Math.floor(timeMs / 1000);
  if (second !== apacheSecond) {
    const t = new Date(second * 1000);
    const offset = -t.getTimezoneOffset();
    const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
    const clock = `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
    apacheText = `${two(t.getDate())}/${months[t.getMonth()]}/${t.getFullYear()}:${clock} ${zone}`;
    apacheSecond = second;
  }
  return apacheText;
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}
