/** How long there is still, as a function of milliseconds: two units, rounded down. */
const units: readonly (readonly [string, number])[] = [
  ["d", 86_400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

/** `in 1 h 59 min`, `in 45 s`, `now`. */
export function remaining(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (!(seconds > 0)) return "now";
  const at = units.findIndex(([, size]) => seconds >= size);
  const [unit, size] = units[at] ?? ["s", 1];
  const first = `in ${Math.floor(seconds / size)} ${unit}`;
  // Seconds matter near the end only.
  const smaller = unit === "min" && seconds >= 600 ? undefined : units[at + 1];
  const more = smaller ? Math.floor((seconds % size) / smaller[1]) : 0;
  return smaller && more > 0 ? `${first} ${more} ${smaller[0]}` : first;
}
