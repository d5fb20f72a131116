/** What stands below a chart, as a function of values: as much of a moment as tells it from its neighbours. */
const MINUTE_SECONDS = 60;
const DAY_SECONDS = 86_400;

const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
const day = { month: "short", day: "numeric" } as const;

/** `moments` in seconds, ascending, as far apart as the axis has room for. */
export function axisTimes(moments: readonly number[], timeZone?: string): string[] {
  const [first = 0, second = first + MINUTE_SECONDS] = moments;
  const step = second - first;
  const span = (moments.at(-1) ?? first) - first;
  const write = (shape: Intl.DateTimeFormatOptions) => {
    const format = new Intl.DateTimeFormat("en", { ...shape, ...(timeZone && { timeZone }) });
    return moments.map((at) => format.format(at * 1000));
  };
  if (step < MINUTE_SECONDS) return write({ ...clock, second: "2-digit" });
  // Half a day would repeat each date.
  if (step >= DAY_SECONDS) return write(day);
  return write(span >= DAY_SECONDS ? { ...day, ...clock } : clock);
}
