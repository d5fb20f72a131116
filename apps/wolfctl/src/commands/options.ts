/** Options that several commands share. */
import { Option } from "commander";

export const limitOption = (fallback: string) =>
  new Option("--limit <number>", "How many at most, or all").default(fallback);
export const watchOption = () =>
  new Option("--watch [seconds]", "Again and again, until Ctrl-C; every 2 s unless it says otherwise");
