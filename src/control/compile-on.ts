/** Compiles rules for one plane, with what the settings and the open TLS port say. */
import { readFileSync } from "node:fs";
import type { Settings } from "../config/settings.ts";
import { GuardState } from "../data/guards/state.ts";
import type { Plane } from "../data/plane.ts";
import { compile, type CompileContext, type Compiled } from "../data/routing/compile.ts";
import type { Rules } from "../data/routing/rules.ts";
import { Ledger } from "../data/upstream/ledger.ts";

/** What the settings contribute to a table. */
export function compileSettings(
  settings: Settings,
  stickyKey: Uint8Array,
): Omit<CompileContext, "ledger" | "guardState" | "forwarder" | "version" | "warn" | "readCa"> {
  const { proxy_address_tls: tls } = settings;
  return {
    healthMethod: settings.hc_method,
    healthIntervalSeconds: settings.hc_interval,
    tlsPort: tls && "port" in tls ? () => tls.port : undefined,
    tlsHigh: settings.proxy_tls_grade === "high",
    adminAddresses: [settings.config_address, ...(settings.config_tls_address ? [settings.config_tls_address] : [])],
    caFile: settings.ca_file,
    clientCa: settings.client_ca,
    clientAuth: settings.client_auth ?? "require",
    clientCertificates: !tls || settings.listener_engine !== "bun",
    stickyKey,
    masterKey: settings.master_key,
  };
}

export interface CompileOnOptions {
  readonly settings: Settings;
  readonly stickyKey: Uint8Array;
  /** of the TLS listener, once it is open: the settings may leave the choice to the system */
  tlsPort(): number | undefined;
  /** false once it is open on an engine that cannot tell them */
  clientCertificates(): boolean;
  /** remarks about the rules, while they are compiled */
  remark(text: string): void;
  /** what guards have to say while they are at work */
  warn(text: string): void;
  /** leaves no trace in what outlives tables */
  readonly dryRun: boolean;
}

/** @throws Error when a folder or PEM file that the rules name cannot be used */
export function compileOn(plane: Plane, rules: Rules, version: string, options: CompileOnOptions): Compiled {
  const { settings, stickyKey, dryRun } = options;
  const files = new Map<string, string>();
  const written = compileSettings(settings, stickyKey);
  const { tlsPort, clientCertificates } = written;
  let compiling = true;
  try {
    return compile(rules, {
      ...written,
      tlsPort: tlsPort && (() => options.tlsPort() ?? tlsPort()),
      clientCertificates: clientCertificates && options.clientCertificates(),
      readCa: (file) => files.get(file) ?? files.set(file, readFileSync(file, "utf8")).get(file)!,
      ledger: dryRun ? new Ledger() : plane.ledger,
      guardState: dryRun ? new GuardState() : plane.guardState,
      forwarder: () => plane.options.forwarder,
      version,
      warn: (text) => (compiling ? options.remark(text) : options.warn(text)),
    });
  } finally {
    compiling = false;
  }
}
