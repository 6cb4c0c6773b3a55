/** `allow` and `deny`: which client addresses may pass. */
import { AddressSet } from "../../lib/address.ts";
import { refuse, type Guard } from "./guard.ts";

const refusal = "clients from this address are not served here";

/** @param items checked at load */
export function deny(items: readonly string[]): Guard {
  const denied = new AddressSet(items);
  return {
    name: "deny",
    check: ({ client }) =>
      denied.has(client) ? refuse(403, refusal, [], "the client's address is in `deny`") : undefined,
  };
}

/** @param items checked at load, not empty. A peer without an address (a unix socket) is in no list. */
export function allow(items: readonly string[]): Guard {
  const allowed = new AddressSet(items);
  return {
    name: "allow",
    check: ({ client }) =>
      allowed.has(client) ? undefined : refuse(403, refusal, [], "the client's address is not in `allow`"),
  };
}
