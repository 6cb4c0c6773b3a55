/** Where certificates lie, which pairs of files are there, and their bytes. */
import { accessSync, closeSync, constants, fstatSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Settings } from "../../config/settings.ts";
import { certificateFileBytesMax } from "../../lib/limits.ts";
import { whyUnreadable } from "../../lib/unreadable.ts";

/** What decides which files are read. */
export type CertificateSettings = Pick<
  Settings,
  "proxy_configs" | "acme" | "default_certificate" | "tls_certificate" | "tls_key_file"
>;

/** The place of one pair; whether anything is there is for {@link listPlaces} to say. */
export interface PairPlace {
  /** NAME of NAME.crt and NAME.key */
  readonly name: string;
  readonly crt: string;
  readonly key: string;
  /** of two usable pairs with one name the one of the higher rank is served */
  readonly rank: number;
  /** lies in no folder; which of the given ones it is, the one that matters most first */
  readonly given?: number;
  /** of a given one: the names that it may be shown for */
  readonly hosts?: readonly string[];
}

/** What tells places apart: a certificate may lie beside one key and be configured with another. */
export function placeId({ crt, key }: PairPlace): string {
  return `${crt}\0${key}`;
}

/** Pairs of which at least one file is there. */
export interface Listing {
  readonly places: readonly PairPlace[];
  /** folders that are there and cannot be listed, with the reason: nothing is known about their pairs */
  readonly unknown: ReadonlyMap<string, string>;
}

const stateFolderDefault = "/var/lib/aralez";

/** Where ACME keeps its state (contract, section 14): beside the configuration if that can be written. */
export function stateFolder({ proxy_configs, acme }: CertificateSettings): string {
  if (acme?.state !== undefined) return acme.state;
  if (proxy_configs === undefined) return stateFolderDefault;
  const beside = join(proxy_configs, "autoconfigs");
  return (isWritable(beside) ?? isWritable(proxy_configs)) ? beside : stateFolderDefault;
}

/** @returns undefined when it is not there */
function isWritable(folder: string): boolean | undefined {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? undefined : false;
  }
}

/** The folders that are read, the later ones winning. What people put there wins over what ACME has fetched. */
export function certificateFolders(settings: CertificateSettings): string[] {
  const { proxy_configs: folder } = settings;
  const own = folder === undefined ? [] : [folder, join(folder, "certificates")];
  return [...new Set([join(stateFolder(settings), "certificates"), ...own])];
}

/** True for the names of files that belong to a pair; editors' own and Kubernetes' hidden ones do not. */
export function isPairFile(name: string): boolean {
  return /^[^.].*\.(?:crt|key)$/.test(name);
}

/** The files of pairs in a folder, with their folder; none when it cannot be listed. */
export function pairFilesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter(isPairFile)
      .sort()
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}

export function listPlaces(settings: CertificateSettings): Listing {
  const places: PairPlace[] = [];
  const unknown = new Map<string, string>();
  const { tls_certificate: crt, tls_key_file: key } = settings;
  if (crt !== undefined && key !== undefined && (isThere(crt) || isThere(key)))
    places.push({ name: basename(crt).replace(/\.[^.]*$/, ""), crt, key, rank: 0 });
  for (const [i, folder] of certificateFolders(settings).entries()) {
    try {
      const names = new Set(
        readdirSync(folder)
          .filter(isPairFile)
          .map((name) => name.slice(0, -4)),
      );
      for (const name of [...names].sort())
        places.push({ name, crt: join(folder, `${name}.crt`), key: join(folder, `${name}.key`), rank: i + 1 });
    } catch (error) {
      const { code = "" } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT") unknown.set(folder, whyUnreadable(folder, error));
    }
  }
  return { places, unknown };
}

/** Whether a pair lies in a folder that {@link Listing.unknown} names. */
export function isUnknown({ crt }: PairPlace, { unknown }: Listing): boolean {
  return unknown.has(dirname(crt));
}

function isThere(file: string): boolean {
  try {
    statSync(file);
    return true;
  } catch {
    return false;
  }
}

export interface ReadFile {
  readonly bytes: Uint8Array;
  /** when its content was last touched, milliseconds since 1970 */
  readonly touchedMs: number;
}

/** @returns the file, or why it cannot be read (completes `Cannot use "FILE": `) */
export function readPairFile(file: string): ReadFile | string {
  let descriptor: number | undefined;
  try {
    // Not blocking: a FIFO of that name must not stop the proxy.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) return `expected a file, found ${stat.isDirectory() ? "a folder" : "something else"}`;
    if (stat.size > certificateFileBytesMax) return tooLarge(stat.size);
    const bytes = new Uint8Array(stat.size + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = readSync(descriptor, bytes, length, bytes.length - length, null);
    const after = fstatSync(descriptor);
    if (length !== stat.size || after.size !== stat.size || after.mtimeMs !== stat.mtimeMs)
      return "it changed while it was read";
    return { bytes: bytes.subarray(0, length), touchedMs: stat.ctimeMs };
  } catch (error) {
    return whyUnreadable(file, error);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function tooLarge(bytes: number): string {
  return `expected at most ${certificateFileBytesMax} bytes, found ${bytes}`;
}
