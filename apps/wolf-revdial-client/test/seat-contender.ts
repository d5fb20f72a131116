/** One that wants the seat, as a process of its own: says `in` when it is in the queue and `taken` when the seat is its own. */
import { appendFileSync, existsSync, readFileSync, readlinkSync } from "node:fs";
import { pino } from "pino";
import { takeSeat } from "../src/seat.ts";

const [folder = "", holders = ""] = process.argv.slice(2);
/** No pause is longer than a turn: what holds only because somebody waited does not hold here. */
const clock = {
  now: () => 0,
  setTimer(_ms: number, run: () => void) {
    const timer = setTimeout(run, 1);
    return { cancel: () => clearTimeout(timer) };
  },
};
const log = pino({ level: "warn" }, pino.destination(2));
const seat = await takeSeat({ folder, wolfId: "wolf-1", clock, log, signal: new AbortController().signal });
process.stdout.write("in\n");
void seat.taken.then(() => {
  const before = existsSync(holders) ? readFileSync(holders, "utf8").split("\n") : [];
  const beside = before.filter((pid) => pid !== "" && runs(pid));
  appendFileSync(holders, `${process.pid}\n`);
  process.stdout.write(beside.length === 0 ? "taken\n" : `taken\nbeside ${beside}\n`);
});

/** A process that was killed loses its memory, and with it this link, before the kernel closes its sockets. */
function runs(pid: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) !== "";
  } catch {
    return false;
  }
}
