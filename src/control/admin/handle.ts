/** One request to the admin API from top to bottom: loop, path, key, method, endpoint, audit line. */
import { close } from "./audit.ts";
import type { Access } from "./access.ts";
import type { AdminRequest, Endpoint } from "./endpoint.ts";
import type { Exchange, OwnReply } from "../../data/exchange.ts";
import { refuse } from "../../data/guards/guard.ts";
import type { PlaneOptions } from "../../data/plane.ts";
import { hasToken } from "../../lib/fields.ts";

export interface AdminSite {
  readonly access: Access;
  readonly endpoints: readonly Endpoint[];
  /** our CDN-Loop id: what carries it came in by the public port */
  readonly loopMark: string;
  readonly log: PlaneOptions["log"];
}

/** Answers through {@link Exchange.reply}. */
export function handleAdmin(site: AdminSite, exchange: Exchange): void {
  exchange.id = crypto.randomUUID();
  exchange.client = exchange.peer;
  const request = readRequest(site, exchange);
  answer(site, request).then(
    (reply) => close(site, request, reply),
    (error: unknown) => exchange.fault(error),
  );
}

function readRequest({ access }: AdminSite, exchange: Exchange): AdminRequest {
  const { target } = exchange;
  const query = target.indexOf("?");
  return {
    exchange,
    path: query < 0 ? target : target.slice(0, query),
    query: new URLSearchParams(query < 0 ? "" : target.slice(query + 1)),
    keyBy: access.keyBy(exchange),
  };
}

async function answer(site: AdminSite, request: AdminRequest): Promise<OwnReply> {
  const { exchange, path } = request;
  // Whatever a route may be called: nobody reaches this API through our own public port (A1).
  if (hasToken(exchange.field("cdn-loop"), site.loopMark))
    return refuse(508, "the admin API is not served through the proxy itself");
  const { method } = exchange;
  const here = site.endpoints.filter((endpoint) => isAt(endpoint, path));
  const endpoint = here.find(({ methods }) => allows(methods, method));
  const refusal = refusalOf(site, request, endpoint?.access ?? here[0]?.access ?? "key");
  if (refusal) return refusal;
  if (endpoint) {
    const reply = await endpoint.answer(request);
    // Whoever used the key has a line, also where nothing changed.
    return endpoint.access === "key" && reply.why === "" ? { ...reply, why: "answered" } : reply;
  }
  if (here.length === 0) return refuse(404, "the admin API has no such path");
  const allowed = here.flatMap(({ methods }) => methods.flatMap((name) => (name === "GET" ? ["GET", "HEAD"] : [name])));
  return refuse(405, `the method ${method} is not served here`, [["Allow", allowed.join(", ")]]);
}

function isAt(endpoint: Endpoint, path: string): boolean {
  return endpoint.path === path || (endpoint.path.endsWith("/") && path.startsWith(endpoint.path));
}

function allows(methods: readonly string[], method: string): boolean {
  return methods.includes("*") || methods.includes(method === "HEAD" ? "GET" : method);
}

function refusalOf(
  { access }: AdminSite,
  { exchange, keyBy }: AdminRequest,
  kind: Endpoint["access"],
): OwnReply | undefined {
  if (kind === "open" || kind === "own" || keyBy !== undefined) return undefined;
  if (kind === "read" && access.mayRead(exchange)) return undefined;
  const setting = `\`admin_read: ${access.settings().admin_read}\` in main.yaml ${readers[access.settings().admin_read]}`;
  const who = kind === "read" ? ` here (${setting})` : "";
  if (!access.hasKey) return refuse(403, `this needs the master key${who}, and main.yaml sets no \`master_key\``);
  return refuse(403, `this needs the master key${who}: Authorization: Bearer KEY, x-api-key: KEY, or ?key=KEY`);
}

const readers = {
  key: "lets nobody read without it",
  loopback: "lets only programs on this machine read without it",
  open: "lets everybody read without it",
};
