/** Settings: main.yaml, key by key. Values keep their YAML names. */
import { domainToASCII } from "node:url";
import { z } from "zod";
import {
  clientAddresses,
  fileName,
  flag,
  key,
  listenAddress,
  oneOf,
  pemFile,
  resolveFile,
  scalar,
  seconds,
  secret,
  shapeAt,
  size,
  text,
  whole,
  type Key,
} from "./shape.ts";
import { isHostName } from "../lib/address.ts";
import { isToken } from "../lib/fields.ts";

const logLevels = ["error", "warn", "info", "debug", "trace", "off"] as const;

/** Any other word is `info` with a note, as in the original. */
const logLevel = scalar("error, warn, info, debug, trace or off", { enum: [...logLevels] }, (v) =>
  typeof v === "string"
    ? logLevels.find((level) => level === v.toLowerCase())
    : v === false
      ? ("off" as const)
      : undefined,
);

/** YAML 1.1 writers meant the word when they wrote a bare `off`; `false` is what some tools make of it. */
const accessLog = scalar("all, error or off", { enum: ["all", "access", "error", "off"] }, (v) => {
  if (v === "all" || v === "access") return "all" as const;
  if (v === "error") return "error" as const;
  return v === "off" || v === false ? ("off" as const) : undefined;
});

const httpMethod = scalar("HEAD, GET, POST or another method", { type: "string" }, (v) => {
  if (typeof v !== "string" || !isToken(v)) return undefined;
  const upper = v.toUpperCase();
  if (upper === "CONNECT" || upper === "TRACE") throw new Error(`${upper} cannot check a server's health`);
  return upper;
});

/** `"PATH[, sizeMB=N, keep=N, compress]"`. */
export interface LogFileRule {
  readonly path: string;
  /** rotate above so many MiB; 0 = never */
  readonly sizeMiB: number;
  /** rotated files kept */
  readonly keep: number;
  readonly compress: boolean;
}

const logFile = scalar('"PATH[, sizeMB=N, keep=N, compress]"', { type: "string" }, (v): LogFileRule | undefined => {
  if (typeof v !== "string" || v.trim() === "") return undefined;
  const [path = "", ...options] = v.split(",").map((part) => part.trim());
  const rule = { path: resolveFile(path), sizeMiB: 0, keep: 5, compress: false };
  let numbers = 0;
  for (const option of options) {
    const number = /^(sizeMB|keep)\s*=\s*([0-9]+)$/i.exec(option);
    if (option.toLowerCase() === "compress") rule.compress = true;
    else if (number?.[1]!.toLowerCase() === "sizemb") rule.sizeMiB = Number(number[2]);
    else if (number) rule.keep = Number(number[2]);
    // The original's manual has "PATH, 20, 5, compress" as well: size first, then how many.
    else if (/^[0-9]+$/.test(option)) rule[numbers++ === 0 ? "sizeMiB" : "keep"] = Number(option);
    else throw new Error(`unknown option "${option}": expected sizeMB=N, keep=N or compress`);
  }
  return rule;
});

const clientTimeouts = z.strictObject({
  header: seconds(0).optional(),
  body: seconds(0).optional(),
  idle: seconds(0).optional(),
  write: seconds(0).optional(),
});

const directory = scalar("letsencrypt, letsencrypt-staging or an https URL", { type: "string" }, (v) =>
  typeof v === "string" && (v === "letsencrypt" || v === "letsencrypt-staging" || URL.parse(v)?.protocol === "https:")
    ? v
    : undefined,
);

const email = scalar("an e-mail address", { type: "string" }, (v) =>
  typeof v === "string" && /^[^\s@,;?]+@[^\s@,;?]+$/.test(v) ? v : undefined,
);

const domain = scalar("a DNS name", { type: "string" }, (v) => {
  if (typeof v !== "string") return undefined;
  if (v.startsWith("*."))
    throw new Error(`"${v}" is a wildcard, which can only be proved by DNS: expected a name without it`);
  const name = domainToASCII(v.replace(/\.$/, ""));
  return isHostName(name) && name.length <= 200 ? name.toLowerCase() : undefined;
});

