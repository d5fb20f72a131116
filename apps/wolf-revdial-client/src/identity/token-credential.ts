/** What is shown to a Helix control plane: the RUNNER_TOKEN, at every dial and every pick-up. Nothing is registered or enrolled. */
import type { Credential } from "./credential.ts";

export function tokenCredential(token: string): Credential {
  const none = () => Promise.reject(new Error("there are no keys of agents at a Helix control plane"));
  return {
    enrolled: undefined,
    wolfId: undefined,
    keyed: false,
    prepare: async () => undefined,
    enrol: none,
    forDial: () => ({
      headers: async () => ({ authorization: `Bearer ${token}` }),
      opened: () => undefined,
    }),
    refused: () => false,
    renew: none,
  };
}
