/** What `/status` says of the certificates in force, and of files that are none. */
import type { Problem } from "../../config/problem.ts";
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

/** @returns undefined without a TLS port; what lies in the folders and should be mended, the messages hold no keys */
export function certificateProblemsOf(problems: readonly Problem[] | undefined): readonly object[] | undefined {
  return problems?.map(({ severity, file, message }) => ({ severity, file, message }));
}
