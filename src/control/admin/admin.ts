/** The admin API: its listeners on `config_address` and `config_tls_address`, opened as soon as they can be. */
import type { Settings } from "../../config/settings.ts";
import type { Listener, ListenerOptions, TlsListener } from "../../data/listen/listener.ts";
import type { Refusals } from "../../data/observe/refusals.ts";
import type { PlaneOptions } from "../../data/plane.ts";
import type { CertificateSet } from "../../data/tls/certificate-set.ts";
import { showListen, type ListenAddress } from "../../lib/address.ts";
import { cannotListen } from "../../lib/cannot-listen.ts";
import { adminRetryMs, cutExchangesWaitMs } from "../../lib/limits.ts";
import { openAdminListener } from "../engines.ts";
import { AdminCertificate } from "./certificate.ts";
import { clearStaleSocket } from "./unix-socket.ts";

export interface AdminOptions extends Pick<ListenerOptions, "handle" | "failed"> {
  settings(): Settings;
  readonly refusals: Refusals;
  readonly log: PlaneOptions["log"];
  /** a predecessor has the addresses, until {@link Admin.retry} */
  readonly inherits?: boolean;
}

export interface Admin {
  /** those that are open now */
  readonly listeners: readonly { readonly name: string; readonly url: string }[];
  /** The predecessor has let go of them. */
  retry(): Promise<void>;
  /** Requests under way have a moment to end. */
  close(): Promise<void>;
}

/**
 * An address that is taken, or a certificate that cannot be used, keeps nothing from running: both are tried again, so
 * that a successor takes the address over when its predecessor ends.
 * @throws Error, ready to print, when an address cannot be listened on for any other reason
 */
export async function openAdmin(options: AdminOptions): Promise<Admin> {
  const { config_address, config_tls_address, config_tls_certificate, config_tls_key_file } = options.settings();
  const doors = [new Door("admin", "config_address", config_address, undefined, options)];
  if (config_tls_address && config_tls_certificate !== undefined && config_tls_key_file !== undefined) {
    const certificate = new AdminCertificate(config_tls_certificate, config_tls_key_file);
    doors.push(new Door("admin-tls", "config_tls_address", config_tls_address, certificate, options));
  } else if (config_tls_address) {
    const missing = "it needs `config_tls_certificate` and `config_tls_key_file`";
    options.log("warn", "admin", `config_tls_address (${showListen(config_tls_address)}) is not served: ${missing}`);
  }
  try {
    for (const door of doors) await door.open();
  } catch (error) {
    await Promise.all(doors.map((door) => door.close()));
    throw error;
  }
  return {
    get listeners() {
      return doors.flatMap(({ name, url }) => (url === undefined ? [] : [{ name, url }]));
    },
    retry: async () => void (await Promise.all(doors.map((door) => door.retry()))),
    close: async () => void (await Promise.all(doors.map((door) => door.close()))),
  };
}

/** One address, and what it takes to have it open. */
class Door {
  #listener: Listener | TlsListener | undefined;
  #certificates: CertificateSet | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #told = "";
  #inherits: boolean;
  #taken = false;

  constructor(
    readonly name: string,
    readonly key: string,
    readonly address: ListenAddress,
    readonly certificate: AdminCertificate | undefined,
    readonly options: AdminOptions,
  ) {
    this.#inherits = options.inherits ?? false;
  }

  get url(): string | undefined {
    return this.#listener?.url;
  }

  /** @throws Error when trying again is no use */
  async open(): Promise<void> {
    this.#lookAtCertificate();
    await this.#listen();
    if (this.#listener && !this.certificate) return;
    this.#timer = setTimeout(() => {
      this.open().catch((error: Error) => this.#tell(error.message));
    }, adminRetryMs).unref();
  }

  async retry(): Promise<void> {
    if (this.#listener || this.#closed) return;
    clearTimeout(this.#timer);
    this.#inherits = false;
    await this.open().catch((error: Error) => this.#tell(error.message));
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const listener = this.#listener;
    if (!listener) return;
    const untilMs = performance.now() + cutExchangesWaitMs;
    while (listener.open > 0 && performance.now() < untilMs) await Bun.sleep(5);
    await listener.close();
  }

  /** New certificates go to the open listener; a bad pair leaves the one before in place. */
  #lookAtCertificate(): void {
    try {
      const set = this.certificate?.look();
      if (!set) return;
      this.#certificates = set;
      if (this.#listener && "certificates" in this.#listener) this.#listener.certificates(set);
    } catch (error) {
      const stays = this.#listener ? "; the one before stays" : "; it is not served until that is mended";
      this.#tell(`${this.key} (${showListen(this.address)}): ${(error as Error).message}${stays}`);
    }
  }

  async #listen(): Promise<void> {
    if (this.#listener || this.#closed || (this.certificate && !this.#certificates)) return;
    const { settings, handle, failed, refusals, log } = this.options;
    try {
      if ("unix" in this.address) await clearStaleSocket(this.address.unix);
      const opened = await openAdminListener(
        settings,
        { address: this.address, handle, failed, ended() {} },
        this.#certificates,
        refusals,
        log,
      );
      this.#listener = opened;
      // It was closed while a certificate was tried out.
      if (this.#closed) return await opened.close();
      if (this.#told !== "") log("info", "admin", `${this.key}: listening on ${opened.url}`);
      this.#told = "";
      this.#taken = false;
    } catch (error) {
      const isTaken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
      // Who has it is found by going through all processes: not at every try.
      if (isTaken && (this.#inherits || this.#taken)) return;
      const what = cannotListen(this.address, error, "listen", this.key);
      if (!isTaken) throw new Error(what);
      this.#taken = true;
      this.#tell(`${what}; tried again every ${adminRetryMs / 1000} s, the proxy runs without it`);
    }
  }

  /** Once, not at every try. */
  #tell(text: string): void {
    if (text !== this.#told) this.options.log("warn", "admin", text);
    this.#told = text;
  }
}
