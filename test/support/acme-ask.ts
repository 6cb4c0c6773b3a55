/** One request to the plain port, redirects not followed. */
export interface Told {
  readonly status: number;
  readonly body: string;
  readonly fields: Headers;
}

/** @param port of 127.0.0.1 */
export async function ask(port: number, host: string, target: string, init: RequestInit = {}): Promise<Told> {
  const answer = await fetch(`http://127.0.0.1:${port}${target}`, {
    ...init,
    headers: { Host: host, ...(init.headers as Record<string, string>) },
    redirect: "manual",
    proxy: "",
  } as BunFetchRequestInit);
  return { status: answer.status, body: await answer.text(), fields: answer.headers };
}
