/** How verbs talk to a running proxy: address and key from its configuration, or from their flags. */
import { readListenAddress, showListen, type ListenAddress } from "../lib/address.ts";
import { adminAnswerWaitMs } from "../lib/limits.ts";
import { UsageError } from "./arguments.ts";
import { findConfiguration } from "./find-configuration.ts";
import { textOf, type Call } from "./verb.ts";

/** Where the admin API is, and what opens it. */
export interface AdminTarget {
  readonly address: ListenAddress;
  readonly key: string | undefined;
}

export interface AdminAnswer {
  readonly status: number;
  readonly text: string;
}

/** The proxy could not be asked; the message is ready to print. */
export class Unreachable extends Error {}

const addressDefault: ListenAddress = { hostname: "127.0.0.1", port: 3000 };

/**
 * @param needsKey the verb is nothing without the master key
 * @throws UsageError when an argument is wrong
 * @throws Error when the configuration that is needed cannot be read
 */
export async function findAdmin(call: Call, needsKey: boolean): Promise<AdminTarget> {
  const written = textOf(call, "address");
  const named = written === undefined ? undefined : readAddress(written);
  const key = textOf(call, "key");
  const file = findConfiguration(textOf(call, "conf"), call.env);
  // The file may be another user's secret, so it is only read when something of it is needed.
  if (file === undefined || (named && (key !== undefined || !needsKey)))
    return { address: named ?? addressDefault, key: key ?? call.env.JWT_KEY };
  const { loadSettings } = await import("../config/load-settings.ts");
  const { renderProblems } = await import("../config/problem.ts");
  const { settings, problems } = loadSettings({ file, text: undefined }, call.env);
  if (!settings) throw new Error(`Cannot read the address of the admin API:\n${renderProblems(problems)}`);
  return { address: named ?? settings.config_address, key: key ?? settings.master_key };
}

function readAddress(text: string): ListenAddress {
  try {
    return readListenAddress(text);
  } catch (error) {
    throw new UsageError(`--address: ${(error as Error).message}`);
  }
}

/** @throws Unreachable */
export async function askAdmin(
  { address, key }: AdminTarget,
  method: "GET" | "POST",
  path: string,
  more: { body?: string; json?: boolean; waitMs?: number } = {},
): Promise<AdminAnswer> {
  const headers = new Headers({ Connection: "close" });
  if (key !== undefined) headers.set("Authorization", `Bearer ${Buffer.from(key).toString("latin1")}`);
  if (more.json) headers.set("Accept", "application/json");
  const origin = "unix" in address ? "http://localhost" : `http://${showListen(reachable(address))}`;
  const waitMs = more.waitMs ?? adminAnswerWaitMs;
  try {
    const response = await fetch(origin + path, {
      method,
      headers,
      redirect: "manual",
      // A proxy of the environment is for other servers; the key is for nobody on the way.
      proxy: false,
      signal: AbortSignal.timeout(waitMs),
      ...(more.body !== undefined && { body: more.body }),
      ...("unix" in address && { unix: address.unix }),
    } as BunFetchRequestInit);
    return { status: response.status, text: await response.text() };
  } catch (error) {
    const { name, code, message } = error as Error & { code?: string };
    const why = name === "TimeoutError" ? `no answer within ${waitMs / 1000} s` : (code ?? message);
    throw new Unreachable(`Cannot ask the admin API on ${showListen(address)}: ${why}; does the proxy run?`);
  }
}

/** What listens everywhere is asked on loopback. */
function reachable(address: { readonly hostname: string; readonly port: number }) {
  const { hostname, port } = address;
  return { hostname: hostname === "0.0.0.0" || hostname === "::" ? "127.0.0.1" : hostname, port };
}
