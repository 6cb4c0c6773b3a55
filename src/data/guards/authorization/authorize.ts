/** Authorization: the guard that a rule asks for, type by type. */
import { readServer } from "../../../lib/address.ts";
import type { Forwarder } from "../../forward/forwarder.ts";
import { HeaderEdits, noEdits } from "../../headers/edits.ts";
import type { Route } from "../../routing/table.ts";
import { Health } from "../../upstream/endpoint.ts";
import type { Guard } from "../guard.ts";
import type { GuardState } from "../state.ts";
import { ApiKeyGuard } from "./api-key.ts";
import { BasicGuard } from "./basic.ts";
import { realmOf } from "./challenge.ts";
import { CopyHeaders, copyHeadersDefault } from "./copy-headers.ts";
import { ForwardGuard } from "./forward.ts";
import { JwtGuard } from "./jwt.ts";
import type { AuthorizationRule } from "./rules.ts";
import { TokenVerifier } from "./token-verifier.ts";

/** What authorization needs beside its rule. */
export interface AuthorizationContext {
  readonly guardState: GuardState;
  /** tokens signed with it are good on every `jwt` route without public keys */
  readonly masterKey: string | undefined;
  /** the one that asks forward services; asked for at each request */
  forwarder(): Forwarder;
  /** @returns the text of a PEM file. @throws when it cannot be read */
  readCa(file: string): string;
  warn(text: string): void;
}

/**
 * @param host pattern as matched
 * @returns undefined for `none`
 * @throws Error when its keys cannot be used
 */
export function authorize(rule: AuthorizationRule, host: string, context: AuthorizationContext): Guard | undefined {
  const { guardState } = context;
  switch (rule.type) {
    case "none":
      return undefined;
    case "basic":
      return new BasicGuard(rule, realmOf(rule.realm, host), guardState.passwords);
    case "apikey":
      return new ApiKeyGuard(rule, realmOf(undefined, host));
    case "jwt": {
      const keySet = rule.jwks === undefined ? undefined : guardState.keySet(rule.jwks, context.warn);
      return new JwtGuard(new TokenVerifier(rule, context.masterKey, keySet), realmOf(undefined, host));
    }
    case "forward":
      return forwardGuard(rule, context);
  }
}

const idleMsMax = 60_000;

function forwardGuard(rule: AuthorizationRule & { type: "forward" }, context: AuthorizationContext): ForwardGuard {
  const url = new URL(rule.data);
  const { address } = readServer(url.origin);
  const endpoint = context.guardState.endpoint(address);
  const timeoutMs = (rule.timeout ?? 5) * 1000;
  const secure = url.protocol === "https:";
  const route: Route = {
    host: url.host,
    path: url.pathname,
    name: `authorization ${url.host}`,
    guards: [],
    files: undefined,
    pool: undefined,
    requestEdits: new HeaderEdits(new Set(), [], url.host),
    responseEdits: noEdits,
    hsts: undefined,
    stripPrefix: false,
    cutsTokens: false,
    timeouts: { connectMs: timeoutMs, firstByteMs: timeoutMs, idleMs: idleMsMax, streamMs: idleMsMax },
    retries: 0,
    retryBodyBytesMax: 0,
    maxBodyBytes: 0,
    stickySeconds: 0,
    trust: {
      verify: rule.verify ?? rule.ca_file !== undefined,
      caFile: rule.ca_file,
      ca: rule.ca_file === undefined ? undefined : context.readCa(rule.ca_file),
      serverName: url.hostname.replace(/^\[|\]$/g, ""),
    },
  };
  const member = {
    endpoint,
    health: new Health(endpoint, undefined, { maxFails: 0, failMs: 0 }),
    healthKey: "",
    weight: 1,
    protocol: secure ? ("https" as const) : ("http" as const),
    stickyId: "",
  };
  return new ForwardGuard(
    {
      target: url.pathname + url.search,
      member,
      route,
      timeoutMs,
      copy: new CopyHeaders(rule.copy_headers ?? copyHeadersDefault),
    },
    () => context.forwarder(),
  );
}
