/** What `/status` says of the certificates in force. */
import type { CertificateSet } from "../../data/tls/certificate-set.ts";

/** @returns undefined without a TLS port */
export function certificatesOf(set: CertificateSet | undefined): readonly object[] | undefined {
  return set?.pairs.map(({ name, names, kind, notAfterMs, state }, i) => ({
    name,
    state,
    expires: new Date(notAfterMs).toISOString(),
    kind,
    names,
    default: i === set.defaultIndex,
  }));
}
