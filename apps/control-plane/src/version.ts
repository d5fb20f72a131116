/** Which control plane this is: agents and their doctor compare it with their own version. */
import { readFileSync } from "node:fs";

/** From src and from dist alike. */
export const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};
