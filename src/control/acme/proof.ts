/** Proofs: puts what a challenge asks for in its place while an ACME server looks at it (RFC 8555 8.3, RFC 8737). */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { isToken, type Challenges } from "../../data/acme/challenges.ts";
import type { Served } from "../../data/tls/certificate-set.ts";
import { der, tags } from "../../lib/der.ts";
import { selfSigned } from "../certificates/self-signed.ts";
import { AcmeError } from "./acme-error.ts";
import { writePrivately } from "./files.ts";

export type ChallengeType = "http-01" | "tls-alpn-01";

export interface Proof extends Disposable {
  readonly type: ChallengeType;
}

/** @returns what takes it away again. @throws AcmeError when the server's token is none */
export function prove(
  type: ChallengeType,
  name: string,
  token: unknown,
  thumbprint: string,
  challenges: Challenges,
): Proof {
  if (typeof token !== "string" || !isToken(token)) throw new AcmeError(`${name}: the server's token is malformed`);
  const keyAuthorization = `${token}.${thumbprint}`;
  if (type === "tls-alpn-01") {
    challenges.prove(name, challengeCertificate(name, keyAuthorization, Date.now()));
    return { type, [Symbol.dispose]: () => challenges.prove(name, undefined) };
  }
  const file = join(challenges.folder(), token);
  writePrivately(file, keyAuthorization);
  challenges.add(token, keyAuthorization);
  return {
    type,
    [Symbol.dispose]() {
      challenges.remove(token);
      rmSync(file, { force: true });
    },
  };
}

/** Shown to nobody but the validation; names the key authorization's digest in a critical extension (RFC 8737 3). */
export function challengeCertificate(name: string, keyAuthorization: string, nowMs: number): Served {
  const digest = new Bun.CryptoHasher("sha256").update(keyAuthorization).digest();
  const identifier = { oid: "1.3.6.1.5.5.7.1.31", value: der(tags.octetString, digest) };
  const { certPem, keyPem, notBeforeMs, notAfterMs } = selfSigned([name], nowMs, 7, [identifier]);
  const id = new Bun.CryptoHasher("sha256").update(certPem).digest("hex").slice(0, 24);
  const pair = { id, name: "acme-challenge", file: "", names: [name], kind: "ecdsa", certPem, keyPem } as const;
  return { id, pairs: [{ ...pair, notBeforeMs, notAfterMs, state: "placeholder" }] };
}
