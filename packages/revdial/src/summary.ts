/** What logs and JSON show of an object that holds credentials, or leads to one: a few words of its own choice. */
import { type InspectOptions, inspect } from "node:util";

export abstract class Summary {
  /** Everything that may be seen. */
  abstract toJSON(): Readonly<Record<string, string | number>>;

  [inspect.custom](_depth: number, options: InspectOptions): string {
    return `${this.constructor.name} ${inspect(this.toJSON(), { ...options, depth: 1 })}`;
  }
}
