/** One pair of files: a certificate with its chain, and its key, read into what a TLS context can use, or refused. */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { CertificatePair, KeyKind } from "../../data/tls/certificate-set.ts";
import { chainCertificatesMax, rsaKeyBitsMax, rsaKeyBitsMin } from "../../lib/limits.ts";
import { namesOf } from "./names.ts";
import { PemError, readPem, type PemBlock } from "./pem.ts";
import { pemOf } from "./self-signed.ts";

/** A pair that a TLS context accepts; whether its time has come is for the reader of a clock. */
export interface UsablePair extends Omit<CertificatePair, "state" | "name" | "file"> {
  /** certificates that are sent */
  readonly chainLength: number;
  /** who signed it, in a few words */
  readonly issuer: string;
  /** things to mend that do not keep it from being served */
  readonly warnings: readonly string[];
}

/** Why a pair cannot be served. */
export interface PairFault {
  readonly which: "crt" | "key";
  /** from 1 */
  readonly line: number;
  /** completes `Cannot use "FILE": ` */
  readonly message: string;
}

/** @returns the pair, or what is wrong with it; never throws */
export function readPair(crt: Uint8Array, key: Uint8Array): UsablePair | PairFault {
  let which: PairFault["which"] = "crt";
  try {
    const certificates = readCertificates(readPem(crt));
    which = "key";
    const privateKey = readKey(readPem(key));
    const kind = kindOf(privateKey);
    which = "crt";
    return assemble(certificates, privateKey, kind);
  } catch (error) {
    const line = error instanceof PemError ? error.line : 1;
    return { which, line, message: (error as Error).message };
  }
}

export function isFault(result: UsablePair | PairFault): result is PairFault {
  return "which" in result;
}

function readCertificates(blocks: readonly PemBlock[]): X509Certificate[] {
  const wanted = blocks.filter(({ label }) => label === "CERTIFICATE" || label === "X509 CERTIFICATE");
  if (wanted.length === 0)
    throw new PemError(`expected a CERTIFICATE, found a ${blocks[0]!.label}${swapped(blocks[0]!)}`, blocks[0]!.line);
  if (wanted.length > chainCertificatesMax)
    throw new PemError(`expected at most ${chainCertificatesMax} certificates, found ${wanted.length}`);
  return wanted.map(({ text, line }) => {
    try {
      return new X509Certificate(text.replaceAll("X509 CERTIFICATE", "CERTIFICATE"));
    } catch {
      throw new PemError("the CERTIFICATE block that begins here cannot be read: its content is damaged", line);
    }
  });
}

function readKey(blocks: readonly PemBlock[]): KeyObject {
  const block = blocks.find(({ label }) => label.endsWith("PRIVATE KEY"));
  if (!block)
    throw new PemError(`expected a PRIVATE KEY, found a ${blocks[0]!.label}${swapped(blocks[0]!)}`, blocks[0]!.line);
  if (block.label.startsWith("ENCRYPTED") || /^Proc-Type:.*ENCRYPTED/m.test(block.text))
    throw new PemError(
      "the key is encrypted and there is nobody to ask: openssl pkey removes its passphrase",
      block.line,
    );
  try {
    return createPrivateKey(block.text);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    const why = code.includes("UNSUPPORTED")
      ? "is of a kind that TLS cannot use here"
      : "cannot be read: it is damaged";
    throw new PemError(`the ${block.label} that begins here ${why}`, block.line);
  }
}

function swapped({ label }: PemBlock): string {
  return label.endsWith("PRIVATE KEY") || label.endsWith("CERTIFICATE") ? ": are the two files swapped?" : "";
}

const curves: Record<string, string> = { prime256v1: "P-256", secp384r1: "P-384", secp521r1: "P-521" };

