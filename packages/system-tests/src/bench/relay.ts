/** Process: a TCP relay that holds every byte for a fixed time in each direction: a long link of unlimited rate. */
import { connect, createServer, type Socket } from "node:net";
import { listen } from "./listen.ts";
import { serveCalls } from "./process.ts";

/** Bytes on their way in one direction; above it the sender has to wait, as on any path. */
const IN_FLIGHT_BYTES_MAX = 256 * 1024 * 1024;

/** Node's timers count whole milliseconds; half of one early is as good as half of one late. */
const TIMER_MS = 1;

function delay(from: Socket, to: Socket, delayMs: number): void {
  const held: { due: number; bytes: Buffer | null }[] = [];
  let heldBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  const release = () => {
    timer = undefined;
    const now = performance.now();
    let count = 0;
    to.cork();
    for (const { due, bytes } of held) {
      if (due > now + TIMER_MS / 2) break;
      count += 1;
      if (bytes === null) to.end();
      else {
        heldBytes -= bytes.length;
        to.write(bytes);
      }
    }
    to.uncork();
    held.splice(0, count);
    if (heldBytes < IN_FLIGHT_BYTES_MAX) from.resume();
    if (held[0]) timer = setTimeout(release, Math.max(0, held[0].due - now));
  };
  const hold = (bytes: Buffer | null) => {
    held.push({ due: performance.now() + delayMs, bytes });
    if (bytes) heldBytes += bytes.length;
    if (heldBytes >= IN_FLIGHT_BYTES_MAX) from.pause();
    timer ??= setTimeout(release, delayMs);
  };
  from.on("data", hold);
  from.on("end", () => hold(null));
  from.on("error", () => to.destroy());
  from.on("close", () => {
    if (to.destroyed) clearTimeout(timer);
  });
}

serveCalls({
  listen: ({ port, delayMs }: { port: number; delayMs: number }) =>
    listen(
      createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
        const far = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
        delay(near, far, delayMs);
        delay(far, near, delayMs);
      }),
    ),
});
