/** The site of the original's own benchmarks: one host, two routes, nine URLs, three servers behind. */

export const userHost = "user.bench.test";

type Line = readonly [name: string, value: string];

export interface UserRoute {
  readonly path: string;
  /** of the three servers the first so many */
  readonly servers: number;
  /** set on the way to the client */
  readonly responseLines: readonly Line[];
}

const from: Line = ["X-Proxy-From", "bench"];

export const routes: readonly UserRoute[] = [
  { path: "/", servers: 3, responseLines: [from] },
  { path: "/ping", servers: 2, responseLines: [["X-Some-Thing", "Yes"], from] },
];

export const servers = 3;

/** Idle connections to the servers that each contender may keep: more than there are clients. */
export const idleConnections = 1024;

const levels = ["one", "two", "three", "four", "five", "six", "seven"];

/** `/`, `/ping`, then one to seven levels: all of these belong to `/`. */
export const urls: readonly string[] = ["/", "/ping", ...levels.map((_, i) => `/${levels.slice(0, i + 1).join("/")}`)];

/** Which of the servers answered, told in its answers. */
export const serverField = "X-Bench-Server";

/** Fields that a server shows at `/seen`. */
export const seenFields: readonly string[] = ["Host", "X-Forwarded-For"];

/** The route that a URL belongs to. */
export function routeOf(url: string): UserRoute {
  return url === "/ping" ? routes[1]! : routes[0]!;
}
