/** What the original silently ignores in an upstreams.yaml: for `validate`, so that a comparison holds no surprises. */
import { readDocument } from "../../config/document.ts";
import { listAt, mapAt, type MapNode, type Path, type Span } from "../../config/node.ts";
import type { Problem } from "../../config/problem.ts";
import type { SourceText } from "../../config/read-text.ts";
import { Report, Source } from "../../config/report.ts";
import { hideSecrets } from "../../config/secrets.ts";
import { readServer } from "../../lib/address.ts";
import { isRuleKey } from "./legacy-rules.ts";

/** Keys that 0.92.13, the last release this project was compared with, reads at each place. */
const originals = {
  top: new Set(
    "provider to_https sticky_sessions upstreams client_headers server_headers authorization consul kubernetes rate_limit x4xx_limit".split(
      " ",
    ),
  ),
  host: new Set(["paths", "rate_limit", "x4xx_limit"]),
  path: new Set(
    "servers to_https client_headers server_headers rate_limit x4xx_limit healthcheck redirect_to authorization".split(
      " ",
    ),
  ),
  authorization: new Set(["type", "data"]),
  service: new Set(
    "upstream hostname path to_https sticky_sessions rate_limit x4xx_limit client_headers server_headers".split(" "),
  ),
};

/** @returns notes only; nothing for a file that is not YAML, which loading reports */
export function ignoredByOriginal(source: SourceText): Problem[] {
  const reading = new Report(new Source(source.file, source.text));
  const root = readDocument(reading);
  if (!root || reading.broken) return [];
  const report = new Report(reading.source);
  hideSecrets(root, report, new Set());
  new Comparison(report).top(root);
  return report.problems();
}

class Comparison {
  constructor(readonly report: Report) {}

  top(root: MapNode): void {
    const hosts = new Map(mapAt(root, "upstreams")?.entries);
    for (const [key, { at, value }] of root.entries) {
      if (originals.top.has(key)) continue;
      if (value.kind === "map" && value.entries.has("paths") && !isRuleKey(key, "U")) {
        this.#note(
          at,
          [key],
          "top-level host",
          `host "${key}" stands at the top level: the original routes nothing there`,
        );
        this.#host(value, [key]);
      } else this.#ignored(key, at, [key]);
    }
    for (const [name, { value }] of hosts) if (value.kind === "map") this.#host(value, ["upstreams", name]);
    this.#authorization(root, []);
    this.#discovery(root);
  }

  #host(host: MapNode, path: Path): void {
    for (const [key, { at }] of host.entries) {
      if (key === "rate_limit" || key === "x4xx_limit") {
        this.#note(at, [...path, key], `host ${key}`, `\`${key}\` of a host: the original reads it and never uses it`);
      } else if (!originals.host.has(key)) this.#ignored(key, at, [...path, key]);
    }
    for (const [key, { value }] of mapAt(host, "paths")?.entries ?? []) {
      if (value.kind === "map") this.#path(value, [...path, "paths", key]);
    }
  }

  #path(rules: MapNode, path: Path): void {
    for (const [key, { at }] of rules.entries) if (!originals.path.has(key)) this.#ignored(key, at, [...path, key]);
    for (const [i, item] of (listAt(rules, "servers")?.items ?? []).entries()) {
      const here = [...path, "servers", i];
      if (item.kind !== "scalar")
        this.#note(
          item.span,
          here,
          "server map",
          "a server written as a map: the original takes text only and refuses the file",
        );
      else if (!isServer(item.written))
        this.#note(item.span, here, "server", `server "${item.written}" does not parse: the original drops it`);
      else if (/^[a-z0-9]+:\/|^unix:/i.test(item.written))
        this.#note(item.span, here, "scheme", `server "${item.written}": the original knows no schemes and drops it`);
    }
    this.#authorization(rules, path);
  }

  #authorization(holder: MapNode, path: Path): void {
    for (const [key, { at }] of mapAt(holder, "authorization")?.entries ?? []) {
      if (!originals.authorization.has(key)) this.#ignored(key, at, [...path, "authorization", key]);
    }
  }

  #discovery(root: MapNode): void {
    const token = mapAt(root, "consul")?.entries.get("token");
    if (token) this.#note(token.at, ["consul", "token"], "token", "`token`: the original reads it and never sends it");
    for (const section of ["consul", "kubernetes"]) {
      for (const [i, service] of (listAt(mapAt(root, section), "services")?.items ?? []).entries()) {
        if (service.kind !== "map") continue;
        for (const [key, { at }] of service.entries) {
          const unused = key === "server_headers" || key === "sticky_sessions";
          if (unused || !originals.service.has(key)) this.#ignored(key, at, [section, "services", i, key]);
        }
      }
    }
  }

  #ignored(key: string, at: Span, path: Path): void {
    this.#note(at, path, `key ${key}`, `\`${key}\`: the original (0.92.13) ignores this key here`);
  }

  #note(at: Span, path: Path, id: string, message: string): void {
    this.report.add("note", "original", at, path, message, { once: id });
  }
}

function isServer(text: string): boolean {
  try {
    readServer(text);
    return true;
  } catch {
    return false;
  }
}
