/** What a policy takes away from whoever wants sandboxes here; its owner may want that, and is told. */
import { requiredOfWolf, type WolfPolicy } from "@wolfpack/wolf-api";

/** Why a host with this policy takes no session; undefined: it does. */
export function closedToSessions({ close }: Pick<WolfPolicy, "close">): string | undefined {
  const routes = requiredOfWolf.filter((route) => close.includes(route));
  return routes.length === 0 ? undefined : `the policy closes ${routes.join(", ")}: no session can run here`;
}

/** What keeps a Helix control plane from starting anything here; undefined: nothing of the policy. */
export function closedToHelix({ helix_homes: homes }: Pick<WolfPolicy, "helix_homes">): string | undefined {
  if (homes !== null) return undefined;
  return "the policy has no helix_homes: the guard refuses every sandbox that Helix would create here (docs/operations/policy.md)";
}
