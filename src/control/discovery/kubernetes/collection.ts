/**
 * Collection: the objects of one kind, listed once and then watched (Kubernetes API Concepts, "Efficient detection of
 * changes"). What is known stays while the server fails; only a new list or an event takes anything away.
 */
import { Backoff, pause } from "../../../lib/backoff.ts";
import { describe } from "../../../lib/cause.ts";
import {
  kubernetesEmptyPagesMax,
  kubernetesObjectsMax,
  kubernetesPageObjects,
  kubernetesWatchTries,
} from "../../../lib/limits.ts";
import { StatusError, type Answer } from "../client.ts";
import type { Standing } from "../standing.ts";
import type { Api } from "./api.ts";
import type { KubernetesObject } from "./objects.ts";

export interface CollectionOptions<T> {
  readonly api: Api;
  readonly standing: Standing;
  /** names the kind in the log */
  readonly label: string;
  /** of the list, the one that is preferred first: older clusters have older versions */
  readonly paths: readonly string[];
  /** `labelSelector=…` or the like, encoded */
  readonly selector?: string | undefined;
  /** what is kept of an object; undefined = nothing, it is none of ours. @throws Error when it cannot be read */
  project(object: KubernetesObject): T | undefined;
  onChange(): void;
  /** known from before: in force until the first list */
  readonly before?: ReadonlyMap<string, T> | undefined;
}

/** The place in the history is gone: everything must be listed anew (410). */
class Expired extends Error {}

export class Collection<T> {
  /** `NAMESPACE/NAME` → what is kept of it */
  items: Map<string, T>;
  /** it was listed once, by this collection or by the one before it */
  known: boolean;
  readonly #options: CollectionOptions<T>;
  readonly #stop = new AbortController();
  readonly #backoff: Backoff;
  #path = 0;
  /** where a watch goes on; "" = list first */
  #version = "";
  #failures = 0;

  constructor(options: CollectionOptions<T>) {
    const { retryFirstMs, retryMostMs } = options.api.timing;
    this.#options = options;
    this.items = new Map(options.before);
    this.known = options.before !== undefined;
    this.#backoff = new Backoff(retryFirstMs, retryMostMs);
    options.standing.expect(options.label);
    void this.#run(this.#stop.signal);
  }

  stop(): void {
    this.#stop.abort();
    this.#options.standing.forget(this.#options.label);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { api, standing, label } = this.#options;
    while (!signal.aborted) {
      const server = api.servers.current;
      const beganMs = performance.now();
      try {
        if (this.#version === "") await this.#list(server, signal);
        await this.#watch(server, signal);
        // The server has ended the watch in its own time; one that does so at once must not make us spin.
        await pause(beganMs + api.timing.pollMs - performance.now(), signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Expired) {
          this.#version = "";
          standing.note(label, "its place in the history is gone: everything is listed anew");
          await pause(beganMs + api.timing.pollMs - performance.now(), signal);
          continue;
        }
        api.servers.failed(server);
        if (++this.#failures >= kubernetesWatchTries) this.#version = "";
        standing.bad(label, `${server.origin} ${describe(error)}`);
        await pause(this.#backoff.nextMs(), signal);
      }
    }
  }

  #heard(): void {
    const { standing, label } = this.#options;
    this.#failures = 0;
    this.#backoff.reset();
    standing.good(label);
  }

  async #list(server: URL, signal: AbortSignal): Promise<void> {
    const found = new Map<string, T>();
    let token = "";
    let version = "";
    let objects = 0;
    let empty = 0;
    do {
      const page = await this.#page(server, token, signal);
      for (const object of page.items ?? []) this.#keep(found, object);
      objects += page.items?.length ?? 0;
      // A list that never ends would be asked for without a pause.
      if (!page.items?.length && ++empty > kubernetesEmptyPagesMax)
        throw new Error("answered one empty page after another");
      if (objects > kubernetesObjectsMax)
        throw new Error(`expected at most ${kubernetesObjectsMax} objects, found more`);
      token = page.metadata?.continue ?? "";
      version = page.metadata?.resourceVersion ?? "";
    } while (token !== "");
    if (version === "") throw new Error("answered a list without a resourceVersion");
    this.#version = version;
    const changed = !this.known || !equal(this.items, found);
    this.items = found;
    this.known = true;
    this.#heard();
    if (changed) this.#options.onChange();
  }

  async #page(server: URL, token: string, signal: AbortSignal): Promise<ObjectList> {
    const query = `limit=${kubernetesPageObjects}${token === "" ? "" : `&continue=${encodeURIComponent(token)}`}`;
    try {
      const { text } = await this.#ask(server, query, signal);
      const page = JSON.parse(text) as ObjectList;
      // Anything else would look like an empty cluster.
      const isList = String(page.kind).endsWith("List") && (page.items === null || Array.isArray(page.items));
      if (!isList || !(page.items ?? []).every(isNamed))
        throw new Error("expected a list of objects, found something else");
      return page;
    } catch (error) {
      if (error instanceof StatusError && error.status === 410) throw new Expired();
      throw error;
    }
  }

