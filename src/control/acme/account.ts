/** Accounts at ACME servers (RFC 8555 7.3): one for each directory, kept in the state folder, its key before all else. */
import { createPrivateKey } from "node:crypto";
import { join } from "node:path";
import { AcmeError } from "./acme-error.ts";
import { isSecureUrl, type AcmeClient } from "./client.ts";
import { readMap, writePrivately } from "./files.ts";
import { bindExternally, newAccountKey, readAccountKey, type AccountKey } from "./jws.ts";

export interface Account {
  readonly key: AccountKey;
  /** its URL, which is how requests name it */
  readonly url: string;
}

export interface AccountWishes {
  /** the state folder */
  readonly folder: string;
  readonly email: string | undefined;
  readonly eab: { readonly key_id: string; readonly hmac_key: string } | undefined;
  log(level: "info" | "warn", text: string): void;
}

interface Stored {
  readonly directory: string;
  /** PKCS#8 PEM */
  readonly key: string;
  /** "" until the server has confirmed it */
  readonly url: string;
  readonly email: string;
}

/** The account of this directory, made when there is none. @throws AcmeError, or the error of the file system */
export async function openAccount(client: AcmeClient, wishes: AccountWishes): Promise<Account> {
  const file = fileOf(client, wishes.folder);
  const stored = readStored(file) ?? readOriginal(wishes.folder, client.options.url);
  const pem = stored?.key ?? (await newAccountKey());
  const email = wishes.email ?? "";
  const keep = (url: string) =>
    writePrivately(
      file,
      JSON.stringify({ directory: client.options.url, key: pem, url, email } satisfies Stored, null, 2),
    );
  // A key that the server has seen must not be lost when this process ends in the next moment.
  if (!stored) keep("");
  const key = await readAccountKey(pem);
  let url = stored?.url ?? "";
  if (url === "") {
    url = await register(client, key, wishes);
    keep(url);
  } else if (stored!.email !== email) {
    await client.post("Cannot change the contact of the ACME account", url, key, { kid: url }, contactOf(email));
    keep(url);
  }
  return { key, url };
}

/** The server does not know it any more: the next {@link openAccount} registers its key again. */
export function forgetAccount(client: AcmeClient, folder: string): void {
  const file = fileOf(client, folder);
  const stored = readStored(file);
  if (stored) writePrivately(file, JSON.stringify({ ...stored, url: "" }, null, 2));
}

async function register(client: AcmeClient, key: AccountKey, { email, eab, log }: AccountWishes): Promise<string> {
  const { newAccount, meta } = await client.directory();
  if (meta.externalAccountRequired && !eab)
    throw new AcmeError(`${client.options.url} wants an external account: set \`acme: {eab: {key_id, hmac_key}}\``);
  const answer = await client.post(
    "Cannot create the ACME account",
    newAccount,
    key,
    { jwk: key.jwk },
    {
      termsOfServiceAgreed: true,
      ...contactOf(email ?? ""),
      ...(eab && { externalAccountBinding: await bindExternally(key.jwk, newAccount, eab.key_id, eab.hmac_key) }),
    },
  );
  if (!isSecureUrl(answer.location)) throw new AcmeError("Cannot create the ACME account: the answer names no account");
  const terms =
    typeof meta.termsOfService === "string" ? `; its terms of service are agreed to: ${meta.termsOfService}` : "";
  log("info", `account ${answer.location} at ${client.options.url}${terms}`);
  return answer.location;
}

function contactOf(email: string): { contact: string[] } {
  return { contact: email === "" ? [] : [`mailto:${email}`] };
}

function fileOf({ options }: AcmeClient, folder: string): string {
  const hash = new Bun.CryptoHasher("sha256").update(options.url).digest("hex").slice(0, 8);
  return join(folder, "accounts", `${new URL(options.url).hostname}-${hash}.json`);
}

function readStored(file: string): Stored | undefined {
  const map = readMap(file);
  if (!map || typeof map.key !== "string") return undefined;
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  return { directory: text(map.directory), key: map.key, url: text(map.url), email: text(map.email) };
}

/** What the original has left in the same folder, when it was for the same server. */
function readOriginal(folder: string, directory: string): Stored | undefined {
  const { id, key_pkcs8, directory: theirs } = readMap(join(folder, "acme_credentials.json")) ?? {};
  if (typeof key_pkcs8 !== "string" || !isSecureUrl(id) || theirs !== directory) return undefined;
  const der = Buffer.from(key_pkcs8, "base64url");
  try {
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    return { directory, key: key.export({ type: "pkcs8", format: "pem" }).toString(), url: id as string, email: "" };
  } catch {
    return undefined;
  }
}
