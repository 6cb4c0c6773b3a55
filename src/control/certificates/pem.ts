/** PEM (RFC 7468) as people's files really are: other text between the blocks, CRLF, a byte order mark. */

export interface PemBlock {
  /** for example `CERTIFICATE` */
  readonly label: string;
  /** the line its BEGIN stands in, from 1 */
  readonly line: number;
  /** the whole block with LF line breaks */
  readonly text: string;
}

/** A file that cannot be used. The message completes `Cannot use "NAME": `. */
export class PemError extends Error {
  /** @param line from 1 */
  constructor(
    message: string,
    readonly line = 1,
  ) {
    super(message);
  }
}

/** @throws PemError when it is not PEM, or ends inside a block */
export function readPem(bytes: Uint8Array): PemBlock[] {
  const text = textOf(bytes);
  const blocks: PemBlock[] = [];
  let label: string | undefined;
  let start = 0;
  const lines = text.split(/\r\n|\n|\r/);
  for (const [i, line] of lines.entries()) {
    const [, edge, name = ""] = /^-----(BEGIN|END) ([A-Z0-9 ]+)-----\s*$/.exec(line) ?? [];
    if (edge === "BEGIN") {
      if (label !== undefined) throw unfinished(label, start);
      [label, start] = [name, i];
    } else if (edge === "END" && label === name) {
      blocks.push({ label, line: start + 1, text: `${lines.slice(start, i + 1).join("\n")}\n` });
      label = undefined;
    } else if (edge === "END") {
      throw new PemError(`found END ${name} without its BEGIN`, i + 1);
    }
  }
  if (label !== undefined) throw unfinished(label, start);
  const last = lines.at(-1)!;
  // A chain of which the next block has just begun.
  if (last !== "" && ("-----BEGIN ".startsWith(last) || (last.startsWith("-----BEGIN ") && !last.endsWith("-----"))))
    throw new PemError("the file ends inside a line: it is half written", lines.length);
  if (blocks.length === 0) throw new PemError(`expected PEM, found ${text.length} characters without "-----BEGIN"`);
  return blocks;
}

function unfinished(label: string, index: number): PemError {
  return new PemError(`the block BEGIN ${label} has no END: the file is half written`, index + 1);
}

function textOf(bytes: Uint8Array): string {
  if (bytes.length === 0) throw new PemError("expected PEM, found 0 bytes");
  if (bytes[0] === 0x30 && bytes[1]! >= 0x80)
    throw new PemError("expected PEM, found binary data (DER or PKCS#12): convert it with openssl");
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))
    throw new PemError("expected PEM, found UTF-16 text: save it as UTF-8");
  // A mark of three bytes is what Windows editors put before UTF-8.
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return Buffer.from(marked ? bytes.subarray(3) : bytes).toString("latin1");
}
