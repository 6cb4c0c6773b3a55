/**
 * `client_ca`: requests pass only with a certificate that the host's authority has signed; what counts is the verified
 * state of the connection. 403 like any other refusal of who somebody is: without a certificate, and with a bad one.
 */
import type { ClientPolicy } from "../tls/client-policy.ts";
import { refuse, type Guard } from "./guard.ts";

/** @param policy of the host; undefined = none, but other hosts of the port have one */
export function clientCertificate(policy: ClientPolicy | undefined): Guard {
  const id = policy?.id ?? "";
  return {
    name: "client_ca",
    check(exchange) {
      const { secured } = exchange;
      if (!secured) {
        if (!policy?.required) return undefined;
        return refuse(403, "a client certificate is required here, and only https can show one");
      }
      // RFC 9110 15.5.20. The name of the handshake decided what was asked for; another host may not profit from that.
      if (secured.policy !== id)
        return refuse(421, "this host asks for other client certificates than this connection");
      if (!policy || secured.client) return undefined;
      if (secured.problem !== "")
        return refuse(403, "the client certificate is not accepted here", [], `client certificate: ${secured.problem}`);
      return policy.required ? refuse(403, "a client certificate is required here") : undefined;
    },
  };
}
