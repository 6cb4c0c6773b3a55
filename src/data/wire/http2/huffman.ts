/** The Huffman code of HPACK (RFC 7541 5.2 and appendix B), both ways, by tables made at start. */

/**
 * Bits per symbol, 0 to 255 and EOS, in base 36. The code is canonical: shorter codes first, and among codes of one
 * length the smaller symbol, so the lengths are all there is to know.
 */
const lengthsText =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6f5656566657766" +
  "6567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmnqqkjmnmpqqqrrqopjlqrrqrollqq" +
  "srrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu";

const EOS = 256;

/** by symbol */
const lengths = Uint8Array.from(lengthsText, (digit) => Number.parseInt(digit, 36));
const codes: Uint32Array = makeCodes();

function makeCodes(): Uint32Array {
  const made = new Uint32Array(257);
  let code = 0;
  for (let length = 5; length <= 30; length++) {
    for (let symbol = 0; symbol <= EOS; symbol++) if (lengths[symbol] === length) made[symbol] = code++;
    code *= 2;
  }
  return made;
}

/** Bits of a step: what four bits of input do in one of the 256 states, which are the inner nodes of the code's tree. */
const EMITS = 1 << 16;
const FAILS = 1 << 17;
/** [state * 16 + four bits]: next state | symbol << 8 | EMITS | FAILS */
const steps = new Int32Array(256 * 16);
/** the input may end in this state: fewer than eight bits, all ones, lie behind the last symbol */
const mayEnd = new Uint8Array(256);

makeSteps();

function makeSteps(): void {
  // Inner nodes: [left, right]; a leaf is its symbol, negated and less one.
  const nodes: [number, number][] = [[0, 0]];
  for (let symbol = 0; symbol <= EOS; symbol++) {
    let node = 0;
    for (let bit = lengths[symbol]! - 1; bit >= 0; bit--) {
      const side = (codes[symbol]! >>> bit) & 1;
      if (bit === 0) nodes[node]![side] = -1 - symbol;
      else {
        if (nodes[node]![side] === 0) nodes[node]![side] = nodes.push([0, 0]) - 1;
        node = nodes[node]![side]!;
      }
    }
  }
  for (let state = 0; state < nodes.length; state++) {
    for (let bits = 0; bits < 16; bits++) steps[state * 16 + bits] = stepOf(nodes, state, bits);
  }
  let node = 0;
  for (let ones = 0; ones < 8; ones++) {
    mayEnd[node] = 1;
    node = nodes[node]![1];
  }
}

function stepOf(nodes: readonly (readonly [number, number])[], from: number, bits: number): number {
  let node = from;
  let emitted = 0;
  for (let bit = 3; bit >= 0; bit--) {
    const next = nodes[node]![((bits >> bit) & 1) as 0 | 1];
    if (next >= 0) node = next;
    else if (next === -1 - EOS) return FAILS;
    else {
      emitted = EMITS | ((-1 - next) << 8);
      node = 0;
    }
  }
  return node | emitted;
}

/** The most bytes that so many bytes of code can mean: the shortest code has five bits. */
export function decodedBytesMax(codedBytes: number): number {
  return Math.floor((codedBytes * 8) / 5);
}

/**
 * Decodes bytes[start, end) into `out` at `at`, which has room for {@link decodedBytesMax} bytes.
 * @returns where the text ends in `out`, or -1 for what is no valid code: EOS, or padding that is long or not of ones
 */
export function huffmanDecode(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  let state = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    const high = steps[state * 16 + (byte >>> 4)]!;
    if ((high & EMITS) !== 0) out[at++] = high >>> 8;
    const low = steps[(high & 255) * 16 + (byte & 15)]!;
    if ((low & EMITS) !== 0) out[at++] = low >>> 8;
    if (((high | low) & FAILS) !== 0) return -1;
    state = low & 255;
  }
  return mayEnd[state] === 1 ? at : -1;
}

/** Bytes that bytes[start, end) take when coded. */
export function huffmanLength(bytes: Buffer, start: number, end: number): number {
  let bits = 0;
  for (let i = start; i < end; i++) bits += lengths[bytes[i]!]!;
  return (bits + 7) >>> 3;
}

/** Codes bytes[start, end) into `out` at `at`. @returns where the code ends */
export function huffmanEncode(bytes: Buffer, start: number, end: number, out: Buffer, at: number): number {
  // `held` has at most 7 bits between symbols; a code of 30 bits goes in two halves, so that 32 always do.
  let held = 0;
  let bits = 0;
  for (let i = start; i < end; i++) {
    const symbol = bytes[i]!;
    let length = lengths[symbol]!;
    const code = codes[symbol]!;
    if (length > 16) {
      length -= 16;
      held = (held << length) | (code >>> 16);
      bits += length;
      while (bits >= 8) out[at++] = held >>> (bits -= 8);
      held = (held << 16) | (code & 0xffff);
      bits += 16;
    } else {
      held = (held << length) | code;
      bits += length;
    }
    while (bits >= 8) out[at++] = held >>> (bits -= 8);
  }
  // RFC 7541 5.2: the rest of the last byte is the beginning of EOS, which is all ones.
  if (bits > 0) out[at++] = (held << (8 - bits)) | (255 >>> bits);
  return at;
}