/** @throws PemError when clients would refuse the key, or a handshake with it would take too long */
function kindOf(key: KeyObject): KeyKind {
  const { modulusLength = 0, namedCurve = "" } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "rsa":
      if (modulusLength >= rsaKeyBitsMin && modulusLength <= rsaKeyBitsMax) return "rsa";
      throw new PemError(`expected an RSA key of ${rsaKeyBitsMin} to ${rsaKeyBitsMax} bits, found ${modulusLength}`);
    case "ec":
      if (namedCurve in curves) return "ecdsa";
      throw new PemError(`expected a key on ${Object.values(curves).join(", ")}, found ${namedCurve}`);
    case "ed25519":
      return "ed25519";
    default:
      throw new PemError(`expected an RSA, ECDSA or Ed25519 key, found ${key.asymmetricKeyType}`);
  }
}

function assemble(certificates: X509Certificate[], key: KeyObject, kind: KeyKind): UsablePair {
  const leaf = certificates.find((certificate) => certificate.checkPrivateKey(key));
  if (!leaf)
    throw new PemError(
      `the key beside it belongs to another certificate (this one is of ${subjectOf(certificates[0]!)})`,
    );
  const chain = chainFrom(leaf, certificates);
  const certPem = chain.map(({ raw }) => pemOf("CERTIFICATE", raw)).join("");
  const keyPem = key.export({ type: "pkcs8", format: "pem" }).toString();
  try {
    createSecureContext({ cert: certPem, key: keyPem });
  } catch (error) {
    throw new PemError(`a TLS context refuses it: ${(error as Error).message}`);
  }
  const names = namesOf(leaf.raw);
  return {
    // The key follows from the certificate, so it need not be hashed.
    id: createHash("sha256").update(certPem).digest("hex").slice(0, 24),
    names,
    kind,
    certPem,
    keyPem,
    notBeforeMs: leaf.validFromDate.getTime(),
    notAfterMs: leaf.validToDate.getTime(),
    chainLength: chain.length,
    issuer: leaf.issuer === leaf.subject && leaf.verify(leaf.publicKey) ? "itself" : issuerOf(leaf),
    warnings: warningsOf(leaf, names, certificates, chain),
  };
}

/** The leaf, then whoever signed the one before, in whatever order the file has them. */
function chainFrom(leaf: X509Certificate, certificates: readonly X509Certificate[]): X509Certificate[] {
  const chain = [leaf];
  const rest = certificates.filter((certificate) => certificate !== leaf);
  for (let last = leaf; ;) {
    const next = rest.findIndex((candidate) => signed(candidate, last));
    if (next < 0) return chain;
    last = rest.splice(next, 1)[0]!;
    chain.push(last);
  }
}

function signed(issuer: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    // A public key of a kind that this library does not know cannot be checked.
    return false;
  }
}

function warningsOf(
  leaf: X509Certificate,
  names: readonly string[],
  written: readonly X509Certificate[],
  chain: readonly X509Certificate[],
): string[] {
  const warnings: string[] = [];
  const left = written.length - chain.length;
  if (left > 0)
    warnings.push(
      `${left} of its ${written.length} certificates ${left === 1 ? "is" : "are"} no part of its chain and left out`,
    );
  else if (chain.some((certificate, i) => certificate !== written[i]))
    warnings.push("its certificates are not in order (leaf first, then each one's issuer): they are sent in order");
  if (names.length === 0) warnings.push("it names no host: it can only be the default certificate");
  const uses = leaf.keyUsage as string[] | undefined;
  if (uses && uses.length > 0 && !uses.includes("1.3.6.1.5.5.7.3.1") && !uses.includes("2.5.29.37.0"))
    warnings.push("it is not meant for servers (extended key usage): clients will refuse it");
  return warnings;
}

/** "R11, Let's Encrypt" */
function issuerOf({ issuer }: X509Certificate): string {
  return partOf(issuer, "CN", "O") ?? "unknown";
}

function subjectOf({ subject }: X509Certificate): string {
  return partOf(subject, "CN", "O") ?? "no name";
}

function partOf(name: string | undefined, ...keys: string[]): string | undefined {
  const parts = keys.flatMap((key) => new RegExp(`^${key}=(.*)$`, "m").exec(name ?? "")?.[1] ?? []);
  return parts.length > 0 ? parts.join(", ") : undefined;
}
