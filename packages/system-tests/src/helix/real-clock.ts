/** The clock of this machine, for peers that run in real time. */
import type { Clock } from "revdial";

export const realClock: Clock = {
  now: () => performance.now(),
  setTimer(ms, run) {
    const timer = setTimeout(run, ms);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};
