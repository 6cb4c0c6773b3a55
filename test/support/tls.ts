/** Certificates made by openssl, sets of them, and clients of the TLS port. */
import { createHash, randomBytes } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { CertificatePair, CertificateSet, KeyKind } from "../../src/data/tls/certificate-set.ts";
import { pathOf, Program } from "./programs.ts";
import { rawOn, type RawAnswer } from "./raw.ts";

export interface Pem {
  readonly key: string;
  readonly cert: string;
}

/** An authority that signs certificates. */
export interface Authority extends Pem, Disposable {
  sign(subject: string, names?: readonly string[], more?: SignOptions): Pem;
}

export interface SignOptions {
  readonly kind?: KeyKind;
  readonly until?: "past";
  /** further lines of openssl's extension file, for example `extendedKeyUsage=serverAuth` */
  readonly extensions?: readonly string[];
}

const keyArguments = {
  ecdsa: ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
  rsa: ["rsa:2048"],
  ed25519: ["ed25519"],
} as const;

function openssl(args: readonly string[], cwd: string): void {
  execFileSync(pathOf("openssl"), args, { cwd, stdio: ["ignore", "ignore", "pipe"] });
}

/** A self-signed pair. @param name for its subject and as its only name */
export function selfSigned(name: string, kind: KeyKind = "ecdsa"): Pem {
  const folder = mkdtempSync(join(tmpdir(), "aralez-pem-"));
  try {
    const names = ["-addext", `subjectAltName=DNS:${name}`];
    const request = ["req", "-x509", "-newkey", ...keyArguments[kind], "-nodes", "-subj", `/CN=${name}`, "-days", "90"];
    openssl([...request, ...names, "-keyout", "key", "-out", "cert"], folder);
    return { key: readFileSync(join(folder, "key"), "utf8"), cert: readFileSync(join(folder, "cert"), "utf8") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function startAuthority(name: string): Authority {
  const folder = mkdtempSync(join(tmpdir(), "aralez-ca-"));
  const extension = ["-addext", "basicConstraints=critical,CA:TRUE"];
  const request = ["req", "-newkey", ...keyArguments.ecdsa, "-nodes"];
  openssl(
    [...request, "-x509", "-subj", `/CN=${name}`, "-days", "90", ...extension, "-keyout", "ca.key", "-out", "ca.crt"],
    folder,
  );
  const read = (file: string) => readFileSync(join(folder, file), "utf8");
  let signed = 0;
  return {
    key: read("ca.key"),
    cert: read("ca.crt"),
    sign(subject, names = [], { kind = "ecdsa", until, extensions = [] } = {}) {
      const n = ++signed;
      openssl(
        [
          "req",
          "-newkey",
          ...keyArguments[kind],
          "-nodes",
          "-utf8",
          "-subj",
          subject,
          "-keyout",
          `${n}.key`,
          "-out",
          `${n}.csr`,
        ],
        folder,
      );
      const alternatives = names.map((each) => `DNS:${each}`).join(",");
      const lines = alternatives === "" ? extensions : [`subjectAltName=${alternatives}`, ...extensions];
      writeFileSync(join(folder, `${n}.ext`), lines.map((line) => `${line}\n`).join(""));
      // openssl x509 of Debian 12 cannot set an end: a certificate of the past has a negative term.
      const term = until === "past" ? ["-days", "-1"] : ["-days", "90"];
      openssl(
        [
          "x509",
          "-req",
          "-in",
          `${n}.csr`,
          "-CA",
          "ca.crt",
          "-CAkey",
          "ca.key",
          "-set_serial",
          // Random and positive, as authorities must choose it (RFC 5280 4.1.2.2).
          `0x40${randomBytes(15).toString("hex")}`,
          ...term,
          "-extfile",
          `${n}.ext`,
          "-out",
          `${n}.crt`,
        ],
        folder,
      );
      return { key: read(`${n}.key`), cert: read(`${n}.crt`) };
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export function pairOf(
  name: string,
  { key, cert }: Pem,
  names: readonly string[] = [name],
  kind: KeyKind = "ecdsa",
): CertificatePair {
  const id = createHash("sha256").update(cert).update(key).digest("hex");
  const [notBeforeMs, notAfterMs] = [0, Date.now() + 86_400_000];
  return { id, name, file: "", names, kind, certPem: cert, keyPem: key, notBeforeMs, notAfterMs, state: "valid" };
}

export function setOf(...pairs: readonly CertificatePair[]): CertificateSet {
  return { version: pairs.map(({ id }) => id).join(), pairs, defaultIndex: 0 };
}

/** A TLS client of node's. @param serverName "" = no SNI */
export function openTls(port: number, serverName: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, servername: serverName, rejectUnauthorized: false, ...options });
    socket.once("secureConnect", () => resolve(socket)).once("error", reject);
  });
}

/** What an answer of {@link startTls} says. */
export interface Told {
  readonly secure: boolean;
  readonly secured?: {
    readonly serverName: string;
    readonly policy: string;
    readonly problem: string;
    readonly client?: { readonly field: string; readonly subject: string };
  };
  readonly peer: string;
  readonly authority: string;
}

/** One request on a connection that stays open. @returns status and body */
export function askOn(socket: TLSSocket, host = "a.test", target = "/"): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    let text = "";
    const listen = (data: Buffer) => {
      text += data.toString("latin1");
      const split = text.indexOf("\r\n\r\n");
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(text)?.[1] ?? NaN);
      if (split < 0 || text.length < split + 4 + length) return;
      socket.off("data", listen).off("close", left).off("error", left);
      resolve({ status: Number(text.split(" ")[1]), body: text.slice(split + 4) });
    };
    const left = (error?: Error | boolean) =>
      reject(error instanceof Error ? error : new Error(`closed after ${text.length} bytes`));
    socket.on("data", listen).on("close", left).on("error", left);
    socket.write(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  });
}

/** What `openssl s_client` says of a handshake. @param args further arguments */
export async function handshake(
  port: number,
  args: readonly string[],
): Promise<{ ok: boolean; version: string; cipher: string; subject: string; output: string }> {
  await using program = new Program("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, ...args]);
  await program.end();
  const { output } = program;
  const [, version = "", cipher = ""] = /^(?:New|Reused), (\S+), Cipher is (\S+)/m.exec(output) ?? [];
  const negotiated = /^ {4}Protocol {2}: (\S+)/m.exec(output)?.[1] ?? version;
  const subject = /^subject=(.*)$/m.exec(output)?.[1]?.replace(/ = /g, "=") ?? "";
  return { ok: cipher !== "" && cipher !== "(NONE)", version: negotiated, cipher, subject, output };
}

/** `raw` over TLS. @param serverName "" = no SNI */
export function rawOver(
  port: number,
  bytes: string,
  { serverName = "", options = {} }: { readonly serverName?: string; readonly options?: ConnectionOptions } = {},
): Promise<RawAnswer> {
  const socket = connect({ host: "127.0.0.1", port, servername: serverName, rejectUnauthorized: false, ...options });
  return rawOn(socket, "secureConnect", bytes);
}
