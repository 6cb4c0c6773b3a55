/** An origin that sends every WebSocket message back, in a process of its own: `bun websocket-echo.ts` prints its port. */
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  reusePort: false,
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no WebSocket", { status: 400 })),
  websocket: {
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    backpressureLimit: 64 * 1024 * 1024,
    message: (socket, data) => void socket.send(data),
  },
});
console.log(server.port);
