/** A server that speaks Consul's protocol as far as discovery uses it: held-back questions by index, ACL tokens, health. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface FakeInstance {
  readonly id: string;
  /** "" = the node's */
  readonly address?: string;
  readonly port: number;
  readonly tags?: readonly string[];
  readonly status?: "passing" | "warning" | "critical";
  readonly weight?: number;
}

/** What goes wrong: nothing; a status; no answer at all; a reset; an empty answer of an agent without a leader. */
export type Trouble = "none" | "500" | "hang" | "reset" | "no leader" | "not json";

export interface FakeConsul extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** targets asked for, the newest last */
  readonly asked: string[];
  /** headers of the last question */
  last: IncomingMessage["headers"];
  trouble: Trouble;
  /** questions without it get 403 */
  token: string | undefined;
  /** false = the answers carry no X-Consul-Index, and nothing is held back */
  indexed: boolean;
  index: number;
  /** questions held back now */
  readonly held: number;
  /** what a service has from now on; wakes who waits for it */
  set(service: string, instances: readonly FakeInstance[] | undefined): void;
  /** the state was restored from an old copy: the index goes backwards, and everybody is answered */
  restore(index: number): void;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function startConsul(port = 0): Promise<FakeConsul> {
  const services = new Map<string, { instances: readonly FakeInstance[]; index: number }>();
  let catalogIndex = 10;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const look of [...waiting]) look();
  };
  const server = createServer((request, response) => answer(request, response));
  const fake: FakeConsul = {
    url: "",
    port: 0,
    asked: [],
    last: {},
    trouble: "none",
    token: undefined,
    indexed: true,
    index: 10,
    get held() {
      return waiting.size;
    },
    set(service, instances) {
      const index = ++fake.index;
      const tagsBefore = tagsOf(service);
      if (instances) services.set(service, { instances, index });
      else services.delete(service);
      if (instances === undefined || tagsOf(service) !== tagsBefore) catalogIndex = index;
      wake();
    },
    restore(index) {
      fake.index = index;
      catalogIndex = index;
      for (const service of services.values()) service.index = index;
      wake();
    },
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        waiting.clear();
      }),
    start: () => listen(fake.port),
    [Symbol.asyncDispose]: () => fake.stop(),
  };

  const tagsOf = (service: string) =>
    JSON.stringify([...new Set(services.get(service)?.instances.flatMap(({ tags = [] }) => tags) ?? [])]);

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, "http://consul");
    fake.asked.push(request.url!);
    fake.last = request.headers;
    if (fake.trouble === "hang") return;
    if (fake.trouble === "reset") return void request.socket.destroy();
    if (fake.trouble === "500") return end(response, 500, "rpc error: No cluster leader", 0);
    if (fake.trouble === "not json") return end(response, 200, "<html>", fake.index);
    if (fake.token !== undefined && request.headers["x-consul-token"] !== fake.token)
      return end(response, 403, "Permission denied: token lacks permission", 0);
    const name = /^\/v1\/health\/service\/(.+)$/.exec(url.pathname)?.[1];
    const current = (): [number, unknown] => {
      if (fake.trouble === "no leader") return [fake.index, []];
      if (name === undefined)
        return [catalogIndex, Object.fromEntries([...services.keys()].map((key) => [key, JSON.parse(tagsOf(key))]))];
      const service = services.get(decodeURIComponent(name));
      const found = service?.instances ?? [];
      const passing = url.searchParams.has("passing");
      const shown = found.filter(({ status = "passing" }) => !passing || status === "passing");
      return [service?.index ?? catalogIndex, shown.map((instance) => entryOf(decodeURIComponent(name), instance))];
    };
    const wanted = Number(url.searchParams.get("index") ?? 0);
    const wait = Number(/^(\d+)s$/.exec(url.searchParams.get("wait") ?? "")?.[1] ?? 300) * 1000;
    const reply = () => {
      waiting.delete(look);
      clearTimeout(timer);
      const [index, body] = current();
      end(response, 200, JSON.stringify(body), fake.indexed ? index : 0, fake.trouble !== "no leader");
    };
    const look = () => {
      if (current()[0] !== wanted) reply();
    };
    const timer = setTimeout(reply, wait);
    timer.unref();
    response.on("close", () => {
      waiting.delete(look);
      clearTimeout(timer);
    });
    if (!fake.indexed || wanted === 0 || current()[0] !== wanted) reply();
    else waiting.add(look);
  }

  function listen(on: number): Promise<void> {
    return new Promise<void>((resolve, reject) => server.once("error", reject).listen(on, "127.0.0.1", resolve));
  }

  await listen(port);
  const actual = (server.address() as AddressInfo).port;
  return Object.assign(fake, { port: actual, url: `http://127.0.0.1:${actual}` });
}

function end(response: ServerResponse, status: number, body: string, index: number, leader = true): void {
  response.writeHead(status, {
    "Content-Type": "application/json",
    "X-Consul-KnownLeader": String(leader),
    ...(index > 0 && { "X-Consul-Index": String(index) }),
  });
  response.end(body);
}

function entryOf(service: string, { id, address = "", port, tags = [], status = "passing", weight = 1 }: FakeInstance) {
  return {
    Node: { Node: "node-1", Address: "127.0.0.1" },
    Service: {
      ID: id,
      Service: service,
      Address: address,
      Port: port,
      Tags: tags,
      Weights: { Passing: weight, Warning: 1 },
    },
    Checks: [
      { CheckID: "serfHealth", Status: "passing" },
      { CheckID: `service:${id}`, Status: status },
    ],
  };
}
