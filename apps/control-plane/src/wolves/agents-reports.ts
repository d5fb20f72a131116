/** A wolf's store as its agent writes to it: every change is one that the agent has reported. */
import { becauseAgent } from "../events/author.ts";
import type { WolfStore } from "./wolf-store.ts";

type Reports = Pick<
  WolfStore,
  "changeHealth" | "changeReport" | "changeUsage" | "changeCapabilities" | "changeImages"
>;

export function reportedBy<Store extends Reports>(store: Store): Store {
  const by = <Rest extends unknown[], Result>(change: (id: string, ...rest: Rest) => Result) => {
    return (id: string, ...rest: Rest) => becauseAgent(id, "reported", () => change(id, ...rest));
  };
  return {
    ...store,
    changeHealth: by(store.changeHealth),
    changeReport: by(store.changeReport),
    changeUsage: by(store.changeUsage),
    changeCapabilities: by(store.changeCapabilities),
    changeImages: by(store.changeImages),
  };
}
