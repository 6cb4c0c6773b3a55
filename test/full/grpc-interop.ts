/**
 * gRPC's own interop client (grpc-go) against its own server, through the proxy: every case that needs no cloud. Run by
 * .ci/full; it is built from Go's module proxy.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { freePort } from "../cli/program.ts";
import { madeBySelf, put, temporary } from "../support/certificates.ts";
import { goProgram } from "../support/go-program.ts";
import { startProxy, until } from "../support/proxy.ts";

setDefaultTimeout(600_000);

/** The last release that the Go of Debian 12 builds. */
const version = "v1.56.3";
const program = (name: string) =>
  goProgram(`google.golang.org/grpc/interop/${name}@${version}`, `grpc-interop-${version}`);

/** pick_first_unary, orca_per_rpc and orca_oob fail against this server without a proxy as well. */
const cases = [
  "empty_unary",
  "large_unary",
  "client_streaming",
  "server_streaming",
  "ping_pong",
  "empty_stream",
  "timeout_on_sleeping_server",
  "cancel_after_begin",
  "cancel_after_first_response",
  "status_code_and_message",
  "special_status_message",
  "custom_metadata",
  "unimplemented_method",
  "unimplemented_service",
];

const host = "interop.test";

for (const { name, tls } of [
  { name: "with TLS", tls: true },
  { name: "without TLS", tls: false },
]) {
  describe(`the interop client ${name}`, () => {
    const stack = new AsyncDisposableStack();
    let client: (testCase: string) => Promise<string>;
    afterAll(() => stack.disposeAsync());

    beforeAll(async () => {
      const [clientPath, serverPath] = [await program("client"), await program("server")];
      const serverPort = freePort();
      const server = Bun.spawn([serverPath, "-port", String(serverPort)], { stdout: "ignore", stderr: "ignore" });
      stack.defer(async () => {
        server.kill();
        await server.exited;
      });
      await until(async () => {
        const socket = await Bun.connect({ hostname: "127.0.0.1", port: serverPort, socket: { data() {} } }).catch(
          () => undefined,
        );
        socket?.end();
        return socket !== undefined;
      }, "the interop server to listen");
      const folder = stack.use(temporary()).path;
      put(folder, "site", madeBySelf({ names: [`DNS:${host}`], subject: `/CN=${host}` }));
      const proxy = stack.use(
        await startProxy(`upstreams: { DEFAULT: { paths: { "/": { servers: ["127.0.0.1:${serverPort}"] } } } }\n`, {
          listener_engine: "auto",
          upstream_engine: "auto",
          hc_interval: 5,
          ...(tls && { proxy_address_tls: { hostname: "127.0.0.1", port: 0 }, proxy_configs: folder }),
        }),
      );
      const secured = ["-use_tls", "-use_test_ca", "-ca_file", join(folder, "site.crt"), "-server_host_override", host];
      const to = ["-server_host", "127.0.0.1", "-server_port", String(tls ? proxy.tlsPort : proxy.plainPort)];
      client = async (testCase) => {
        const child = Bun.spawn([clientPath, ...to, ...(tls ? secured : []), "-test_case", testCase], {
          stdout: "ignore",
          stderr: "pipe",
        });
        const said = await new Response(child.stderr).text();
        return (await child.exited) === 0 ? "passed" : said;
      };
    });

    for (const testCase of cases) {
      test(testCase, async () => expect(await client(testCase)).toBe("passed"));
    }
  });
}
