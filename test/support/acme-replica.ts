/** ACME as one proxy runs it, without the proxy. */
import { settle, type WrittenSettings } from "../../src/config/settings.ts";
import { Acme } from "../../src/control/acme/acme.ts";
import type { AcmeState } from "../../src/control/acme/state.ts";
import type { AcmeServer } from "./acme-server.ts";

type Wishes = Partial<NonNullable<WrittenSettings["acme"]>>;

export interface Replica {
  readonly acme: Acme;
  readonly lines: string[];
  issued: number;
}

const running: Acme[] = [];

/** For `afterEach`. */
export async function stopReplicas(): Promise<void> {
  for (const acme of running.splice(0)) await acme.stop();
}

/** One proxy's ACME. @param folder its state */
export function replica(server: AcmeServer, folder: string, wishes: Wishes, hosts: readonly string[] = []): Replica {
  const written = { acme: { directory: server.url, ca_file: server.caFile, state: folder, ...wishes } };
  const settings = settle(written, folder);
  const lines: string[] = [];
  const made: Replica = {
    acme: new Acme({
      settings: () => settings,
      hosts: () => hosts,
      isRouted: (name) => hosts.includes(name),
      covered: () => new Set(["covered.test", "*.far.test"]),
      provesInHandshake: () => false,
      onAnswering: () => {},
      onIssued: async () => void made.issued++,
      log: (level, _target, text) => void lines.push(`${level} ${text}`),
    }),
    lines,
    issued: 0,
  };
  running.push(made.acme);
  made.acme.changed();
  return made;
}

export function stateOf(acme: Acme, name: string): AcmeState {
  return acme.states().find((each) => each.name === name)!;
}
