/** Asks the admin API of a test proxy, by hand: nothing is added to what a test says. */
import type { TestProxy } from "../../support/proxy.ts";
import { send, type Got, type Sent } from "../../support/send.ts";

export const masterKey = "0123456789abcdef0123456789abcdef";
export const withKey = ["Authorization", `Bearer ${masterKey}`] as const;

export interface Admin {
  (method: string, target: string, sent?: Omit<Sent, "method">): Promise<Got>;
}

/** With the master key. */
export function adminOf(proxy: TestProxy): Admin {
  return (method, target, sent = {}) =>
    send(proxy.adminPort, target, {
      host: "127.0.0.1",
      ...sent,
      method,
      fields: [withKey, ...(sent.fields ?? [])],
    });
}

/** Without. */
export function strangerAt(proxy: TestProxy): Admin {
  return (method, target, sent = {}) => send(proxy.adminPort, target, { host: "127.0.0.1", ...sent, method });
}

export const asJson = ["Accept", "application/json"] as const;
