/** The tag form: instances tagged `aralez.service=yes` say for themselves which route they belong to (contract, section 12). */
import type { PathRules } from "../../../data/routing/rules.ts";
import { canonicalHost } from "../../../data/routing/names.ts";
import { normalisePathKey } from "../../../data/routing/path.ts";
import { suggest } from "../../../lib/suggest.ts";
import { notOfHosts } from "../claims.ts";
import { quoted } from "../quoted.ts";
import type { RouteBook } from "../source.ts";
import { WrittenSettings } from "../written-settings.ts";
import { serversOf, type Instance } from "./instances.ts";

export const serviceTag = "aralez.service=yes";

interface Tagged {
  readonly host: string;
  readonly path: string;
  readonly rules: PathRules;
}

/** What the tags of one service say. */
export interface TaggedService {
  readonly routes: readonly Tagged[];
  readonly remarks: readonly string[];
}

/** Instances with the same host and path are members of one route; its settings are those of the first instance. */
export function readTagged(instances: readonly Instance[]): TaggedService {
  const remarks: string[] = [];
  const byTags = new Map<string, Instance[]>();
  for (const instance of instances) {
    if (!instance.tags.includes(serviceTag)) continue;
    const tags = instance.tags.filter((tag) => tag.startsWith("aralez.")).join("\n");
    const same = byTags.get(tags);
    if (same) same.push(instance);
    else byTags.set(tags, [instance]);
  }
  const routes = new Map<string, { tagged: Tagged; members: Instance[] }>();
  for (const members of byTags.values()) {
    const tagged = readTags(members[0]!.tags, remarks);
    if (!tagged) continue;
    const key = tagged.host + tagged.path;
    const first = routes.get(key);
    if (!first) routes.set(key, { tagged, members });
    else {
      remarks.push(`its instances differ in their tags for ${key}: those of the first one count`);
      first.members.push(...members);
    }
  }
  return { remarks, routes: [...routes.values()].map(({ tagged, members }) => withServers(tagged, members)) };
}

/** A closed route has no members already, nor anything else. */
function withServers(tagged: Tagged, members: readonly Instance[]): Tagged {
  return tagged.rules.servers ? tagged : { ...tagged, rules: { ...tagged.rules, servers: serversOf(members) } };
}

/** @param mayClaim from {@link claimsOf} */
export function addTagged(
  book: RouteBook,
  service: string,
  { routes, remarks }: TaggedService,
  mayClaim: (host: string) => boolean,
): void {
  const owner = `service ${quoted(service)}`;
  book.remarks.push(...remarks.map((remark) => `${owner}: ${remark}`));
  for (const { host, path, rules } of routes) {
    if (mayClaim(host)) book.add(host, path, false, rules, owner);
    else book.remarks.push(`${owner}: ${notOfHosts(host)}`);
  }
}

const known = ["service", "host", "path", "rate", "4xx_rate", "to_https", "redirect", "auth"];
const repeatable = ["client_header", "server_header"];

/** @returns undefined when they name no place. Rules with `servers` are closed. */
function readTags(tags: readonly string[], remarks: string[]): Tagged | undefined {
  const single = new Map<string, string>();
  const headers: { key: string; value: string }[] = [];
  for (const tag of tags) {
    const [, key, value] = /^aralez\.([^=]*)=(.*)$/s.exec(tag) ?? [];
    if (key === undefined || value === undefined) continue;
    if (repeatable.includes(key)) headers.push({ key, value });
    else if (!known.includes(key)) {
      const meant = suggest(key, [...known, ...repeatable]);
      remarks.push(
        `tag aralez.${quoted(key, "")} is unknown${meant === undefined ? "" : `: did you mean aralez.${meant}?`}`,
      );
    } else if (!single.has(key)) single.set(key, value);
    else if (single.get(key) !== value) remarks.push(`tag aralez.${key} is there twice: the first one counts`);
  }
  const place = readPlace(single, remarks);
  if (!place) return undefined;
  const settings = new WrittenSettings();
  const use = (key: string, read: (text: string, label: string) => void) => {
    const text = single.get(key);
    if (text !== undefined) read(text, `tag aralez.${key}`);
  };
  use("rate", (text, label) => settings.limit("rate_limit", text, label));
  use("4xx_rate", (text, label) => settings.limit("x4xx_limit", text, label));
  use("to_https", (text, label) => settings.toHttps(text, label));
  use("redirect", (text, label) => settings.redirect(text, label));
  use("auth", (text, label) => settings.authorization(text, label));
  for (const { key, value } of headers)
    settings.headers(key === "client_header" ? "client_headers" : "server_headers", [value], `tag aralez.${key}`);
  remarks.push(...settings.remarks);
  return { ...place, rules: settings.closed ? { servers: [] } : settings.rules };
}

function readPlace(tags: ReadonlyMap<string, string>, remarks: string[]): { host: string; path: string } | undefined {
  const [host, path] = [tags.get("host"), tags.get("path")];
  if (host === undefined || path === undefined) {
    remarks.push(`it has the tag ${serviceTag} and no aralez.${host === undefined ? "host" : "path"}: it is no route`);
    return undefined;
  }
  try {
    const normal = path.startsWith("/") && !/[?#\x00-\x1f\x7f]/.test(path) ? normalisePathKey(path) : undefined;
    if (normal === undefined) throw new Error(`aralez.path ${quoted(path)} is not a path beginning with "/"`);
    return { host: canonicalHost(host), path: normal };
  } catch (error) {
    remarks.push(`${(error as Error).message}: it is no route`);
    return undefined;
  }
}
