/**
 * What real node:http makes of messages: `node node-reader.mjs requests|responses FILE`, FILE holding a JSON list of
 * latin1 strings. Prints a JSON list: for requests all that were read whole, for a response the final one or nothing.
 */
import { readFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";

const [kind, file] = process.argv.slice(2);
const messages = JSON.parse(readFileSync(file, "utf8"));
const atOnce = 32;
/** by the client's port: the requests begun, or what a CONNECT asked for */
const read = new Map();
/**
 * A body's bytes: `end` comes later than what follows on the connection is parsed, and never when that is malformed, so
 * the parser's own word is asked.
 */
const lengthOf = (message) => {
  message.on("error", () => {});
  message.on("data", (data) => (message.taken = (message.taken ?? 0) + data.length));
  return () => (message.complete ? (message.taken ?? 0) + message.readableLength : -1);
};
const listen = (server) =>
  new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));

async function requests() {
  const answer = (request, response) => {
    read.get(request.socket.remotePort)?.push({ request, length: lengthOf(request) });
    request.on("end", () => response.end());
  };
  const server = http.createServer(answer);
  server.on("checkExpectation", answer);
  server.on("connect", (request, socket) => {
    read.get(socket.remotePort)?.push({ request, length: () => 0 });
    socket.end();
  });
  // Else what is still being answered is given up at the client's FIN.
  server.httpAllowHalfOpen = true;
  const port = await listen(server);
  const one = (message) =>
    new Promise((resolve) => {
      const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      let key;
      socket.on("connect", () => {
        key = socket.localPort;
        read.set(key, []);
        socket.end(message, "latin1");
      });
      socket.on("error", () => {});
      // node 20 forgets a connection whose upgrade request had a malformed body.
      socket.setTimeout(5_000, () => socket.destroy());
      socket.on("end", () => socket.destroy());
      socket.on("close", () => {
        const whole = (read.get(key) ?? []).map(({ request, length }) => ({ request, bytes: length() }));
        resolve(
          whole
            .filter(({ bytes }) => bytes >= 0)
            .map(({ request, bytes }) => `${request.method} ${request.url} ${bytes}`),
        );
        read.delete(key);
      });
      socket.resume();
    });
  const all = await each(one);
  server.close();
  server.closeAllConnections();
  return all;
}

async function responses() {
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (data) =>
      socket.end(messages[Number(/^GET \/([0-9]+)/.exec(data.toString("latin1"))[1])], "latin1"),
    );
  });
  const port = await listen(server);
  const one = (_message, index) =>
    new Promise((resolve) => {
      let length = () => -1;
      let status = 0;
      const request = http.get({ port, host: "127.0.0.1", path: `/${index}`, agent: false }, (response) => {
        status = response.statusCode;
        length = lengthOf(response);
      });
      request.on("upgrade", (response, socket) => {
        status = response.statusCode;
        length = () => 0;
        socket.destroy();
      });
      request.on("error", () => {});
      request.on("close", () => {
        const bytes = length();
        resolve(bytes < 0 ? [] : [`${status} ${bytes}`]);
      });
    });
  const all = await each(one);
  server.close();
  return all;
}

async function each(one) {
  const results = [];
  let next = 0;
  const work = async () => {
    for (let i; (i = next++) < messages.length;) results[i] = await one(messages[i], i);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return results;
}

process.stdout.write(JSON.stringify(await (kind === "requests" ? requests() : responses())));
