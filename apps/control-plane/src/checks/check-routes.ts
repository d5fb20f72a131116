/** HTTP in, one call, HTTP out: how the control plane itself does. */
import type { Handlers } from "../http/call.ts";
import type { Report } from "./check.ts";
import type { Replicas } from "./replicas.ts";

export interface CheckHandlersOptions {
  examine: () => Promise<Report>;
  replicas: Replicas;
  replica: string;
  version: string;
}

export function checkHandlers(options: CheckHandlersOptions): Pick<Handlers, "getHealth" | "listReplicas"> {
  const { examine, replicas, replica, version } = options;
  return {
    async getHealth() {
      return { status: 200, body: { ...(await examine()), replica, version } };
    },

    async listReplicas() {
      return { status: 200, body: await replicas() };
    },
  };
}
