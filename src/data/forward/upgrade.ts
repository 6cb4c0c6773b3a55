/** WebSocket upgrades: the upstream is asked first, then the client is accepted. */
import type { FieldLine } from "../body.ts";
import type { Answer } from "../exchange.ts";
import { Failure } from "../failure.ts";
import { applyEdits } from "../headers/edits.ts";
import { fieldsToUpstream, hostToUpstream, targetToUpstream } from "../headers/to-upstream.ts";
import type { Plane } from "../plane.ts";
import { wireOf } from "../upstream/pool.ts";
import type { Attempt } from "./forwarder.ts";
import { settleWire } from "./http.ts";
import { tlsOf } from "./trust.ts";
import { openUpstreamWebSocket } from "./websocket.ts";

/** Fields of the handshake itself; each hop makes its own. */
const handshake: ReadonlySet<string> = new Set([
  "sec-websocket-key",
  "sec-websocket-version",
  "sec-websocket-extensions",
  "sec-websocket-accept",
  "sec-websocket-protocol",
  "content-length",
  "date",
]);

/**
 * @returns the upstream's refusal to pass on, or undefined when the exchange became a WebSocket
 * @throws Failure
 */
export async function forwardWebSocket(
  plane: Plane,
  attempt: Attempt,
  sticky: readonly FieldLine[],
): Promise<Answer | undefined> {
  const { exchange, route, member } = attempt;
  await settleWire(member);
  const wire = wireOf(member);
  if (wire === "h2c")
    throw new Failure("unsupported", `${member.endpoint.name} speaks only HTTP/2, WebSocket needs HTTP/1.1`);
  const { address } = member.endpoint;
  const gone = new AbortController();
  exchange.onClientGone(() => gone.abort());
  const fields = fieldsToUpstream(exchange, route, plane.options.loopMark).filter(([name]) => {
    const lower = name.toLowerCase();
    return lower === "sec-websocket-protocol" || !handshake.has(lower);
  });
  const { trust, timeouts } = route;
  const opened = await openUpstreamWebSocket({
    connect: "unix" in address ? address : { hostname: address.host, port: address.port },
    ...(wire !== "http" && {
      tls: tlsOf(trust, address),
    }),
    target: targetToUpstream(exchange, route),
    host: hostToUpstream(exchange, route, member.endpoint.name),
    fields,
    connectMs: timeouts.connectMs,
    firstByteMs: timeouts.firstByteMs,
    streamMs: timeouts.streamMs,
    signal: gone.signal,
  });
  if (opened.kind === "refused") return opened.answer;
  const passed: FieldLine[] = [];
  opened.answer.eachField((name, value) => {
    const lower = name.toLowerCase();
    if (lower !== "connection" && lower !== "upgrade" && !handshake.has(lower)) passed.push([name, value]);
  });
  const { endpoint } = member;
  endpoint.inFlight++;
  let upgraded = true;
  const accept = opened.socket.toAccept(
    [...applyEdits(passed, route.responseEdits), ...sticky],
    ({ bytesOut, code }) => {
      endpoint.inFlight--;
      if (upgraded) plane.options.ended(exchange, { status: 101, bytesOut, cut: code === 1006 });
    },
  );
  upgraded = exchange.acceptWebSocket!(accept);
  if (!upgraded) {
    opened.socket.close(1001, "the client is gone");
    throw new Failure("client_gone", "the client's connection could not be upgraded");
  }
  return undefined;
}
