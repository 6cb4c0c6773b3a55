/** Weak cache: one object for each name, for as long as somebody else holds it. */

export class WeakCache<V extends object> {
  readonly #entries = new Map<string, WeakRef<V>>();

  get(name: string, make: () => V): V {
    const known = this.#entries.get(name)?.deref();
    if (known) return known;
    for (const [other, entry] of this.#entries) if (!entry.deref()) this.#entries.delete(other);
    const made = make();
    this.#entries.set(name, new WeakRef(made));
    return made;
  }
}