const acme = z.strictObject({
  directory: directory.optional(),
  email: email.optional(),
  domains: z.array(domain).optional(),
  hosts: oneOf(["all"]).optional(),
  challenge: oneOf(["http-01", "tls-alpn-01"]).optional(),
  eab: z.strictObject({ key_id: text, hmac_key: secret }).optional(),
  ca_file: pemFile.optional(),
  renew_before_days: whole(1, 365).optional(),
  state: fileName.optional(),
});

const threads = scalar(
  "a whole number of at least 1, or auto",
  { anyOf: [{ type: "integer", minimum: 1 }, { enum: ["auto"] }] },
  (v) =>
    v === "auto" || (typeof v === "number" && Number.isInteger(v) && v >= 1 && v <= 1024)
      ? (v as number | "auto")
      : undefined,
);

const reloads = true;
const ignored = true;
const wanted = true;
const legacy = true;

/** Every key of main.yaml that has a meaning here, and the ones accepted for the original's sake. */
export const settingKeys = {
  upstreams_conf: key("M", fileName, {
    default: "upstreams.yaml",
    doc: "The routes; its folder may hold `conf.d/`. Watched.",
  }),
  proxy_address_http: key("M", listenAddress, { default: "0.0.0.0:6193", doc: "Plain HTTP listener." }),
  proxy_address_tls: key("M", listenAddress, { default: "", doc: "TLS listener; none without it." }),
  config_address: key("M", listenAddress, {
    default: "127.0.0.1:3000",
    doc: "Admin API listener; also `unix:/path` (mode 0600).",
  }),
  config_api_enabled: key("M", flag, { default: "true", doc: "Whether `POST /conf` is offered." }),
  file_server_folder: key("M", fileName, { default: "", doc: "Folder of the separate static file listener." }),
  file_server_address: key("M", listenAddress, { default: "", doc: "Address of the separate static file listener." }),
  log_level: key("M", logLevel, { default: "info", doc: "How much is logged.", reloads }),
  access_log: key("M", accessLog, {
    default: "off",
    doc: "One line a request; `error` = status ≥ 400, cut short, or a gRPC call that failed.",
    reloads,
  }),
  access_log_format: key("M", oneOf(["text", "json", "combined"]), {
    default: "text",
    doc: "Form of the access lines.",
    reloads,
  }),
  log_file: key("M", logFile, {
    default: "stdout",
    doc: "Where the log goes; SIGUSR1 reopens it.",
    reloads,
  }),
  error_log: key("M", logFile, { default: "", doc: "The same, for warnings and errors only.", reloads }),
  hc_method: key("M", httpMethod, { default: "HEAD", doc: "Method of health checks.", reloads }),
  hc_interval: key("M", seconds(0.05), { default: "2", doc: "Seconds between health checks.", reloads }),
  master_key: key("M", secret, {
    default: "",
    doc: "Signs sticky cookies and tokens, opens the admin API. Env `JWT_KEY` wins.",
  }),
  trusted_proxies: key("M", clientAddresses, { default: "[]", doc: "Peers whose X-Forwarded-* count.", reloads }),
  ca_file: key("M", pemFile, {
    default: "",
    doc: "PEM file trusted for upstream TLS; switches `verify` on unless that says false.",
  }),
  client_ca: key("M", pemFile, {
    default: "",
    doc: "Client certificates signed by this CA are asked for on the TLS port. Socket engine.",
  }),
  client_auth: key("M", oneOf(["require", "request"]), {
    default: "require",
    doc: "Whether a client certificate must be shown, where `client_ca` is set.",
  }),
  upstream_engine: key("M", oneOf(["auto", "fetch", "socket"]), {
    default: "auto",
    doc: "How upstreams are spoken to: by Bun's fetch, or by connections of our own. auto = socket.",
  }),
  listener_engine: key("M", oneOf(["auto", "bun", "socket"]), {
    default: "auto",
    doc: "How clients are served: by Bun.serve, or by our own HTTP/1.1 and HTTP/2 on Bun.listen. auto = socket; on the TLS port bun with `http3`.",
  }),
  upstream_keepalive_pool_size: key("M", whole(1), {
    default: "128",
    doc: "Idle upstream connections kept (the fetch engine keeps at most 64).",
  }),
  upstream_keepalive_timeout: key("M", seconds(1), {
    default: "60",
    doc: "Idle upstream connections are closed after this.",
    reloads,
  }),
  max_connections: key("M", whole(0), {
    default: "0 = 90 % of the open-file limit ÷ 2",
    doc: "Client connections per process; above it one gets 503. Socket engine.",
    reloads,
  }),
  max_upstream_connections: key("M", whole(0), {
    default: "0 = the other half",
    doc: "Upstream connections per process, busy and idle; above it a request waits up to `connect`, then 503. Socket engine.",
    reloads,
  }),
  max_header_bytes: key("M", size(1024), { default: "64K", doc: "Request line and fields: 431 above it." }),
  client_timeouts: key("M", clientTimeouts, {
    default: "{header: 10, body: 60, idle: 75, write: 60}",
    doc: "Seconds. On Bun.serve `header` is fixed at 12.",
    reloads,
  }),
  keepalive_requests: key("M", whole(0), {
    default: "0",
    doc: "Requests per client connection. 0 = no limit. Socket engine.",
    reloads,
  }),
  http2: key("M", flag, { default: "true", doc: "HTTP/2 by ALPN, and by prior knowledge on the plain port." }),
  http3: key("M", flag, { default: "false", doc: "QUIC, experimental, needs `threads: 1`." }),
  proxy_configs: key("M", fileName, {
    default: "",
    doc: "Folder of certificates: pairs NAME.crt and NAME.key, here and in `certificates/`. Watched. ACME keeps its state in `autoconfigs/`.",
  }),
  proxy_tls_grade: key(
    "M",
    scalar("high, medium or unsafe", { enum: ["high", "medium", "unsafe"] }, (v) =>
      typeof v === "string" ? (["high", "medium", "unsafe"] as const).find((g) => g === v.toLowerCase()) : undefined,
    ),
    {
      default: "medium",
      doc: "Strength of TLS versions and ciphers.",
    },
  ),
  default_certificate: key("M", text, {
    default: "first in name order",
    doc: "NAME of the pair served for unknown or missing SNI.",
    reloads,
  }),
  acme: key("M", acme, {
    default: "off",
    doc: "Certificates by ACME for `domains`, or with `hosts: all` for every exact host of the rules.",
    reloads,
  }),
  admin_read: key("M", oneOf(["key", "loopback", "open"]), {
    default: "loopback",
    doc: "Who may read /metrics and /status without the key: nobody, programs on this machine, everybody.",
    reloads,
  }),
  threads: key("M", threads, {
    default: "1",
    doc: "Worker processes; auto = cores. With 1 one process does everything.",
  }),
  daemon: key("M", flag, { default: "false", doc: "Run in the background; the caller ends when it serves." }),
  daemon_ready_timeout_seconds: key("M", seconds(1), {
    default: "600",
    doc: "A daemon that does not serve by then is ended, and its caller fails.",
  }),
  pid_file: key("M", fileName, {
    default: "none; /tmp/aralez.pid with daemon",
    doc: "Where the process id is written; locked while it runs.",
  }),
  runuser: key("M", text, {
    default: "",
    doc: "User, name or number, to become when started as root; only the right to ports below 1024 is kept.",
  }),
  rungroup: key("M", text, { default: "", doc: "Group to become when started as root; other groups are left." }),
  upgrade_sock: key("M", text, {
    default: "the path of main.yaml",
    doc: "Name by which a process and its successor find each other (`aralez upgrade`).",
  }),
  working_directory: key("M", text, { default: "", doc: "Folder the process works in." }),
  graceful_shutdown_timeout_seconds: key("M", seconds(0), {
    default: "30",
    doc: "SIGTERM ends the process at the latest after this.",
    reloads,
  }),
  grace_period_seconds: key("M", seconds(0), { default: "0", doc: "Keep accepting this long after SIGTERM." }),
  tcp_keepalive_idle: key("M", seconds(1), {
    default: "off",
    doc: "TCP keepalive of client connections: silence before the first probe.",
  }),
  tcp_keepalive_interval: key("M", seconds(1), { default: "10", doc: "Between probes, with `tcp_keepalive_idle`." }),
  tcp_keepalive_count: key("M", whole(1), {
    default: "5",
    doc: "Probes without an answer that end a connection, with `tcp_keepalive_idle`.",
  }),
  config_tls_address: key("M", listenAddress, { default: "", doc: "TLS for the admin API." }),
  config_tls_certificate: key("M", fileName, {
    default: "",
    doc: "Its certificate; a changed one is served within seconds.",
  }),
  config_tls_key_file: key("M", fileName, { default: "", doc: "Its key." }),
  client_bind_to_ipv4: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  client_bind_to_ipv6: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  listener_tasks_per_fd: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  work_stealing: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  upstream_connect_offload_threadpools: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  upstream_connect_offload_thread_per_pool: key("M", z.unknown(), {
    default: "",
    doc: "A key of Pingora.",
    ignored,
  }),
  upstream_debug_ssl_keylog: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  max_retries: key("M", z.unknown(), {
    default: "",
    doc: "A key of Pingora; see `retries` in upstreams.yaml.",
    ignored,
  }),
  upgrade_sock_connect_accept_max_retries: key("M", z.unknown(), {
    default: "",
    doc: "A key of Pingora.",
    ignored,
  }),
  max_blocking_threads: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  blocking_threads_ttl_seconds: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  daemon_wait_for_ready: key("M", z.unknown(), {
    default: "",
    doc: "A key of Pingora: the caller of a daemon always waits until it serves.",
    ignored,
  }),
  daemon_notify_timeout_seconds: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  version: key("M", z.unknown(), { default: "", doc: "A key of Pingora.", ignored }),
  tls_certificate: key("M", fileName, { default: "", doc: "Gazan's single certificate.", legacy }),
  tls_key_file: key("M", fileName, { default: "", doc: "Its key.", legacy }),
  proxy_port: key("M", z.unknown(), { default: "", doc: "Internal to the original.", ignored }),
  proxy_port_tls: key("M", z.unknown(), { default: "", doc: "Internal to the original.", ignored }),
  local_server: key("M", z.unknown(), { default: "", doc: "Internal to the original.", ignored }),
  cache_size_mb: key("M", z.unknown(), {
    default: "",
    doc: "A feature of 0.92.15 that is not offered yet.",
    ignored,
    wanted,
  }),
  cache_ttl: key("M", z.unknown(), {
    default: "",
    doc: "A feature of 0.92.15 that is not offered yet.",
    ignored,
    wanted,
  }),
  log_pattern: key("M", z.unknown(), {
    default: "",
    doc: "A feature of 0.93 that is not offered yet.",
    ignored,
    wanted,
  }),
  log_structured: key("M", z.unknown(), {
    default: "",
    doc: "A feature of 0.93 that is not offered yet.",
    ignored,
    wanted,
  }),
  acme_dns_provider: key("M", z.unknown(), {
    default: "",
    doc: "A feature of 0.94 that is not offered yet.",
    ignored,
    wanted,
  }),
} satisfies Record<string, Key<"M", z.ZodType>>;

