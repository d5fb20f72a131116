/** Stopping a session, with its wolf's help or without. Each asks first. */

import { useQueryClient } from "@tanstack/react-query";
import type { Session } from "@wolfpack/api-contract";
import { useState } from "react";
import { call } from "../../api/client.ts";
import { keyOf } from "../../api/queries.ts";
import { nameOf } from "../../fleet/session-words.ts";
import { Confirm } from "../../ui/dialog.tsx";
import { useToasts } from "../../ui/toast.tsx";
import { type Way, waysToEnd } from "./ways.ts";

const words: Record<Way, { button: string; title: string; what: string; done: string }> = {
  cancel: {
    button: "Cancel",
    title: "Cancel",
    what: "It leaves the queue and ends without having run.",
    done: "was cancelled",
  },
  stop: {
    button: "Stop",
    title: "Stop",
    what: "Its desktop ends at once, and what is not saved in it is lost. While its wolf cannot be reached, the stop waits for it.",
    done: "is stopped",
  },
  force: {
    button: "Stop by force",
    title: "Stop by force",
    what: "It ends here without waiting for its wolf. Its desktop may run on there until the wolf is back; then it is cleared away.",
    done: "was stopped by force",
  },
};

export function Ending({ session }: { session: Session }) {
  const [asking, setAsking] = useState<Way>();
  return (
    <>
      {waysToEnd(session).map((way) => (
        <button key={way} type="button" className="button button-danger" onClick={() => setAsking(way)}>
          {words[way].button}
        </button>
      ))}
      {asking && <AskToEnd session={session} way={asking} onClose={() => setAsking(undefined)} />}
    </>
  );
}

export function AskToEnd(props: { session: Pick<Session, "id" | "name">; way: Way; onClose: () => void }) {
  const { session, way, onClose } = props;
  const client = useQueryClient();
  const toasts = useToasts();
  const { title, what, done, button } = words[way];
  async function run(): Promise<void> {
    const params = { id: session.id };
    const query = way === "force" ? { force: "true" as const } : {};
    const { status, body } = await call("stopSession", { params, query });
    if (status === 202 && body) {
      client.setQueryData(keyOf("getSession", { params }), body);
      toasts.done(`${nameOf(session)} is being stopped`, "It ends as soon as its wolf can be reached.");
    } else toasts.done(`${nameOf(session)} ${done}`);
    await client.invalidateQueries({ queryKey: keyOf("getSession", { params }) });
    void client.invalidateQueries({ queryKey: ["listQueue"] });
  }
  return (
    <Confirm
      open
      onOpenChange={(open) => open || onClose()}
      title={`${title}: ${nameOf(session)}`}
      description={what}
      confirm={button === "Cancel" ? "Cancel session" : button}
      danger
      onConfirm={run}
    />
  );
}
