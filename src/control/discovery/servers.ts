/** Servers: the addresses of one source; whoever asks uses the one that worked last, and fails over to the next. */

export class Servers {
  readonly #urls: readonly URL[];
  #at = 0;

  /** @param urls at least one */
  constructor(urls: readonly URL[]) {
    this.#urls = urls;
  }

  get current(): URL {
    return this.#urls[this.#at]!;
  }

  /** Many may fail at the same server at once: only the first of them moves on. */
  failed(url: URL): void {
    if (url === this.current) this.#at = (this.#at + 1) % this.#urls.length;
  }
}
