/** Reads a line that nobody should see: from a pipe as it is, from a terminal without echo. Never from arguments, which `ps` shows. */

const secretBytesMax = 4_096;

/**
 * @param prompt written to stderr, so that stdout holds nothing but the result
 * @throws Error when it is too long, or not UTF-8
 */
export async function readSecretLine(prompt: string): Promise<string> {
  process.stderr.write(prompt);
  const { stdin } = process;
  const hidden = stdin.isTTY && prompt !== "";
  if (hidden) stdin.setRawMode(true);
  try {
    return decode(await readLine(hidden));
  } finally {
    if (hidden) {
      stdin.setRawMode(false);
      process.stderr.write("\n");
    }
  }
}

/** What came behind the line before: it belongs to the next one. */
let rest = Buffer.alloc(0);

function readLine(raw: boolean): Promise<Buffer> {
  const { stdin } = process;
  return new Promise((resolve, reject) => {
    let bytes: number[] = [];
    let over = false;
    const stop = (act: () => void) => {
      over = true;
      stdin.off("data", onData);
      stdin.off("end", onEnd);
      stdin.pause();
      act();
    };
    const onEnd = () => stop(() => resolve(Buffer.from(bytes)));
    const onData = (chunk: Buffer) => {
      for (const [at, byte] of chunk.entries()) {
        if (byte === 0x0a || (raw && byte === 0x0d)) {
          rest = Buffer.from(chunk.subarray(at + 1));
          return stop(() => resolve(Buffer.from(bytes)));
        }
        // In raw mode the terminal leaves its keys to us.
        if (raw && byte === 0x03) return stop(() => reject(new Error("interrupted")));
        if (raw && (byte === 0x7f || byte === 0x08)) bytes = withoutLast(bytes);
        else bytes.push(byte);
        if (bytes.length > secretBytesMax)
          return stop(() => reject(new Error(`expected at most ${secretBytesMax} bytes, found more`)));
      }
    };
    stdin.on("data", onData);
    stdin.on("end", onEnd);
    const before = rest;
    rest = Buffer.alloc(0);
    onData(before);
    if (!over) stdin.resume();
  });
}

/** One character less, whatever its bytes (UTF-8). */
function withoutLast(bytes: number[]): number[] {
  let end = bytes.length - 1;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.slice(0, Math.max(0, end));
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes).replace(/\r$/, "");
  } catch {
    throw new Error("the password is not UTF-8");
  }
}
