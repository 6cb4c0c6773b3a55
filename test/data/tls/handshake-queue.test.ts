/** Handshakes go on one per turn, in order, and those that are done are let go. */
import { expect, test } from "bun:test";
import { HandshakeQueue, type Waiting } from "../../../src/data/tls/handshake-queue.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("one a turn, first come, first served; who has left costs no turn", async () => {
  const queue = new HandshakeQueue();
  const done: number[] = [];
  for (let i = 0; i < 6; i++)
    queue.add({
      proceed: () => {
        if (i === 1 || i === 2) return false;
        done.push(i);
        return true;
      },
    });
  const seen: number[][] = [];
  while (queue.size > 0) {
    await turn();
    seen.push([...done]);
  }
  expect(done).toEqual([0, 3, 4, 5]);
  expect(seen.every((now, i) => now.length - (seen[i - 1]?.length ?? 0) <= 1)).toBe(true);
});

test("a burst without end holds only those that wait", async () => {
  const queue = new HandshakeQueue();
  const all: WeakRef<Waiting>[] = [];
  let left = 20_000;
  const add = () => {
    if (left-- <= 0) return;
    const handshake = { proceed: () => (add(), true) };
    all.push(new WeakRef(handshake));
    queue.add(handshake);
  };
  for (let i = 0; i < 10; i++) add();
  while (left > 100) await turn();
  expect(queue.size).toBe(10);
  Bun.gc(true);
  expect(all.filter((handshake) => handshake.deref()).length).toBeLessThan(1_000);
  while (queue.size > 0) await turn();
});
