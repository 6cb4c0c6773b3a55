/**
 * An ACME server for what a real one cannot be made to do: it checks every signature, nonce and URL as RFC 8555 asks, signs
 * with openssl, and answers as a test wishes.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { flattenedVerify, importJWK, type FlattenedJWSInput, type JWK } from "jose";
import { openssl } from "./certificates.ts";
import { startAuthority } from "./tls.ts";

/** One signed request that was in order. */
export interface Heard {
  /** newAccount, newOrder, order, authorization, challenge, finalize, certificate */
  readonly what: string;
  readonly path: string;
  readonly payload: any;
}

export interface AcmeServer extends AsyncDisposable {
  readonly url: string;
  readonly caFile: string;
  readonly heard: Heard[];
  /** signs a request; by default with the name that was ordered */
  sign: (csr: Buffer, name: string) => string;
  /** an answer in place of the usual one; undefined = the usual one */
  instead: (heard: Heard) => Response | undefined | Promise<Response | undefined>;
  /** RFC 9773 is offered, with this answer */
  renewalInfo: ((id: string) => Response) | undefined;
  /** looks whether the name is proved; by default it is */
  validate: (name: string, token: string, keyAuthorization: string) => boolean | Promise<boolean>;
  /** accounts are gone, as after a restart of a test server */
  forgetAccounts(): void;
  count(what: string): number;
}

interface Order {
  readonly name: string;
  status: string;
  certificate: string;
  proved: string;
}

export function problem(status: number, type: string, detail: string, headers: Record<string, string> = {}): Response {
  return Response.json({ type: `urn:ietf:params:acme:error:${type}`, detail }, { status, headers });
}

