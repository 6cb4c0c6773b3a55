/** Secrets compared in constant time: by their digests, which have one length whatever was sent. */
import { timingSafeEqual } from "node:crypto";

const given = new Uint8Array(32);

export class SecretDigest {
  readonly #digest = new Uint8Array(32);

  constructor(secret: string) {
    Bun.SHA256.hash(secret, this.#digest);
  }

  /** @param bytes as they came */
  matches(bytes: Uint8Array): boolean {
    Bun.SHA256.hash(bytes, given);
    return timingSafeEqual(given, this.#digest);
  }
}
