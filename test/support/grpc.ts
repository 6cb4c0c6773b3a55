/** A gRPC service without a schema: all four kinds of calls on messages of bytes, as server and as client. */
import * as grpc from "@grpc/grpc-js";
import { until } from "./proxy.ts";

const plain = {
  requestSerialize: (message: Buffer) => message,
  requestDeserialize: (bytes: Buffer) => bytes,
  responseSerialize: (message: Buffer) => message,
  responseDeserialize: (bytes: Buffer) => bytes,
};

const definition = {
  unary: { path: "/test.Echo/Unary", requestStream: false, responseStream: false, ...plain },
  upload: { path: "/test.Echo/Upload", requestStream: true, responseStream: false, ...plain },
  download: { path: "/test.Echo/Download", requestStream: false, responseStream: true, ...plain },
  both: { path: "/test.Echo/Both", requestStream: true, responseStream: true, ...plain },
} satisfies grpc.ServiceDefinition;

export interface GrpcOrigin extends AsyncDisposable {
  readonly port: number;
  readonly address: string;
  /** metadata of the last call */
  metadata: Record<string, unknown>;
  /** unary calls that ended before they were answered; grpc-js says "cancelled" at the end of each call */
  cancelled: number;
  /** unary calls named "slow" that have come */
  slow: number;
  /** ms that a unary call named "slow" takes */
  slowMs: number;
}

/** Answers what it is asked; `fail:CODE` fails with a status, details and trailers, `slow` takes its time. */
export async function startGrpcOrigin(): Promise<GrpcOrigin> {
  const server = new grpc.Server({ "grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1 });
  server.addService(definition, {
    unary(call: grpc.ServerUnaryCall<Buffer, Buffer>, send: grpc.sendUnaryData<Buffer>) {
      let answered = false;
      const done: typeof send = (...answer) => {
        answered = true;
        send(...answer);
      };
      origin.metadata = call.metadata.getMap();
      const text = call.request.length < 100 ? call.request.toString() : "";
      const trailers = new grpc.Metadata();
      trailers.set("x-trailer", "tail");
      call.on("cancelled", () => answered || origin.cancelled++);
      if (text.startsWith("fail:"))
        return done({ code: Number(text.slice(5)), details: "it failed: 100 % ü", metadata: trailers });
      if (text === "slow") origin.slow++;
      if (text === "slow") return void setTimeout(() => done(null, call.request), origin.slowMs);
      const head = new grpc.Metadata();
      head.set("x-head", "front");
      call.sendMetadata(head);
      done(null, call.request, trailers);
    },
    upload(call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) {
      let bytes = 0;
      call.on("data", (message: Buffer) => (bytes += message.length));
      call.on("end", () => done(null, Buffer.from(String(bytes))));
    },
    download(call: grpc.ServerWritableStream<Buffer, Buffer>) {
      const count = Number(call.request.toString());
      for (let i = 0; i < count; i++) call.write(Buffer.from(`message ${i}`));
      call.end();
    },
    both(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
      call.on("data", (message: Buffer) => call.write(message));
      call.on("end", () => call.end());
      call.on("error", () => {});
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const origin: GrpcOrigin = {
    port,
    address: `127.0.0.1:${port}`,
    metadata: {},
    cancelled: 0,
    slow: 0,
    slowMs: 10_000,
    async [Symbol.asyncDispose]() {
      server.forceShutdown();
    },
  };
  return origin;
}

type Unary = (
  message: Buffer,
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
  done: grpc.requestCallback<Buffer>,
) => grpc.ClientUnaryCall;

export interface EchoClient extends grpc.Client {
  unary: Unary;
  upload(done: grpc.requestCallback<Buffer>): grpc.ClientWritableStream<Buffer>;
  download(message: Buffer): grpc.ClientReadableStream<Buffer>;
  both(): grpc.ClientDuplexStream<Buffer, Buffer>;
}

/**
 * @param authority as `:authority`, which routes by it
 * @param trusted PEM of the certificate that the server shows for that name; without it there is no TLS
 */
export function startGrpcClient(port: number, authority: string, trusted?: string): EchoClient {
  const Client = grpc.makeGenericClientConstructor(definition, "Echo");
  const credentials =
    trusted === undefined ? grpc.credentials.createInsecure() : grpc.credentials.createSsl(Buffer.from(trusted));
  return new Client(`127.0.0.1:${port}`, credentials, {
    "grpc.default_authority": authority,
    ...(trusted !== undefined && { "grpc.ssl_target_name_override": authority }),
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    "grpc.use_local_subchannel_pool": 1,
  }) as unknown as EchoClient;
}

export interface Called {
  readonly message: Buffer | undefined;
  readonly code: number;
  readonly details: string;
  readonly head: Record<string, unknown>;
  readonly trailers: Record<string, unknown>;
}

/** A unary call that its client gives up once it has reached the server. @returns its status */
export async function cancel(client: EchoClient, origin: GrpcOrigin): Promise<number> {
  const before = origin.slow;
  const sent = client.unary(Buffer.from("slow"), new grpc.Metadata(), {}, () => {});
  const status = new Promise<number>((resolve) => sent.on("status", ({ code }) => resolve(code)));
  await until(() => origin.slow > before, "the call to reach the server");
  sent.cancel();
  return status;
}

/** One unary call to its end, whatever that is. */
export function call(
  client: EchoClient,
  message: Buffer | string,
  options: grpc.CallOptions = {},
  metadata = new grpc.Metadata(),
): Promise<Called> {
  return new Promise((resolve) => {
    let head: Record<string, unknown> = {};
    let answer: Buffer | undefined;
    const sent = client.unary(Buffer.from(message), metadata, options, (_, value) => (answer = value));
    sent.on("metadata", (it) => (head = it.getMap()));
    sent.on("status", ({ code, details, metadata: trailers }) =>
      setImmediate(() => resolve({ message: answer, code, details, head, trailers: trailers.getMap() })),
    );
  });
}
