/** Requests of which no two are alike: hosts, prefixes, paths, queries, which header lines, their order and their values. */
import { hosts, prefixes } from "../site.ts";

/** The same ones in every run: mulberry32, a generator with a state of 32 bits. */
class Dice {
  #state = 0x5eed;

  /** a whole number below `bound` */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  hex(chars: number): string {
    return Array.from({ length: chars }, () => this.below(16).toString(16)).join("");
  }

  shuffled<T>(list: readonly T[]): T[] {
    return list
      .map((item) => [this.below(1 << 30), item] as const)
      .sort(([a], [b]) => a - b)
      .map(([, item]) => item);
  }
}

const systems = ["X11; Linux x86_64", "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7", "Android 15"];
const languages = ["en-GB,en;q=0.9", "de-DE,de;q=0.9,en;q=0.7", "fr", "hy-AM,hy;q=0.8,ru;q=0.5,en;q=0.3", "pt-BR"];
const accepted = ["*/*", "application/json", "application/json, text/plain, */*", "text/html,application/xhtml+xml"];
const words = [
  "list",
  "orders",
  "customers",
  "items",
  "search",
  "report",
  "history",
  "a-rather-long-name-of-something",
];

/** Header lines a client may send beside Host: name → value. */
const lines: Readonly<Record<string, (dice: Dice) => string>> = {
  "User-Agent": (dice) => `Mozilla/5.0 (${dice.of(systems)}) Gecko/20100101 Firefox/${100 + dice.below(50)}.0`,
  Accept: (dice) => dice.of(accepted),
  "Accept-Language": (dice) => dice.of(languages),
  "Accept-Encoding": (dice) => dice.of(["gzip", "gzip, deflate, br", "gzip, deflate, br, zstd", "identity"]),
  Cookie: (dice) => `session=${dice.hex(32 + dice.below(64))}; theme=${dice.of(["dark", "light"])}`,
  Authorization: (dice) => `Bearer ${dice.hex(64 + dice.below(256))}`,
  Referer: (dice) => `http://${dice.of(hosts)}/${dice.of(words)}?page=${dice.below(1000)}`,
  "If-None-Match": (dice) => `"${dice.hex(16)}"`,
  "X-Trace": (dice) => `${dice.hex(32)}-${dice.hex(16)}-01`,
  "X-Client-Version": (dice) => `${dice.below(20)}.${dice.below(20)}.${dice.below(20)}`,
  "Cache-Control": (dice) => dice.of(["no-cache", "max-age=0"]),
  DNT: () => "1",
  "Sec-Fetch-Mode": (dice) => dice.of(["cors", "navigate", "no-cors"]),
  "Sec-Fetch-Site": (dice) => dice.of(["same-origin", "cross-site", "none"]),
  Priority: (dice) => `u=${dice.below(8)}, i`,
};

/** @returns whole requests; every target ends in the path that the origin answers with its small JSON */
export function variedRequests(count: number): string[] {
  const dice = new Dice();
  return Array.from({ length: count }, () => {
    const folders = Array.from({ length: dice.below(4) }, () => `/${dice.of(words)}`).join("");
    const query = dice.below(2) === 0 ? "" : `?id=${dice.below(1e6)}&order=${dice.of(words)}&token=${dice.hex(12)}`;
    const target = `${dice.of(prefixes)}${folders}/small${query}`.replaceAll("//", "/");
    const names = dice.shuffled(Object.keys(lines)).slice(0, 3 + dice.below(12));
    const fields = names.map((name) => `${name}: ${lines[name]!(dice)}\r\n`);
    return `GET ${target} HTTP/1.1\r\nHost: ${dice.of(hosts)}\r\n${fields.join("")}\r\n`;
  });
}
