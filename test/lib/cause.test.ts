import { expect, test } from "bun:test";
import { describe as cause } from "../../src/lib/cause.ts";

const coded = (code: string, message = "x") => Object.assign(new Error(message), { code });

test("known codes become words, Node's and Bun's alike", () => {
  for (const code of ["ECONNREFUSED", "ConnectionRefused"]) expect(cause(coded(code))).toBe("connection refused");
  expect(cause(coded("EHOSTUNREACH"))).toBe("no route to host");
  expect(cause(coded("ENOTFOUND"))).toBe("name not found");
  expect(cause(coded("EAI_AGAIN"))).toBe("name server did not answer");
  expect(cause(coded("CERT_HAS_EXPIRED"))).toBe("certificate: expired");
  expect(cause(coded("DEPTH_ZERO_SELF_SIGNED_CERT"))).toBe("certificate: self-signed certificate");
});

test("a fetch that is refused, cut off or given up is described by its own error", async () => {
  const closer = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { open: (socket) => void socket.end(), data() {} },
  });
  const mute = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const ask = async (port: number, init: RequestInit = {}) =>
    cause(
      await fetch(`http://127.0.0.1:${port}/`, { ...init, proxy: "" }).then(
        () => "answered",
        (error) => error,
      ),
    );
  expect(await ask(closer.port)).toMatch(/^connection (reset|closed)/);
  expect(await ask(mute.port, { signal: AbortSignal.timeout(50) })).toBe("timed out");
  const { port } = closer;
  closer.stop(true);
  expect(await ask(port)).toBe("connection refused");
  mute.stop(true);
});

test("a certificate for another name says which name was asked for", () => {
  const error = coded(
    "ERR_TLS_CERT_ALTNAME_INVALID",
    "Hostname/IP does not match certificate's altnames: Host: other.test. is not in the cert's altnames: DNS:up.test",
  );
  expect(cause(error)).toBe('certificate: not for the name "other.test"');
  expect(cause(coded("ERR_TLS_CERT_ALTNAME_INVALID"))).toBe("certificate: not for this name");
});

test("TLS alerts and other TLS errors are put in words", () => {
  expect(cause(coded("ERR_SSL_TLSV1_ALERT_UNRECOGNIZED_NAME"))).toBe(
    "TLS: the server refused the handshake (unrecognized name)",
  );
  expect(cause(coded("ERR_SSL_WRONG_VERSION_NUMBER"))).toBe("TLS: the server does not speak TLS");
  expect(cause(coded("ERR_SSL_BAD_SIGNATURE"))).toBe("TLS: bad signature");
});

test("errors that hide others are looked through", () => {
  expect(cause(new Error("fetch failed", { cause: coded("EHOSTUNREACH") }))).toBe("no route to host");
  expect(cause(new AggregateError([coded("ETIMEDOUT"), coded("ECONNREFUSED")]))).toBe("connection refused");
});

test("unknown errors give one short line without control characters", () => {
  expect(cause(new Error("odd\x1b[31m thing\nat stack"))).toBe("odd [31m thing");
  expect(cause(new Error("a".repeat(10_000)))).toHaveLength(160);
  expect(cause(new Error(""))).toBe("Error");
  expect(cause("text")).toBe("text");
  expect(cause(undefined)).toBe("undefined");
});
