/** The names a certificate is for: read from its bytes, because the text form of names can be made to lie. */
import { oidBytes, readDer, tags, type DerValue } from "../../lib/der.ts";
import { isHostName } from "../../lib/address.ts";

const subjectAltName = oidBytes("2.5.29.17");
const commonName = oidBytes("2.5.4.3");

/**
 * DNS names and addresses of the subject alternative names, then the common names that look like a host (as the
 * original reads them). Others cannot be asked for in a TLS handshake and are left out.
 * @param raw the certificate as DER
 * @returns lower-case host names, `*.x` wildcards, addresses in canonical text; none twice
 * @throws RangeError when it is no certificate
 */
export function namesOf(raw: Uint8Array): string[] {
  const [certificate] = readDer(raw);
  const [tbs] = readDer(certificate?.body ?? raw);
  // RFC 5280 4.1: version (optional), serial number, algorithm, issuer, validity, subject, key, …, extensions.
  const fields = readDer(tbs?.body ?? raw);
  const subject = fields[fields[0]?.tag === 0xa0 ? 5 : 4];
  const extensions = fields.find(({ tag }) => tag === 0xa3);
  const found = [...alternativeNames(extensions), ...commonNames(subject)];
  return [...new Set(found.map(serverName).filter((name) => name !== undefined))];
}

function* alternativeNames(extensions: DerValue | undefined): Iterable<string> {
  const [list] = extensions ? readDer(extensions.body) : [];
  for (const extension of list ? readDer(list.body) : []) {
    const [id, ...rest] = readDer(extension.body);
    const value = rest.at(-1);
    if (!id || !value || !equal(id.body, subjectAltName)) continue;
    const [names] = readDer(value.body);
    for (const { tag, body } of names ? readDer(names.body) : []) {
      if (tag === 0x82) yield Buffer.from(body).toString("latin1");
      if (tag === 0x87) yield addressOf(body);
    }
  }
}

const textTags: readonly number[] = [tags.utf8String, tags.printableString, tags.t61String, tags.ia5String];

function* commonNames(subject: DerValue | undefined): Iterable<string> {
  for (const relative of subject ? readDer(subject.body) : []) {
    for (const attribute of readDer(relative.body)) {
      const [id, value] = readDer(attribute.body);
      if (id && value && equal(id.body, commonName) && textTags.includes(value.tag))
        yield Buffer.from(value.body).toString("latin1");
    }
  }
}

/** @returns "" when it is not an address */
function addressOf(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return "";
  const groups = Buffer.from(bytes).toString("hex").match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

function serverName(text: string): string | undefined {
  const name = (text.endsWith(".") ? text.slice(0, -1) : text).toLowerCase();
  if (/^\d+\.\d+\.\d+\.\d+$/.test(name) || /^[0-9a-f:]*:[0-9a-f:.]*$/.test(name)) return name;
  return isHostName(name.startsWith("*.") ? name.slice(2) : name) ? name : undefined;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
