/** Seeded mutations of messages: the same seed and number give the same input, on every machine. */

/** Uniform integers below a bound (mulberry32). */
export type Random = (below: number) => number;

export function randomOf(seed: number, index: number): Random {
  let state = (Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below) | 0;
  };
}

const bytes = [...'\r\n\0\t :;,="\\/*?#@[]%+-_.0179aAfFgG{}~\x7f\x80\xff\x0b\x0c\x1f\x85\xa0'];
const words = [
  ..."\r\n|\r\n\r\n|\n\n|\r\r\n|\n|\r| | \r\n|\t|:|: |,|, |0|00|1|5|10|0x|+|-|ffffffff|0\r\n\r\n|5\r\nhello\r\n|0\r\nX: y\r\n\r\n".split(
    "|",
  ),
  ..."chunked|Chunked|gzip|identity|close|keep-alive|upgrade|TE|trailers|100-continue|HTTP/1.1|HTTP/1.0|HTTP/2.0|HTTP/0.9".split(
    "|",
  ),
  ...'GET |POST |HEAD |OPTIONS |CONNECT |get |/|*|http://|https://|a:80|[::1]|;a=b|;a|;a="b"|"|\\|%2f|%00|?|#'.split(
    "|",
  ),
  "Host: a\r\n",
  "Host: b\r\n",
  "Content-Length: 5\r\n",
  "Content-Length: 0\r\n",
  "content-length: 3\r\n",
  "Transfer-Encoding: chunked\r\n",
  "transfer-encoding: CHUNKED\r\n",
  "Transfer-Encoding: gzip\r\n",
  "Connection: close\r\n",
  "Connection: keep-alive\r\n",
  "Connection: upgrade\r\n",
  "Connection: x\r\n",
  "Upgrade: websocket\r\n",
  "Expect: 100-continue\r\n",
  "TE: trailers\r\n",
  "Keep-Alive: timeout=5\r\n",
  "X: y\r\n",
  "X_Y: z\r\n",
  "X:\r\n",
  " folded\r\n",
  "X : y\r\n",
  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
  "HTTP/1.1 100 Continue\r\n\r\n",
  "HTTP/1.1 204 \r\n\r\n",
];

/** One to six changes of a message of the corpus; now and then none. @returns latin1, at most 4 KiB */
export function mutate(random: Random, corpus: readonly string[]): string {
  let text = corpus[random(corpus.length)]!;
  if (random(8) === 0) text += corpus[random(corpus.length)]!;
  for (let changes = random(16) === 0 ? 0 : 1 + random(random(4) === 0 ? 6 : 2); changes > 0; changes--) {
    text = change(random, text, corpus);
  }
  return text.slice(0, 4_096);
}

function change(random: Random, text: string, corpus: readonly string[]): string {
  const at = random(text.length + 1);
  const put = (what: string, cut: number) => text.slice(0, at) + what + text.slice(at + cut);
  switch (random(13)) {
    case 0:
      return put(bytes[random(bytes.length)]!, 1);
    case 1:
      return put(bytes[random(bytes.length)]!, 0);
    case 2:
      return put(String.fromCharCode(random(256)), 1);
    case 3:
      return put(words[random(words.length)]!, 0);
    case 4:
      return put(words[random(words.length)]!, random(12));
    case 5:
      return put("", 1);
    case 6:
      return put("", 1 + random(20));
    case 7: {
      const flipped = text.charCodeAt(Math.min(at, text.length - 1)) ^ (1 << random(8));
      return text === "" ? text : put(String.fromCharCode(flipped), 1);
    }
    case 8:
      return text.slice(0, at);
    case 9: {
      const other = corpus[random(corpus.length)]!;
      return text.slice(0, at) + other.slice(random(other.length + 1));
    }
    default:
      return changeLines(random, text, corpus);
  }
}

/** Lines doubled, swapped, removed, taken from elsewhere, a letter's case changed: what stays well-formed longer. */
function changeLines(random: Random, text: string, corpus: readonly string[]): string {
  const lines = text.split("\r\n");
  const at = random(lines.length);
  const line = lines[at]!;
  switch (random(6)) {
    case 0:
      lines.splice(at, 0, line);
      break;
    case 1:
      lines.splice(at, 1);
      break;
    case 2: {
      const other = random(lines.length);
      lines[at] = lines[other]!;
      lines[other] = line;
      break;
    }
    case 3: {
      const others = corpus[random(corpus.length)]!.split("\r\n");
      lines.splice(at, 0, others[random(others.length)]!);
      break;
    }
    case 4:
      lines.splice(at, random(2), words[random(words.length)]!.replace(/\r\n$/, ""));
      break;
    case 5: {
      const i = random(line.length + 1);
      lines[at] = line.slice(0, i) + (random(2) ? line.slice(i).toUpperCase() : line.slice(i).toLowerCase());
    }
  }
  // toUpperCase makes two of "ß" and leaves latin1 with "ÿ" and "µ".
  // eslint-disable-next-line no-control-regex
  return lines.join("\r\n").replace(/[^\x00-\xff]/g, "?");
}

/** Cuts bytes into pieces at random places; one byte a piece now and then. */
export function split(random: Random, whole: Buffer): Buffer[] {
  if (random(8) === 0) return Array.from(whole, (_, i) => whole.subarray(i, i + 1));
  const cuts = Array.from({ length: 1 + random(5) }, () => random(whole.length + 1)).sort((a, b) => a - b);
  return [...cuts, whole.length].map((cut, i) => whole.subarray(i === 0 ? 0 : cuts[i - 1]!, cut));
}
