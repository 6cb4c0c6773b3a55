/** How this very program is started again: as a daemon, as its own successor. */

/**
 * The interpreter and script when run from source, the binary itself when compiled. The binary is named by its path, so
 * that what lies there by now is started.
 */
export function programWords(): string[] {
  return Bun.isStandaloneExecutable ? [process.execPath] : [process.execPath, ...process.execArgv, Bun.main];
}
