// A WebSocket client on node's own `ws`; run by node: node ws-client.mjs URL '{"steps":[["text","hi"],["close",1000,"bye"]]}'
// Prints one JSON line per event; the last one is {"event":"done", …}.
import { createHash } from "node:crypto";
import WebSocket from "ws";

const [url, given] = process.argv.slice(2);
const { protocols = [], headers = {}, steps = [], quiet = false } = JSON.parse(given ?? "{}");
const tell = (event, then) => process.stdout.write(`${JSON.stringify(event)}\n`, then);
// exit() alone would cut a long line in the pipe.
const finish = (about) => tell({ event: "done", ...about }, () => process.exit(0));
const ws = new WebSocket(url, protocols, { headers, maxPayload: 0, perMessageDeflate: false });
const messages = [];
const seen = { messages: 0, bytes: 0, pings: [], pongs: [] };
let wake = () => {};
const until = async (fact) => {
  while (!fact()) await new Promise((resolve) => (wake = resolve));
};

ws.on("upgrade", (response) => {
  seen.headers = response.headers;
});
ws.on("unexpected-response", (_, response) => {
  let body = "";
  let cut = false;
  response.on("data", (data) => (body += data));
  response.on("error", () => (cut = true));
  response.on("close", () => {
    finish({
      refused: { status: response.statusCode, headers: response.headers, body, cut: cut || !response.complete },
    });
  });
});
ws.on("message", (data, binary) => {
  seen.messages++;
  seen.bytes += data.length;
  if (!quiet) {
    const hash = createHash("sha1").update(data).digest("hex");
    messages.push({ binary, length: data.length, hash, text: binary ? "" : String(data).slice(0, 100) });
  }
  wake();
});
ws.on("ping", (data) => (seen.pings.push(String(data)), wake()));
ws.on("pong", (data) => (seen.pongs.push(String(data)), wake()));
ws.on("error", (error) => (seen.error = error.message));
ws.on("close", (code, reason) => {
  finish({ ...seen, list: messages, protocol: ws.protocol, close: { code, reason: String(reason) } });
});
ws.on("open", async () => {
  tell({ event: "open" });
  for (const [verb, a, b] of steps) {
    if (verb === "text") ws.send(a);
    if (verb === "long text") ws.send("ä".repeat(a));
    if (verb === "binary") ws.send(Buffer.alloc(a, b));
    if (verb === "fragments") for (const [i, part] of a.entries()) ws.send(part, { fin: i === a.length - 1 });
    if (verb === "ping") ws.ping(a);
    if (verb === "many") for (let i = 0; i < a; i++) ws.send(`message ${i}`);
    if (verb === "flood")
      for (let sent = 0; sent < a && ws.readyState === 1; sent += b)
        await new Promise((next) => ws.send(Buffer.alloc(b), next));
    if (verb === "messages") await until(() => seen.messages >= a);
    if (verb === "pings") await until(() => seen.pings.length >= a);
    if (verb === "pongs") await until(() => seen.pongs.length >= a);
    if (verb === "tell") tell({ event: a });
    if (verb === "pause") ws._socket.pause();
    if (verb === "resume") ws._socket.resume();
    if (verb === "wait for line") await new Promise((resolve) => process.stdin.once("data", resolve));
    if (verb === "terminate") ws.terminate();
    if (verb === "reset") ws._socket.resetAndDestroy();
    if (verb === "close") ws.close(a, b);
  }
});
