/**
 * Settings that stand in tags and annotations, as text: checked by the shapes of upstreams.yaml. A guard that cannot be
 * read closes its route; anything else that cannot is left out.
 */
import type { z } from "zod";
import { authorizationKeys } from "../../data/guards/authorization/rules.ts";
import { guardKeys } from "../../data/guards/rules.ts";
import { headerKeys } from "../../data/headers/rules.ts";
import type { PathRules } from "../../data/routing/rules.ts";

/** Shorter secrets of HS256 can be found out by trying (as in upstreams.yaml). */
const jwtSecretBytesMin = 16;

const authorizationTypes = ["none", "basic", "apikey", "jwt", "forward"];

const truths: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  "1": true,
  false: false,
  no: false,
  off: false,
  "0": false,
};

export class WrittenSettings {
  readonly rules: { -readonly [K in keyof PathRules]: PathRules[K] } = {};
  readonly remarks: string[] = [];
  /** a guard could not be read */
  closed = false;

  limit(key: "rate_limit" | "x4xx_limit", text: string, label: string): void {
    const number = /^\s*[0-9]{1,15}\s*$/.test(text) ? Number(text) : text;
    this.#guard(guardKeys[key].shape, number, label, (value) => (this.rules[key] = value));
  }

  toHttps(text: string, label: string): void {
    const value = truths[text.trim().toLowerCase()];
    if (value === undefined) this.#close(label, 'expected "true" or "false"');
    else this.rules.to_https = value;
  }

  redirect(text: string, label: string): void {
    this.#guard(guardKeys.redirect_to.shape, text, label, (value) => (this.rules.redirect_to = value));
  }

  /** `TYPE DATA`, as in `basic user:password`. */
  authorization(text: string, label: string): void {
    const [, type = "", data] = /^\s*(\S+)(?:\s+(.*\S))?\s*$/s.exec(text) ?? [];
    if (!authorizationTypes.includes(type.toLowerCase()))
      return this.#close(label, 'expected "TYPE DATA", where TYPE is basic, apikey, jwt, forward or none');
    const written = { type: type.toLowerCase(), ...(data !== undefined && { data }) };
    this.#guard(authorizationKeys.authorization.shape, written, label, (value) => {
      if (value.type === "jwt" && Buffer.byteLength(value.data ?? "") < jwtSecretBytesMin)
        return this.#close(label, `a jwt secret has at least ${jwtSecretBytesMin} bytes`);
      this.rules.authorization = value;
    });
  }

  headers(key: "client_headers" | "server_headers", items: readonly unknown[], label: string): void {
    const rules = items.flatMap((item) => {
      const result = headerKeys[key].shape.safeParse([item]);
      if (!result.success) this.remarks.push(`${label} is left out: ${result.error.issues[0]?.message}`);
      return result.success ? result.data : [];
    });
    if (rules.length > 0) this.rules[key] = [...(this.rules[key] ?? []), ...rules];
  }

  #guard<S extends z.ZodType>(shape: S, value: unknown, label: string, take: (value: z.output<S>) => void): void {
    const result = shape.safeParse(value);
    if (result.success) take(result.data);
    else this.#close(label, result.error.issues[0]?.message ?? "it cannot be read");
  }

  #close(label: string, why: string): void {
    this.closed = true;
    this.remarks.push(`${label} cannot be used: ${why}; its route answers 503 until it can`);
  }
}
