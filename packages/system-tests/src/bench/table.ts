/** Rows of tables of benches: a name, a number, and the bound that it must hold, if there is one. */

export interface Bound {
  value: number;
  /** Otherwise: at most. */
  least?: boolean;
}

const text = (value: number, digits: number) => value.toLocaleString("en", { maximumFractionDigits: digits });

export const atLeast = (value: number): Bound => ({ value, least: true });
export const atMost = (value: number): Bound => ({ value });

export function row(name: string, value: number, digits = 0, bound?: Bound): string {
  const said = `${name.padEnd(40)} ${text(value, digits).padStart(10)}`;
  if (bound === undefined) return said;
  const holds = bound.least ? value >= bound.value : value <= bound.value;
  return `${said}  must be ${bound.least ? "≥" : "≤"} ${bound.value.toLocaleString("en")}${holds ? "" : ": MISSED"}`;
}
