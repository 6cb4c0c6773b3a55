/**
 * The verb `certs`: which certificates the TLS port would show, what is wrong with them, which hosts have none, and how far
 * ACME is.
 */
import { dirname, resolve } from "node:path";
import { loadSettings } from "../config/load-settings.ts";
import { renderProblems, visible, type Problem } from "../config/problem.ts";
import type { Settings } from "../config/settings.ts";
import { lookAtAcme } from "../control/acme/look.ts";
import type { AcmeState } from "../control/acme/state.ts";
import { daysLeft, showDay } from "../control/certificates/describe.ts";
import { lookAtCertificates, type Look } from "../control/certificates/store.ts";
import { loadRules, placeOfKey, readRuleFiles } from "../data/routing/load-rules.ts";
import { CertificateIndex } from "../data/tls/certificate-set.ts";
import { findConfiguration } from "./find-configuration.ts";
import { table } from "./table.ts";
import { textOf, type Call } from "./verb.ts";

interface Row {
  readonly name: string;
  /** valid, expired, not-yet-valid, bad (cannot be served), incomplete (one of its two files is not there) */
  readonly state: string;
  /** whole days until it expires, negative afterwards; absent when it cannot be read, as are those below */
  readonly days?: number;
  readonly expires?: string;
  readonly issuer?: string;
  readonly kind?: string;
  readonly names?: readonly string[];
  readonly file: string;
  /** served for unknown or missing SNI */
  readonly default: boolean;
}

interface Listing {
  readonly ok: boolean;
  readonly tls: boolean;
  readonly certificates: readonly Row[];
  /** configured hosts that no certificate names; absent when the rules cannot be read */
  readonly uncovered?: readonly string[];
  /** what ACME does or would do for each name; absent when the rules cannot be read */
  readonly acme?: readonly AcmeState[];
  readonly problems: readonly Problem[];
}

/** @returns 0 when every pair is valid and, with a TLS port, every host is covered; else 1 */
export async function run(call: Call): Promise<number> {
  const file = findConfiguration(textOf(call, "conf"), call.env);
  if (file === undefined) {
    console.error(
      "aralez: Cannot list certificates: there is no $ARALEZ_CONFIG, ./main.yaml or /etc/aralez/main.yaml; name one with -c",
    );
    return 1;
  }
  const loaded = loadSettings({ file, text: undefined }, call.env, placeOfKey);
  if (!loaded.settings) {
    console.error(renderProblems(loaded.problems));
    return 1;
  }
  const listing = await list(loaded.settings, dirname(resolve(file)), call.env);
  console.log(call.flags.json ? JSON.stringify(listing, null, 2) : show(listing));
  return listing.ok ? 0 : 1;
}

async function list(settings: Settings, folder: string, env: Call["env"]): Promise<Listing> {
  const look = await lookAtCertificates(settings);
  const sources = readRuleFiles(settings);
  const checked = sources.problems.length > 0 ? undefined : loadRules(sources, { settings, folder, env });
  const uncovered = checked?.rules && uncoveredHosts(Object.keys(checked.rules.upstreams ?? {}), look);
  const acme = checked?.rules && lookAtAcme(settings, Object.keys(checked.rules.upstreams ?? {}), look.set);
  const tls = settings.proxy_address_tls !== undefined;
  const sound = look.views.every(({ state }) => state === "valid" || state === "incomplete");
  return {
    ok: sound && look.problems.every(({ severity }) => severity !== "error") && (!tls || uncovered?.length === 0),
    tls,
    certificates: rowsOf(look),
    ...(uncovered && { uncovered }),
    ...(acme && { acme }),
    problems: look.problems,
  };
}

function rowsOf({ views, set }: Look): Row[] {
  const first = set?.pairs[set.defaultIndex]?.file;
  return views.map(({ place, pair, state }) => ({
    name: place.name,
    state,
    ...(pair && {
      days: daysLeft(pair.notAfterMs, Date.now()),
      expires: showDay(pair.notAfterMs),
      issuer: pair.issuer,
      kind: pair.kind,
      names: pair.names,
    }),
    file: place.crt,
    default: place.crt === first,
  }));
}

/** A host `*.x` is covered by a certificate for `*.x` as far as one can be: for one label. `DEFAULT` is no name. */
function uncoveredHosts(hosts: readonly string[], { set }: Look): string[] {
  const index = set && new CertificateIndex(set);
  const names = new Set(set?.pairs.flatMap((pair) => pair.names));
  const isCovered = (host: string) =>
    host.startsWith("*.") ? names.has(host) : index?.find(host.replace(/^\[|\]$/g, "")) !== undefined;
  return hosts.filter((host) => host !== "DEFAULT" && !isCovered(host.toLowerCase()));
}

function show({ tls, certificates, uncovered, acme = [], problems }: Listing): string {
  const lines: string[] = [];
  const cells = certificates.map(({ name, state, days, issuer, names, file, default: first }) => [
    first ? `${name} (default)` : name,
    state,
    days === undefined ? "-" : String(days),
    issuer ?? "-",
    names?.join(", ") || "-",
    file,
  ]);
  if (cells.length > 0) lines.push(...table([["NAME", "STATE", "DAYS", "ISSUER", "HOSTS", "FILE"], ...cells]));
  else lines.push("There are no certificates: the TLS port would show a self-signed placeholder.");
  for (const { severity, message } of problems) lines.push(`${severity}: ${visible(message)}`);
  if (acme.length > 0)
    lines.push("", ...table([["ACME", "STATE", "RENEWAL", "NEXT TRY", "TROUBLE"], ...acme.map(acmeCells)]));
  if (!tls) lines.push("There is no TLS port: proxy_address_tls is not set.");
  if (uncovered === undefined) lines.push("Hosts are not compared: the rules have errors, aralez validate shows them.");
  else if (uncovered.length > 0) lines.push(`Hosts that no certificate covers: ${uncovered.join(", ")}`);
  return lines.join("\n");
}

function acmeCells({ name, state, renewAtMs, nextTryMs, trouble }: AcmeState): string[] {
  const minute = (ms: number) => `${new Date(ms).toISOString().slice(0, 16)}Z`;
  return [
    name,
    state,
    renewAtMs === undefined ? "-" : showDay(renewAtMs),
    nextTryMs === undefined ? "-" : minute(nextTryMs),
    trouble || "-",
  ];
}
