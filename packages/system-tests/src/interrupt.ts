/** Ctrl-C and SIGTERM as one promise. A terminal, npm and a supervisor may each deliver the same Ctrl-C: only a later one is a second. */

const SAME_SIGNAL_MS = 1000;

/** Resolves at the first signal; the second ends the process at once. Children end with us: their watchdogs see to it. */
export function interrupted(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let firstAt: number | undefined;
    const onSignal = (signal: NodeJS.Signals) => {
      if (firstAt === undefined) firstAt = Date.now();
      else if (Date.now() - firstAt >= SAME_SIGNAL_MS) process.exit(signal === "SIGINT" ? 130 : 143);
      resolve(signal);
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  });
}
