/** The certificate of `config_tls_address`: two files, read again when they change, the last good pair kept. */
import { readFileSync, statSync } from "node:fs";
import type { CertificateSet } from "../../data/tls/certificate-set.ts";
import { certificateFileBytesMax } from "../../lib/limits.ts";
import { stateOf } from "../certificates/book.ts";
import { isFault, readPair } from "../certificates/pair.ts";

export class AdminCertificate {
  #seen = "";

  constructor(
    readonly crt: string,
    readonly key: string,
  ) {}

  /**
   * @returns the set when the files have changed since the last look; undefined when they are as they were
   * @throws Error that says what is wrong, once for each state of the files
   */
  look(nowMs = Date.now()): CertificateSet | undefined {
    const seen = fingerprint(this.crt) + fingerprint(this.key);
    if (seen === this.#seen) return undefined;
    this.#seen = seen;
    const pair = readPair(read(this.crt), read(this.key));
    if (isFault(pair)) throw new Error(`Cannot use "${pair.which === "crt" ? this.crt : this.key}": ${pair.message}`);
    const { issuer: _issuer, chainLength: _length, warnings: _warnings, ...plain } = pair;
    const state = stateOf(pair, nowMs);
    return {
      version: pair.id,
      pairs: [{ ...plain, name: "config_tls_certificate", file: this.crt, state }],
      defaultIndex: 0,
    };
  }
}

function fingerprint(file: string): string {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats ? `${stats.ino} ${stats.size} ${stats.mtimeMs};` : "none;";
}

function read(file: string): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new Error(`Cannot read "${file}": ${(error as NodeJS.ErrnoException).code ?? "error"}`);
  }
  if (bytes.length > certificateFileBytesMax)
    throw new Error(`Cannot use "${file}": expected at most ${certificateFileBytesMax} bytes, found ${bytes.length}`);
  return bytes;
}