/** Beside other errors too, but not beside an unknown key, which may be the misspelt half. */
const whenKeysAreKnown = (payload: z.core.ParsePayload) =>
  payload.issues.every((issue) => issue.code !== "unrecognized_keys");

export const settingsShape = z
  .strictObject(shapeAt(settingKeys, "M"))
  .refine((s) => "file_server_folder" in s === "file_server_address" in s, {
    error: "file_server_folder and file_server_address go together",
    when: whenKeysAreKnown,
  })
  .refine((s) => "runuser" in s === "rungroup" in s, {
    error: "runuser and rungroup go together",
    when: whenKeysAreKnown,
  })
  .refine((s) => s.client_ca === undefined || s.listener_engine !== "bun", {
    error:
      "client_ca needs the socket engine: Bun.serve does not show a client's certificate, so remove listener_engine: bun",
    path: ["client_ca"],
  })
  .refine(
    (s) => s.acme?.challenge !== "tls-alpn-01" || (s.proxy_address_tls !== undefined && s.listener_engine !== "bun"),
    {
      error: "tls-alpn-01 needs proxy_address_tls on the socket engine: Bun.serve shows no certificate by ALPN",
      path: ["acme", "challenge"],
    },
  )
  .refine((s) => s.http3 !== true || (s.threads ?? 1) === 1, {
    error: "http3 needs threads: 1",
    path: ["http3"],
  })
  .refine((s) => (s.threads ?? 1) === 1 || !isSocket(s.proxy_address_http), {
    error: "a unix socket needs threads: 1, workers cannot share one",
    path: ["proxy_address_http"],
  })
  .refine((s) => (s.threads ?? 1) === 1 || !isSocket(s.file_server_address), {
    error: "a unix socket needs threads: 1, workers cannot share one",
    path: ["file_server_address"],
  });

