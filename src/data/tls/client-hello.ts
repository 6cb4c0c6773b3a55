/** ClientHello: what a client offers by ALPN, read from its first bytes before the handshake has them. */

/**
 * @param bytes what has come of the connection (RFC 8446 4.1.2, 5.1; RFC 7301 3.1)
 * @returns undefined while bytes are missing; false for what is no ClientHello, or one of several records
 */
export function offersProtocol(bytes: Uint8Array, protocol: string): boolean | undefined {
  if (bytes.length < 5) return undefined;
  const [type, , , high = 0, low = 0] = bytes;
  if (type !== 22) return false;
  const end = 5 + high * 256 + low;
  if (bytes.length < end) return undefined;
  const reader = new Reader(bytes.subarray(5, end));
  try {
    if (reader.number(1) !== 1) return false;
    const hello = new Reader(reader.take(reader.number(3)));
    hello.take(34);
    for (const size of [1, 2, 1]) hello.take(hello.number(size));
    const extensions = new Reader(hello.take(hello.number(2)));
    while (extensions.left > 0) {
      const kind = extensions.number(2);
      const body = extensions.take(extensions.number(2));
      if (kind === 16) return names(body).includes(protocol);
    }
  } catch {
    // It ends too early: the handshake will say so.
  }
  return false;
}

function names(body: Uint8Array): string[] {
  const list = new Reader(body);
  const entries = new Reader(list.take(list.number(2)));
  const found: string[] = [];
  while (entries.left > 0) found.push(Buffer.from(entries.take(entries.number(1))).toString("latin1"));
  return found;
}

class Reader {
  #at = 0;

  constructor(readonly bytes: Uint8Array) {}

  get left(): number {
    return this.bytes.length - this.#at;
  }

  /** Big-endian. */
  number(size: number): number {
    return this.take(size).reduce((sum, byte) => sum * 256 + byte, 0);
  }

  /** @throws RangeError beyond the end */
  take(size: number): Uint8Array {
    if (size > this.left) throw new RangeError(`expected ${size} bytes, found ${this.left}`);
    return this.bytes.subarray(this.#at, (this.#at += size));
  }
}
