/** Certificates for tests: made by openssl, as people's are, or by our own writer where hundreds are wanted. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { selfSigned } from "../../src/control/certificates/self-signed.ts";

export interface Made {
  crt: string;
  key: string;
}

/** What openssl calls the kind of key. */
export const keyKinds = {
  ecdsa: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
  p384: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
  p521: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
  secp256k1: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
  rsa: ["-newkey", "rsa:2048"],
  rsa1024: ["-newkey", "rsa:1024"],
  rsaPss: ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"],
  ed25519: ["-newkey", "ed25519"],
};

export function openssl(args: string[], cwd = tmpdir()): string {
  return execFileSync("openssl", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** A folder that goes away at the end of its scope. */
export function temporary(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "aralez-certs-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

interface Wanted {
  kind?: keyof typeof keyKinds;
  /** subject alternative names, for example `DNS:a.test` */
  names?: string[];
  subject?: string;
  days?: number;
  extra?: string[];
}

/** Self-signed, by openssl. */
export function madeBySelf({ kind = "ecdsa", names = ["DNS:a.test"], subject = "/CN=a.test", ...rest }: Wanted): Made {
  using folder = temporary();
  const alternatives = names.length > 0 ? ["-addext", `subjectAltName=${names.join(",")}`] : [];
  openssl(
    ["req", "-x509", ...keyKinds[kind], "-nodes", "-keyout", "k", "-out", "c", "-days", String(rest.days ?? 90)].concat(
      ["-subj", subject],
      alternatives,
      rest.extra ?? [],
    ),
    folder.path,
  );
  return { crt: readFileSync(join(folder.path, "c"), "utf8"), key: readFileSync(join(folder.path, "k"), "utf8") };
}

/** A leaf, its intermediate and its root, each in its own PEM block. */
export function madeByChain(name = "chain.test"): Made & { leaf: string; intermediate: string; root: string } {
  using folder = temporary();
  const read = (file: string) => readFileSync(join(folder.path, file), "utf8");
  writeFileSync(join(folder.path, "ca.ext"), "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
  writeFileSync(join(folder.path, "leaf.ext"), `subjectAltName=DNS:${name}\nextendedKeyUsage=serverAuth\n`);
  const request = (file: string, subject: string) =>
    openssl(
      ["req", ...keyKinds.ecdsa, "-nodes", "-keyout", `${file}.key`, "-out", `${file}.csr`, "-subj", subject],
      folder.path,
    );
  const sign = (file: string, by: string, ext: string) =>
    openssl(
      ["x509", "-req", "-in", `${file}.csr`, "-CA", `${by}.crt`, "-CAkey", `${by}.key`, "-CAcreateserial"].concat([
        "-days",
        "90",
        "-extfile",
        ext,
        "-out",
        `${file}.crt`,
      ]),
      folder.path,
    );
  openssl(
    ["req", "-x509", ...keyKinds.ecdsa, "-nodes", "-keyout", "root.key", "-out", "root.crt", "-subj", "/CN=Test Root"],
    folder.path,
  );
  request("mid", "/CN=Test Intermediate/O=Tests");
  sign("mid", "root", "ca.ext");
  request("leaf", `/CN=${name}`);
  sign("leaf", "mid", "leaf.ext");
  const [leaf, intermediate, root] = [read("leaf.crt"), read("mid.crt"), read("root.crt")];
  return { crt: leaf + intermediate, key: read("leaf.key"), leaf, intermediate, root };
}

/** By our own writer: about a millisecond each. @param days of validity, from `nowMs` */
export function madeByUs(names: string[], days = 90, nowMs = Date.now()): Made {
  const { certPem, keyPem } = selfSigned(names, nowMs, days);
  return { crt: certPem, key: keyPem };
}

/** Writes NAME.crt and NAME.key. */
export function put(folder: string, name: string, { crt, key }: Made): void {
  writeFileSync(join(folder, `${name}.crt`), crt);
  writeFileSync(join(folder, `${name}.key`), key);
}
