/** The certificate of the TLS scenarios: ECDSA P-256, self-signed, one for all hosts, the same files for all contenders. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { environment } from "./processes.ts";

export interface CertificateFiles {
  /** holds this pair and nothing else */
  readonly folder: string;
  readonly certificate: string;
  readonly key: string;
}

/** What h2load offers, so that all contenders encrypt alike: neither does a proxy choose, nor do its defaults matter. */
export const suite = "TLS_AES_128_GCM_SHA256";
export const group = "X25519";

export function certificateFiles(folder: string): CertificateFiles {
  return { folder, certificate: join(folder, "bench.crt"), key: join(folder, "bench.key") };
}

/** @throws Error with openssl's last words */
export function makeCertificate({ folder, certificate, key }: CertificateFiles): void {
  mkdirSync(folder, { recursive: true });
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"];
  const names = ["-subj", "/CN=bench.test", "-addext", "subjectAltName=DNS:*.bench.test"];
  const command = ["openssl", "req", "-x509", ...kind, "-keyout", key, "-out", certificate, ...names];
  const { exitCode, stderr } = Bun.spawnSync(command, { env: environment(), cwd: folder, stdin: "ignore" });
  if (exitCode !== 0) throw new Error(`openssl could not make a certificate: ${stderr.toString().trim()}`);
}
