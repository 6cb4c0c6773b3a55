/** The members of a Service, from its EndpointSlices. */
import type { ServerRule } from "../../../config/shape.ts";
import { showAddress } from "../../../lib/address.ts";
import { discoveryMembersMax } from "../../../lib/limits.ts";
import { sortedServers } from "../source.ts";
import type { EndpointFacts, SliceFacts } from "./objects.ts";

type SlicePort = SliceFacts["ports"][number];

/**
 * The ready ones. Where there is none, those that still serve while they end: so does kube-proxy, and a last pod that is
 * being replaced loses no request.
 * @param wanted which of the ports of a slice
 */
export function membersOf(slices: readonly SliceFacts[], wanted: (port: SlicePort) => boolean): ServerRule[] {
  const ready = collect(slices, wanted, (endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : collect(slices, wanted, ({ serving, terminating }) => serving && terminating);
}

function collect(
  slices: readonly SliceFacts[],
  wanted: (port: SlicePort) => boolean,
  usable: (endpoint: EndpointFacts) => boolean,
): ServerRule[] {
  const servers = slices.flatMap(({ ports, endpoints }) =>
    ports.filter(wanted).flatMap(({ port, protocol }) =>
      endpoints.filter(usable).flatMap(({ hosts }) =>
        // All addresses of an endpoint lead to the same pod; the first one is as good as any.
        hosts
          .slice(0, 1)
          .map((host): ServerRule => ({ address: { host, port }, weight: 1, ...(protocol && { protocol }) })),
      ),
    ),
  );
  return sortedServers(servers, ({ address }) => showAddress(address)).slice(0, discoveryMembersMax);
}

/** The slices of each Service. @returns NAMESPACE/NAME → its slices */
export function slicesByService(slices: Iterable<SliceFacts>): Map<string, SliceFacts[]> {
  const byService = new Map<string, SliceFacts[]>();
  for (const slice of slices) {
    const known = byService.get(slice.service);
    if (known) known.push(slice);
    else byService.set(slice.service, [slice]);
  }
  return byService;
}