export function startAcmeServer(): AcmeServer {
  const folder = mkdtempSync(join(tmpdir(), "aralez-acme-server-"));
  const authority = startAuthority("ACME of the tests");
  const { cert, key } = authority.sign("/CN=localhost", ["localhost"]);
  const caFile = join(folder, "ca.pem");
  writeFileSync(caFile, authority.cert);
  writeFileSync(join(folder, "ca.key"), authority.key);
  const nonces = new Set<string>();
  const accounts = new Map<string, JWK>();
  const orders: Order[] = [];

  const listener = Bun.serve({
    hostname: "localhost",
    port: 0,
    reusePort: false,
    tls: { cert, key },
    async fetch(request) {
      const answer = await answerTo(request).catch((error: Error) =>
        problem(400, "account" in error ? "accountDoesNotExist" : "malformed", error.message),
      );
      const nonce = crypto.randomUUID();
      nonces.add(nonce);
      answer.headers.set("Replay-Nonce", nonce);
      return answer;
    },
  });
  const base = `https://localhost:${listener.port}`;

  async function answerTo(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === "/dir") return Response.json(directory());
    if (pathname === "/newNonce") return new Response(null, { status: 204 });
    if (pathname.startsWith("/renewalInfo/")) return server.renewalInfo!(pathname.slice("/renewalInfo/".length));
    const heard = await hear(request, pathname);
    server.heard.push(heard);
    return (await server.instead(heard)) ?? usual(heard);
  }

  function directory() {
    const url = (what: string) => `${base}/${what}`;
    return {
      newNonce: url("newNonce"),
      newAccount: url("newAccount"),
      newOrder: url("newOrder"),
      ...(server.renewalInfo && { renewalInfo: url("renewalInfo") }),
      meta: { termsOfService: `${base}/terms` },
    };
  }

  async function hear(request: Request, path: string): Promise<Heard> {
    if (request.headers.get("content-type") !== "application/jose+json") throw new Error("not application/jose+json");
    const body = (await request.json()) as FlattenedJWSInput;
    const header = JSON.parse(Buffer.from(String(body.protected), "base64url").toString());
    const jwk = header.jwk ?? accounts.get(header.kid);
    if (!jwk) throw Object.assign(new Error("no such account"), { account: true });
    const { payload } = await flattenedVerify(body, await importJWK(jwk, "ES256"), { algorithms: ["ES256"] });
    if (header.url !== `${base}${path}`) throw new Error(`signed for ${header.url}`);
    if (!nonces.delete(header.nonce)) throw new Error("a nonce of nobody");
    const text = new TextDecoder().decode(payload);
    if (path === "/newAccount") accounts.set(`${base}/account/${thumbprint(jwk)}`, jwk);
    return {
      what: path.split("/")[1]!,
      path,
      payload: path === "/newAccount" ? { ...JSON.parse(text), jwk } : text && JSON.parse(text),
    };
  }

  async function usual({ what, path, payload }: Heard): Promise<Response> {
    const number = Number(path.split("/")[2]);
    const order = orders[number];
    if (what === "newAccount") {
      const Location = `${base}/account/${thumbprint(payload.jwk)}`;
      return Response.json({ status: "valid" }, { status: 201, headers: { Location } });
    }
    if (what === "account") return Response.json({ status: "valid" });
    if (what === "newOrder") {
      orders.push({ name: payload.identifiers[0].value, status: "pending", certificate: "", proved: "" });
      return showOrder(orders.length - 1, 201);
    }
    if (!order) return problem(404, "malformed", "no such thing");
    if (what === "challenge") order.proved = await prove(order, number);
    if (what === "authorization" || what === "challenge") return Response.json(authorization(order, number));
    if (what === "finalize") {
      order.certificate = server.sign(Buffer.from(payload.csr, "base64url"), order.name);
      order.status = "valid";
    }
    if (what === "certificate") return new Response(order.certificate);
    return showOrder(number);
  }

  async function prove({ name }: Order, number: number): Promise<string> {
    const [jwk] = [...accounts.values()];
    const token = tokenOf(number);
    return (await server.validate(name, token, `${token}.${thumbprint(jwk!)}`)) ? "valid" : "invalid";
  }

  function authorization({ name, proved }: Order, number: number) {
    const error = { type: "urn:ietf:params:acme:error:unauthorized", detail: "not what was expected" };
    const challenge = { type: "http-01", url: `${base}/challenge/${number}`, token: tokenOf(number) };
    return {
      status: proved || "pending",
      identifier: { type: "dns", value: name },
      challenges: [
        { type: "dns-01", status: "pending", url: `${base}/none`, token: tokenOf(number) },
        { ...challenge, status: proved || "pending", ...(proved === "invalid" && { error }) },
      ],
    };
  }

  function showOrder(number: number, status = 200): Response {
    const order = orders[number]!;
    if (order.status === "pending" && order.proved !== "")
      order.status = order.proved === "valid" ? "ready" : "invalid";
    return Response.json(
      {
        status: order.status,
        authorizations: [`${base}/authorization/${number}`],
        finalize: `${base}/finalize/${number}`,
        ...(order.certificate && { certificate: `${base}/certificate/${number}` }),
      },
      { status, headers: { Location: `${base}/order/${number}` } },
    );
  }

  const server: AcmeServer = {
    url: `${base}/dir`,
    caFile,
    heard: [],
    sign: (csr, name) => signRequest(folder, csr, name),
    instead: () => undefined,
    renewalInfo: undefined,
    validate: () => true,
    forgetAccounts: () => accounts.clear(),
    count: (what) => server.heard.filter((each) => each.what === what).length,
    async [Symbol.asyncDispose]() {
      await listener.stop(true);
      authority[Symbol.dispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return server;
}

/** What a server looks at when it validates; 43 characters, the same for one order always. */
export function tokenOf(number: number): string {
  return createHash("sha256").update(`token ${number}`).digest("base64url");
}

/** RFC 7638, by hand: another eye on what is sent. */
function thumbprint({ crv, kty, x, y }: JWK): string {
  return createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
}

/** By openssl, which checks the request's own signature. @param days of validity */
export function signRequest(folder: string, csr: Buffer, name: string, days = 90): string {
  writeFileSync(join(folder, "csr.der"), csr);
  writeFileSync(join(folder, "ext"), `subjectAltName=DNS:${name}\nauthorityKeyIdentifier=keyid\n`);
  openssl(["req", "-inform", "DER", "-in", "csr.der", "-out", "csr.pem", "-verify"], folder);
  const serial = `0x${crypto.randomUUID().replaceAll("-", "").replace(/^./, "7")}`;
  openssl(
    ["x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", serial].concat([
      "-days",
      String(days),
      "-extfile",
      "ext",
      "-out",
      "crt.pem",
    ]),
    folder,
  );
  return readFileSync(join(folder, "crt.pem"), "utf8") + readFileSync(join(folder, "ca.pem"), "utf8");
}
