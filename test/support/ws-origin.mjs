// A WebSocket upstream on node's own `ws`, driven by the path; run by node. Prints one JSON line per event.
//   node ws-origin.mjs PORT|SOCKET_PATH [KEY.pem CERT.pem]
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { WebSocketServer } from "ws";

const [where, key, cert] = process.argv.slice(2);
const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
const server = key ? https.createServer({ key: readFileSync(key), cert: readFileSync(cert) }) : http.createServer();
const sockets = new WebSocketServer({
  noServer: true,
  maxPayload: 0,
  skipUTF8Validation: true,
  handleProtocols: (offered, request) =>
    new URL(request.url, "http://x").searchParams.get("protocol") ?? [...offered][0],
});
sockets.on("headers", (headers, request) => headers.push("Set-Cookie: from=origin; Path=/", `X-Path: ${request.url}`));

server.on("upgrade", (request, socket, head) => {
  const url = new URL(request.url, "http://x");
  const path = url.pathname;
  socket.on("error", (error) => tell({ event: "socket error", path, code: error.code }));
  socket.on("close", () => tell({ event: "socket closed", path }));
  tell({ event: "request", path, url: request.url, headers: request.headers, alpn: socket.alpnProtocol });
  if (path === "/silent") return;
  if (path === "/hangup") return socket.end();
  if (path === "/raw") return socket.end(Buffer.from(url.searchParams.get("bytes"), "latin1"));
  if (path.startsWith("/refuse")) return refuse(socket, url);
  sockets.handleUpgrade(request, socket, head, (ws) => serve(ws, socket, url));
});

function refuse(socket, url) {
  const status = url.pathname.split("/")[2];
  const body = url.searchParams.get("body") ?? "no entry";
  const framing = url.searchParams.get("framing") ?? "length";
  const lines = [
    `HTTP/1.1 ${status} Refused`,
    "X-Why: because",
    "Set-Cookie: a=1",
    "Set-Cookie: b=2",
    "Content-Type: text/plain",
  ];
  if (framing === "length") lines.push(`Content-Length: ${body.length}`);
  if (framing === "short") lines.push(`Content-Length: ${body.length + 10}`);
  if (framing === "huge") lines.push("Content-Length: 1000000");
  if (framing === "chunked") lines.push("Transfer-Encoding: chunked");
  if (framing === "both") lines.push("Transfer-Encoding: chunked", "Content-Length: 3");
  const text =
    framing === "chunked"
      ? `3;x=y\r\n${body.slice(0, 3)}\r\n${(body.length - 3).toString(16)}\r\n${body.slice(3)}\r\n0\r\nT: 1\r\n\r\n`
      : body;
  const all = `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${lines.join("\r\n")}\r\n\r\n${framing === "huge" ? "x".repeat(1000000) : text}`;
  socket.end(all);
}

function serve(ws, socket, url) {
  const path = url.pathname;
  const param = (name, otherwise) => url.searchParams.get(name) ?? otherwise;
  ws.on("error", (error) => tell({ event: "error", path, message: error.message }));
  ws.on("close", (code, reason) => tell({ event: "close", path, code, reason: String(reason) }));
  ws.on("ping", (data) => tell({ event: "ping", path, data: String(data) }));
  ws.on("pong", (data) => tell({ event: "pong", path, data: String(data) }));
  if (path === "/echo" || path === "/sleepy") ws.on("message", (data, binary) => ws.send(data, { binary }));
  if (path === "/count")
    ws.on("message", (data, binary) => tell({ event: "message", path, binary, length: data.length }));
  if (path === "/sleepy") {
    socket.pause();
    process.once("SIGUSR2", () => socket.resume());
    tell({ event: "asleep", path });
  }
  if (path === "/fragments") {
    ws.send("héllo ", { fin: false });
    ws.ping("in between");
    ws.send("wörld", { fin: false });
    ws.send("", { fin: true });
    ws.send(Buffer.alloc(70_000, 1), { fin: false });
    ws.send(Buffer.alloc(70_000, 2), { fin: true });
    ws.close(1000, "sent");
  }
  if (path === "/ping") ws.ping("from origin");
  if (path === "/close") {
    ws.send("before");
    const code = Number(param("code", "0"));
    if (code === 0) ws.close();
    else ws.close(code, param("reason", ""));
  }
  if (path === "/big") ws.send(Buffer.alloc(Number(param("bytes")), 7), () => ws.close(1000, "sent"));
  if (path === "/bytes") socket.write(Buffer.from(param("hex"), "hex"));
  if (path === "/die") {
    // Half of a 1,000,000-byte frame, then nothing more.
    socket.write(
      Buffer.concat([Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40]), Buffer.alloc(500_000)]),
      () => (param("how") === "reset" ? socket.resetAndDestroy() : socket.end()),
    );
  }
  if (path === "/burst") {
    for (let i = 0; i < Number(param("count")); i++) ws.send(Buffer.alloc(65_536, i & 255));
    if (socket.writableLength > 0) tell({ event: "full", path });
    if (param("then") === "die") socket.end();
    else ws.close(1000, "sent");
  }
  if (path === "/flood") {
    let sent = 0;
    const block = Buffer.alloc(65_536);
    const goOn = () => {
      if (ws.readyState !== 1) return;
      let room = true;
      while (room) {
        ws.send(block);
        sent += block.length;
        room = socket.writableLength < 262_144;
      }
      setTimeout(() => (socket.writableLength < 262_144 ? goOn() : wait()), 0);
    };
    const wait = () => {
      tell({ event: "full", path, sent });
      socket.once("drain", goOn);
    };
    goOn();
  }
}

server.listen(Number.isNaN(Number(where)) ? where : { port: Number(where), host: "127.0.0.1" }, () =>
  tell({ event: "listening", port: server.address()?.port }),
);