  /** A version of the kind that this server does not have is no failure while there is another one to try. */
  async #ask(server: URL, query: string, signal: AbortSignal): Promise<Answer> {
    const { api, paths, selector } = this.#options;
    for (let tried = 1; ; tried++) {
      try {
        return await api.ask(server, this.#target(query, selector), signal);
      } catch (error) {
        if (!(error instanceof StatusError) || error.status !== 404 || tried >= paths.length) throw error;
        this.#path = (this.#path + 1) % paths.length;
      }
    }
  }

  async #watch(server: URL, signal: AbortSignal): Promise<void> {
    const { api, selector } = this.#options;
    const seconds = Math.ceil(api.timing.waitSeconds * (1 + Math.random() / 2));
    const place = `resourceVersion=${encodeURIComponent(this.#version)}`;
    const query = `watch=1&allowWatchBookmarks=true&${place}&timeoutSeconds=${seconds}`;
    try {
      await api.watch(
        server,
        this.#target(query, selector),
        seconds,
        signal,
        () => this.#heard(),
        (line) => this.#event(line),
      );
    } catch (error) {
      if (error instanceof StatusError && error.status === 410) throw new Expired();
      throw error;
    }
  }

  #target(query: string, selector: string | undefined): string {
    return `${this.#options.paths[this.#path]}?${query}${selector === undefined ? "" : `&${selector}`}`;
  }

  #event(line: string): void {
    const { type, object } = readEvent(line);
    if (type === "ERROR") {
      if (object.code === 410) throw new Expired();
      throw new Error(`ended its watch: ${object.message ?? object.reason ?? "unknown error"}`);
    }
    const version = object.metadata?.resourceVersion;
    if (type !== "BOOKMARK") {
      const id = idOf(object);
      const before = this.items.get(id);
      if (type === "DELETED") this.items.delete(id);
      else this.#keep(this.items, object);
      if (this.items.size > kubernetesObjectsMax) {
        this.#version = "";
        throw new Error(`expected at most ${kubernetesObjectsMax} objects, found more`);
      }
      if (JSON.stringify(before) !== JSON.stringify(this.items.get(id))) this.#options.onChange();
    }
    if (version !== undefined) this.#version = version;
    this.#options.standing.good(this.#options.label);
  }

  #keep(items: Map<string, T>, object: KubernetesObject): void {
    const kept = this.#options.project(object);
    if (kept === undefined) items.delete(idOf(object));
    else items.set(idOf(object), kept);
  }
}

interface ObjectList {
  kind?: string;
  items?: KubernetesObject[] | null;
  metadata?: { resourceVersion?: string; continue?: string };
}

interface WatchEvent {
  type: string;
  object: KubernetesObject & { code?: number; message?: string; reason?: string };
}

const changes = ["ADDED", "MODIFIED", "DELETED"];

function isNamed(object: KubernetesObject | null): boolean {
  return typeof object === "object" && typeof object?.metadata?.name === "string";
}

/** A line that is no event means that the stream can no longer be trusted: the watch begins anew. */
function readEvent(line: string): WatchEvent {
  let event: Partial<WatchEvent> | undefined;
  try {
    event = JSON.parse(line) as Partial<WatchEvent>;
  } catch {}
  if (typeof event?.type !== "string" || typeof event.object !== "object" || event.object === null)
    throw new Error("sent a line that is no event");
  const { type, object } = event;
  if (type !== "ERROR" && type !== "BOOKMARK" && !(changes.includes(type) && isNamed(object)))
    throw new Error("sent an event of an unknown kind");
  return event as WatchEvent;
}

function idOf({ metadata }: KubernetesObject): string {
  return `${metadata?.namespace ?? ""}/${metadata?.name ?? ""}`;
}

function equal<T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>): boolean {
  if (a.size !== b.size) return false;
  for (const [id, value] of a) if (JSON.stringify(value) !== JSON.stringify(b.get(id))) return false;
  return true;
}
