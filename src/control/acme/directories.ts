/** Directories: the ACME servers that can be called by name. */

const named: Readonly<Record<string, string>> = {
  letsencrypt: "https://acme-v02.api.letsencrypt.org/directory",
  "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
};

/** @param directory `letsencrypt` (the default), `letsencrypt-staging` or a URL */
export function directoryUrl(directory = "letsencrypt"): string {
  return named[directory] ?? directory;
}

/** Names that no public authority may certify; asking would only use up failures that it allows. */
export function isPublicName(name: string): boolean {
  return (
    name.includes(".") && !/\.(?:local|localhost|internal|test|example|invalid|onion|arpa|lan|home|corp)$/.test(name)
  );
}

export function isPublicDirectory(url: string): boolean {
  return Object.values(named).includes(url);
}
