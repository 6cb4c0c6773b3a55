/** Headless Chromium with an empty profile: opens one page, and reads what it reports. */
import { createHash, X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import { temporaryFolder } from "../cli/program.ts";
import { Program } from "./programs.ts";
import { until } from "./proxy.ts";

/** Nothing but the page may cause traffic, and nothing of this machine's user may be seen. */
const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-quic",
  "--no-first-run",
  "--no-default-browser-check",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-domain-reliability",
  "--disable-extensions",
  "--disable-sync",
  "--metrics-recording-only",
  "--no-pings",
  "--no-proxy-server",
  "--password-store=basic",
  "--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication,CertificateTransparencyComponentUpdater,HttpsUpgrades",
  // Any name but the two that tests use is looked up nowhere.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

export interface Chromium extends AsyncDisposable {
  /** waits for a fact; fails with the browser's own words when it ends first */
  until<T>(what: string, fact: () => T | undefined | false): Promise<T>;
}

/**
 * @param trusted PEM of a certificate that is trusted for whatever name it is shown
 * @throws when chromium is not installed
 */
export function openChromium(url: string, trusted?: string): Chromium {
  const profile = temporaryFolder();
  const trust = trusted === undefined ? [] : [`--ignore-certificate-errors-spki-list=${keyHash(trusted)}`];
  let program: Program;
  try {
    program = new Program("chromium", [...flags, ...trust, `--user-data-dir=${profile.path}`, url], {
      HOME: profile.path,
    });
  } catch (error) {
    profile[Symbol.dispose]();
    throw error;
  }
  return {
    // A visit takes 3 s on a quiet machine; its start alone takes 10 s on one with ten others.
    until: (what, fact) => program.until(what, fact, 60),
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      // Its children write their last words after it has gone.
      await until(() => {
        profile[Symbol.dispose]();
        return !existsSync(profile.path);
      }, "the browser's profile to be removed");
    },
  };
}

/** The hash of a certificate's public key, as Chromium wants it. */
function keyHash(pem: string): string {
  const key = new X509Certificate(pem).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(key).digest("base64");
}