function isSocket(address: object | undefined): boolean {
  return address !== undefined && "unix" in address;
}

/** main.yaml as checked; {@link settle} adds the defaults. */
export type WrittenSettings = z.output<typeof settingsShape>;

/** Settings with every default in place that this release uses. Times in seconds, sizes in bytes, as in the file. */
export type Settings = ReturnType<typeof settle>;

/** Fills in the defaults of section 14. @param folder of main.yaml, where `upstreams.yaml` is looked for */
export function settle(written: WrittenSettings, folder: string) {
  const { client_timeouts, ...rest } = written;
  return {
    ...rest,
    upstreams_conf: written.upstreams_conf ?? `${folder}/upstreams.yaml`,
    proxy_address_http: written.proxy_address_http ?? { hostname: "0.0.0.0", port: 6193 },
    config_address: written.config_address ?? { hostname: "127.0.0.1", port: 3000 },
    config_api_enabled: written.config_api_enabled ?? true,
    admin_read: written.admin_read ?? ("loopback" as const),
    log_level: written.log_level ?? ("info" as const),
    access_log: written.access_log ?? ("off" as const),
    access_log_format: written.access_log_format ?? ("text" as const),
    hc_method: written.hc_method ?? "HEAD",
    hc_interval: written.hc_interval ?? 2,
    trusted_proxies: written.trusted_proxies ?? [],
    upstream_keepalive_timeout: written.upstream_keepalive_timeout ?? 60,
    upstream_keepalive_pool_size: written.upstream_keepalive_pool_size ?? 128,
    max_connections: written.max_connections ?? 0,
    max_upstream_connections: written.max_upstream_connections ?? 0,
    keepalive_requests: written.keepalive_requests ?? 0,
    upstream_engine: written.upstream_engine ?? ("auto" as const),
    listener_engine: written.listener_engine ?? ("auto" as const),
    max_header_bytes: written.max_header_bytes ?? 64 * 1024,
    client_timeouts: { header: 10, body: 60, idle: 75, write: 60, ...client_timeouts },
    graceful_shutdown_timeout_seconds: written.graceful_shutdown_timeout_seconds ?? 30,
    grace_period_seconds: written.grace_period_seconds ?? 0,
    proxy_tls_grade: written.proxy_tls_grade ?? ("medium" as const),
    client_auth: written.client_auth ?? ("require" as const),
    http2: written.http2 ?? true,
    http3: written.http3 ?? false,
  };
}
